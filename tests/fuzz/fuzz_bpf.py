"""Fuzz the machine for classic BPF: it refuses a program, or answers as libpcap's machine does."""

from __future__ import annotations

import random

from slimcap import FilterError
from slimcap.filter import Machine, pack
from slimcap.filter.program import Instruction, jumps_back
from support import bpf_oracles

_INSTRUCTION = 8
_MOST = 64


def check(program: list[Instruction], data: bytes) -> bool:
    """Run a program on a packet, as on a file and as in the kernel; return True if it is valid."""
    try:
        machine = Machine(program)
    except FilterError:
        return False
    answer = machine.run(data)
    assert 0 <= answer < 1 << 32
    assert machine.run(data) == answer
    assert 0 <= machine.run(data, pkt_type=0) < 1 << 32
    # libpcap's own machine would loop forever.
    if not any(jumps_back(at, instruction) for at, instruction in enumerate(program)):
        assert answer == bpf_oracles.LibpcapMachine(tuple(program)).run(data)
    return True


def seeds() -> list[bytes]:
    """Return inputs to mutate: valid programs and a packet each."""
    found = []
    for seed in range(50):
        rng = random.Random(seed)
        program = bpf_oracles.random_program(rng)
        found.append(bytes([len(program)]) + pack(program) + bpf_oracles.random_packet(rng))
    return found


def test_one_input(data: bytes) -> None:
    """Run a program: the first byte is the number of instructions, the packet follows them."""
    end = 1 + min(data[0] if data else 0, _MOST) * _INSTRUCTION
    fields = [data[at : at + _INSTRUCTION] for at in range(1, end, _INSTRUCTION)]
    program = [
        (one[0] | one[1] << 8, one[2], one[3], int.from_bytes(one[4:], "little"))
        for one in fields
        if len(one) == _INSTRUCTION
    ]
    check(program, data[end:])
