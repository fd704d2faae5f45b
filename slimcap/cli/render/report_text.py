"""Text form of the reports of `slimcap read --summary` and `slimcap info`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from slimcap.cli.terminal.streams import printable, rich_table
from slimcap.io.text import valid_text

_Line: TypeAlias = tuple[str, str | None]  # label and value; None leaves the line out

_UNLIMITED: Final = 1 << 31  # a snaplen of this or more means no limit, as in libpcap
_UNITS: Final = {1: "1 s", 10**3: "1 ms", 10**6: "1 µs", 10**9: "1 ns", 10**12: "1 ps"}


def json_text(report: object) -> str:
    """Format a report as a line of JSON, which has no names that are not Unicode."""
    return json.dumps(_valid(report)) + "\n"


def json_objects(columns: Mapping[str, Iterable[Any]]) -> list[str]:
    """Format the rows of columns as JSON objects, whose keys are the names of the columns."""
    encode = json.JSONEncoder(check_circular=False).encode
    return [encode(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _valid(value: object) -> object:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, Mapping):
        return {key: _valid(one) for key, one in value.items()}
    return [_valid(one) for one in value] if isinstance(value, (list, tuple)) else value


def summary_text(report: Mapping[str, Any]) -> str:
    """Format a summary as text: one number per line, then tables."""
    lines = [
        *_totals(report),
        ("truncated", _number(report["truncated"])),
        ("VLAN-tagged", _number(report["vlan_tagged"])),
        ("link type", ", ".join(report["link_types"]) or "none"),
    ]
    tables = [
        _table(title, report[key], report["packets"])
        for title, key in (("size", "sizes"), ("IP version", "ip_versions"), ("protocol", "protocols"))
        if report["packets"] and report[key]
    ]
    return "\n".join((_text(lines), *tables))


def info_text(report: Mapping[str, Any]) -> str:
    """Format the report on a file as text: one value per line, then its sections and interfaces."""
    sections = report["sections"]
    version = f" {sections[0]['version']}, {sections[0]['byte_order']}-endian" if sections else ""
    in_order = "yes" if report["in_time_order"] else "no"
    lines = [
        ("file", printable(report["file"])),
        ("format", f"{report['format']}{version}"),
        ("compression", report["compression"]),
        ("file size", _number(report["file_size"])),
        ("SHA-256", report["sha256"]),
        *_totals(report),
        ("in time order", in_order if report["packets"] else None),
        ("truncated", _number(report["truncated"])),
        ("dropped", _number(report["dropped"] or None)),
        ("comments", _number(report["comments"] or None)),
    ]
    if len(sections) == 1:
        lines += _texts(sections[0])
        sections = []
    blocks: list[Iterable[_Line]] = [lines]
    blocks += [_section(number, section) for number, section in enumerate(sections)]
    blocks += [_interface(number, one) for number, one in enumerate(report["interfaces"])]
    return "\n".join(map(_text, blocks))


def _totals(report: Mapping[str, Any]) -> Iterator[_Line]:
    packets, size = report["packets"], report["bytes"]
    yield "packets", _number(packets)
    yield "bytes", _number(size)
    yield "captured bytes", _number(report["captured_bytes"])
    if report["times_out_of_range"]:
        yield "out of range", f"{report['times_out_of_range']:,} times before 1677 or after 2262"
    if report["first_ns"] is not None:
        # Exact: a float would lose digits of long durations.
        seconds, fraction = divmod(report["last_ns"] - report["first_ns"], 10**9)
        yield "first packet", _utc(report["first"])
        yield "last packet", _utc(report["last"])
        yield "duration", f"{seconds:,}.{fraction:09} s"
    if packets:
        yield "average size", f"{size / packets:,.1f} bytes"
    if report["packets_per_second"] is not None:
        yield "average rate", f"{report['packets_per_second']:,.1f} packets/s"
        yield "", scaled(report["bits_per_second"], "bit/s")


def _section(number: int, section: Mapping[str, Any]) -> Iterator[_Line]:
    version = f"version {section['version']}, {section['byte_order']}-endian"
    yield f"section {number}", f"{version}, from interface {section['first_interface']} on"
    yield from _texts(section)


def _interface(number: int, interface: Mapping[str, Any]) -> Iterator[_Line]:
    snaplen, ticks, offset = (interface[key] for key in ("snaplen", "ticks_per_second", "time_offset"))
    yield f"interface {number}", printable(interface["name"])
    yield "packets", _number(interface["packets"])
    yield "link type", f"{interface['link_type']} ({interface['link_type_number']})"
    yield "snaplen", _number(snaplen) if 0 < snaplen < _UNLIMITED else "none"
    yield "time unit", _UNITS.get(ticks, f"1/{ticks:,} s")
    yield "time offset", f"{offset:,} s" if offset else None
    yield from _texts(interface)
    yield "received", _number(interface["received"])
    yield "lost by device", _number(interface["interface_dropped"])
    yield "lost by system", _number(interface["os_dropped"])
    yield "start", _utc(interface["start"])
    yield "end", _utc(interface["end"])


def _texts(metadata: Mapping[str, Any]) -> Iterator[_Line]:
    """Yield the lines of the free-form texts, which may contain anything and span several lines."""
    for label in ("application", "hardware", "os", "description", "filter", "comment"):
        for number, text in enumerate(metadata.get(label, "").splitlines()):
            yield "" if number else label, printable(text)


def _text(lines: Iterable[_Line]) -> str:
    return "".join(f"{label:<16}{value}\n" for label, value in lines if value is not None)


def _table(title: str, counts: Mapping[str, Mapping[str, int]], packets: int) -> str:
    """Format a table of packets and bytes."""
    header = (title, "packets", "share", "bytes")
    rows = [
        (name, f"{count['packets']:,}", f"{count['packets'] / packets:.1%}", f"{count['bytes']:,}")
        for name, count in counts.items()
    ]
    plain = (f"{name:<16}{count:>16}{share:>9}{size:>20}\n" for name, count, share, size in (header, *rows))
    return rich_table(header, rows, numbers=3) or "".join(plain)


def _number(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _utc(iso: str | None) -> str | None:
    """Format an ISO 8601 time for text output, with a space for the T and UTC for the Z."""
    return None if iso is None else iso.replace("T", " ").replace("Z", " UTC")


def scaled(value: float, unit: str) -> str:
    """Format a number with an SI prefix and a unit."""
    for prefix in ("", "k", "M", "G"):
        if value < 1000:
            return f"{value:.1f} {prefix}{unit}"
        value /= 1000
    return f"{value:,.1f} T{unit}"
