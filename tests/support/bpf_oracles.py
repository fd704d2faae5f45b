"""Classic BPF for tests: random programs, and oracles that run them.

`interpret` is an interpreter written for the tests. libpcap runs programs as on a file. The kernel runs
them on packets that reach a socket; a datagram of a socket pair needs no privileges.
"""

from __future__ import annotations

import ctypes
import errno
import operator
import os
import random
import re
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from slimcap.filter import Instruction, Program, check, pack
from slimcap.filter import program as bpf
from slimcap.filter.libpcap import _libpcap, _Program

SO_ATTACH_FILTER = 26
PACKET_SIZE = 200  # bytes of the longest random packet
LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)  # instruction classes
ETHERNET, RAW = 1, 101  # link types
LINK_OFFSET, NET_OFFSET = 0xFFE00000, 0xFFF00000  # SKF_LL_OFF, SKF_NET_OFF
PKT_TYPE, TAG_PRESENT = bpf.ANCILLARY + 4, bpf.ANCILLARY + 48
TAKE: Instruction = (RET, 0, 0, 65535)
LONGEST: Program = (TAKE,) * 4096
RETURN_A: Program = ((LD | 0x80, 0, 0, 0), (RET | 0x10, 0, 0, 0))  # the length of the packet
ARITHMETIC = (bpf.ADD, bpf.SUB, bpf.MUL, bpf.DIV, bpf.MOD, bpf.AND, bpf.OR, bpf.XOR, bpf.LSH, bpf.RSH)
TESTS = (bpf.JEQ, bpf.JGT, bpf.JGE, bpf.JSET)
CORNERS = (0, 1, 2, 31, 32, 33, 0x7FFFFFFF, 0x80000000, 0xFFEFFFFF, 0xFFF00000, 0xFFFFEFFF, 0xFFFFFFFF)


def random_packet(rng: random.Random) -> bytes:
    """Make a packet of few different bytes, so that comparisons are true at times."""
    length = rng.choice((0, 1, 2, 3, 4, 14, 60, rng.randint(0, PACKET_SIZE)))
    return bytes(rng.choice((0, 1, 4, 0x45, 0xFF, rng.randrange(256))) for _ in range(length))


def random_program(rng: random.Random, *, length: int = 24) -> Program:
    """Make a program that the kernel accepts, and that mostly reaches its end.

    It loads from what it stored at its start, jumps over a few instructions, and returns A or a constant.
    """
    words = rng.sample(range(bpf.MEMORY_WORDS), 3)
    start = [(bpf.LD | bpf.IMM, 0, 0, _number(rng)), (bpf.LDX | bpf.IMM, 0, 0, rng.choice((1, _number(rng))))]
    start += [(rng.choice((bpf.ST, bpf.STX)), 0, 0, word) for word in words]
    body = rng.randrange(1, length)
    program = start + [_instruction(rng, words, body - at) for at in range(body)]
    program += [
        (bpf.RET | rng.choice((bpf.A, bpf.A, bpf.K)), 0, 0, rng.randrange(1, PACKET_SIZE)) for _ in range(2)
    ]
    return check(program)


def _number(rng: random.Random) -> int:
    return rng.choice(
        (rng.randrange(64), rng.randrange(PACKET_SIZE + 8), rng.choice(CORNERS), rng.getrandbits(32))
    )


def _offset(rng: random.Random) -> int:
    """Choose the offset of a load, nearly always in the packet: a load after its end ends the program."""
    return _number(rng) % bpf.ANCILLARY if rng.random() < 0.05 else rng.randrange(40)


def _instruction(rng: random.Random, words: Sequence[int], after: int) -> Instruction:
    """Choose an instruction other than a return; a jump skips at most `after` instructions."""
    size = rng.choice((bpf.W, bpf.H, bpf.B))
    kind = rng.randrange(11)
    if kind < 3:
        code = bpf.ALU | rng.choice(ARITHMETIC) | rng.choice((bpf.K, bpf.X))
        return code, 0, 0, rng.randrange(1, 32) if code & 0xF0 in (bpf.LSH, bpf.RSH) else _number(rng) or 7
    if kind < 5:
        code = bpf.JMP | rng.choice(TESTS) | rng.choice((bpf.K, bpf.X))
        return code, rng.randrange(min(after, 5) + 1), rng.randrange(min(after, 5) + 1), _number(rng)
    return (
        (bpf.LD | size | bpf.ABS, 0, 0, _offset(rng)),
        (bpf.LD | size | bpf.IND, 0, 0, rng.choice((_offset(rng), _number(rng)))),
        (bpf.LDX | bpf.B | bpf.MSH, 0, 0, _offset(rng)),
        (rng.choice((bpf.LD | bpf.MEM, bpf.LDX | bpf.MEM)), 0, 0, rng.choice(words)),
        (rng.choice((bpf.LD, bpf.LDX)) | rng.choice((bpf.IMM, bpf.LEN)), 0, 0, _number(rng)),
        rng.choice(
            (
                (bpf.ST, 0, 0, rng.choice(words)),
                (bpf.STX, 0, 0, rng.choice(words)),
                (bpf.MISC | bpf.TAX, 0, 0, 0),
                (bpf.MISC | bpf.TXA, 0, 0, 0),
                (bpf.ALU | bpf.NEG, 0, 0, 0),
                (bpf.JMP | bpf.JA, 0, 0, rng.randrange(min(after, 5) + 1)),
            )
        ),
    )[kind - 5]


def parse_dump(text: str) -> Program:
    """Parse the output of `tcpdump -dd`."""
    found = re.findall(r"\{ (\w+), (\w+), (\w+), (\w+) \},", text)
    assert len(found) == len(text.splitlines())
    return check(tuple(int(field, 0) for field in one) for one in found)


class _Header(ctypes.Structure):
    """struct pcap_pkthdr."""

    _fields_ = (
        ("seconds", ctypes.c_long),
        ("microseconds", ctypes.c_long),
        ("caplen", ctypes.c_uint32),
        ("len", ctypes.c_uint32),
    )


class LibpcapMachine:
    """Runs a program with pcap_offline_filter()."""

    def __init__(self, program: Program) -> None:
        self._run = _libpcap().pcap_offline_filter
        self._run.restype = ctypes.c_uint
        self._bytes = ctypes.create_string_buffer(pack(program, loops=True))
        instructions = ctypes.cast(self._bytes, _Program._fields_[1][1])
        self._program = _Program(len(program), instructions)

    def run(self, data: bytes, wire_len: int | None = None) -> int:
        header = _Header(0, 0, len(data), len(data) if wire_len is None else wire_len)
        return int(self._run(ctypes.byref(self._program), ctypes.byref(header), data))


def libpcap_matches(path: Path, expression: str) -> list[int] | None:
    """Return the seconds of the packets of a file that match, as tcpdump reads it.

    None if libpcap refuses the expression.
    """
    library = _libpcap()
    library.pcap_open_offline.restype = ctypes.c_void_p
    library.pcap_setfilter.argtypes = ctypes.c_void_p, ctypes.POINTER(_Program)
    library.pcap_next_ex.argtypes = (
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.POINTER(_Header)),
        ctypes.POINTER(ctypes.c_void_p),
    )
    handle = library.pcap_open_offline(os.fsencode(path), ctypes.create_string_buffer(256))
    assert handle
    try:
        program = _Program()
        if library.pcap_compile(handle, ctypes.byref(program), expression.encode(), 1, 0):
            return None
        assert library.pcap_setfilter(handle, ctypes.byref(program)) == 0
        library.pcap_freecode(ctypes.byref(program))
        header, data = ctypes.POINTER(_Header)(), ctypes.c_void_p()
        found: list[int] = []
        while (status := library.pcap_next_ex(handle, ctypes.byref(header), ctypes.byref(data))) == 1:
            found.append(header.contents.seconds)
        assert status == -2  # the end
        return found
    finally:
        library.pcap_close(handle)


def attach(sock: socket.socket, program: Program) -> None:
    """Attach a program to a socket."""
    instructions = ctypes.create_string_buffer(pack(program, loops=True))
    fprog = struct.pack("HL", len(program), ctypes.addressof(instructions))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


class KernelMachine:
    """Has the kernel run programs on datagrams.

    These have no link-layer header: a load relative to it (SKF_LL_OFF) ends the program with 0.
    """

    def __init__(self) -> None:
        self._out, self.socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)

    def run(self, program: Program, data: bytes) -> int:
        """Return how many bytes the program lets through: its answer, at most the length of the data."""
        attach(self.socket, program)
        return self.receive(data)

    def receive(self, data: bytes) -> int:
        """Do the same with the program that is attached already."""
        self._out.send(data)
        try:
            return len(self.socket.recv(PACKET_SIZE + 1))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self._out.close()
        self.socket.close()


def kernel_accepts(instructions: Sequence[Instruction]) -> bool:
    """Return True if a program, valid or not, can be attached to a socket; that needs no privileges."""
    packed = b"".join(struct.pack("=HBBI", *one) for one in instructions)
    buffer = ctypes.create_string_buffer(packed, max(len(packed), 1))
    fprog = struct.pack("@HP", len(instructions), ctypes.addressof(buffer))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            udp.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False
    return True


_ARITHMETIC: dict[int, Callable[[int, int], int]] = {
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


def interpret(
    program: Program,
    frame: bytes,
    *,
    stripped: bool = False,
    pkt_type: int = 0,
    network: int = 14,
    loads: list[int] | None = None,
) -> int:
    """Return what a program returns for a frame; 0 drops it.

    Parameters
    ----------
    program : Program
    frame : bytes
    stripped : bool, default: False
        The kernel took a VLAN tag out of the frame.
    pkt_type : int, default: 0
    network : int, default: 14
        Offset of the network header.
    loads : list of int, optional
        Gets the offset of each load from the packet, as the program computes it.
    """
    a = x = at = 0
    memory = [0] * bpf.MEMORY_WORDS
    for _ in range(len(program)):  # jumps lead forward only
        code, jt, jf, k = program[at]
        at += 1
        kind, operation, operand = code & 7, code & 0xF0, x if code & 8 else k
        if kind in (LD, LDX):
            size, mode = {0x00: 4, 0x08: 2, 0x10: 1}[code & 0x18], code & 0xE0
            if mode in (0x20, 0x40, 0xA0):  # absolute, after X, length of an IP header
                start = (k + (x if mode == 0x40 else 0)) & 0xFFFFFFFF
                if loads is not None:
                    loads.append(start)
                if NET_OFFSET <= start < bpf.ANCILLARY:
                    start += network - NET_OFFSET
                elif LINK_OFFSET <= start < NET_OFFSET:
                    start -= LINK_OFFSET
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
            a = _ARITHMETIC[operation](a, operand) & 0xFFFFFFFF
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
