"""Ready-made programs: IP only, without VLANs, one direction, and what a source attaches.

Programs run in the interpreter of support.bpf_oracles, on frames cut at every length."""

from __future__ import annotations

import re
import struct
import types
from collections.abc import Callable
from typing import Any

import pytest

from slimcap.errors import FilterError
from slimcap.filter import (
    Program,
    accept,
    build_program,
    ip_only,
    with_direction,
    without_vlans,
)
from slimcap.packet.enums import PacketType
from support.bpf_frames import TAGGED, WITH_IP, ethernet_frames
from support.bpf_oracles import (
    ETHERNET,
    LONGEST,
    RAW,
    RET,
    RETURN_A,
    TAKE,
    interpret,
    kernel_accepts,
)
from support.builders.layers import MPLS

# ---- IP only


def in_line_tags(frame: bytes) -> int:
    count = 0
    while struct.unpack_from(">H", frame.ljust(64, b"\0"), 12 + 4 * count)[0] in (0x8100, 0x88A8, 0x9100):
        count += 1
    return count


def has_ip(frame: bytes, tags: int) -> bool:
    """Return True if there is a byte of IP after at most `tags` tags."""
    head = re.match(rb"(?s).{12}((?:\x81\x00..|\x88\xa8..|\x91\x00..)*)", frame)
    if not head or len(head[1]) > 4 * tags:
        return False
    rest = frame[head.end() :]
    return bool(re.match(rb"(?s)(?:\x08\x00|\x86\xdd|\x88\x64.\x00.{4}\x00[\x21\x57]).", rest))


@pytest.mark.parametrize("name", ethernet_frames())
def test_ip_only_on_ethernet_matches_ip_and_pppoe(name: str) -> None:
    frame = ethernet_frames()[name]
    program = ip_only(ETHERNET, snaplen=77)
    assert program
    no_vlans = without_vlans(program, ETHERNET)
    assert interpret(program, frame) == (77 if name in WITH_IP else 0)
    assert interpret(program, frame, stripped=True) == interpret(program, frame)
    assert interpret(no_vlans, frame) == (77 if name in WITH_IP - TAGGED else 0)
    assert interpret(no_vlans, frame, stripped=True) == 0


@pytest.mark.parametrize("name", ethernet_frames())
def test_ip_only_needs_a_byte_of_ip_at_every_length(name: str) -> None:
    """Bytes after the end of a frame do not count as 0."""
    program = ip_only(ETHERNET)
    assert program
    no_vlans = without_vlans(program, ETHERNET)
    frame = ethernet_frames()[name]
    taken = [end for end in range(len(frame) + 1) if interpret(program, frame[:end])]
    assert taken == [end for end in range(len(frame) + 1) if has_ip(frame[:end], 2)]
    assert taken == list(range(taken[0], len(frame) + 1)) if name in WITH_IP else not taken
    for end in range(len(frame) + 1):
        assert bool(interpret(no_vlans, frame[:end])) == has_ip(frame[:end], 0)


ETHERNET_SAMPLES = [
    *("mixed.pcap", "ethernet_vlan.pcap", "ethernet_pppoe.pcap", "ethernet_mpls.pcap", "ethernet_llc.pcap"),
    *("max_caplen.pcap.gz", "snap96.pcap", "fcs.pcap"),
]


@pytest.mark.parametrize("name", ETHERNET_SAMPLES)
def test_ip_only_matches_where_tshark_sees_ip(name: str, sample_of: Callable[[str], Any]) -> None:
    """Except for MPLS, LLC and a third tag, which `ip_only` does not look into."""
    program = ip_only(ETHERNET)
    assert program
    sample = sample_of(name)
    taken = 0
    for row, ip_offset in zip(sample.rows, sample.ip_offsets, strict=True):
        tags = in_line_tags(row.data)
        kind = int.from_bytes(row.data[12 + 4 * tags : 14 + 4 * tags], "big")
        looked_into = tags <= 2 and kind > 1500 and kind not in (MPLS, MPLS + 1)
        assert bool(interpret(program, row.data)) == (ip_offset != 65535 and looked_into)
        taken += bool(interpret(program, row.data))
    assert taken or name in ("ethernet_mpls.pcap", "ethernet_llc.pcap")


@pytest.mark.parametrize("ignore_vlans", [False, True])
def test_ip_only_on_raw_ip_matches_both_versions(ignore_vlans: bool, samples: types.ModuleType) -> None:
    program = ip_only(RAW, snaplen=60)
    assert program
    if ignore_vlans:
        program = without_vlans(program, RAW)
    packets = list(samples.raw())
    assert packets
    for packet in packets:
        assert interpret(program, packet) == interpret(program, packet[:1]) == 60
        assert interpret(program, packet, stripped=True) == (0 if ignore_vlans else 60)
    assert interpret(program, b"") == 0
    taken = [first for first in range(256) if interpret(program, bytes([first]))]
    assert taken == [*range(0x40, 0x50), *range(0x60, 0x70)]


@pytest.mark.parametrize("link_type", [0, 9, 12, 105, 113, 147, 276])
def test_ip_only_returns_no_program_for_other_link_types(link_type: int) -> None:
    assert ip_only(link_type) is None


# ---- VLANs and direction


def test_without_vlans_drops_tagged_packets() -> None:
    program = without_vlans(accept(50), ETHERNET)
    for name, frame in ethernet_frames().items():
        assert interpret(program, frame) == (0 if name in TAGGED or not frame else 50)
        assert interpret(program, frame, stripped=True) == 0
        for end in range(len(frame)):
            assert bool(interpret(program, frame[:end])) == (end >= 14 and name not in TAGGED)
    program = without_vlans(accept(50), RAW)
    assert interpret(program, bytes(12) + b"\x81\0\0\0") == 50
    assert interpret(program, bytes(20), stripped=True) == 0


def test_without_vlans_refuses_programs_that_get_too_long() -> None:
    with pytest.raises(FilterError, match="4096"):
        without_vlans(LONGEST, ETHERNET)


@pytest.mark.parametrize("pkt_type", range(8))
def test_with_direction_keeps_packets_of_that_direction(pkt_type: int) -> None:
    program = ip_only(ETHERNET)
    assert program
    out = pkt_type == PacketType.OUTGOING
    for frame in ethernet_frames().values():
        there = interpret(program, frame)
        assert interpret(with_direction(program, "both"), frame, pkt_type=pkt_type) == there
        assert interpret(with_direction(program, "in"), frame, pkt_type=pkt_type) == (0 if out else there)
        assert interpret(with_direction(program, "out"), frame, pkt_type=pkt_type) == (there if out else 0)
    assert kernel_accepts(list(with_direction(program, "out")))


def test_with_direction_refuses_long_programs_and_unknown_directions() -> None:
    with pytest.raises(FilterError, match="4096"):
        with_direction(LONGEST, "in")
    for wrong in ("", "inout", "IN", None):
        with pytest.raises(FilterError, match="direction"):
            with_direction(accept(), wrong)  # type: ignore[arg-type]


# ---- what a source attaches


def build(link_type: int, chosen: Any, *, auto_filter: bool = True, ignore_vlans: bool = False) -> Program:
    return build_program(
        link_type, chosen, snaplen=50, auto_filter=auto_filter, ignore_vlans=ignore_vlans, interface="lo"
    )


def test_build_program_combines_filter_snaplen_and_vlans() -> None:
    assert build(ETHERNET, None) == ip_only(ETHERNET, snaplen=50)
    assert build(ETHERNET, None, auto_filter=False) == build(147, None) == accept(50)
    assert build(ETHERNET, [TAKE]) == accept(50)
    assert build(ETHERNET, [TAKE], ignore_vlans=True) == without_vlans(accept(50), ETHERNET)
    no_vlans = without_vlans(ip_only(ETHERNET) or (), ETHERNET)
    for frame in ethernet_frames().values():
        for stripped in (False, True):
            built = interpret(build(ETHERNET, None, ignore_vlans=True), frame, stripped=stripped)
            assert built == min(interpret(no_vlans, frame, stripped=stripped), 50)
    for bad in ([], RETURN_A, [(RET, 0, 0)]):
        with pytest.raises(FilterError):
            build(ETHERNET, bad)


# ---- two filters


@pytest.mark.parametrize("name", ethernet_frames())
def test_extra_filter_and_filter_have_both_to_match(name: str) -> None:
    frame = ethernet_frames()[name]
    options: Any = {"auto_filter": True, "ignore_vlans": True, "direction": "in", "interface": None}
    shorter = [(0x28, 0, 0, 12), (0x15, 0, 1, 0x0800), (6, 0, 0, 9), (6, 0, 0, 100)]
    long_enough = [(0x80, 0, 0, 0), (0x35, 0, 1, 62), (6, 0, 0, 1), (6, 0, 0, 0)]
    for filter in (None, shorter, "ip"):
        plain = build_program(ETHERNET, filter, snaplen=77, **options)
        both = build_program(ETHERNET, filter, extra_filter=long_enough, snaplen=77, **options)
        kernel_accepts(both)
        for cut in range(len(frame) + 1):
            wanted = interpret(plain, frame[:cut]) if cut >= 62 else 0
            assert interpret(both, frame[:cut]) == wanted


def test_second_program_starts_with_registers_of_zero() -> None:
    sets_both = [(0, 0, 0, 7), (1, 0, 0, 9), (6, 0, 0, 1)]
    reads_both = [(0x0C, 0, 0, 0), (0x15, 0, 1, 0), (6, 0, 0, 5), (6, 0, 0, 0)]  # A + X is 0
    options: Any = {"auto_filter": True, "ignore_vlans": False, "interface": None}
    program = build_program(ETHERNET, reads_both, extra_filter=sets_both, snaplen=77, **options)
    assert interpret(program, bytes(60)) == 5


def test_programs_that_are_too_long_together_are_refused() -> None:
    half = [(0, 0, 0, 0)] * 2100 + [(6, 0, 0, 1)]
    options: Any = {"auto_filter": True, "ignore_vlans": False, "interface": None, "snaplen": 60}
    assert len(build_program(ETHERNET, half, **options)) == 2101
    with pytest.raises(FilterError, match="1 to 4096 instructions, not 4204"):
        build_program(ETHERNET, half, extra_filter=half, **options)
    with pytest.raises(FilterError, match="use RET"):
        build_program(ETHERNET, None, extra_filter=RETURN_A, **options)
    with pytest.raises(TypeError, match="filter must be an expression"):
        build_program(ETHERNET, None, extra_filter=7, **options)
