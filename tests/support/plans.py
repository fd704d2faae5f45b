"""Plans of capture files compared with the whole file; starts of records and blocks, by simple walks."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import slimcap
from make_samples import MICRO, PCAPNG, SAMPLES
from slimcap import FileFormatError, Link, PcapSource, ReadTask, plan

COLUMNS = [name for name in slimcap.RECORD_DTYPE.names or () if name != "offset"]
FILES = {name: make() for name, make in (SAMPLES | PCAPNG).items()}
MOST = 262144
START = struct.pack("<IHHiIII", MICRO, 2, 4, 0, 0, MOST, 1)

Fault: TypeAlias = tuple[type[FileFormatError], str, str | None, int | None]


class Contents(NamedTuple):
    """Everything that sources give, one after the other, up to an error."""

    rows: list[Any]
    payloads: list[bytes]
    comments: dict[int, str]
    links: tuple[Link, ...]
    fault: Fault | None


def contents_of(open_source: Callable[[], PcapSource]) -> Contents:
    """Read one source to its end or to an error."""
    rows: list[Any] = []
    payloads: list[bytes] = []
    comments: dict[int, str] = {}
    links: tuple[Link, ...] = ()
    fault = None
    try:
        with open_source() as source:
            links = source.links
            for batch in source.batches():
                links = max(links, source.links, key=len)
                rows += batch.records[COLUMNS].tolist()
                comments |= {len(payloads) + row: text for row, text in batch.comments.items()}
                payloads += [bytes(packet.payload) for packet in batch]
            links = max(links, source.links, key=len)
    except FileFormatError as raised:
        fault = type(raised), raised.reason.partition(":")[0], raised.path, raised.offset
    return Contents(rows, payloads, comments, links, fault)


def joined(parts: Iterable[Contents]) -> Contents:
    """Put the contents of parts together, up to the first fault."""
    rows: list[Any] = []
    payloads: list[bytes] = []
    comments: dict[int, str] = {}
    links: tuple[Link, ...] = ()
    fault = None
    for part in parts:
        comments |= {len(payloads) + number: text for number, text in part.comments.items()}
        rows += part.rows
        payloads += part.payloads
        links = max(links, part.links, key=len)
        fault = part.fault
        if fault is not None:
            break
    return Contents(rows, payloads, comments, links, fault)


def refusal(call: Callable[[], object]) -> tuple[type[FileFormatError], str] | None:
    """Return the error with which a file is refused, or None."""
    try:
        call()
    except FileFormatError as error:
        return type(error), str(error)
    return None


class Checker:
    """Checks plans of one file: all tasks together give what the file gives.

    A task that several plans have in common is read once.

    Parameters
    ----------
    path : Path
        A file that does not change.
    **options
        Of `PcapSource` and `plan`.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        self._path, self._options = path, options
        self._refused = refusal(lambda: PcapSource(path, **options).close())
        self._whole = None if self._refused else contents_of(lambda: PcapSource(path, **options))
        self._parts: dict[ReadTask, Contents] = {}
        self._checked: list[ReadTask] = []

    @property
    def fault(self) -> Fault | None:
        """The error at which reading the whole file ends."""
        return None if self._whole is None else self._whole.fault

    def check(self, chunk_bytes: int) -> list[ReadTask]:
        """Check the plan with this size of chunks; return its tasks, none for a file that is refused."""
        if self._refused is not None:
            planned = refusal(lambda: plan(self._path, chunk_bytes=chunk_bytes, **self._options))
            assert planned == self._refused, chunk_bytes
            return []
        tasks = plan(self._path, chunk_bytes=chunk_bytes, **self._options)
        if tasks == self._checked:
            return tasks
        size = self._path.stat().st_size
        assert [task.start for task in tasks] == [0, *(task.stop for task in tasks[:-1])], chunk_bytes
        assert tasks[-1].stop == size, chunk_bytes
        assert all(task.start < task.stop for task in tasks) or size == 0, chunk_bytes
        assert joined(map(self._contents_of, tasks)) == self._whole, chunk_bytes
        self._checked = tasks
        return tasks

    def _contents_of(self, task: ReadTask) -> Contents:
        if task not in self._parts:
            self._parts[task] = contents_of(task.open)
        return self._parts[task]


def check(path: Path, chunk_bytes: int, **options: Any) -> list[ReadTask]:
    """Check one plan, as `Checker` does; return its tasks."""
    return Checker(path, **options).check(chunk_bytes)


def records(data: bytes, header: int = 16, order: str = "<", swap: bool = False) -> list[int]:
    """Return where the records of a classic pcap file start: the oracle, a walk from the first."""
    at, found = 24, []
    while at < len(data):
        found.append(at)
        (length,) = struct.unpack_from(order + "I", data, at + (12 if swap else 8))
        at += header + length
    return found


def blocks(data: bytes) -> list[int]:
    """Return where the blocks of a little-endian pcapng file start."""
    at, found = 0, []
    while at < len(data):
        found.append(at)
        (length,) = struct.unpack_from("<I", data, at + 4)
        at += length
    return found


def record(payload: bytes, order: str = "<") -> bytes:
    """Return the pcap record of a payload."""
    return struct.pack(order + "IIII", 1_700_000_000, 7, len(payload), len(payload)) + payload
