"""Classic BPF programs (linux/filter.h, linux/bpf_common.h), the kernel's packet filters.

An instruction is eight bytes, `struct sock_filter`, in native byte order:

    code (2) | jt (1) | jf (1) | k (4)

`code` is a combination of the constants below, such as `LD | H | ABS`. Jump offsets count from the next
instruction.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias, TypeVar

from slimcap.errors import FilterError, integer, wrong_type

Instruction: TypeAlias = tuple[int, int, int, int]
Program: TypeAlias = tuple[Instruction, ...]
_Instructions = TypeVar("_Instructions", bound=Iterable[Sequence[int]])

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
W, H, B = 0x00, 0x08, 0x10
IMM, ABS, IND, MEM, LEN, MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR = range(0x00, 0xB0, 0x10)
JA, JEQ, JGT, JGE, JSET = range(0x00, 0x50, 0x10)
K, X, A = 0x00, 0x08, 0x10
TAX, TXA = 0x00, 0x80

MAX_LENGTH: Final = 4096  # BPF_MAXINSNS
MEMORY_WORDS: Final = 16  # BPF_MEMWORDS
MAX_SNAPLEN: Final = 262144  # libpcap's MAXIMUM_SNAPLEN, and the maximum that slimcap's readers accept

# Loads from this offset on return metadata that the kernel keeps with the packet, not the packet's bytes.
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
    """Make the program that accepts every packet.

    Parameters
    ----------
    snaplen : int, default 262144
        Maximum number of bytes to capture of a packet, 1 to 262144.

    Returns
    -------
    Program
        A program of one instruction.

    Raises
    ------
    FilterError
        `snaplen` is out of range.

    Examples
    --------
    >>> slimcap.filter.accept(64)
    ((6, 0, 0, 64),)
    """
    return ((RET | K, 0, 0, check_snaplen(snaplen)),)


def check_snaplen(snaplen: int) -> int:
    """Raise FilterError if a snaplen is not valid.

    Parameters
    ----------
    snaplen : int
        Maximum number of bytes to capture of a packet.

    Returns
    -------
    int
        `snaplen`.

    Raises
    ------
    FilterError
        `snaplen` is not in the range 1 to 262144.
    """
    snaplen = integer("snaplen", snaplen)
    if not 1 <= snaplen <= MAX_SNAPLEN:
        raise FilterError(f"snaplen must be 1 to {MAX_SNAPLEN} bytes, not {snaplen}")
    return snaplen


def check(program: Iterable[Sequence[int]], *, loops: bool = False) -> Program:
    """Check a program as the kernel does (bpf_check_classic() and what it calls, net/core/filter.c).

    Parameters
    ----------
    program : iterable of (code, jt, jf, k)
        The program to check.
    loops : bool, default False
        Check as libpcap does instead: allow any number of instructions, and unconditional backward jumps,
        which libpcap generates for `ip6 protochain`.

    Returns
    -------
    Program
        The same program, as a tuple of tuples.

    Raises
    ------
    FilterError
        The program is not valid; the message has the index of the instruction and the reason.

    Examples
    --------
    >>> slimcap.filter.check([[6, 0, 0, 64]])
    ((6, 0, 0, 64),)
    """
    checked = tuple(_instruction(index, fields) for index, fields in enumerate(instructions_of(program)))
    if not checked or (len(checked) > MAX_LENGTH and not loops):
        raise FilterError(f"a program must have 1 to {MAX_LENGTH} instructions, not {len(checked)}")
    for index, instruction in enumerate(checked):
        if loops and jumps_back(index, instruction):
            continue
        reason = _reason_invalid(instruction, len(checked) - index - 1)
        if reason:
            raise _invalid(index, instruction, reason)
    if checked[-1][0] not in (RET | K, RET | A):
        raise _invalid(len(checked) - 1, checked[-1], "the last instruction must be a return")
    for index, words in _unstored(checked):
        raise _invalid(index, checked[index], _reason_unstored(checked[index], words))
    return checked


def jumps_back(index: int, instruction: Instruction) -> bool:
    """Return True if an instruction is a backward jump to an instruction of the program.

    libpcap interprets the `k` of an unconditional jump as a signed number. The kernel accepts no such jump.

    Parameters
    ----------
    index : int
        Index of the instruction in the program.
    instruction : Instruction
        Any instruction.

    Returns
    -------
    bool
        True for a backward jump whose target is not before the first instruction.
    """
    code, _, _, k = instruction
    return code == JMP | JA and -(index + 1) <= k - (1 << 32) < 0


def instructions_of(program: _Instructions) -> _Instructions:
    """Return a program; raise TypeError if it is not iterable, or is a str."""
    if isinstance(program, (str, bytes)) or not isinstance(program, Iterable):
        raise wrong_type("program", "a sequence of instructions (code, jt, jf, k)", program)
    return program


def check_filter_type(filter: object, name: str = "filter") -> None:
    """Raise TypeError for a filter that is neither an expression nor a sequence of instructions."""
    if isinstance(filter, bytes) or not isinstance(filter, Iterable):
        accepted = "an expression (str) or a sequence of instructions (code, jt, jf, k)"
        raise wrong_type(name, accepted, filter)


def _instruction(index: int, fields: Sequence[int]) -> Instruction:
    try:
        code, jt, jf, k = map(operator.index, fields)
    except (TypeError, ValueError):
        raise FilterError(
            f"instruction {index} must be four integers (code, jt, jf, k), not {fields!r}"
        ) from None
    for name, value, bits in (("code", code, 16), ("jt", jt, 8), ("jf", jf, 8), ("k", k, 32)):
        if not 0 <= value < 1 << bits:
            raise FilterError(
                f"instruction {index}: {name} must be an unsigned {bits}-bit integer, not {value}"
            )
    return code, jt, jf, k


def _reason_invalid(instruction: Instruction, remaining: int) -> str:
    """Return the reason why an instruction is not valid; "" if it is valid.

    `remaining` is the number of instructions after it.
    """
    code, jt, jf, k = instruction
    if code not in _CODES:
        return "unknown opcode"
    if code in (ALU | DIV | K, ALU | MOD | K) and k == 0:
        return "division by zero"
    if code in (ALU | LSH | K, ALU | RSH | K) and k >= 32:
        return "shift by 32 or more bits"
    if code in _STORES | _MEMORY_LOADS and k >= MEMORY_WORDS:
        return f"scratch memory has only {MEMORY_WORDS} words"
    if code == JMP | JA and k >= remaining:
        return "jump past the end of the program"
    if code in _CONDITIONAL and max(jt, jf) >= remaining:
        return "jump past the end of the program"
    if code in _PACKET_LOADS and k >= ANCILLARY and k not in _ANCILLARY_LOADS:
        return "unknown ancillary load"
    return ""


def _unstored(program: Program) -> Iterator[tuple[int, int]]:
    """Yield where scratch words may be loaded before they were stored (check_load_and_stores()).

    Each item is the index of the instruction and the words, one bit for each.
    """
    everything = (1 << MEMORY_WORDS) - 1
    stored_at = [everything] * len(program)
    stored = 0
    for index, (code, jt, jf, k) in enumerate(program):
        stored_at[index] &= stored
        stored = stored_at[index]
        if code in _STORES:
            stored |= 1 << k
        elif code in _MEMORY_LOADS:
            if not stored >> k & 1:
                yield index, 1 << k
        elif jumps_back(index, program[index]):
            # The words that are assumed to be stored at the target must be stored on this path, too.
            missing = stored_at[index + 1 + k - (1 << 32)] & ~stored
            if missing:
                yield index, missing
            stored = everything
        elif code == JMP | JA or code in _CONDITIONAL:
            for jump in (k,) if code == JMP | JA else (jt, jf):
                stored_at[index + 1 + jump] &= stored
            stored = everything  # the next instruction is reached by jumps only, if at all


def _reason_unstored(instruction: Instruction, words: int) -> str:
    if instruction[0] in _MEMORY_LOADS:
        return f"word {words.bit_length() - 1} of scratch memory may be loaded before it is stored"
    return "backward jump to a loop that loads scratch memory not stored here"


def zero_scratch(program: Program) -> Program:
    """Make a program store 0 first to all scratch words that it may load before it stores them.

    libpcap generates such loads, for example for `geneve` on 802.11 packets with radiotap headers. The kernel
    accepts none of them.

    Parameters
    ----------
    program : Program
        A program that is valid except for these loads.

    Returns
    -------
    Program
        The same program if there is no such load; otherwise a few instructions, followed by its own.
    """
    words = 0
    for _, found in _unstored(program):
        words |= found
    if not words:
        return program
    stores = tuple((ST, 0, 0, word) for word in range(MEMORY_WORDS) if words >> word & 1)
    return ((LD | IMM, 0, 0, 0), *stores, *program)


def _invalid(index: int, instruction: Instruction, reason: str) -> FilterError:
    code, jt, jf, k = instruction
    return FilterError(f"instruction {index} (code {code:#04x}, jt {jt}, jf {jf}, k {k:#x}): {reason}")


def pack(program: Iterable[Sequence[int]], *, loops: bool = False) -> bytes:
    """Check a program and convert it to the kernel's layout.

    Parameters
    ----------
    program : iterable of (code, jt, jf, k)
        The program.
    loops : bool, default False
        Check as libpcap does, instead of as the kernel does; see `check`.

    Returns
    -------
    bytes
        An array of `struct sock_filter`, 8 bytes per instruction.

    Raises
    ------
    FilterError
        The program is not valid; see `check`.

    Examples
    --------
    >>> len(slimcap.filter.pack(slimcap.filter.DROP))
    8
    """
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in check(program, loops=loops))


def with_snaplen(program: Program, snaplen: int) -> Program:
    """Make a program that accepts the same packets, but captures at most `snaplen` bytes of each.

    Parameters
    ----------
    program : Program
        A program that returns only constants. It is not modified.
    snaplen : int
        Maximum number of bytes to capture of a packet, 1 to 262144.

    Returns
    -------
    Program
        The same instructions, with returned numbers larger than `snaplen` replaced by it.

    Raises
    ------
    FilterError
        The program returns a computed number (`RET | A`), or `snaplen` is out of range.

    Examples
    --------
    >>> slimcap.filter.with_snaplen(slimcap.filter.accept(), 64)
    ((6, 0, 0, 64),)
    """
    check_snaplen(snaplen)
    for index, instruction in enumerate(instructions_of(program)):
        if instruction[0] == RET | A:
            raise _invalid(
                index, instruction, "a computed return value cannot be limited to a snaplen: use RET | K"
            )
    return tuple(
        (code, jt, jf, min(k, snaplen)) if code == RET | K else (code, jt, jf, k)
        for code, jt, jf, k in program
    )
