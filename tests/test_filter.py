"""Capture filters: what the kernel takes is what `check` takes, and the programs mean what they say.

Programs run in an interpreter of this file, over frames cut at every length.
"""

from __future__ import annotations

import ctypes
import errno
import operator
import os
import re
import socket
import struct
import subprocess
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import make_samples as made
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcap.errors import FilterError
from slimcap.filter import (
    DROP,
    Instruction,
    Program,
    accept,
    build_program,
    check,
    compile_expression,
    expression,
    fixed,
    ip_only,
    minimal_ipv4_header,
    minimal_ipv4_transport,
    minimal_ipv6_header,
    minimal_ipv6_transport,
    pack,
    resolve,
    with_direction,
    with_snaplen,
    without_vlans,
)
from slimcap.packet.types import PacketType

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
ETHERNET, RAW = 1, 101
SO_ATTACH_FILTER = 26
PKT_TYPE, TAG_PRESENT = 0xFFFFF000 + 4, 0xFFFFF000 + 48
TAKE: Instruction = (RET, 0, 0, 65535)


# ---- what the kernel does


ARITHMETIC: dict[int, Callable[[int, int], int]] = {
    0x00: operator.add,
    0x10: operator.sub,
    0x20: operator.mul,
    0x30: operator.floordiv,
    0x40: operator.or_,
    0x50: operator.and_,
    0x60: lambda a, bits: a << (bits & 31),
    0x70: lambda a, bits: a >> (bits & 31),
    0x80: lambda a, _: -a,
    0x90: operator.mod,
    0xA0: operator.xor,
}


def run(program: Program, frame: bytes, *, stripped: bool = False, pkt_type: int = 0) -> int:
    """What a program returns for a frame, out of which the kernel took a tag or not: 0 drops it."""
    a = x = at = 0
    memory = [0] * 16
    for _ in range(len(program)):  # jumps lead forward only
        code, jt, jf, k = program[at]
        at += 1
        kind, operation, operand = code & 7, code & 0xF0, x if code & 8 else k
        if kind in (LD, LDX):
            size, mode = {0x00: 4, 0x08: 2, 0x10: 1}[code & 0x18], code & 0xE0
            if mode in (0x20, 0x40, 0xA0):  # absolute, behind X, length of an IP header
                start = k + (x if mode == 0x40 else 0)
                if start == TAG_PRESENT:
                    value = int(stripped)
                elif start == PKT_TYPE:
                    value = pkt_type
                elif start + size > len(frame):
                    return 0
                else:
                    value = int.from_bytes(frame[start : start + size], "big")
                value = (value & 15) * 4 if mode == 0xA0 else value
            else:
                value = {0x00: k, 0x60: memory[k & 15], 0x80: len(frame)}[mode]
            a, x = (value, x) if kind == LD else (a, value)
        elif kind in (ST, STX):
            memory[k] = a if kind == ST else x
        elif kind == ALU:
            if operation in (0x30, 0x90) and operand == 0:
                return 0
            a = ARITHMETIC[operation](a, operand) & 0xFFFFFFFF
        elif kind == JMP:
            if operation == 0:
                at += k
            else:
                holds = {0x10: a == operand, 0x20: a > operand, 0x30: a >= operand, 0x40: a & operand}
                at += jt if holds[operation] else jf
        elif kind == RET:
            return a if code & 0x18 == 0x10 else k
        else:
            a, x = (x, x) if code & 0xF8 == 0x80 else (a, a)
    raise AssertionError("ran past the end")


def kernel_takes(instructions: list[Instruction]) -> bool:
    """Whether the kernel lets this be attached to a socket, which needs no privileges."""
    packed = b"".join(struct.pack("=HBBI", *one) for one in instructions)
    buffer = ctypes.create_string_buffer(packed, max(len(packed), 1))
    sock_fprog = struct.pack("@HP", len(instructions), ctypes.addressof(buffer))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            udp.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, sock_fprog)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False
    return True


def we_take(instructions: list[Instruction]) -> bool:
    try:
        assert check(instructions) == tuple(instructions)
    except FilterError:
        return False
    return True


# ---- check

GOOD: dict[str, Program] = {
    "drop": DROP,
    "accept": accept(),
    "ethernet": ip_only(ETHERNET) or (),
    "ethernet, no VLANs": without_vlans(ip_only(ETHERNET) or (), ETHERNET),
    "raw": ip_only(RAW) or (),
    "return A": ((LD | 0x80, 0, 0, 0), (RET | 0x10, 0, 0, 0)),
    "jump": ((JMP, 0, 0, 1), (RET, 0, 0, 1), (RET, 0, 0, 2)),
    "memory": (
        (0x28, 0, 0, 12),  # ldh [12]
        (JMP | 0x10, 1, 0, 0x800),
        (STX, 0, 0, 15),
        (ST, 0, 0, 3),
        (LD | 0x60, 0, 0, 3),
        (LDX | 0x60, 0, 0, 3),
        (RET | 0x10, 0, 0, 0),
    ),
    "arithmetic": (
        *((ALU | operation | with_, 0, 0, 7) for operation in range(0x00, 0xB0, 0x10) for with_ in (0, 8)
          if operation != 0x80),
        (ALU | 0x80, 0, 0, 0),
        (MISC, 0, 0, 0),
        (MISC | 0x80, 0, 0, 0),
        (RET | 0x10, 0, 0, 0),
    ),
    "loads": (
        *((LD | size | mode, 0, 0, 5) for size in (0x00, 0x08, 0x10) for mode in (0x20, 0x40)),
        *((LD | 0x20, 0, 0, 0xFFFFF000 + ancillary) for ancillary in range(0, 64, 4)),
        (LD, 0, 0, 0xFFFFFFFF),
        (LDX, 0, 0, 1),
        (LDX | 0x80, 0, 0, 0),
        (0xB1, 0, 0, 14),  # ldx 4*([14]&0xf)
        (LD | 0x20, 0, 0, 0xFFF00000),  # SKF_NET_OFF
        TAKE,
    ),
    "longest": (TAKE,) * 4096,
}  # fmt: skip

BAD: list[tuple[str, list[Any], str]] = [
    ("empty", [], "1 to 4096 instructions, not 0"),
    ("too long", [TAKE] * 4097, "1 to 4096 instructions, not 4097"),
    ("no code", [TAKE, (0xFF, 0, 0, 0), TAKE], r"instruction 1 \(code 0xff, .*no such code"),
    ("ret x", [(RET | 8, 0, 0, 0)], "instruction 0 .*no such code"),
    ("jump at the end", [(JMP, 0, 0, 0)], "instruction 0 .*past the end"),
    ("jump past the end", [(JMP, 0, 0, 1), TAKE], "instruction 0 .*past the end"),
    ("jump back", [TAKE, (JMP, 0, 0, 0xFFFFFFFE), TAKE], "instruction 1 .*past the end"),
    ("true past the end", [(JMP | 0x10, 1, 0, 0), TAKE], "instruction 0 .*past the end"),
    ("false past the end", [(JMP | 0x40, 0, 1, 0), TAKE], "instruction 0 .*past the end"),
    ("division", [(ALU | 0x30, 0, 0, 0), TAKE], "instruction 0 .*divides by 0"),
    ("modulo", [(ALU | 0x90, 0, 0, 0), TAKE], "instruction 0 .*divides by 0"),
    ("left shift", [(ALU | 0x60, 0, 0, 32), TAKE], "instruction 0 .*32 or more"),
    ("right shift", [(ALU | 0x70, 0, 0, 32), TAKE], "instruction 0 .*32 or more"),
    ("store", [(ST, 0, 0, 16), TAKE], "instruction 0 .*16 words"),
    ("store x", [(STX, 0, 0, 16), TAKE], "instruction 0 .*16 words"),
    ("load", [(LD | 0x60, 0, 0, 16), TAKE], "instruction 0 .*16 words"),
    ("load x", [(LDX | 0x60, 0, 0, 16), TAKE], "instruction 0 .*16 words"),
    ("never stored", [(ST, 0, 0, 1), (LD | 0x60, 0, 0, 2), TAKE], "instruction 1 .*word 2 .*before a store"),
    (
        "stored on one way only",
        [(JMP | 0x10, 1, 0, 0), (ST, 0, 0, 2), (LD | 0x60, 0, 0, 2), TAKE],
        "instruction 2 .*word 2 .*before a store",
    ),
    ("jumped over", [(JMP, 0, 0, 1), (ST, 0, 0, 2), (LD | 0x60, 0, 0, 2), TAKE], "instruction 2 .*word 2"),
    ("ancillary", [(LD | 0x20, 0, 0, 0xFFFFF040), TAKE], "instruction 0 .*no such ancillary"),
    ("odd ancillary", [(0x28, 0, 0, 0xFFFFF001), TAKE], "instruction 0 .*no such ancillary"),
    ("no return", [TAKE, (LD, 0, 0, 0)], "instruction 1 .*has to be a return"),
]

UNPACKABLE: list[tuple[Any, str]] = [
    ((RET, 0, 0), r"instruction 1: \(6, 0, 0\) is not four integers"),
    ((RET, 0, 0, 0, 0), "instruction 1: .* is not four integers"),
    ((RET, 0, 0, 1.0), "instruction 1: .* is not four integers"),
    ("ret0", "instruction 1: 'ret0' is not four integers"),
    (None, "instruction 1: None is not four integers"),
    ((-1, 0, 0, 0), "instruction 1: code -1 is no unsigned number of 16 bits"),
    ((1 << 16, 0, 0, 0), "instruction 1: code 65536 "),
    ((RET, 256, 0, 0), "instruction 1: jt 256 is no unsigned number of 8 bits"),
    ((RET, 0, -1, 0), "instruction 1: jf -1 "),
    ((RET, 0, 0, 1 << 32), "instruction 1: k 4294967296 is no unsigned number of 32 bits"),
]


@pytest.mark.parametrize("program", GOOD.values(), ids=GOOD)
def test_good_programs_pass(program: Program) -> None:
    assert check(list(map(list, program))) == program
    assert kernel_takes(list(program))


@pytest.mark.parametrize(("program", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_the_kernel_refuses_has_a_reason(program: list[Instruction], message: str) -> None:
    with pytest.raises(FilterError, match=message):
        check(program)
    with pytest.raises(FilterError, match=message):
        pack(program)
    assert not kernel_takes(program)


@pytest.mark.parametrize(("instruction", "message"), UNPACKABLE)
def test_what_is_no_instruction_is_refused(instruction: Any, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        check([TAKE, instruction, TAKE])


def test_every_code_is_known_or_not_as_the_kernel_knows_it() -> None:
    codes = [*range(0x200), *(1 << bit for bit in range(9, 16)), 0x8006, 0xFFFF]
    taken = []
    for code in codes:
        program = [(ST, 0, 0, 1), (code, 0, 0, 1), TAKE]
        if kernel_takes(program):
            taken.append(code)
        assert we_take(program) == (code in taken), hex(code)
    assert len(taken) > 40


BASES = [list(program) for program in GOOD.values() if len(program) < 100] + [
    program for _, program, _ in BAD if 0 < len(program) < 100
]
CODES = sorted({one[0] for base in BASES for one in base})
EDGES = [0, 1, 2, 3, 15, 16, 31, 32, 0xFFFFEFFF, 0xFFFFF000, 0xFFFFF030, 0xFFFFF03C, 0xFFFFF03D, 0xFFFFFFFF]


@st.composite
def mutated(draw: st.DrawFn) -> list[Instruction]:
    program: list[Instruction] = list(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(program) - 1))
        code, jt, jf, k = program[at]
        match draw(st.sampled_from(["code", "jumps", "k", "delete", "repeat", "memory", "cut"])):
            case "code":
                code = draw(st.sampled_from(CODES) | st.integers(0, 0xFFFF))
            case "jumps":
                jt, jf = (draw(st.integers(0, len(program)) | st.integers(0, 255)) for _ in range(2))
            case "k":
                k = draw(st.sampled_from(EDGES) | st.integers(0, len(program)) | st.integers(0, 2**32 - 1))
            case "delete":
                program[at : at + 1] = [] if len(program) > 1 else program
                continue
            case "repeat":
                program.insert(draw(st.integers(0, len(program))), program[at])
                continue
            case "memory":
                code, k = draw(st.sampled_from([ST, STX, LD | 0x60, LDX | 0x60])), draw(st.integers(0, 3))
            case "cut":
                program = program[: at + 1]
                continue
        program[at] = (code, jt, jf, k)
    return program


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(mutated())
def test_check_agrees_with_the_kernel(program: list[Instruction]) -> None:
    assert we_take(program) == kernel_takes(program)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([ST, STX, LD | 0x60, LDX | 0x60, JMP, JMP | 0x10, JMP | 0x40, RET, MISC]),
            st.integers(0, 3),
            st.integers(0, 3),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=12,
    ).map(lambda program: [*program, *[TAKE] * 4])
)
def test_scratch_memory_agrees_with_the_kernel(program: list[Instruction]) -> None:
    assert we_take(program) == kernel_takes(program)


def test_pack_writes_sock_filter() -> None:
    assert pack([(0x15, 2, 1, 0x86DD), DROP[0], DROP[0], TAKE])[:8] == struct.pack(
        "=HBBI", 0x15, 2, 1, 0x86DD
    )
    assert len(pack(GOOD["ethernet"])) == 8 * len(GOOD["ethernet"])


# ---- snaplen


def test_with_snaplen_lowers_what_is_returned() -> None:
    program = ((JMP | 0x10, 1, 0, 0), (RET, 0, 0, 0), (JMP | 0x10, 1, 0, 0), (RET, 0, 0, 60), TAKE)
    assert with_snaplen(program, 96) == (*program[:-1], (RET, 0, 0, 96))
    assert [one[3] for one in with_snaplen(program, 1) if one[0] == RET] == [0, 1, 1]
    assert with_snaplen(program, 262144) == program
    assert with_snaplen(DROP, 10) == DROP


def test_with_snaplen_cannot_limit_what_is_computed() -> None:
    with pytest.raises(FilterError, match=r"instruction 1 .*computed"):
        with_snaplen(GOOD["return A"], 96)


def no_snaplen(snaplen: int) -> Iterator[Callable[[], object]]:
    yield lambda: accept(snaplen)
    yield lambda: with_snaplen(DROP, snaplen)
    yield lambda: ip_only(ETHERNET, snaplen=snaplen)
    yield lambda: ip_only(147, snaplen=snaplen)
    yield lambda: fixed(snaplen)
    yield lambda: resolve(snaplen, ETHERNET)
    yield lambda: resolve(lambda link_type: snaplen, ETHERNET)
    yield lambda: compile_expression("ip", ETHERNET, snaplen=snaplen)


@pytest.mark.parametrize("snaplen", [0, -1, 262145, 1 << 32])
def test_no_snaplen(snaplen: int) -> None:
    for call in no_snaplen(snaplen):
        with pytest.raises(FilterError, match=f"1 to 262144 bytes, not {snaplen}$"):
            call()


def test_a_snaplen_is_an_integer() -> None:
    with pytest.raises(TypeError):
        resolve(96.0, ETHERNET)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        resolve(lambda link_type: "96", ETHERNET)  # type: ignore[arg-type, return-value]


def test_strategies() -> None:
    strategies = minimal_ipv4_header, minimal_ipv6_header, minimal_ipv4_transport, minimal_ipv6_transport
    assert [resolve(strategy, RAW) for strategy in strategies] == [20, 40, 74, 54]
    assert [resolve(strategy, ETHERNET) for strategy in strategies] == [50, 70, 104, 84]
    assert resolve(fixed(48), 147) == resolve(48, 147) == 48
    for strategy in strategies:
        with pytest.raises(FilterError, match="link type 147: give a number"):
            resolve(strategy, 147)


def test_strategies_reach_what_they_promise() -> None:
    """The longest headers that `ip_only` looks into, around a TCP header."""
    tags = [(made.QINQ, 1), (made.VLAN, 2)]
    four = made.ipv4(b"PORTS SEQ. ACK.5F", made.TCP, "192.0.2.1", "192.0.2.2", options=b"\x01" * 40)
    six = made.ipv6(b"PORTS SEQ. ACK.5F", made.TCP, "2001:db8::1", "2001:db8::2")
    program = ip_only(ETHERNET)
    assert program
    for packet, strategy in ((four, minimal_ipv4_transport), (six, minimal_ipv6_transport)):
        frame = made.ethernet(made.pppoe(made.ppp(packet)), made.PPPOE_SESSION, tags=tags)
        assert run(program, frame)
        assert frame[: strategy(ETHERNET)].endswith(b"PORTS SEQ. ACK")
        assert packet[: strategy(RAW)].endswith(b"PORTS SEQ. ACK")


# ---- IP only


def in_line_tags(frame: bytes) -> int:
    count = 0
    while struct.unpack_from(">H", frame.ljust(64, b"\0"), 12 + 4 * count)[0] in (0x8100, 0x88A8, 0x9100):
        count += 1
    return count


def ip_in(frame: bytes, tags: int) -> bool:
    """Whether there is a byte of IP behind at most so many tags: the same question, asked another way."""
    head = re.match(rb"(?s).{12}((?:\x81\x00..|\x88\xa8..|\x91\x00..)*)", frame)
    if not head or len(head[1]) > 4 * tags:
        return False
    rest = frame[head.end() :]
    return bool(re.match(rb"(?s)(?:\x08\x00|\x86\xdd|\x88\x64.\x00.{4}\x00[\x21\x57]).", rest))


def frames() -> dict[str, bytes]:
    four, six = made.packet4(), made.packet6()
    session = made.PPPOE_SESSION
    return {
        "IPv4": made.ethernet(four),
        "IPv6": made.ethernet(six),
        "ARP": made.ethernet(made.arp_request(), made.ARP, pad=True),
        "LLDP": made.lldp(),
        "length": made.llc_frame(b"\x42\x42\x03" + bytes(40)),
        "SNAP": made.ethernet(made.snap(four, made.IPV4), 8 + len(four)),
        "MPLS": made.ethernet(made.mpls(four, 1001), made.MPLS),
        "PPPoE IPv4": made.ethernet(made.pppoe(made.ppp(four)), session),
        "PPPoE IPv6": made.ethernet(made.pppoe(made.ppp(six)), session),
        "PPPoE LCP": made.ethernet(made.pppoe(made.ppp(bytes(8), made.LCP)), session),
        "PPPoE no data": made.ethernet(made.pppoe(made.ppp(four), code=0xA7), session),
        "PPPoE discovery": made.ethernet(made.pppoe(made.ppp(four)), made.PPPOE_DISCOVERY),
        "VLAN": made.ethernet(four, tags=[(made.VLAN, 10)]),
        "VID 0": made.ethernet(six, tags=[(made.VLAN, 5 << 13)]),
        "QinQ": made.ethernet(six, tags=[(made.QINQ, 200), (made.VLAN, 10)]),
        "old QinQ": made.ethernet(four, tags=[(made.OLD_QINQ, 200), (made.OLD_QINQ, 10)]),
        "QinQ PPPoE": made.ethernet(
            made.pppoe(made.ppp(six)), session, tags=[(made.QINQ, 200), (made.VLAN, 10)]
        ),
        "VLAN ARP": made.ethernet(made.arp_request(), made.ARP, tags=[(made.VLAN, 10)], pad=True),
        "VLAN of 0x0800": made.ethernet(made.arp_request(), made.ARP, tags=[(made.VLAN, 0x800)], pad=True),
        "three tags": made.ethernet(four, tags=[(made.QINQ, 1), (made.VLAN, 2), (made.VLAN, 3)]),
        "ARP from 08:00": made.ethernet(made.arp_request(), made.ARP, src=b"\x08\0" * 3, dst=b"\x86\xdd" * 3),
        "empty": b"",
    }


TAKEN = {
    *("IPv4", "IPv6", "PPPoE IPv4", "PPPoE IPv6", "VLAN", "VID 0", "QinQ", "old QinQ", "QinQ PPPoE"),
}
TAGGED = {"VLAN", "VID 0", "QinQ", "old QinQ", "QinQ PPPoE", "VLAN ARP", "VLAN of 0x0800", "three tags"}


@pytest.mark.parametrize("name", frames())
def test_ip_only_on_ethernet(name: str) -> None:
    frame = frames()[name]
    program = ip_only(ETHERNET, snaplen=77)
    assert program
    no_vlans = without_vlans(program, ETHERNET)
    assert run(program, frame) == (77 if name in TAKEN else 0)
    assert run(program, frame, stripped=True) == run(program, frame)
    assert run(no_vlans, frame) == (77 if name in TAKEN - TAGGED else 0)
    assert run(no_vlans, frame, stripped=True) == 0


@pytest.mark.parametrize("name", frames())
def test_ip_only_on_ethernet_cut(name: str) -> None:
    """Of a frame that ends early no more is taken than has IP; what lies past the end is no zero."""
    program = ip_only(ETHERNET)
    assert program
    no_vlans = without_vlans(program, ETHERNET)
    frame = frames()[name]
    taken = [end for end in range(len(frame) + 1) if run(program, frame[:end])]
    assert taken == [end for end in range(len(frame) + 1) if ip_in(frame[:end], 2)]
    assert taken == list(range(taken[0], len(frame) + 1)) if name in TAKEN else not taken
    for end in range(len(frame) + 1):
        assert bool(run(no_vlans, frame[:end])) == ip_in(frame[:end], 0)


ETHERNET_SAMPLES = [
    *("mixed.pcap", "ethernet_vlan.pcap", "ethernet_pppoe.pcap", "ethernet_mpls.pcap", "ethernet_llc.pcap"),
    *("max_caplen.pcap.gz", "snap96.pcap", "fcs.pcap"),
]


@pytest.mark.parametrize("name", ETHERNET_SAMPLES)
def test_ip_only_takes_what_tshark_sees_ip_in(name: str, sample_of: Callable[[str], Any]) -> None:
    """But for MPLS, LLC and a third tag, which it does not look into."""
    program = ip_only(ETHERNET)
    assert program
    sample = sample_of(name)
    taken = 0
    for row, ip_offset in zip(sample.rows, sample.ip_offsets, strict=True):
        tags = in_line_tags(row.data)
        kind = int.from_bytes(row.data[12 + 4 * tags : 14 + 4 * tags], "big")
        looked_into = tags <= 2 and kind > 1500 and kind not in (made.MPLS, made.MPLS + 1)
        assert bool(run(program, row.data)) == (ip_offset != 65535 and looked_into)
        taken += bool(run(program, row.data))
    assert taken or name in ("ethernet_mpls.pcap", "ethernet_llc.pcap")


@pytest.mark.parametrize("ignore_vlans", [False, True])
def test_ip_only_on_raw_ip(ignore_vlans: bool, samples: types.ModuleType) -> None:
    program = ip_only(RAW, snaplen=60)
    assert program
    if ignore_vlans:
        program = without_vlans(program, RAW)
    packets = list(samples.raw())
    assert packets
    for packet in packets:
        assert run(program, packet) == run(program, packet[:1]) == 60
        assert run(program, packet, stripped=True) == (0 if ignore_vlans else 60)
    assert run(program, b"") == 0
    taken = [first for first in range(256) if run(program, bytes([first]))]
    assert taken == [*range(0x40, 0x50), *range(0x60, 0x70)]


@pytest.mark.parametrize("link_type", [0, 9, 12, 105, 113, 147, 276])
def test_other_link_types_have_no_filter(link_type: int) -> None:
    assert ip_only(link_type) is None


def test_without_vlans() -> None:
    program = without_vlans(accept(50), ETHERNET)
    for name, frame in frames().items():
        assert run(program, frame) == (0 if name in TAGGED or not frame else 50)
        assert run(program, frame, stripped=True) == 0
        for end in range(len(frame)):
            assert bool(run(program, frame[:end])) == (end >= 14 and name not in TAGGED)
    program = without_vlans(accept(50), RAW)
    assert run(program, bytes(12) + b"\x81\0\0\0") == 50
    assert run(program, bytes(20), stripped=True) == 0


def test_without_vlans_checks() -> None:
    with pytest.raises(FilterError, match="4096"):
        without_vlans(GOOD["longest"], ETHERNET)


@pytest.mark.parametrize("pkt_type", range(8))
def test_with_direction(pkt_type: int) -> None:
    program = ip_only(ETHERNET)
    assert program
    out = pkt_type == PacketType.OUTGOING
    for frame in frames().values():
        there = run(program, frame)
        assert run(with_direction(program, "both"), frame, pkt_type=pkt_type) == there
        assert run(with_direction(program, "in"), frame, pkt_type=pkt_type) == (0 if out else there)
        assert run(with_direction(program, "out"), frame, pkt_type=pkt_type) == (there if out else 0)
    assert kernel_takes(list(with_direction(program, "out")))


def test_with_direction_checks() -> None:
    with pytest.raises(FilterError, match="4096"):
        with_direction(GOOD["longest"], "in")
    for wrong in ("", "inout", "IN", None):
        with pytest.raises(FilterError, match="direction"):
            with_direction(accept(), wrong)  # type: ignore[arg-type]


# ---- what a source attaches


def build(link_type: int, chosen: Any, *, auto_filter: bool = True, ignore_vlans: bool = False) -> Program:
    return build_program(
        link_type, chosen, snaplen=50, auto_filter=auto_filter, ignore_vlans=ignore_vlans, interface="lo"
    )


def test_build_program() -> None:
    assert build(ETHERNET, None) == ip_only(ETHERNET, snaplen=50)
    assert build(ETHERNET, None, auto_filter=False) == build(147, None) == accept(50)
    assert build(ETHERNET, [TAKE]) == accept(50)
    assert build(ETHERNET, [TAKE], ignore_vlans=True) == without_vlans(accept(50), ETHERNET)
    no_vlans = GOOD["ethernet, no VLANs"]
    for frame in frames().values():
        for stripped in (False, True):
            built = run(build(ETHERNET, None, ignore_vlans=True), frame, stripped=stripped)
            assert built == min(run(no_vlans, frame, stripped=stripped), 50)
    for bad in ([], GOOD["return A"], [(RET, 0, 0)]):
        with pytest.raises(FilterError):
            build(ETHERNET, bad)


# ---- expressions

EXPRESSIONS = [
    "",
    "ip",
    "ip6",
    "arp",
    "tcp port 80",
    "udp and not port 53",
    "host 192.0.2.10",
    "net 2001:db8::/32",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "vlan 10 and ip",
    "vlan and vlan and ip6",
    "icmp or icmp6",
    "len > 500",
    "ether broadcast",
    "ip[8] % 7 = 3 and greater 64",
    "port http",
]


@pytest.fixture(scope="module")
def _libpcap() -> None:
    """Skips where there is no libpcap, unless CI says that there has to be."""
    try:
        compile_expression("ip", ETHERNET)
    except FilterError as error:
        if os.environ.get("SLIMCAP_REQUIRE_LIVE") == "1":
            raise
        pytest.skip(str(error))


def dumped(text: str) -> Program:
    """What `tcpdump -dd` printed."""
    found = re.findall(r"\{ (\w+), (\w+), (\w+), (\w+) \},", text)
    assert len(found) == len(text.splitlines())
    return check(tuple(int(field, 0) for field in one) for one in found)


def tcpdump(tool: str, *arguments: str) -> Program | str:
    """The program, or the reason why there is none."""
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=60)
    return dumped(done.stdout) if done.returncode == 0 else done.stderr.splitlines()[-1]


@pytest.mark.usefixtures("_libpcap")
@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.parametrize("name", ["mixed.pcap", "raw101.pcap", "sll.pcap", "snap96.pcap"])
def test_expressions_compile_as_tcpdump_compiles_them(
    name: str, text: str, need_tool: Callable[[str], str], data_path: Path, sample_of: Callable[[str], Any]
) -> None:
    tool = need_tool("tcpdump")
    sample = sample_of(name)
    wanted = tcpdump(tool, "-r", str(data_path / name), "-dd", text)
    if isinstance(wanted, str):
        assert name in ("raw101.pcap", "sll.pcap")
        with pytest.raises(FilterError) as raised:
            compile_expression(text, sample.linktype)
        assert str(raised.value) == f"filter {text!r}: {wanted.removeprefix('tcpdump: ')}"
        return
    program = compile_expression(text, sample.linktype, snaplen=sample.snaplen)
    assert program == wanted
    assert check(program) == program
    assert {one[3] for one in program if one[0] == RET} <= {0, sample.snaplen}


@pytest.mark.usefixtures("_libpcap")
def test_expressions_mean_what_they_say() -> None:
    program = compile_expression("vlan 10 and ip", ETHERNET, snaplen=96)
    assert {name for name, frame in frames().items() if run(program, frame)} == {"VLAN"}
    assert run(program, frames()["VLAN"]) == 96
    assert compile_expression("", ETHERNET, snaplen=96) == accept(96)


@pytest.mark.usefixtures("_libpcap")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frobnicate all", "filter 'frobnicate all': .*(frobnicate|syntax error)"),
        ("tcp port", "filter 'tcp port': .*syntax error"),
        ("ip and arp and ip6", "filter .*rejects all packets"),
        ("ip broadcast", "filter .*netmask"),
        ("ip\0and", r"filter 'ip\\x00and': a NUL"),
        ("host \udcff", "filter "),
        ("vlan " * 50 + "(", "filter "),
    ],
)
def test_bad_expressions(text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        compile_expression(text, ETHERNET)


@pytest.mark.usefixtures("_libpcap")
def test_unknown_link_type() -> None:
    with pytest.raises(FilterError, match=r"filter 'ip': .*link type 9999"):
        compile_expression("ip", 9999)


@pytest.mark.usefixtures("_libpcap")
def test_threads_may_compile_at_once(background: Callable[..., Any]) -> None:
    wanted = {text: compile_expression(text, ETHERNET) for text in EXPRESSIONS}
    threads = [background(lambda text=text: compile_expression(text, ETHERNET)) for text in EXPRESSIONS * 4]
    assert [thread.result() for thread in threads] == list(wanted.values()) * 4


def test_without_libpcap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "_LIBRARIES", ("libnowhere.so.0.8", "libnowhere.so.1"))
    expression._libpcap.cache_clear()
    try:
        with pytest.raises(
            FilterError, match=r"libnowhere.so.0.8 or libnowhere.so.1.*apt install libpcap0.8"
        ):
            compile_expression("ip", ETHERNET)
    finally:
        expression._libpcap.cache_clear()


@pytest.mark.usefixtures("_libpcap")
def test_no_such_interface() -> None:
    with pytest.raises(FilterError, match="filter 'ip': cannot open nowhere0: "):
        compile_expression("ip", ETHERNET, live_interface="nowhere0")


@pytest.mark.usefixtures("_libpcap")
@pytest.mark.live
def test_live_filters_ask_the_kernel_for_the_tag(need_tool: Callable[[str], str]) -> None:
    tool = need_tool("tcpdump")
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        if os.environ.get("SLIMCAP_REQUIRE_LIVE") == "1":
            raise
        pytest.skip("needs CAP_NET_RAW")
    for text in ("vlan 10 and ip", "tcp port 80"):
        program = compile_expression(text, ETHERNET, live_interface="lo")
        assert program == tcpdump(tool, "-i", "lo", "-dd", text)
        assert kernel_takes(list(check(program)))
        asks = (LD | 0x10 | 0x20, 0, 0, TAG_PRESENT) in program
        assert asks == ("vlan" in text)
    with pytest.raises(FilterError, match="link type 1 on lo, not 12"):
        compile_expression("ip", RAW, live_interface="lo")
