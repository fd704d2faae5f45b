"""A summary's numbers as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_WIDTH: Final = 16


def as_text(report: Mapping[str, Any]) -> str:
    """Lay a summary out: one number a line, then tables."""
    lines = [*counts(report), *_rest(report)]
    for title, key in (("size", "sizes"), ("IP version", "ip_versions"), ("protocol", "protocols")):
        lines += _table(title, report[key], report["packets"])
    return "\n".join((*lines, ""))


def counts(report: Mapping[str, Any]) -> Iterator[str]:
    """Lines of packets, bytes, times and rates."""
    yield line("packets", f"{report['packets']:,}")
    yield line("bytes", f"{report['bytes']:,}")
    yield line("captured bytes", f"{report['captured_bytes']:,}")
    if report["packets"]:
        yield line("first packet", utc(report["first"]))
        yield line("last packet", utc(report["last"]))
        yield line("duration", _seconds(report["last_ns"] - report["first_ns"]))
        yield line("average size", f"{report['bytes'] / report['packets']:,.1f} bytes")
    if report["packets_per_second"] is not None:
        yield line("average rate", f"{report['packets_per_second']:,.1f} packets/s")
        yield line("", scaled(report["bits_per_second"], "bit/s"))


def _rest(report: Mapping[str, Any]) -> Iterator[str]:
    yield line("truncated", f"{report['truncated']:,}")
    yield line("VLAN-tagged", f"{report['vlan_tagged']:,}")
    yield line("link type", ", ".join(report["link_types"]) or "none")


def _table(title: str, counts: Mapping[str, Mapping[str, int]], packets: int) -> Iterator[str]:
    """A table of packets and bytes, if there is something to count."""
    if packets and counts:
        yield ""
        yield f"{title:<{_WIDTH}}{'packets':>{_WIDTH}}{'share':>9}{'bytes':>{_WIDTH + 4}}"
        for name, count in counts.items():
            share = count["packets"] / packets
            yield f"{name:<{_WIDTH}}{count['packets']:>{_WIDTH},}{share:>9.1%}{count['bytes']:>{_WIDTH + 4},}"


def line(label: str, text: str) -> str:
    """A label and what there is to say under it."""
    return f"{label:<{_WIDTH}}{text}"


def utc(iso: str) -> str:
    """An ISO time as the packets' lines have it."""
    return iso.replace("T", " ").replace("Z", " UTC")


def _seconds(ns: int) -> str:
    """To the last digit, which a float has not for long times."""
    seconds, fraction = divmod(ns, 10**9)
    return f"{seconds:,}.{fraction:09} s"


def scaled(value: float, unit: str) -> str:
    """A number with an SI prefix."""
    for prefix in ("", "k", "M", "G"):
        if value < 1000:
            return f"{value:.1f} {prefix}{unit}"
        value /= 1000
    return f"{value:,.1f} T{unit}"
