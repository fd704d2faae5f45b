"""Classic BPF instructions that search a number of the packet in sorted ranges.

A number has one word of 32 bits (IPv4) or four (IPv6), each of which is loaded on its own. The ranges divide
the values of a word into intervals, which have one of three results: the number is in a range, it is not, or
the next word decides. A balanced tree of comparisons finds the interval:

                     word >= 10.0.3.0 ?
                  no /                \\ yes
      word >= 10.0.1.0 ?            word == 10.0.7.1 ?   up to four single values are compared in turn
         ...                           ...

Conditional jumps reach 255 instructions. So larger parts of the tree have their own exits at their end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from slimcap.filter.program import IND, JA, JEQ, JGE, JMP, LD, RET, Instruction, K, W

Range: TypeAlias = tuple[int, int]
"""First and last number."""

_WORD: Final = 32
_WORD_MASK: Final = (1 << _WORD) - 1
_FOUND: Final = -1  # jumps to the exits, in place of distances
_NOT_FOUND: Final = -2
_MAX_NEAR: Final = 240  # instructions of a part that shares the exits of others
_MAX_CHAIN: Final = 4  # single values that are compared in turn
_FULL: Final = 2 * _MAX_CHAIN  # intervals of these, with what is between them
_DONE: Final = (RET | K, 0, 0, _FOUND)
_GO_ON: Final = (JMP | JA, 0, 0, _NOT_FOUND)


class _Part(NamedTuple):
    """Instructions; if they have no exits of their own, conditional jumps go to exits, too."""

    code: list[Instruction]
    has_exits: bool


_Result: TypeAlias = int | _Part  # of an interval: _FOUND, _NOT_FOUND, or instructions for the next word
_Interval: TypeAlias = tuple[int, _Result]  # it ends where the next one starts


def search(ranges: Sequence[Range], words: int, offset: int, snaplen: int) -> list[Instruction]:
    """Return instructions that accept the packet if a number in it is in one of the ranges.

    Parameters
    ----------
    ranges : sequence of (int, int)
        First and last number of each range, sorted, without overlaps. At least one.
    words : int
        Number of words.
    offset : int
        Offset of the number, from X on.
    snaplen : int
        What to return to accept.

    Returns
    -------
    list of Instruction
        If the number is not found, they end with a jump to the instruction after them.
    """
    code = _with_exits(_word(ranges, words, offset))
    for index, (operation, jt, jf, k) in enumerate(code):
        if k < 0:
            code[index] = (operation, jt, jf, snaplen if k == _FOUND else len(code) - index - 1)
    return code


def _word(ranges: Sequence[Range], words: int, offset: int) -> _Part:
    """Return instructions that load the word at `offset`, and decide."""
    intervals = _intervals(ranges, words, offset)
    found = _tree(intervals, 0, len(intervals))
    if not isinstance(found, _Part):  # a range of all numbers
        found = _Part([_DONE if found == _FOUND else _GO_ON], has_exits=True)
    return _Part([(LD | W | IND, 0, 0, offset), *found.code], found.has_exits)


def _intervals(ranges: Sequence[Range], words: int, offset: int) -> list[_Interval]:
    """Return the intervals of the first word."""
    shift = _WORD * (words - 1)
    rest = (1 << shift) - 1
    found: list[_Interval] = [(0, _NOT_FOUND)]
    for first, last, inner in _by_word(ranges, shift):
        result: _Result = _FOUND
        if inner != [(0, rest)]:
            result = _word(inner, words - 1, offset + _WORD // 8)
        if found[-1][0] == first:
            found.pop()
        if not found or found[-1][1] != result:
            found.append((first, result))
        if last < _WORD_MASK:
            found.append((last + 1, _NOT_FOUND))
    return found


def _by_word(ranges: Sequence[Range], shift: int) -> list[tuple[int, int, list[Range]]]:
    """Return first and last word, and the ranges of what follows it, all of which have these words."""
    rest = (1 << shift) - 1
    found: list[tuple[int, int, list[Range]]] = []
    for start, end in ranges:
        first, last = start >> shift, end >> shift
        pieces = [(first, last, (0, rest))]
        if first == last:
            pieces = [(first, first, (start & rest, end & rest))]
        else:
            if start & rest:
                pieces = [(first, first, (start & rest, rest)), (first + 1, last, (0, rest))]
            if end & rest != rest:
                low, _, inner = pieces.pop()
                pieces += [(low, last - 1, inner)] if low < last else []
                pieces.append((last, last, (0, end & rest)))
        for low, high, inner in pieces:
            if found and found[-1][0] == found[-1][1] == low == high:
                found[-1][2].append(inner)
            else:
                found.append((low, high, [inner]))
    return found


def _tree(intervals: list[_Interval], low: int, high: int) -> _Result:
    """Return instructions that find the loaded word in `intervals[low:high]`, and decide."""
    if high - low == 1:
        return intervals[low][1]
    values = _single_values(intervals, low, high)
    if values is not None:
        value, result = values[0]
        if len(values) == 1 and isinstance(result, _Part):
            return _equal(value, result)
        if len(values) <= _MAX_CHAIN and all(result == _FOUND for _, result in values):
            *others, last = [value for value, _ in values]
            code = [(JMP | JEQ | K, _FOUND, 0, value) for value in others]
            return _Part([*code, (JMP | JEQ | K, _FOUND, _NOT_FOUND, last)], has_exits=False)
    middle = (high - low) // 2
    if high - low > _FULL:
        middle = (middle + _FULL - 1) // _FULL * _FULL  # so that most parts compare with four values
    middle += low
    if intervals[middle][1] != _NOT_FOUND and middle + 1 < high:
        middle += 1  # so that a part starts with what is between single values
    return _choice(intervals[middle][0], _tree(intervals, low, middle), _tree(intervals, middle, high))


def _single_values(intervals: list[_Interval], low: int, high: int) -> list[_Interval] | None:
    """Return the intervals that are in a range, if they are a few of a single value each; else None."""
    chosen: list[_Interval] = []
    for index in range(low, high):
        value, result = intervals[index]
        if result == _NOT_FOUND:
            continue
        following = intervals[index + 1][0] if index + 1 < len(intervals) else _WORD_MASK + 1
        if following != value + 1 or len(chosen) == _MAX_CHAIN:
            return None
        chosen.append((value, result))
    return chosen


def _equal(value: int, part: _Part) -> _Part:
    """Go to a part if the word is `value`."""
    if part.has_exits or len(part.code) > _MAX_NEAR:
        return _Part([(JMP | JEQ | K, 1, 0, value), _GO_ON, *_with_exits(part)], has_exits=True)
    return _Part([(JMP | JEQ | K, 0, _NOT_FOUND, value), *part.code], has_exits=False)


def _choice(value: int, left: _Result, right: _Result) -> _Part:
    """Go to the left if the word is less than `value`, else to the right."""
    parts = [one for one in (left, right) if isinstance(one, _Part)]
    size = sum(len(one.code) for one in parts)
    if size > _MAX_NEAR or any(one.has_exits for one in parts):
        first, second = _with_exits(left), _with_exits(right)
        jump = (JMP | JA, 0, 0, len(first))
        return _Part([(JMP | JGE | K, 0, 1, value), jump, *first, *second], has_exits=True)
    if isinstance(left, int):
        no, yes = left, right if isinstance(right, int) else 0
    else:
        no, yes = 0, right if isinstance(right, int) else len(left.code)
    return _Part([(JMP | JGE | K, yes, no, value), *(line for one in parts for line in one.code)], False)


def _with_exits(result: _Result) -> list[Instruction]:
    """Return the instructions of a part with its own exits."""
    if isinstance(result, int):
        return [_DONE if result == _FOUND else _GO_ON]
    if result.has_exits:
        return result.code
    end = len(result.code)
    exits = {_FOUND: end, _NOT_FOUND: end + 1}
    resolved: list[Instruction] = []
    for index, (code, jt, jf, k) in enumerate(result.code):
        yes, no = (exits[jump] - index - 1 if jump < 0 else jump for jump in (jt, jf))
        resolved.append((code, yes, no, k))
    return [*resolved, _DONE, _GO_ON]
