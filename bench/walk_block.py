"""Does walking a filled block of the ring with slimcap cost more than in C, with the same rows written?

    python bench/walk_block.py      measure, and print the table

No kernel, no socket: blocks as the kernel writes them (TPACKET_V3, Ethernet, UDP), full of packets of 64
bytes. Both walk the same bytes into the same rows, in one process, turn by turn: one block, and a ring of
4 MiB, which does not stay in the inner caches. The calls from Python, two a block, count as slimcap's time.
It is CPU time. live_capture.py measures and shows the same.
"""

import argparse
import ctypes
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import thread_time_ns
from typing import Any

import common
import numpy as np
import programs
from captures import RECORD_HEADER, heads
from numpy.typing import NDArray

from slimcap import RECORD_DTYPE
from slimcap.source.live.block_walker import BlockWalker

PACKET_LEN = 64
RING = 4 << 20
BLOCK_SIZES = (256 << 10, 1 << 20)
PACKETS_A_RUN = 200_000
FIRST, MAC = 48, 82  # where the first packet of a block starts, and where in it the Ethernet frame does
ETHERNET, USER = 1, 1  # LINKTYPE_ETHERNET, TP_STATUS_USER

BLOCK = np.dtype([
    ("version", "u4"), ("offset_to_priv", "u4"), ("status", "u4"), ("num_pkts", "u4"),
    ("offset_to_first_pkt", "u4"), ("blk_len", "u4"), ("seq_num", "u8"), ("ts", "u4", 4),
])  # fmt: skip
PACKET = np.dtype([
    ("next_offset", "u4"), ("sec", "u4"), ("nsec", "u4"), ("snaplen", "u4"), ("len", "u4"), ("status", "u4"),
    ("mac", "u2"), ("net", "u2"), ("rxhash", "u4"), ("vlan_tci", "u4"), ("vlan_tpid", "u2"),
    ("padding", "V10"), ("family", "u2"), ("protocol", "u2"), ("ifindex", "i4"), ("hatype", "u2"),
    ("pkttype", "u1"), ("halen", "u1"), ("addr", "V8"), ("hole", "V14"), ("frame", "u1", PACKET_LEN),
    ("alignment", "V6"),
])  # fmt: skip
assert BLOCK.itemsize == FIRST
assert PACKET.fields is not None
assert PACKET.fields["frame"][1] == MAC
assert PACKET.itemsize % 8 == 0


def filled_block(size: int) -> NDArray[np.uint8]:
    """A block as prb_fill_curr_block() and tpacket_rcv() leave it, full of packets."""
    count = (size - FIRST) // PACKET.itemsize
    packets = np.zeros(count, PACKET)
    packets["next_offset"][:-1] = PACKET.itemsize
    packets["sec"], packets["nsec"] = 1_700_000_000, np.arange(count)
    packets["snaplen"] = packets["len"] = PACKET_LEN
    packets["status"], packets["mac"], packets["net"] = USER, MAC, MAC + 14
    head = heads(np.full(count, PACKET_LEN, np.int64), 0).view(np.uint8).reshape(count, -1)[:, RECORD_HEADER:]
    packets["frame"][:, : head.shape[1]] = head
    block = np.zeros(size, np.uint8)
    block[:FIRST].view(BLOCK)[0] = (1, 48, USER, count, FIRST, FIRST + packets.nbytes, 1, (0, 0, 0, 0))
    block[FIRST : FIRST + packets.nbytes] = packets.view(np.uint8)
    return block


def library(folder: Path) -> ctypes.CDLL:
    found = ctypes.CDLL(str(programs.build_c_library("walk_block", folder)))
    found.walk_blocks.restype = ctypes.c_uint64
    found.walk_blocks.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint64,
        ctypes.c_uint64,
        ctypes.c_void_p,
        ctypes.c_uint64,
    ]
    return found


def walk_in_c(
    c: ctypes.CDLL, blocks: NDArray[np.uint8], rows: NDArray[np.void], turns: int
) -> Callable[[], int]:
    number, size = blocks.shape

    def run() -> int:
        return int(c.walk_blocks(blocks.ctypes.data, size, number, rows.ctypes.data, turns))

    return run


def walk_in_slimcap(blocks: NDArray[np.uint8], rows: NDArray[np.void], turns: int) -> Callable[[], int]:
    walker = BlockWalker(ETHERNET)
    # numpy describes an array of records again for each call; a memoryview of it does not.
    each: list[Any] = [block.data for block in blocks]
    out: Any = rows.data

    def run() -> int:
        count = 0
        for _ in range(turns):
            for block in each:
                walker.start(block)
                count += walker.walk(block, out)
        return count

    return run


def assert_same_rows(run: dict[str, Callable[[], int]], rows: NDArray[np.void]) -> None:
    """Both write the same; otherwise there is nothing to compare."""
    memory = rows.view(np.uint8)
    written = []
    for walk in run.values():
        memory[:] = 0xEE
        walk()
        written.append(memory.tobytes())
    if len(set(written)) != 1:
        raise AssertionError("C and slimcap do not write the same rows")


def measure(c: ctypes.CDLL, size: int, number: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Nanoseconds a packet of each of the two."""
    block = filled_block(size)
    blocks = np.tile(block, (number, 1))
    count = (size - FIRST) // PACKET.itemsize
    rows = np.zeros(count, RECORD_DTYPE)
    turns = max(1, common.scaled(PACKETS_A_RUN, options) // (count * number))
    run = {"C": walk_in_c(c, blocks, rows, turns), "slimcap": walk_in_slimcap(blocks, rows, turns)}
    assert_same_rows(run, rows)
    ns: dict[str, list[float]] = {name: [] for name in run}
    for _ in range(options.rounds):
        for name, walk in run.items():
            start = thread_time_ns()
            walked = walk()
            ns[name].append((thread_time_ns() - start) / walked)
    return ns


def measure_all(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    c = library(options.dir)
    return {
        f"{number} of {size >> 10} KiB": measure(c, size, number, options)
        for size in BLOCK_SIZES
        for number in (1, RING // size)
    }


def table(found: Mapping[str, Mapping[str, list[float]]]) -> str:
    """Make a table of what `measure_all` found."""
    header = ["blocks", "C, ns a packet", "slimcap", "x C", "by round"]
    rows = []
    for blocks, ns in found.items():
        c, ours = ns["C"], ns["slimcap"]
        rows.append([blocks, f"{median(c):.2f}", f"{median(ours):.2f}", *common.ratios(ours, c)])
    return common.table(header, rows)


def run(options: argparse.Namespace) -> dict[str, Any]:
    return common.new_results(__doc__, options, ("numpy", "Cython", "slimcap"), walk=measure_all(options))


def render(results: dict[str, Any]) -> str:
    return common.document(results, [table(results["walk"])])


def main() -> None:
    parser = common.new_parser(__doc__)
    common.add_rounds(parser, 100)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.child:
        common.finish(options, run, render)
        return
    try:
        print(json.dumps(measure_all(options)))
    except common.Unavailable as reason:
        common.skip(reason)


if __name__ == "__main__":
    main()
