"""Text form of a report of `slimcap info`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from slimcap.cli.render.summary_text import counts, line, utc
from slimcap.cli.terminal.streams import printable

_UNLIMITED: Final = 1 << 31  # a snaplen of this or more is no limit, as in libpcap

_COUNTERS: Final = {
    "received": "received",
    "lost by device": "interface_dropped",
    "lost by system": "os_dropped",
}

_TEXTS: Final = ("application", "hardware", "os", "description", "filter", "comment")


def as_text(report: Mapping[str, Any]) -> str:
    """Format the report on a file as text: one value per line, then its interfaces."""
    lines = [*_file(report), *counts(report), *_rest(report)]
    for number, section in enumerate(report["sections"]):
        lines += _section(number, section, alone=len(report["sections"]) == 1)
    for number, interface in enumerate(report["interfaces"]):
        lines += _interface(number, interface)
    return "\n".join((*lines, ""))


def _file(report: Mapping[str, Any]) -> Iterator[str]:
    yield line("file", printable(report["file"]))
    first = report["sections"][0] if report["sections"] else None
    version = f" {first['version']}, {first['byte_order']}-endian" if first else ""
    yield line("format", f"{report['format']}{version}")
    if report["compression"]:
        yield line("compression", report["compression"])
    if report["file_size"] is not None:
        yield line("file size", f"{report['file_size']:,}")
    if report["sha256"]:
        yield line("SHA-256", report["sha256"])


def _rest(report: Mapping[str, Any]) -> Iterator[str]:
    if report["packets"]:
        yield line("in time order", "yes" if report["in_time_order"] else "no")
    yield line("truncated", f"{report['truncated']:,}")
    for label in ("dropped", "comments"):
        if report[label]:
            yield line(label, f"{report[label]:,}")


def _section(number: int, section: Mapping[str, Any], *, alone: bool) -> Iterator[str]:
    if not alone:
        yield ""
        yield line(
            f"section {number}",
            f"version {section['version']}, {section['byte_order']}-endian, "
            f"from interface {section['first_interface']} on",
        )
    yield from _texts(section)


def _interface(number: int, interface: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield line(f"interface {number}", printable(interface["name"]))
    yield line("packets", f"{interface['packets']:,}")
    yield line("link type", f"{interface['link_type']} ({interface['link_type_number']})")
    snaplen = interface["snaplen"]
    yield line("snaplen", f"{snaplen:,}" if 0 < snaplen < _UNLIMITED else "none")
    yield line("time unit", _unit(interface["ticks_per_second"]))
    if interface["time_offset"]:
        yield line("time offset", f"{interface['time_offset']:,} s")
    yield from _texts(interface)
    for label, key in _COUNTERS.items():
        if interface[key] is not None:
            yield line(label, f"{interface[key]:,}")
    for label in ("start", "end"):
        if interface[label] is not None:
            yield line(label, utc(interface[label]))


def _unit(ticks: int) -> str:
    """Format the length of a timestamp tick, with an SI prefix if there is one."""
    names = {1: "1 s", 10**3: "1 ms", 10**6: "1 µs", 10**9: "1 ns", 10**12: "1 ps"}
    return names.get(ticks, f"1/{ticks:,} s")


def _texts(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the free-form texts, which may contain anything and span several lines."""
    for label in _TEXTS:
        for number, text in enumerate(told.get(label, "").splitlines()):
            yield line("" if number else label, printable(text))
