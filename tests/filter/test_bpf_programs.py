"""`check` and `pack` accept the classic BPF programs that the kernel accepts."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcap.errors import FilterError
from slimcap.filter import (
    DROP,
    Instruction,
    Program,
    accept,
    check,
    ip_only,
    pack,
    without_vlans,
)
from support.bpf_oracles import (
    ALU,
    ETHERNET,
    JMP,
    LD,
    LDX,
    LONGEST,
    MISC,
    RAW,
    RET,
    RETURN_A,
    ST,
    STX,
    TAKE,
    kernel_accepts,
)
from support.profiles import scaled


def check_accepts(instructions: list[Instruction]) -> bool:
    try:
        assert check(instructions) == tuple(instructions)
    except FilterError:
        return False
    return True


VALID: dict[str, Program] = {
    "drop": DROP,
    "accept": accept(),
    "ethernet": ip_only(ETHERNET) or (),
    "ethernet, no VLANs": without_vlans(ip_only(ETHERNET) or (), ETHERNET),
    "raw": ip_only(RAW) or (),
    "return A": RETURN_A,
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
    "longest": LONGEST,
}  # fmt: skip


INVALID: list[tuple[str, list[Any], str]] = [
    ("empty", [], "1 to 4096 instructions, not 0"),
    ("too long", [TAKE] * 4097, "1 to 4096 instructions, not 4097"),
    ("no code", [TAKE, (0xFF, 0, 0, 0), TAKE], r"instruction 1 \(code 0xff, .*unknown opcode"),
    ("ret x", [(RET | 8, 0, 0, 0)], "instruction 0 .*unknown opcode"),
    ("jump at the end", [(JMP, 0, 0, 0)], "instruction 0 .*past the end"),
    ("jump past the end", [(JMP, 0, 0, 1), TAKE], "instruction 0 .*past the end"),
    ("jump back", [TAKE, (JMP, 0, 0, 0xFFFFFFFE), TAKE], "instruction 1 .*past the end"),
    ("true past the end", [(JMP | 0x10, 1, 0, 0), TAKE], "instruction 0 .*past the end"),
    ("false past the end", [(JMP | 0x40, 0, 1, 0), TAKE], "instruction 0 .*past the end"),
    ("division", [(ALU | 0x30, 0, 0, 0), TAKE], "instruction 0 .*division by zero"),
    ("modulo", [(ALU | 0x90, 0, 0, 0), TAKE], "instruction 0 .*division by zero"),
    ("left shift", [(ALU | 0x60, 0, 0, 32), TAKE], "instruction 0 .*32 or more"),
    ("right shift", [(ALU | 0x70, 0, 0, 32), TAKE], "instruction 0 .*32 or more"),
    ("store", [(ST, 0, 0, 16), TAKE], "instruction 0 .*16 words"),
    ("store x", [(STX, 0, 0, 16), TAKE], "instruction 0 .*16 words"),
    ("load", [(LD | 0x60, 0, 0, 16), TAKE], "instruction 0 .*16 words"),
    ("load x", [(LDX | 0x60, 0, 0, 16), TAKE], "instruction 0 .*16 words"),
    (
        "never stored",
        [(ST, 0, 0, 1), (LD | 0x60, 0, 0, 2), TAKE],
        "instruction 1 .*word 2 .*before it is stored",
    ),
    (
        "stored on one way only",
        [(JMP | 0x10, 1, 0, 0), (ST, 0, 0, 2), (LD | 0x60, 0, 0, 2), TAKE],
        "instruction 2 .*word 2 .*before it is stored",
    ),
    ("jumped over", [(JMP, 0, 0, 1), (ST, 0, 0, 2), (LD | 0x60, 0, 0, 2), TAKE], "instruction 2 .*word 2"),
    ("ancillary", [(LD | 0x20, 0, 0, 0xFFFFF040), TAKE], "instruction 0 .*unknown ancillary"),
    ("odd ancillary", [(0x28, 0, 0, 0xFFFFF001), TAKE], "instruction 0 .*unknown ancillary"),
    ("no return", [TAKE, (LD, 0, 0, 0)], "instruction 1 .*must be a return"),
]


UNPACKABLE: list[tuple[Any, str]] = [
    ((RET, 0, 0), r"instruction 1 must be four integers .*, not \(6, 0, 0\)"),
    ((RET, 0, 0, 0, 0), "instruction 1 must be four integers"),
    ((RET, 0, 0, 1.0), "instruction 1 must be four integers"),
    ("ret0", "instruction 1 must be four integers .*, not 'ret0'"),
    (None, "instruction 1 must be four integers .*, not None"),
    ((-1, 0, 0, 0), "instruction 1: code must be an unsigned 16-bit integer, not -1"),
    ((1 << 16, 0, 0, 0), "instruction 1: code .* not 65536"),
    ((RET, 256, 0, 0), "instruction 1: jt must be an unsigned 8-bit integer, not 256"),
    ((RET, 0, -1, 0), "instruction 1: jf .* not -1"),
    ((RET, 0, 0, 1 << 32), "instruction 1: k must be an unsigned 32-bit integer, not 4294967296"),
]


@pytest.mark.parametrize("program", VALID.values(), ids=VALID)
def test_valid_programs_pass(program: Program) -> None:
    assert check(list(map(list, program))) == program
    assert kernel_accepts(list(program))


@pytest.mark.parametrize(
    ("program", "message"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID]
)
def test_invalid_programs_are_refused_with_a_reason(program: list[Instruction], message: str) -> None:
    with pytest.raises(FilterError, match=message):
        check(program)
    with pytest.raises(FilterError, match=message):
        pack(program)
    assert not kernel_accepts(program)


@pytest.mark.parametrize(("instruction", "message"), UNPACKABLE, ids=[str(case[0]) for case in UNPACKABLE])
def test_invalid_instructions_are_refused(instruction: Any, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        check([TAKE, instruction, TAKE])


def test_check_knows_the_same_codes_as_the_kernel() -> None:
    codes = [*range(0x200), *(1 << bit for bit in range(9, 16)), 0x8006, 0xFFFF]
    taken = []
    for code in codes:
        program = [(ST, 0, 0, 1), (code, 0, 0, 1), TAKE]
        if kernel_accepts(program):
            taken.append(code)
        assert check_accepts(program) == (code in taken), hex(code)
    assert len(taken) > 40


# ---- random programs


BASES = [list(program) for program in VALID.values() if len(program) < 100] + [
    program for _, program, _ in INVALID if 0 < len(program) < 100
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


@scaled(3)
@given(mutated())
def test_check_agrees_with_the_kernel(program: list[Instruction]) -> None:
    assert check_accepts(program) == kernel_accepts(program)


@scaled(2)
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
    assert check_accepts(program) == kernel_accepts(program)


# ---- pack


def test_pack_writes_struct_sock_filter() -> None:
    assert pack([(0x15, 2, 1, 0x86DD), DROP[0], DROP[0], TAKE])[:8] == struct.pack(
        "=HBBI", 0x15, 2, 1, 0x86DD
    )
    assert len(pack(VALID["ethernet"])) == 8 * len(VALID["ethernet"])
