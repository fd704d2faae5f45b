"""The table of `slimcap top` as lines of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from slimcap.cli.packets.top_counter import Snapshot
from slimcap.cli.packets.top_tables import FLOWS, HOSTS, PORTS, TopTable, largest
from slimcap.cli.render.report_text import scaled
from slimcap.packet.address import ip_to_str
from slimcap.packet.enums import PROTOCOL_NAMES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORDERS: Final = {"rate": "now_bytes", "bytes": "bytes", "packets": "packets"}
"""The column by which each order sorts."""

_HEADER: Final = ("bit/s", "packets/s", "bytes", "packets", "seconds")
_MIN_WIDTH: Final = 6  # of a column of numbers, so that it stays where it is while they change
_PREFIXES: Final = ("", "k", "M", "G", "T", "P", "E")
_NANOSECONDS: Final = 10**9

_Number: TypeAlias = Callable[[float], str]


def exact(value: float) -> str:
    """Format a number with all digits before the decimal point."""
    return f"{value:,.0f}"


def compact(value: float) -> str:
    """Format a number with at most four digits and an SI prefix."""
    power = 0
    while round(value) >= (10_000 if power == 0 else 1000) and power + 1 < len(_PREFIXES):
        value, power = value / 1000, power + 1
    digits = 1 if power and value < 100 else 0
    return f"{value:.{digits}f}{_PREFIXES[power]}"


def heading(snapshot: Snapshot, interface: str, dropped: int) -> str:
    """Return the line on all packets: rates of the interval, then counts since the start."""
    flows, seconds = snapshot.tables[FLOWS], snapshot.seconds
    rates = (
        scaled(flows.total("now_bytes") * 8 / seconds, "bit/s"),
        scaled(flows.total("now_packets") / seconds, "packets/s"),
    )
    counts = [
        f"{dropped:,} dropped",
        f"{flows.total('packets'):,} packets",
        f"{flows.total('bytes'):,} bytes",
    ]
    if snapshot.other_packets:
        counts.append(f"{snapshot.other_packets:,} packets without IP")
    return f"{interface}  {', '.join(rates)} in {seconds:.2f} s; {', '.join(counts)}"


def table_lines(snapshot: Snapshot, kind: str, order: str, rows: int, number: _Number = exact) -> list[str]:
    """Return the lines of a table: how many entries it has, the names of the columns, at most `rows` entries.

    `number` formats rates and counts. The last line has the sums of the entries that left the table, if any.
    """
    table, seconds = snapshot.tables[kind], snapshot.seconds
    shown = largest(table.rows, ORDERS[order], rows)
    cells = [[*_HEADER, kind.removesuffix("s")]]
    for row, name in zip(shown, _NAMES[kind](shown), strict=True):
        lasted = (int(row["last"]) - int(row["first"])) / _NANOSECONDS
        cells.append([*_numbers(row, seconds, number), f"{lasted:.1f}", name])
    if table.other.entries:
        name = f"other: {table.other.entries:,} small {kind}, not kept"
        cells.append([*_numbers(table.other._asdict(), seconds, number), "", name])
    return [_counts(table, kind, order), *_aligned(cells)]


def _counts(table: TopTable, kind: str, order: str) -> str:
    active = int((table.rows["now_packets"] > 0).sum())
    return f"{kind} by {order}: {active:,} active, {len(table.rows):,} in all"


def _numbers(row: Any, seconds: float, number: _Number) -> list[str]:
    """Return rates and counts of a row, or of a mapping with its columns."""
    bits, packets = int(row["now_bytes"]) * 8, int(row["now_packets"])
    return [
        number(one) for one in (bits / seconds, packets / seconds, int(row["bytes"]), int(row["packets"]))
    ]


def _aligned(cells: list[list[str]]) -> list[str]:
    """Return the rows of a table as lines: all columns but the last are numbers."""
    widths = [max(_MIN_WIDTH, *map(len, column)) for column in zip(*cells, strict=True)][:-1]
    return [
        "  ".join([*(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]])
        for row in cells
    ]


# ---- names


def _flow_names(rows: NDArray[np.void]) -> list[str]:
    columns = zip(
        ip_to_str(rows["src"]).tolist(),
        ip_to_str(rows["dst"]).tolist(),
        *(rows[name].tolist() for name in ("src_port", "dst_port", "protocol")),
        strict=True,
    )
    return [
        f"{src} => {dst} {_protocol(protocol)}"
        if src_port == dst_port == 0
        else f"{src}:{src_port} => {dst}:{dst_port} {_protocol(protocol)}"
        for src, dst, src_port, dst_port, protocol in columns
    ]


def _host_names(rows: NDArray[np.void]) -> list[str]:
    names: list[str] = ip_to_str(rows["address"]).tolist()
    return names


def _port_names(rows: NDArray[np.void]) -> list[str]:
    return [
        f"{_protocol(protocol)}/{port}" if port else _protocol(protocol)
        for protocol, port in zip(rows["protocol"].tolist(), rows["dst_port"].tolist(), strict=True)
    ]


def _protocol(number: int) -> str:
    return PROTOCOL_NAMES.get(number, str(number))


_NAMES: Final = {FLOWS: _flow_names, HOSTS: _host_names, PORTS: _port_names}
