"""Text form of a summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_WIDTH: Final = 16


def as_text(report: Mapping[str, Any]) -> str:
    """Format a summary as text: one number per line, then tables."""
    lines = [*counts(report), *_rest(report)]
    for title, key in (("size", "sizes"), ("IP version", "ip_versions"), ("protocol", "protocols")):
        lines += _table(title, report[key], report["packets"])
    return "\n".join((*lines, ""))


def counts(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for packets, bytes, times and rates."""
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
    """Yield the lines of a table of packets and bytes; none if there are no packets."""
    if packets and counts:
        yield ""
        yield f"{title:<{_WIDTH}}{'packets':>{_WIDTH}}{'share':>9}{'bytes':>{_WIDTH + 4}}"
        for name, count in counts.items():
            share = count["packets"] / packets
            yield f"{name:<{_WIDTH}}{count['packets']:>{_WIDTH},}{share:>9.1%}{count['bytes']:>{_WIDTH + 4},}"


def line(label: str, text: str) -> str:
    """Format a line of a label, padded, and its value."""
    return f"{label:<{_WIDTH}}{text}"


def utc(iso: str) -> str:
    """Format an ISO 8601 time for text output, with a space for the T and UTC for the Z."""
    return iso.replace("T", " ").replace("Z", " UTC")


def _seconds(ns: int) -> str:
    """Format a duration in nanoseconds as seconds. Exact: a float would lose digits of long durations."""
    seconds, fraction = divmod(ns, 10**9)
    return f"{seconds:,}.{fraction:09} s"


def scaled(value: float, unit: str) -> str:
    """Format a number with an SI prefix and a unit."""
    for prefix in ("", "k", "M", "G"):
        if value < 1000:
            return f"{value:.1f} {prefix}{unit}"
        value /= 1000
    return f"{value:,.1f} T{unit}"
