"""Combine programs: one of several has to match, or both of two.

The time that libpcap takes for a long list of alternatives grows with its square, and more. So
`host A or host B or host C or …` becomes several expressions, compiled each on its own. In the program that
is made of theirs, a packet that does not match the first one goes to the second, and so on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from slimcap.filter.program import IMM, JA, JMP, LD, LDX, RET, K, Program

_MAX_TERMS: Final = 50  # of a part; 500 hosts take 20 s as one expression, 0.2 s in ten parts
_OR: Final = re.compile(r"\s+or\s+|\s*\|\|\s*")
_WORD: Final = re.compile(r"[\w.:/-]+", re.ASCII)
_ADDRESS_OR_NUMBER: Final = re.compile(r"\d|.*[.:]")  # unlike any keyword
_PROTOCOLS: Final = ("ether", "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp")
_QUALIFIERS: Final = frozenset(("src", "dst", "host", "net", "port", "portrange", "proto", *_PROTOCOLS))
_DIRECTIONS: Final = frozenset(("src", "dst"))
# Words that bind to more than their own term. The encapsulations change what all later terms refer to.
_ENCAPSULATIONS: Final = ("vlan", "mpls", "pppoed", "pppoes", "geneve", "vxlan")
_NOT_SEPARATE: Final = frozenset(("and", "or", "not", "mask", *_ENCAPSULATIONS))


def split_alternatives(expression: str) -> list[str]:
    """Split an expression into parts, of which a packet must match one.

    Only lists of more than 50 simple terms with `or` between them are split. A term without qualifiers has
    those of the term before it, which a part then repeats at its start.

    Parameters
    ----------
    expression : str
        A tcpdump expression, valid or not.

    Returns
    -------
    list of str
        The parts in order; the expression itself if it is short, or not such a list.
    """
    terms = [term.split() for term in _OR.split(expression.strip())]
    if len(terms) <= _MAX_TERMS or not _are_simple(terms):
        return [expression]
    parts: list[list[str]] = [[]]
    qualifiers: list[str] = []
    for term in terms:
        full = term
        if len(term) > 1:
            qualifiers = term[:-1] if _QUALIFIERS.issuperset(term[:-1]) else []
        elif _ADDRESS_OR_NUMBER.match(term[0]):
            full = [*qualifiers, *term]
        else:
            qualifiers = []  # it may be a keyword, or a name with the qualifiers before it
        if len(parts[-1]) >= _MAX_TERMS and len(full) > 1:
            parts.append([])
            term = full
        parts[-1].append(" ".join(term))
    return [" or ".join(part) for part in parts]


def _are_simple(terms: list[list[str]]) -> bool:
    words = {word for term in terms for word in term}
    if words & _NOT_SEPARATE or not all(map(_WORD.fullmatch, words)):
        return False
    return all(term and term[-1] not in _DIRECTIONS for term in terms)  # `src or dst host A` is one term


def match_any(programs: Sequence[Program]) -> Program:
    """Make a program that runs others in turn until one accepts the packet.

    Parameters
    ----------
    programs : sequence of Program
        One program or more. Each accepts by `RET | K`, or drops by `RET | K` with 0.

    Returns
    -------
    Program
        All instructions, with a jump to the next program in place of each that drops, except in the last.
    """
    *others, last = programs
    jumping = [
        (JMP | JA, 0, 0, len(program) - index - 1) if instruction == (RET | K, 0, 0, 0) else instruction
        for program in others
        for index, instruction in enumerate(program)
    ]
    return (*jumping, *last)


def match_both(first: Program, second: Program) -> Program:
    """Make a program that drops what one program drops, and runs another one for the rest.

    Parameters
    ----------
    first : Program
        It only decides which packets the second one sees. Each return is `RET | K`.
    second : Program
        The program that determines how many bytes to capture.

    Returns
    -------
    Program
        All instructions, with a jump to the second program in place of each with which the first one accepts.
        Before the second one the registers are set to 0, as at the start of a program.
    """
    jumping = [
        (JMP | JA, 0, 0, len(first) - index - 1) if code == RET | K and k else (code, jt, jf, k)
        for index, (code, jt, jf, k) in enumerate(first)
    ]
    return (*jumping, (LD | IMM, 0, 0, 0), (LDX | IMM, 0, 0, 0), *second)
