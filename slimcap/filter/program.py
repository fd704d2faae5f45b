"""Classic BPF programs (linux/filter.h, linux/bpf_common.h): what a capture filter is to the kernel.

An instruction is eight bytes, `struct sock_filter`, in native byte order:

    code (2) | jt (1) | jf (1) | k (4)

`code` is made of what the names below stand for, as in `LD | H | ABS`. Jumps count from the next
instruction.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from slimcap.errors import FilterError

Instruction: TypeAlias = tuple[int, int, int, int]
Program: TypeAlias = tuple[Instruction, ...]

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
W, H, B = 0x00, 0x08, 0x10
IMM, ABS, IND, MEM, LEN, MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR = range(0x00, 0xB0, 0x10)
JA, JEQ, JGT, JGE, JSET = range(0x00, 0x50, 0x10)
K, X, A = 0x00, 0x08, 0x10
TAX, TXA = 0x00, 0x80

MAX_LENGTH: Final = 4096  # BPF_MAXINSNS
MEMORY_WORDS: Final = 16  # BPF_MEMWORDS
MAX_SNAPLEN: Final = 262144  # libpcap's, and the most that slimcap's readers take

# Loads from here on give what the kernel knows of the packet, not its bytes.
ANCILLARY: Final = 0xFFFFF000  # SKF_AD_OFF
PKT_TYPE: Final = ANCILLARY + 4
VLAN_TAG: Final = ANCILLARY + 44
VLAN_TAG_PRESENT: Final = ANCILLARY + 48
_ANCILLARY_LOADS: Final = frozenset(range(ANCILLARY, ANCILLARY + 64, 4))  # up to SKF_AD_VLAN_TPID

_CONDITIONAL: Final = frozenset(JMP | test | with_ for test in (JEQ, JGT, JGE, JSET) for with_ in (K, X))
_PACKET_LOADS: Final = frozenset(LD | size | ABS for size in (W, H, B))
_STORES: Final = frozenset((ST, STX))
_MEMORY_LOADS: Final = frozenset((LD | MEM, LDX | MEM))

# The kernel's chk_code_allowed(), net/core/filter.c.
_CODES: Final = (
    frozenset(
        ALU | operation | with_
        for operation in (ADD, SUB, MUL, DIV, MOD, AND, OR, XOR, LSH, RSH)
        for with_ in (K, X)
    )
    | _CONDITIONAL
    | _PACKET_LOADS
    | _STORES
    | _MEMORY_LOADS
    | frozenset(LD | size | IND for size in (W, H, B))
    | frozenset((LD | IMM, LD | W | LEN, LDX | IMM, LDX | W | LEN, LDX | B | MSH))
    | frozenset((ALU | NEG, JMP | JA, RET | K, RET | A, MISC | TAX, MISC | TXA))
)

DROP: Final[Program] = ((RET | K, 0, 0, 0),)


def accept(snaplen: int = MAX_SNAPLEN) -> Program:
    """Make the program that takes every packet.

    Parameters
    ----------
    snaplen : int
        Most bytes captured of one.

    Returns
    -------
    Program
        A single instruction.
    """
    return ((RET | K, 0, 0, check_snaplen(snaplen)),)


def check_snaplen(snaplen: int) -> int:
    """Refuse what is no snaplen.

    Parameters
    ----------
    snaplen : int
        The number to look at.

    Returns
    -------
    int
        That number.

    Raises
    ------
    FilterError
        It is not within 1 and 262144.
    """
    snaplen = operator.index(snaplen)
    if not 1 <= snaplen <= MAX_SNAPLEN:
        raise FilterError(f"a snaplen is 1 to {MAX_SNAPLEN} bytes, not {snaplen}")
    return snaplen


def check(program: Iterable[Sequence[int]], *, loops: bool = False) -> Program:
    """Refuse what the kernel refuses, and say why (bpf_check_classic() and what it calls, net/core/filter.c).

    Parameters
    ----------
    program : iterable of (code, jt, jf, k)
        What the kernel is to run.
    loops : bool
        Let it jump back, unconditionally, as what libpcap makes of `ip6 protochain` does.

    Returns
    -------
    Program
        The same, as tuples.

    Raises
    ------
    FilterError
        The program is no good; the message has the index of the instruction and its fault.
    """
    checked = tuple(_instruction(at, fields) for at, fields in enumerate(program))
    if not 1 <= len(checked) <= MAX_LENGTH:
        raise FilterError(f"a program has 1 to {MAX_LENGTH} instructions, not {len(checked)}")
    for at, instruction in enumerate(checked):
        fault = "" if loops and jumps_back(at, instruction) else _fault(instruction, len(checked) - at - 1)
        if fault:
            raise _refused(at, instruction, fault)
    if checked[-1][0] not in (RET | K, RET | A):
        raise _refused(len(checked) - 1, checked[-1], "the last instruction has to be a return")
    _check_memory(checked)
    return checked


def jumps_back(at: int, instruction: Instruction) -> bool:
    """Whether the instruction at *at* is a jump back to one that there is: libpcap takes k as signed.

    Parameters
    ----------
    at : int
        Its index.
    instruction : Instruction
        Any.

    Returns
    -------
    bool
        The kernel takes no such program.
    """
    code, _, _, k = instruction
    return code == JMP | JA and -(at + 1) <= k - (1 << 32) < 0


def _instruction(at: int, fields: Sequence[int]) -> Instruction:
    try:
        code, jt, jf, k = map(operator.index, fields)
    except (TypeError, ValueError):
        raise FilterError(f"instruction {at}: {fields!r} is not four integers (code, jt, jf, k)") from None
    for name, value, bits in (("code", code, 16), ("jt", jt, 8), ("jf", jf, 8), ("k", k, 32)):
        if not 0 <= value < 1 << bits:
            raise FilterError(f"instruction {at}: {name} {value} is no unsigned number of {bits} bits")
    return code, jt, jf, k


def _fault(instruction: Instruction, behind: int) -> str:
    """What is wrong with an instruction that has *behind* others behind it."""
    code, jt, jf, k = instruction
    if code not in _CODES:
        return "there is no such code"
    if code in (ALU | DIV | K, ALU | MOD | K) and k == 0:
        return "divides by 0"
    if code in (ALU | LSH | K, ALU | RSH | K) and k >= 32:
        return "shifts a word of 32 bits by 32 or more"
    if code in _STORES | _MEMORY_LOADS and k >= MEMORY_WORDS:
        return f"there are {MEMORY_WORDS} words of scratch memory"
    if code == JMP | JA and k >= behind:
        return "jumps past the end"
    if code in _CONDITIONAL and max(jt, jf) >= behind:
        return "jumps past the end"
    if code in _PACKET_LOADS and k >= ANCILLARY and k not in _ANCILLARY_LOADS:
        return "there is no such ancillary load"
    return ""


def _check_memory(program: Program) -> None:
    """Refuse to load a word that was not stored on every way to there (check_load_and_stores())."""
    everything = (1 << MEMORY_WORDS) - 1
    stored_at = [everything] * len(program)
    stored = 0
    for at, (code, jt, jf, k) in enumerate(program):
        stored_at[at] &= stored
        stored = stored_at[at]
        if code in _STORES:
            stored |= 1 << k
        elif code in _MEMORY_LOADS:
            if not stored >> k & 1:
                raise _refused(at, program[at], f"loads word {k} of scratch memory, perhaps before a store")
        elif jumps_back(at, program[at]):
            # What was counted on there has to hold on this way, too.
            if stored_at[at + 1 + k - (1 << 32)] & ~stored:
                raise _refused(at, program[at], "jumps back to where there was more in scratch memory")
            stored = everything
        elif code == JMP | JA or code in _CONDITIONAL:
            for jump in (k,) if code == JMP | JA else (jt, jf):
                stored_at[at + 1 + jump] &= stored
            stored = everything  # only jumps lead to the next instruction, or to none


def _refused(at: int, instruction: Instruction, fault: str) -> FilterError:
    code, jt, jf, k = instruction
    return FilterError(f"instruction {at} (code {code:#04x}, jt {jt}, jf {jf}, k {k:#x}): {fault}")


def pack(program: Iterable[Sequence[int]], *, loops: bool = False) -> bytes:
    """Lay a program out as the kernel wants it.

    Parameters
    ----------
    program : iterable of (code, jt, jf, k)
        It is checked first.
    loops : bool
        See `check`.

    Returns
    -------
    bytes
        An array of `struct sock_filter`.

    Raises
    ------
    FilterError
        See `check`.
    """
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in check(program, loops=loops))


def with_snaplen(program: Program, snaplen: int) -> Program:
    """Make a program that takes the same packets, but no more than so many bytes of each.

    Parameters
    ----------
    program : Program
        One that returns constants.
    snaplen : int
        Most bytes captured of a packet.

    Returns
    -------
    Program
        A program as long, with smaller numbers.

    Raises
    ------
    FilterError
        The program computes what it returns, or *snaplen* is none.
    """
    check_snaplen(snaplen)
    for at, instruction in enumerate(program):
        if instruction[0] == RET | A:
            raise _refused(at, instruction, "returns what it computed: there is no telling how to limit that")
    return tuple(
        (code, jt, jf, min(k, snaplen)) if code == RET | K else (code, jt, jf, k)
        for code, jt, jf, k in program
    )
