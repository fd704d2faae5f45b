"""Machine, compared with the kernel on packets of a real AF_PACKET socket.

The kernel runs the program on frames that come in at one end of a veth pair, or leave it. The machine runs it
on what a ring without a filter captured of the same frames.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from slimcap import Batch, PacketType, RecordFlag, RingSource, concat
from slimcap.filter import Machine, Program, compile_expression
from slimcap.filter import program as bpf
from support.bpf_oracles import (
    PACKET_SIZE,
    attach,
    random_program,
)
from support.profiles import EXAMPLES, choose_profile, profile_seed

ETH_P_ALL, ETH_P_802_2 = 3, 4


SOCKETS = 30
PROGRAMS = 4 * EXAMPLES[choose_profile(os.environ)[0]]  # random ones


ANCILLARY = {
    "protocol": 0,
    "pkttype": 4,
    "ifindex": 8,
    "mark": 20,
    "queue": 24,
    "hatype": 28,
    "rxhash": 32,
    "alu_xor_x": 40,
    "vlan_tag": 44,
    "vlan_tag_present": 48,
    "vlan_tpid": 60,
}


NET, LINK = 0xFFF00000, 0xFFE00000


RIGHT, OTHER, ALL, GROUP = (
    bytes.fromhex(mac) for mac in ("020000000002", "020000000099", "ffffffffffff", "01005e000001")
)


LEFT = bytes.fromhex("020000000001")


def frame(dst: bytes, kind: int, payload: bytes, *tags: tuple[int, int]) -> bytes:
    in_line = b"".join(struct.pack("!HH", *tag) for tag in tags)
    return dst + LEFT + in_line + struct.pack("!H", kind) + payload


def ip(length: int) -> bytes:
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 7, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2")
    return (head + struct.pack("!HHHH", 4000, 53, length - 20, 0)).ljust(length, b"\x5a")


FRAMES = [
    frame(RIGHT, 0x0800, ip(60)),
    frame(OTHER, 0x0800, ip(61)),
    frame(ALL, 0x0806, bytes(range(46))),
    frame(GROUP, 0x86DD, b"\x60" + bytes(60)),
    frame(RIGHT, 0x0800, ip(62), (0x8100, 7)),
    frame(RIGHT, 0x0800, ip(63), (0x8100, 0)),
    frame(RIGHT, 0x0800, ip(64), (0x88A8, 0xE00A), (0x8100, 100)),
    frame(OTHER, 0x88CC, bytes(50), (0x8100, 0x1FFF)),
    frame(RIGHT, 0x1234, bytes(PACKET_SIZE - 14)),
    frame(RIGHT, 0x0040, bytes(46)),  # a length: 802.3
]


def lengths(sock: socket.socket) -> list[int]:
    """Return the lengths of the packets that a socket holds."""
    found = []
    while True:
        try:
            found.append(len(sock.recv(65536)))
        except BlockingIOError:
            return found


class Cable:
    """Frames over a veth pair, captured by a ring without a filter and by sockets with programs."""

    def __init__(self, veth: Any, end: str) -> None:
        self.veth, self.end = veth, end
        with veth.namespace.inside():
            self.ifindex = socket.if_nametoindex(end)
            self._ring = RingSource(end, auto_filter=False, block_timeout=0.001, timeout=10)
        self._sockets: list[socket.socket] = []

    def batch(self) -> Batch:
        """Send all frames; what the ring saw of them."""
        self.veth.send(FRAMES)
        batches = [self._ring.next_batch().copy()]
        while sum(map(len, batches)) < len(FRAMES):
            batches.append(self._ring.next_batch().copy())
        return concat(batches)

    def captured(self) -> list[tuple[bytes, Any]]:
        batch = self.batch()
        return [(bytes(batch.payload(i)), batch.records[i]) for i in range(len(batch))]

    def ask(self, programs: list[Program]) -> list[tuple[list[int], list[int]]]:
        """Lengths of what came through each program, and of what our machine would let through."""
        answers = []
        self._open_sockets(min(SOCKETS, len(programs)))
        for start in range(0, len(programs), SOCKETS):
            some = list(zip(programs[start : start + SOCKETS], self._sockets, strict=False))
            for program, one in some:
                attach(one, program)
                lengths(one)
            seen = self.captured()
            for program, one in some:
                wanted = [min(self.run(program, *packet), len(packet[0])) for packet in seen]
                answers.append((lengths(one), [length for length in wanted if length]))
        return answers

    def _open_sockets(self, count: int) -> None:
        """To close one takes long, so they are used for one program after the other."""
        with self.veth.namespace.inside():
            while len(self._sockets) < count:
                one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                self._sockets.append(one)
                one.bind((self.end, ETH_P_ALL))
                one.setblocking(False)

    def run(self, program: Program, data: bytes, row: Any) -> int:
        """Run a program on a captured packet and its metadata."""
        stripped = bool(row["flags"] & RecordFlag.VLAN_STRIPPED)
        (protocol,) = struct.unpack_from("!H", data, 12)
        network = 14
        if row["pkt_type"] == PacketType.OUTGOING:  # packet_parse_headers(), net/packet/af_packet.c
            while data[network - 2 : network] in (b"\x81\x00", b"\x88\xa8"):
                network += 4
        elif protocol < 0x600:  # eth_type_trans()
            protocol = ETH_P_802_2
        return Machine(program).run(
            data,
            pkt_type=int(row["pkt_type"]),
            ifindex=self.ifindex,
            vlan_tci=int(row["vlan_tci"]) if stripped else None,
            vlan_tpid=int(row["vlan_tpid"]) if stripped else None,
            protocol=protocol,
            network=network,
        )

    def close(self) -> None:
        self._ring.close()
        for one in self._sockets:
            one.close()


@pytest.fixture(params=["right", "left"])
def cable(request: pytest.FixtureRequest, veth: Any) -> Iterator[Cable]:
    """The end where frames come in, and the end where they leave."""
    made = Cable(veth, request.param)
    yield made
    made.close()


def load(k: int, *, size: int = bpf.W, x: int = 0) -> Program:
    """Return what is loaded from k."""
    return (
        (bpf.LD | bpf.IMM, 0, 0, 0x55),
        (bpf.LDX | bpf.IMM, 0, 0, x),
        (bpf.LD | size | bpf.ABS, 0, 0, k),
        (bpf.RET | bpf.A, 0, 0, 0),
    )


def test_ancillary_loads_answer_as_the_kernel_does(cable: Cable) -> None:
    """The length of what arrives is the loaded value, or some bits of it."""
    programs = []
    for offset in ANCILLARY.values():
        at = bpf.ANCILLARY + offset
        programs += [load(at, size=size, x=0x1F) for size in (bpf.W, bpf.H, bpf.B)]
        for shift in (0, 4, 8, 12, 16):
            programs.append(
                (
                    *load(at, x=0x1F)[:3],
                    (bpf.ALU | bpf.RSH | bpf.K, 0, 0, shift),
                    (bpf.ALU | bpf.AND | bpf.K, 0, 0, 0xF),
                    (bpf.ALU | bpf.ADD | bpf.K, 0, 0, 14),
                    (bpf.RET | bpf.A, 0, 0, 0),
                )
            )
    answers = cable.ask(programs)
    assert len(answers) == len(programs) > 80
    for program, (theirs, ours) in zip(programs, answers, strict=True):
        assert theirs == ours, program
    assert len({tuple(theirs) for theirs, _ in answers}) > (20 if cable.end == "right" else 10)


def test_loads_relative_to_headers_answer_as_the_kernel_does(cable: Cable) -> None:
    programs = [
        load(base + offset, size=size)
        for base in (NET, LINK, 0)
        for offset in (0, 1, 2, 9, 12, 13, 14, 45, 46, 47, 60, 61, 62, 63, 74, 75, 76, 77, PACKET_SIZE - 1)
        for size in (bpf.W, bpf.B, bpf.H)
    ]
    answers = cable.ask(programs)
    for program, (theirs, ours) in zip(programs, answers, strict=True):
        assert theirs == ours, program
    assert any(0 < len(theirs) < len(FRAMES) for theirs, _ in answers)


def test_random_programs_answer_as_the_kernel_does(cable: Cable) -> None:
    rng = random.Random(profile_seed() + 4)
    programs = [random_program(rng) for _ in range(PROGRAMS)]
    answers = cable.ask(programs)
    for program, (theirs, ours) in zip(programs, answers, strict=True):
        assert theirs == ours, program
    assert sum(0 < len(theirs) < len(FRAMES) for theirs, _ in answers) > min(PROGRAMS, 600) // 30


@pytest.mark.parametrize(
    "expression",
    [
        "vlan",
        "vlan 7",
        "vlan 0",
        "vlan and vlan",
        "not vlan",
        "inbound",
        "outbound",
        "ip",
        "vlan and udp port 53",
    ],
)
def test_live_expressions_answer_as_the_kernel_does(cable: Cable, expression: str) -> None:
    with cable.veth.namespace.inside():
        program = compile_expression(expression, 1, live_interface=cable.end)
    ((theirs, ours),) = cable.ask([program])
    assert theirs == ours


@pytest.mark.parametrize("expression", ["vlan", "vlan 7", "vlan 0 and ip", "not vlan", "vlan and vlan"])
def test_filter_of_a_captured_batch_sees_stripped_tags(cable: Cable, expression: str) -> None:
    """Compares `Batch.filter` with libpcap's program for live captures."""
    with cable.veth.namespace.inside():
        live = compile_expression(expression, 1, live_interface=cable.end)
    batch = cable.batch()
    wanted = [cable.run(live, bytes(batch.payload(i)), batch.records[i]) > 0 for i in range(len(batch))]
    assert batch.filter(expression)["timestamp"].tolist() == batch["timestamp"][wanted].tolist()
    assert 0 < sum(wanted) < len(FRAMES)
