"""Classic BPF for tests: random programs, and those who can be asked what they answer.

libpcap runs them as on a file, the kernel on whatever reaches a socket: a datagram of a socket pair will do,
and needs no privileges.
"""

from __future__ import annotations

import ctypes
import os
import random
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from slimcap.filter import Instruction, Program, check, pack
from slimcap.filter import program as bpf
from slimcap.filter.expression import _libpcap, _Program

SO_ATTACH_FILTER = 26
MOST = 200  # bytes of a packet
ARITHMETIC = (bpf.ADD, bpf.SUB, bpf.MUL, bpf.DIV, bpf.MOD, bpf.AND, bpf.OR, bpf.XOR, bpf.LSH, bpf.RSH)
TESTS = (bpf.JEQ, bpf.JGT, bpf.JGE, bpf.JSET)
CORNERS = (0, 1, 2, 31, 32, 33, 0x7FFFFFFF, 0x80000000, 0xFFEFFFFF, 0xFFF00000, 0xFFFFEFFF, 0xFFFFFFFF)


def random_packet(rng: random.Random) -> bytes:
    """Bytes with some repetition in them, so that comparisons can be true."""
    length = rng.choice((0, 1, 2, 3, 4, 14, 60, rng.randint(0, MOST)))
    return bytes(rng.choice((0, 1, 4, 0x45, 0xFF, rng.randrange(256))) for _ in range(length))


def random_program(rng: random.Random, *, length: int = 24) -> Program:
    """A program that the verifier takes, and that mostly gets somewhere.

    It loads from what it stored at its start, jumps over a few instructions, and returns A or a constant.
    """
    words = rng.sample(range(bpf.MEMORY_WORDS), 3)
    start = [(bpf.LD | bpf.IMM, 0, 0, _number(rng)), (bpf.LDX | bpf.IMM, 0, 0, rng.choice((1, _number(rng))))]
    start += [(rng.choice((bpf.ST, bpf.STX)), 0, 0, word) for word in words]
    body = rng.randrange(1, length)
    program = start + [_instruction(rng, words, body - at) for at in range(body)]
    program += [(bpf.RET | rng.choice((bpf.A, bpf.A, bpf.K)), 0, 0, rng.randrange(1, MOST)) for _ in range(2)]
    return check(program)


def _number(rng: random.Random) -> int:
    return rng.choice((rng.randrange(64), rng.randrange(MOST + 8), rng.choice(CORNERS), rng.getrandbits(32)))


def _offset(rng: random.Random) -> int:
    """Of a load: nearly always in the packet, or the program would end there each time."""
    return _number(rng) % bpf.ANCILLARY if rng.random() < 0.05 else rng.randrange(40)


def _instruction(rng: random.Random, words: Sequence[int], behind: int) -> Instruction:
    """Any instruction but a return, with so many to jump over."""
    size = rng.choice((bpf.W, bpf.H, bpf.B))
    kind = rng.randrange(11)
    if kind < 3:
        code = bpf.ALU | rng.choice(ARITHMETIC) | rng.choice((bpf.K, bpf.X))
        return code, 0, 0, rng.randrange(1, 32) if code & 0xF0 in (bpf.LSH, bpf.RSH) else _number(rng) or 7
    if kind < 5:
        code = bpf.JMP | rng.choice(TESTS) | rng.choice((bpf.K, bpf.X))
        return code, rng.randrange(min(behind, 5) + 1), rng.randrange(min(behind, 5) + 1), _number(rng)
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
                (bpf.JMP | bpf.JA, 0, 0, rng.randrange(min(behind, 5) + 1)),
            )
        ),
    )[kind - 5]


class _Header(ctypes.Structure):
    """struct pcap_pkthdr."""

    _fields_ = (
        ("seconds", ctypes.c_long),
        ("microseconds", ctypes.c_long),
        ("caplen", ctypes.c_uint32),
        ("len", ctypes.c_uint32),
    )


class LibpcapMachine:
    """A program, run by pcap_offline_filter()."""

    def __init__(self, program: Program) -> None:
        self._run = _libpcap().pcap_offline_filter
        self._run.restype = ctypes.c_uint
        self._bytes = ctypes.create_string_buffer(pack(program, loops=True))
        instructions = ctypes.cast(self._bytes, _Program._fields_[1][1])
        self._program = _Program(len(program), instructions)

    def run(self, data: bytes, wire_len: int | None = None) -> int:
        header = _Header(0, 0, len(data), len(data) if wire_len is None else wire_len)
        return int(self._run(ctypes.byref(self._program), ctypes.byref(header), data))


def libpcap_takes(path: Path, expression: str) -> list[int] | None:
    """The seconds of the packets of a file that it takes, read as tcpdump reads it; None if it refuses it."""
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
    """Have the kernel ask a program about what reaches a socket."""
    instructions = ctypes.create_string_buffer(pack(program, loops=True))
    fprog = struct.pack("HL", len(program), ctypes.addressof(instructions))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


class KernelMachine:
    """A program, run by the kernel on datagrams."""

    def __init__(self) -> None:
        self._out, self.socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)

    def run(self, program: Program, data: bytes) -> int:
        """Bytes of it that came through: what the program answers, but no more than there are."""
        attach(self.socket, program)
        self._out.send(data)
        try:
            return len(self.socket.recv(MOST + 1))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self._out.close()
        self.socket.close()
