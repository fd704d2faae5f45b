"""The capture files the benchmarks read, the same bytes on every machine.

Classic pcap, little-endian, microseconds: UDP over IPv4 in Ethernet with varied addresses and ports,
payloads of zeros. `a` is the smallest packets there are, where the cost of a packet counts; `b` is
IMIX, where the cost of a byte counts too. To compress, there is `b` with payloads of words: zstd makes
1.6 GB/s of them, and of zeros or random bytes as much as memory takes.
"""

from __future__ import annotations  # or the name of a Generator would import numpy.random in every child

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
PACKETS = {"a": 2_000_000, "b": 1_000_000}
IMIX = np.repeat(np.array([64, 570, 1518], np.int64), [7, 4, 1])
CHUNK = 1 << 16

DNS, HTTPS = 53, 443
"""Port of the other side. Packets in flows have HTTPS: nfpcapd makes a record of each packet with DNS."""

HEAD = np.dtype([
    ("sec", "<u4"), ("usec", "<u4"), ("cap_len", "<u4"), ("len", "<u4"),
    ("dst", "u1", 6), ("src", "u1", 6), ("ethertype", ">u2"),
    ("version_ihl", "u1"), ("tos", "u1"), ("ip_len", ">u2"), ("ident", ">u2"), ("frag", ">u2"),
    ("ttl", "u1"), ("protocol", "u1"), ("ip_sum", ">u2"), ("saddr", ">u4"), ("daddr", ">u4"),
    ("sport", ">u2"), ("dport", ">u2"), ("udp_len", ">u2"), ("udp_sum", ">u2"),
])  # fmt: skip
RECORD_HEADER = 16
# pcapng: a section header and an interface, Ethernet with microseconds.
SECTION = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28) + struct.pack(
    "<IIHHII", 1, 20, 1, 0, 262144, 20
)
BLOCK_HEADER = 28


@dataclass(frozen=True)
class Capture:
    """A file on disk, and what a reader has to find in it."""

    name: str
    title: str
    path: Path
    lengths: NDArray[np.int64]
    text: bool = False
    flows: int = 0

    @property
    def packets(self) -> int:
        return len(self.lengths)

    @property
    def size(self) -> int:
        return len(FILE_HEADER) + RECORD_HEADER * self.packets + int(self.lengths.sum())

    def total(self, packets: int) -> int:
        """The sum of the lengths of the first packets."""
        return int(self.lengths[:packets].sum())


def capture(name: str, folder: Path, text: bool = False, scale: float = 1, flows: int = 0) -> Capture:
    """Describe one of the files; `write` makes it.

    Parameters
    ----------
    name : str
        "a" or "b".
    folder : Path
        Where the file is. What is made from it goes there, too, under a name that begins with `path.stem`.
    text : bool, default: False
        Payloads are words, for compressing.
    scale : float, default: 1
        Times as many packets.
    flows : int, default: 0
        Flows to which the packets belong, in random order and both directions; 0: one packet, one flow.
    """
    if name not in PACKETS:
        raise ValueError(f"no capture is called {name!r}; there are {', '.join(PACKETS)}")
    packets = max(1, round(PACKETS[name] * scale))
    if name == "a":
        title, lengths = f"{_count(packets)} packets of 64 bytes", np.full(packets, 64, np.int64)
    else:
        title = f"{_count(packets)} packets, IMIX (7:4:1 of 64, 570, 1518 bytes)"
        lengths = np.resize(IMIX, packets)
        np.random.default_rng(1).shuffle(lengths)
    size = "" if packets == PACKETS[name] else f"-{packets}"
    if flows:
        title += f", in {_count(flows)} flows"
    path = folder / f"{name}{size}{'-text' if text else ''}{f'-{flows}-flows-{HTTPS}' if flows else ''}.pcap"
    return Capture(name, title, path, lengths, text, flows)


def _count(packets: int) -> str:
    millions, rest = divmod(packets, 1_000_000)
    return f"{packets:,}" if rest else f"{millions} M"


def write(file: Capture) -> None:
    """Write the file, unless it is there."""
    if file.path.exists() and file.path.stat().st_size == file.size:
        return
    file.path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.path.with_suffix(".unfinished")
    with unfinished.open("wb") as out:
        out.write(FILE_HEADER)
        for chunk in _chunks(file):
            out.write(chunk.data)
    unfinished.replace(file.path)


def write_repeated(file: Capture, path: Path, size: float) -> int:
    """Write the packets of a file again and again, to about that many bytes; return how often."""
    times = max(1, round(size / file.size))
    with file.path.open("rb") as source, path.open("wb") as out:
        out.write(FILE_HEADER)
        for _ in range(times):
            source.seek(len(FILE_HEADER))
            while piece := source.read(1 << 24):
                out.write(piece)
        os.fsync(out.fileno())
    return times


def write_pcapng(file: Capture, path: Path) -> None:
    """Write the same packets as pcapng, enhanced packet blocks in one section with one interface."""
    with path.open("wb") as out:
        out.write(SECTION)
        for first in range(0, len(file.lengths), CHUNK):
            part = file.lengths[first : first + CHUNK]
            out.write(_blocks(part, heads(part, first)).data)


def warm(path: Path) -> None:
    """Read the file once, so that it comes from the page cache."""
    with path.open("rb", buffering=0) as source:
        while source.read(1 << 24):
            pass


def _chunks(file: Capture) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(2)
    for first in range(0, len(file.lengths), CHUNK):
        part = file.lengths[first : first + CHUNK]
        starts = np.cumsum(RECORD_HEADER + part) - part - RECORD_HEADER
        size = int((RECORD_HEADER + part).sum())
        chunk = _text(size, rng) if file.text else np.zeros(size, np.uint8)
        head = heads(part, first, file.flows).view(np.uint8).reshape(len(part), HEAD.itemsize)
        chunk[starts[:, np.newaxis] + np.arange(HEAD.itemsize)] = head
        yield chunk


def _text(size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Words of 16 letters, few of them frequent (Zipf's law)."""
    vocabulary = np.random.default_rng(3).integers(ord("a"), ord("z") + 1, (4096, 16), np.uint8)
    ranks = np.minimum(rng.zipf(1.3, size // 16 + 1), len(vocabulary)) - 1
    text: NDArray[np.uint8] = vocabulary[ranks].ravel()[:size]
    return text


def heads(lengths: NDArray[np.int64], first: int, flows: int = 0) -> NDArray[Any]:
    """Record header and headers up to UDP of packets of these lengths, numbered from `first` on."""
    rows = np.zeros(len(lengths), HEAD)
    number = first + np.arange(len(lengths))
    rows["sec"], rows["usec"] = 1_700_000_000 + number // 1_000_000, number % 1_000_000
    rows["cap_len"] = rows["len"] = lengths
    rows["dst"], rows["src"] = (2, 0, 0, 0, 0, 1), (2, 0, 0, 0, 0, 2)
    rows["ethertype"], rows["version_ihl"], rows["ttl"], rows["protocol"] = 0x0800, 0x45, 64, 17
    rows["ip_len"], rows["udp_len"] = lengths - 14, lengths - 34
    rows["ident"] = number & 0xFFFF
    scattered = number * 2_654_435_761 % (1 << 32)  # Knuth's multiplicative hash
    flow = scattered % flows if flows else number
    rows["saddr"], rows["daddr"] = 0x0A000000 + flow % 50_021, 0x0A010000 + flow % 251
    rows["sport"], rows["dport"] = 1024 + flow % 60_013, HTTPS if flows else DNS
    if flows:
        back = np.flatnonzero(scattered >> 31)
        for one, other in (("saddr", "daddr"), ("sport", "dport")):
            rows[one][back], rows[other][back] = rows[other][back], rows[one][back]
    return rows


def _blocks(lengths: NDArray[np.int64], rows: NDArray[Any]) -> NDArray[np.uint8]:
    """Enhanced packet blocks: header, packet padded to four bytes, the block's length again."""
    sizes = (BLOCK_HEADER + (lengths + 3 & ~3) + 4).astype(np.int64)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    chunk = np.zeros(int(ends[-1]), np.uint8)
    ticks = rows["sec"].astype(np.uint64) * 1_000_000 + rows["usec"]
    front = np.zeros((len(lengths), 7), "<u4")
    front[:, 0], front[:, 1] = 6, sizes
    front[:, 3], front[:, 4] = ticks >> 32, ticks & 0xFFFFFFFF
    front[:, 5] = front[:, 6] = lengths
    packets = rows.view(np.uint8).reshape(len(lengths), HEAD.itemsize)[:, RECORD_HEADER:]
    for at, columns in ((0, front.view(np.uint8)), (BLOCK_HEADER, packets)):
        chunk[starts[:, np.newaxis] + at + np.arange(columns.shape[1])] = columns
    trailer = sizes.astype("<u4").view(np.uint8).reshape(len(lengths), 4)
    chunk[ends[:, np.newaxis] - 4 + np.arange(4)] = trailer
    return chunk
