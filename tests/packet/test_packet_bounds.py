"""No byte after a packet is read: packets end where a page of memory begins that cannot be read.

    | page                          | page without access | page …
    |              packet, cut here ▲

A read past the end is a segmentation fault, whatever the bytes there would be.
"""

from __future__ import annotations

import ctypes
import mmap
from functools import cache

import numpy as np
import pytest

import slimcap
from slimcap.capfile.pcap_decoder import PcapDecoder
from slimcap.packet.link import Link
from support.samples import GOOD, sample_of

PAGE = mmap.PAGESIZE
PROT_NONE = 0  # mmap(2); the module mmap does not have it
LONGEST = 160  # all headers of the samples are within so many bytes
FILE_HEADER = 24
COLUMNS = [*slimcap.HEADER_DTYPE.names, "flow_hash", "flow_hash_symmetric", "community_id"]


class GuardedPages:
    """Pages of memory, each followed by one without access."""

    def __init__(self, count: int) -> None:
        self.memory = mmap.mmap(-1, 2 * count * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        for index in range(count):
            failed = protect(ctypes.c_void_p(start + (2 * index + 1) * PAGE), PAGE, PROT_NONE)
            assert not failed, ctypes.get_errno()

    def put(self, index: int, data: bytes) -> int:
        """Copy bytes to the end of a page: the offset at which they start."""
        end = (2 * index + 1) * PAGE
        self.memory[end - len(data) : end] = data
        return end - len(data)


# The twins of mixed.pcap have the same packets.
NAMES = [name for name in GOOD if not name.startswith("mixed_") or name == "mixed_be.pcap"]


@cache
def starts_of_packets(name: str) -> list[bytes]:
    """The first bytes of the packets of a sample, without repetitions."""
    return list(dict.fromkeys(row.data[:LONGEST] for row in sample_of(name).rows))


@pytest.fixture(params=[name for name in NAMES if starts_of_packets(name)])
def name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_headers_read_no_byte_after_a_packet(name: str) -> None:
    packets = starts_of_packets(name)
    pages = GuardedPages(len(packets))
    links = (Link("", 0, sample_of(name).linktype & 0xFFFF, named=False),)
    whole = slimcap.read(sample_of(name).path)
    offsets = {bytes(whole.payload(index))[:LONGEST]: row for index, row in enumerate(whole["ip_offset"])}
    rows = np.zeros(len(packets), slimcap.RECORD_DTYPE)
    rows["total_len"] = LONGEST
    rows["ip_offset"] = [offsets[packet] for packet in packets]
    found = 0
    for length in range(1, LONGEST + 1):
        rows["offset"] = [pages.put(index, packet[:length]) for index, packet in enumerate(packets)]
        rows["cap_len"] = [min(len(packet), length) for packet in packets]
        batch = slimcap.Batch(rows, pages.memory, links)
        for inner in (False, True):
            found += len(batch.headers(COLUMNS, inner=inner))
        found += len(batch.gather(64))
    assert found == 3 * LONGEST * len(packets)


def test_decoders_read_no_byte_after_a_packet(name: str) -> None:
    sample = sample_of(name)
    order = "big" if sample.big_endian else "little"
    decoder = PcapDecoder(sample.data[:FILE_HEADER])
    header = sample.data[FILE_HEADER : sample.rows[0].offset]  # of the first record; its lengths are replaced
    pages, rows = GuardedPages(1), np.zeros(1, slimcap.RECORD_DTYPE)
    found = 0
    for packet in starts_of_packets(name):
        for length in range(len(packet) + 1):
            lengths = length.to_bytes(4, order) + LONGEST.to_bytes(4, order)
            start = pages.put(0, header[:8] + lengths + header[16:] + packet[:length])
            found += decoder.decode(memoryview(pages.memory)[start:PAGE], rows)
            assert rows["cap_len"][0] == length
    assert found == sum(len(packet) + 1 for packet in starts_of_packets(name))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8])
def test_link_type_of_the_first_unknown_interface_is_not_read(count: int) -> None:
    """A sanitizer sees a read after the link types; without one, whatever is there may be no Ethernet."""
    frame = bytes(12) + b"\x08\x00" + bytes(40)
    rows = np.zeros(1, slimcap.RECORD_DTYPE)
    rows["cap_len"] = rows["total_len"] = len(frame)
    rows["interface"] = count
    links = [Link("", index, 1, named=False) for index in range(count)]
    assert slimcap.Batch(rows, frame, links).headers()["ethertype"][0] == 0
