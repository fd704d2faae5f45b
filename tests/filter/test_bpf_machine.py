"""Machine: it answers as libpcap does on a file, and as the kernel does."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from slimcap.errors import FilterError
from slimcap.filter import Machine, accept
from slimcap.filter import program as bpf
from slimcap.filter.program import ANCILLARY, VLAN_TAG, VLAN_TAG_PRESENT, Program
from support.bpf_oracles import (
    LINK_OFFSET,
    NET_OFFSET,
    KernelMachine,
    LibpcapMachine,
    attach,
    interpret,
    random_packet,
    random_program,
)
from support.profiles import EXAMPLES, choose_profile, profile_seed

BYTES = bytes(range(1, 61))


@pytest.fixture
def kernel() -> Iterator[KernelMachine]:
    machine = KernelMachine()
    yield machine
    machine.close()


PROGRAMS = 10 * EXAMPLES[choose_profile(os.environ)[0]]  # random ones


def load(size: int, k: int, *, x: int | None = None) -> Program:
    """Return what is loaded from k, or from x + k."""
    if x is None:
        return (bpf.LD | size | bpf.ABS, 0, 0, k), (bpf.RET | bpf.A, 0, 0, 0)
    return (
        (bpf.LDX | bpf.IMM, 0, 0, x),
        (bpf.LD | size | bpf.IND, 0, 0, k),
        (bpf.RET | bpf.A, 0, 0, 0),
    )


def ancillary(offset: int) -> Program:
    return load(bpf.W, ANCILLARY + offset)


def shift(operation: int, by: int) -> Program:
    return (
        (bpf.LD | bpf.IMM, 0, 0, 0x81),
        (bpf.LDX | bpf.IMM, 0, 0, by),
        (bpf.ALU | operation | bpf.X, 0, 0, 0),
        (bpf.RET | bpf.A, 0, 0, 0),
    )


# ---- compared with libpcap and the kernel


def test_random_programs_answer_as_libpcap_does() -> None:
    rng = random.Random(profile_seed() + 1)
    answers = set()
    codes = set()
    for _ in range(PROGRAMS):
        program = random_program(rng)
        codes |= {code for code, _, _, _ in program}
        ours, theirs = Machine(program), LibpcapMachine(program)
        for _ in range(12):
            data = random_packet(rng)
            wire_len = len(data) + rng.choice((0, 0, 1, 1000))
            answer = ours.run(data, wire_len)
            assert answer == theirs.run(data, wire_len), (program, data, wire_len)
            answers.add(answer)
    assert codes == bpf._CODES
    assert len(answers) > min(PROGRAMS, 3000) // 3


def loads_from_link_header(program: Program, data: bytes) -> bool:
    """Return True if a program loads relative to the link-layer header, which a datagram does not have."""
    loads: list[int] = []
    interpret(program, data, network=0, loads=loads)
    return any(LINK_OFFSET <= start < NET_OFFSET for start in loads)


def test_random_programs_answer_as_the_kernel_does(kernel: KernelMachine) -> None:
    rng = random.Random(profile_seed() + 2)
    partly = 0
    for _ in range(PROGRAMS):
        program = random_program(rng)
        ours = Machine(program)
        for _ in range(4):
            data = random_packet(rng)
            answer = min(ours.run(data, pkt_type=0, network=0), len(data))
            kernels = kernel.run(program, data)
            if kernels == 0 and loads_from_link_header(program, data):
                continue
            assert answer == kernels, (program, data)
            partly += 0 < answer < len(data)
    assert partly > min(PROGRAMS, 3000) // 6


@pytest.mark.parametrize("operation", [bpf.LSH, bpf.RSH])
@pytest.mark.parametrize("by", [0, 1, 31, 32, 33, 63, 64, 0xFFFFFFFF])
def test_shift_by_a_register_follows_libpcap_or_the_kernel(
    operation: int, by: int, kernel: KernelMachine
) -> None:
    program = shift(operation, by)
    assert Machine(program).run(BYTES) == LibpcapMachine(program).run(BYTES)
    assert min(Machine(program).run(BYTES, pkt_type=0), len(BYTES)) == kernel.run(program, BYTES)


@pytest.mark.parametrize("size", [bpf.W, bpf.H, bpf.B])
@pytest.mark.parametrize("x", [0, 1, 2**31, 2**32 - 1])
def test_loads_around_the_end_and_around_2_to_the_32_agree_with_libpcap_and_kernel(
    size: int, x: int, kernel: KernelMachine
) -> None:
    for length in range(6):
        data = bytes(range(7, 7 + length))
        for k in (*range(7), 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 0x1001, *(2**32 - n for n in range(1, 7))):
            programs = [load(size, k, x=x)]
            if k < ANCILLARY:
                programs.append(load(size, k))
            for program in programs:
                assert Machine(program).run(data) == LibpcapMachine(program).run(data)
                ours = Machine(program).run(data, pkt_type=0, network=0)
                assert min(ours, length) == kernel.run(program, data)


# ---- offsets and ancillary loads of the kernel


@pytest.mark.parametrize(("size", "bytes_"), [(bpf.W, 4), (bpf.H, 2), (bpf.B, 1)])
@pytest.mark.parametrize("x", [None, 0, 3])
def test_loads_relative_to_the_headers_read_the_packet(size: int, bytes_: int, x: int | None) -> None:
    for base, start in ((NET_OFFSET, 14), (LINK_OFFSET, 0)):
        for k in range(70):
            at = start + k + (x or 0)
            wanted = int.from_bytes(BYTES[at : at + bytes_]) if at + bytes_ <= len(BYTES) else 0
            machine = Machine(load(size, base + k, x=x))
            assert machine.run(BYTES, pkt_type=0, network=14) == wanted
            assert machine.run(BYTES) == 0


def test_network_header_beyond_the_packet_is_not_read() -> None:
    for network in (61, 2**31, 2**32 - 1):
        assert Machine(load(bpf.W, 2**32 - 0x1001, x=0)).run(BYTES, network=network) == 0
        assert Machine(load(bpf.B, NET_OFFSET, x=0)).run(BYTES, network=network) == 0
    assert Machine(load(bpf.B, LINK_OFFSET - 1)).run(BYTES, network=0) == 0


@pytest.mark.parametrize(
    ("offset", "meta", "wanted"),
    [
        (0, {"protocol": 0x86DD}, 0x86DD),
        (4, {"pkt_type": 4}, 4),
        (8, {"ifindex": 77777}, 77777),
        (20, {"pkt_type": 3}, 0),
        (24, {"pkt_type": 3}, 0),
        (28, {"pkt_type": 3}, 1),
        (28, {"hatype": 772}, 772),
        (32, {"pkt_type": 3}, 0),
        (36, {"pkt_type": 3}, 0),
        (44, {"vlan_tci": 0xE007}, 0xE007),
        (44, {"vlan_tpid": 0x88A8}, 0),
        (48, {"vlan_tci": 0}, 1),
        (48, {"pkt_type": 3}, 0),
        (60, {"vlan_tci": 7}, 0x8100),
        (60, {"vlan_tci": 7, "vlan_tpid": 0x88A8}, 0x88A8),
        (60, {"vlan_tpid": 0x88A8}, 0),
    ],
)
def test_ancillary_loads_return_the_metadata(offset: int, meta: dict[str, int], wanted: int) -> None:
    for size in (bpf.W, bpf.H, bpf.B):
        machine = Machine(load(size, ANCILLARY + offset))
        assert machine.run(BYTES, **meta) == wanted
        assert machine.run(b"", **meta) == wanted
        assert machine.run(BYTES) == 0


def test_alu_xor_x_returns_a_xor_x() -> None:
    program = (
        (bpf.LD | bpf.IMM, 0, 0, 0xF0F0),
        (bpf.LDX | bpf.IMM, 0, 0, 0xFF00),
        *ancillary(40),
    )
    assert Machine(program).run(b"", pkt_type=0) == 0x0FF0
    assert Machine(program).run(b"") == 0


@pytest.mark.parametrize("offset", [12, 16, 52, 56])
def test_loads_of_metadata_that_only_the_kernel_has_are_refused(offset: int) -> None:
    with pytest.raises(FilterError, match=r"^instruction 0: loads .*, which only the kernel has"):
        Machine(ancillary(offset))


def test_vlan_loads_are_0_on_a_file() -> None:
    for k in (VLAN_TAG, VLAN_TAG_PRESENT):
        assert LibpcapMachine(load(bpf.H, k)).run(BYTES) == Machine(load(bpf.H, k)).run(BYTES) == 0


# ---- backward jumps


def back(instructions: int) -> tuple[int, int, int, int]:
    """Jump back by a number of instructions, counted from the next one."""
    return bpf.JMP | bpf.JA, 0, 0, 2**32 - instructions


COUNT = ((bpf.ALU | bpf.ADD | bpf.K, 0, 0, 1),)


FOR_EVER = (*COUNT, back(2), (bpf.RET | bpf.K, 0, 0, 1))


def test_endless_loop_is_stopped() -> None:
    machine = Machine(FOR_EVER)
    assert machine.run(b"") == machine.run(BYTES) == machine.run(bytes(262144), pkt_type=0) == 0


@pytest.mark.parametrize("turns", [0, 1, 59, 60, 61])
def test_loop_may_run_once_for_each_byte(turns: int) -> None:
    program = (
        *COUNT,
        (bpf.JMP | bpf.JGT | bpf.K, 1, 0, turns),
        back(3),
        (bpf.RET | bpf.K, 0, 0, 9),
    )
    assert Machine(program).run(BYTES) == (9 if turns <= 60 else 0)
    if turns <= 60:
        assert LibpcapMachine(program).run(BYTES) == 9


def test_kernel_refuses_backward_jumps(kernel: KernelMachine) -> None:
    with pytest.raises(FilterError, match=r"instruction 1 .*jump past the end of the program"):
        bpf.check(FOR_EVER)
    with pytest.raises(OSError, match="Invalid argument"):
        attach(kernel.socket, FOR_EVER)


def test_backward_jumps_stay_in_the_program_and_after_stores() -> None:
    for distance in (2, 1):
        Machine((*COUNT, back(distance), (bpf.RET | bpf.A, 0, 0, 0)))
    for distance in (3, 2**31 + 1, 2**32 - 1):
        with pytest.raises(FilterError, match=r"instruction 1 .*jump past the end of the program"):
            Machine((*COUNT, back(distance), (bpf.RET | bpf.A, 0, 0, 0)))
    end = (bpf.RET | bpf.A, 0, 0, 0)
    store, loaded = (bpf.ST, 0, 0, 3), (bpf.LD | bpf.MEM, 0, 0, 3)
    over = (bpf.JMP | bpf.JEQ | bpf.K, 2, 0, 0)
    Machine((store, loaded, (bpf.JMP | bpf.JEQ | bpf.K, 1, 0, 0), back(3), end))
    with pytest.raises(
        FilterError, match=r"instruction 4 .*backward jump to a loop that loads scratch memory"
    ):
        Machine((over, store, loaded, end, back(3), end))


# ---- running a program


def test_answer_is_not_limited_to_the_packet_length() -> None:
    assert Machine(accept(77)).run(b"") == 77
    assert Machine(((bpf.RET | bpf.K, 0, 0, 2**32 - 1),)).run(b"") == 2**32 - 1


def test_length_on_the_wire_is_loaded() -> None:
    machine = Machine(((bpf.LD | bpf.LEN, 0, 0, 0), (bpf.RET | bpf.A, 0, 0, 0)))
    assert machine.run(BYTES) == 60
    assert machine.run(BYTES, 2**32 - 1) == 2**32 - 1
    with pytest.raises(ValueError, match="at least 60, the number of bytes captured"):
        machine.run(BYTES, 59)
    for impossible in (-1, 2**32):
        with pytest.raises(OverflowError):
            machine.run(BYTES, impossible)


def test_invalid_programs_are_refused() -> None:
    with pytest.raises(FilterError, match="instruction 0"):
        Machine([(bpf.ALU | bpf.DIV | bpf.K, 0, 0, 0), (bpf.RET | bpf.A, 0, 0, 0)])
    with pytest.raises(FilterError, match="1 to 4096"):
        Machine([])
    assert len(Machine(accept() * 4096)) == 4096


def test_longest_program_runs_to_its_end() -> None:
    program = ((bpf.ALU | bpf.ADD | bpf.K, 0, 0, 1),) * 4095 + ((bpf.RET | bpf.A, 0, 0, 0),)
    assert Machine(program).run(b"") == 4095
