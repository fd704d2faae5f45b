"""Filters of more addresses than a classic BPF program can have: eBPF with maps of addresses and prefixes.

The filters have to match all, so that the program is a sequence. Each part accepts by going to the next one:

    set of hosts ─► set of hosts ─► classic program, which returns how many bytes to capture
      │ maps          │ maps
      └─► drop        └─► drop

Classic instructions are translated as the kernel does (bpf_convert_filter, net/core/filter.c). A is in R8, X
in R7, the socket buffer in R6, and scratch memory on the stack.
"""

from __future__ import annotations

import ctypes
import errno
import io
import os
import struct
from collections.abc import Sequence
from typing import Final

from slimcap.errors import FilterError
from slimcap.filter import program as classic
from slimcap.filter.host_set import LOOKUP, HostSet, keys_of, lookup_program
from slimcap.filter.program import Instruction, Program
from slimcap.source.live.ebpf_calls import bpf, fill_map

# linux/bpf.h
_MAP_CREATE: Final = 0
_PROG_LOAD: Final = 5
_HASH: Final = 1
_LPM_TRIE: Final = 11
_SOCKET_FILTER: Final = 1
_NO_PREALLOC: Final = 1
_PSEUDO_MAP_FD: Final = 1
_LOOKUP_ELEM: Final = 1

_ALU32, _JMP, _JMP32, _MOV, _END_TO_BE = 0x04, 0x05, 0x06, 0xB0, 0xD8
_JNE, _CALL, _EXIT = 0x50, 0x80, 0x90
_LOAD, _STORE = 0x61, 0x63  # a word, relative to a register
_LOAD_64, _MOV_64, _ADD_64 = 0x18, 0xBF, 0x07
_ABS, _IND = 0x20, 0x40
_X: Final = 0x08

_R0, _R1, _R2, _CTX, _X_REG, _A, _FRAME = 0, 1, 2, 6, 7, 8, 10
_SCRATCH: Final = -64  # of the frame: the 16 words of scratch memory
_KEY: Final = -96  # a key of a trie: length of the prefix, address
_LENGTH_SIZE: Final = 4
_ADDRESS_SIZES: Final = {4: 4, 6: 16}

# Fields of struct __sk_buff, and if they are in network byte order, for ancillary loads.
_LEN: Final = 0
_FIELDS: Final = {
    classic.ANCILLARY: (16, True),  # protocol
    classic.PKT_TYPE: (4, False),
    classic.ANCILLARY + 8: (40, False),  # ifindex
    classic.ANCILLARY + 20: (8, False),  # mark
    classic.ANCILLARY + 24: (12, False),  # queue
    classic.ANCILLARY + 32: (68, False),  # rxhash
    classic.VLAN_TAG: (24, False),
    classic.VLAN_TAG_PRESENT: (20, False),
    classic.ANCILLARY + 60: (28, True),  # vlan_tpid
}

_Tables = dict[int, list[tuple[int, int]]]  # IP version → kinds and descriptors of maps
_Line = tuple[int, int, int, "str | int", int]  # code, destination, source, label or offset, constant


def load_ebpf(sets: Sequence[HostSet], link_type: int, program: Program) -> io.FileIO:
    """Load an eBPF program for packets that are in all sets of hosts, and that a classic program accepts.

    Parameters
    ----------
    sets : sequence of HostSet
        Packets have to be in all of them.
    link_type : int
        LINKTYPE_ number of the packets.
    program : Program
        The classic program for packets that are.

    Returns
    -------
    io.FileIO
        The descriptor of the program. Close it once the program is attached to a socket, which keeps it.

    Raises
    ------
    FilterError
        The kernel does not permit or accept the program.
    """
    maps: list[int] = []
    try:
        lines: list[_Line | str] = [(_MOV_64, _CTX, _R1, 0, 0)]
        for number, hosts in enumerate(sets):
            tables: _Tables = {}
            for version, (addresses, prefixes) in keys_of(hosts).items():
                tables[version] = []
                for kind, keys in ((_HASH, addresses), (_LPM_TRIE, prefixes)):
                    if keys:
                        maps.append(_map_of(kind, keys, version))
                        tables[version].append((kind, maps[-1]))
            lines += _translated(lookup_program(hosts, link_type), number, f"part {number + 1}", tables)
        lines += _translated(program, len(sets), "", {})
        return io.FileIO(_load(_resolved(lines)))
    except OSError as error:
        raise FilterError(f"{' and '.join(map(repr, sets))}: {_reason(error)}") from error
    finally:
        for fd in maps:  # the program keeps them
            os.close(fd)


def _reason(error: OSError) -> str:
    if error.errno == errno.EPERM:
        return (
            "so many addresses require an eBPF program, which is not permitted: run as root, grant CAP_BPF, "
            "or capture with a simpler filter and use this one with Batch.filter"
        )
    return f"the kernel refuses the eBPF program ({error.strerror}): use this filter with Batch.filter"


def _map_of(kind: int, keys: bytes, version: int) -> int:
    """Create a map with these keys, and return its descriptor."""
    size = _ADDRESS_SIZES[version] + (_LENGTH_SIZE if kind == _LPM_TRIE else 0)
    flags = _NO_PREALLOC if kind == _LPM_TRIE else 0
    fd = bpf(_MAP_CREATE, bytearray(struct.pack("=5I44x", kind, size, 1, len(keys) // size, flags)))
    try:
        fill_map(fd, keys, size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _load(code: bytes) -> int:
    """Load a program, and return its descriptor."""
    instructions, license = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"MIT")
    attributes = struct.pack(
        "=IIQQIIQII16x40x", _SOCKET_FILTER, len(code) // 8, ctypes.addressof(instructions),
        ctypes.addressof(license), 0, 0, 0, 0, 0,
    )  # fmt: skip
    return bpf(_PROG_LOAD, bytearray(attributes))


def _resolved(lines: Sequence[_Line | str]) -> bytes:
    """Return the instructions, with distances in place of labels."""
    places: dict[str, int] = {}
    count = 0
    for line in lines:
        if isinstance(line, str):
            places[line] = count
        else:
            count += 1
    code: list[bytes] = []
    for line in lines:
        if isinstance(line, str):
            continue
        operation, target, source, jump, constant = line
        if isinstance(jump, str):
            jump = places[jump] - len(code) - 1
        if not -(1 << 15) <= jump < 1 << 15:
            raise FilterError("the filter is too long for an eBPF program: use it with Batch.filter")
        code.append(struct.pack("=BBhI", operation, source << 4 | target, jump, constant & 0xFFFFFFFF))
    return b"".join(code)


def _move(register: int, constant: int) -> list[_Line]:
    return [(_ALU32 | _MOV, register, 0, 0, constant)]


def _return(constant: int) -> list[_Line]:
    return [*_move(_R0, constant), (_JMP | _EXIT, 0, 0, 0, 0)]


def _translated(
    program: Sequence[Instruction], part: int, accepted: str, tables: _Tables
) -> list[_Line | str]:
    """Translate a classic program. Where it accepts, go to the label `accepted`, if that is given."""
    prefix = f"{part}."
    lines: list[_Line | str] = [f"part {part}", *_move(_A, 0), *_move(_X_REG, 0)]
    reached = _reached(program)
    for index, instruction in enumerate(program):
        if index not in reached:  # the kernel's verifier accepts no such instruction in eBPF
            continue
        code, jt, jf, k = instruction
        lines.append(f"{prefix}{index}")
        yes, no, following = (f"{prefix}{index + 1 + jump}" for jump in (jt, jf, 0))
        if code & ~7 == LOOKUP:
            lines += _lookup(k, code & 7, tables[code & 7], accepted)
        elif code == classic.JMP | classic.JA:
            lines.append((_JMP, 0, 0, f"{prefix}{index + 1 + k}", 0))
        elif code & 7 == classic.JMP:
            lines.append((code & ~7 | _JMP32, _A, _X_REG if code & _X else 0, yes, 0 if code & _X else k))
            if no != following:
                lines.append((_JMP, 0, 0, no, 0))
        elif code == classic.RET | classic.K and k and accepted:
            lines.append((_JMP, 0, 0, accepted, 0))
        else:
            lines += _plain(instruction)
    return lines


def _reached(program: Sequence[Instruction]) -> set[int]:
    """Return the indices of the instructions that a packet can get to."""
    reached = {0}
    for index, (code, jt, jf, k) in enumerate(program):  # all jumps are forward
        if index not in reached or code in (classic.RET | classic.K, classic.RET | classic.A):
            continue
        if code == classic.JMP | classic.JA:
            reached.add(index + 1 + k)
        elif code & 7 == classic.JMP:
            reached |= {index + 1 + jt, index + 1 + jf}
        else:
            reached.add(index + 1)
    return reached


def _lookup(offset: int, version: int, tables: Sequence[tuple[int, int]], found: str) -> list[_Line | str]:
    """Go to a label if the address at an offset from X on is in one of the maps."""
    size = _ADDRESS_SIZES[version]
    lines: list[_Line | str] = [*_move(_R0, 8 * size), (_STORE, _FRAME, _R0, _KEY, 0)]
    for at in range(0, size, 4):
        lines += [
            (_IND, 0, _X_REG, 0, offset + at),
            (_ALU32 | _END_TO_BE, _R0, 0, 0, 32),
            (_STORE, _FRAME, _R0, _KEY + _LENGTH_SIZE + at, 0),
        ]
    for kind, fd in tables:
        lines += [
            (_LOAD_64, _R1, _PSEUDO_MAP_FD, 0, fd),
            (0, 0, 0, 0, 0),
            (_MOV_64, _R2, _FRAME, 0, 0),
            (_ADD_64, _R2, 0, 0, _KEY if kind == _LPM_TRIE else _KEY + _LENGTH_SIZE),
            (_JMP | _CALL, 0, 0, 0, _LOOKUP_ELEM),
            (_JMP | _JNE, _R0, 0, found, 0),
        ]
    return lines


def _plain(instruction: Instruction) -> list[_Line]:
    """Translate an instruction that is not a jump."""
    code, _, _, k = instruction
    kind = code & 7
    if kind == classic.RET:
        if code == classic.RET | classic.K:
            return _return(k)
        return [(_ALU32 | _MOV | _X, _R0, _A, 0, 0), (_JMP | _EXIT, 0, 0, 0, 0)]
    if kind == classic.ALU:
        has_constant = not code & _X and code != classic.ALU | classic.NEG
        operation: list[_Line] = [(code, _A, _X_REG if code & _X else 0, 0, k if has_constant else 0)]
        if code in (classic.ALU | classic.DIV | _X, classic.ALU | classic.MOD | _X):
            return [(_JMP32 | _JNE, _X_REG, 0, 2, 0), *_return(0), *operation]
        return operation
    if kind in (classic.ST, classic.STX):
        return [(_STORE, _FRAME, _A if kind == classic.ST else _X_REG, _SCRATCH + 4 * k, 0)]
    if kind == classic.MISC:
        source, target = (_X_REG, _A) if code & classic.TXA else (_A, _X_REG)
        return [(_ALU32 | _MOV | _X, target, source, 0, 0)]
    return _load_of(code, k, _A if kind == classic.LD else _X_REG)


def _load_of(code: int, k: int, target: int) -> list[_Line]:
    """Translate a load."""
    mode, size = code & 0xE0, code & 0x18
    if code == classic.LDX | classic.B | classic.MSH:
        return [
            (_ABS | classic.B, 0, 0, 0, k),
            (_ALU32 | classic.AND, _R0, 0, 0, 0xF),
            (_ALU32 | classic.LSH, _R0, 0, 0, 2),
            (_ALU32 | _MOV | _X, _X_REG, _R0, 0, 0),
        ]
    if mode == classic.IMM:
        return _move(target, k)
    if mode == classic.MEM:
        return [(_LOAD, target, _FRAME, _SCRATCH + 4 * k, 0)]
    if mode == classic.LEN:
        return [(_LOAD, target, _CTX, _LEN, 0)]
    if mode == classic.ABS and k >= classic.ANCILLARY:
        if k not in _FIELDS:
            raise FilterError(
                f"ancillary load {k:#x} cannot be combined with so many hosts: use these with Batch.filter"
            )
        offset, in_network_order = _FIELDS[k]
        swap: list[_Line] = [(_ALU32 | _END_TO_BE, target, 0, 0, 16)] if in_network_order else []
        return [(_LOAD, target, _CTX, offset, 0), *swap]
    source = _X_REG if mode == classic.IND else 0
    return [(mode | size, 0, source, 0, k), (_ALU32 | _MOV | _X, target, _R0, 0, 0)]
