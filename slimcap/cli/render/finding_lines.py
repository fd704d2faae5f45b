"""Text form of the findings of `slimcap doctor`."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from slimcap.cli.terminal.streams import printable
from slimcap.source.live.host.finding import Finding, Status

_INDENT: Final = " " * 9  # the width of a status
_MIN_WIDTH: Final = 40


def finding_lines(findings: Sequence[Finding]) -> str:
    """Format findings, each with its advice and commands, and count those that need doing."""
    counts = Counter(finding.status for finding in findings)
    width = max(shutil.get_terminal_size().columns, _MIN_WIDTH)
    lines = [line for finding in findings for line in _lines(finding, width)]
    return "\n".join([*lines, "", _summary(counts), ""])


def _lines(finding: Finding, width: int) -> Iterator[str]:
    name = "" if finding.interface is None else f"{printable(finding.interface)} "
    yield from _wrapped(f"{finding.status:<9}{name}{finding.check}: {printable(finding.found)}", width)
    yield from _wrapped(f"{_INDENT}{printable(finding.advice)}" if finding.advice else "", width)
    for command in finding.commands:  # in one line each, to be copied
        yield f"{_INDENT}  {printable(command)}"


def _wrapped(text: str, width: int) -> Iterable[str]:
    return textwrap.wrap(
        text, width, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    )


def _summary(counts: Counter[Status]) -> str:
    problems, advice, unknown = counts[Status.PROBLEM], counts[Status.ADVICE], counts[Status.UNKNOWN]
    text = f"{problems} problem{'s' * (problems != 1)}, {advice} with advice"
    return f"{text}, {unknown} unknown" if unknown else text
