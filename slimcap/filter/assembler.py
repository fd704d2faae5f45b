"""Assembler of classic BPF programs whose jumps refer to labels."""

from __future__ import annotations

from collections.abc import Sequence

from slimcap.filter.program import JA, JEQ, JMP, RET, Instruction, K, Program


class Assembler:
    """Assembler of programs whose jumps refer to labels; an empty label is the next instruction."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, int, str, str]] = []
        self._blocks: dict[int, Sequence[Instruction]] = {}
        self._labels: dict[str, int] = {}
        self._length = 0

    def label(self, name: str) -> None:
        """Give the next instruction a name."""
        self._labels[name] = self._length

    def add(self, code: int, k: int = 0, yes: str = "", no: str = "") -> None:
        """Append an instruction. A conditional jump goes to one of two labels, another one to `yes`."""
        self._lines.append((code, k, yes, no))
        self._length += 1

    def block(self, instructions: Sequence[Instruction]) -> None:
        """Append instructions whose jumps stay within them or go to the instruction after them."""
        self._blocks[len(self._lines)] = instructions
        self._lines.append((0, 0, "", ""))
        self._length += len(instructions)

    def if_any(self, values: tuple[int, ...], yes: str) -> None:
        """Jump to `yes` if A is one of the values."""
        for value in values:
            self.add(JMP | JEQ | K, value, yes)

    def accept(self, snaplen: int) -> None:
        """Append a return that accepts the packet."""
        self.add(RET | K, snaplen)

    def drop(self) -> None:
        """Append a return that drops the packet."""
        self.add(RET | K, 0)

    def program(self) -> Program:
        """Return the instructions. A conditional jump must not be longer than 255 instructions."""
        made: list[Instruction] = []
        for number, (code, k, yes, no) in enumerate(self._lines):
            if number in self._blocks:
                made += self._blocks[number]
                continue
            here = len(made) + 1
            jt, jf = (self._labels[name] - here if name else 0 for name in (yes, no))
            made.append((code, 0, 0, jt) if code == JMP | JA else (code, jt, jf, k))
        return tuple(made)
