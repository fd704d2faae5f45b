"""Find words of our own dialect in docstrings, comments, error messages, help texts and Markdown files.

    python .ci/prose.py [FILE …]        all files of the repository by default

Text in backticks, in code blocks and in the fields of f-strings is not prose. A literal use of a word is
listed in ALLOWED.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {".md", ".py", ".pyi", ".pyx", ".pxd"}

# What not to write, and what to write instead.
DIALECT = {
    r"\banew\b": "again",
    r"\bat the same place\b": "at the same offset",
    r"\bbad place\b": "error, damage",
    r"\bbehind\b": "after",
    r"\bbeside\b": "next to, with",
    r"\bbrought together\b": "concatenated",
    r"\b(do|does|did) not tell\b": "is not known, is not reported",
    r"\bfor ever\b": "forever",
    r"\bfor want of\b": "without",
    r"\b(go|goes) on\b": "continue",
    r"(?<!\s)(?<!there)\s+(is|are|was|were) no (?!longer|more than|less than)": "is not a",
    r"(?<!\s)(?<!there)\s+(is|are) (?-i:none)\b": "there is no",
    r"\bif nothing is (said|given)\b": "default: …",
    r"\bkeeps? the books\b": "count",
    r"\blook(ed|s)? after\b": "handle, refill",
    r"\bmakes? no sense\b": "is malformed, is not valid",
    r"\bno telling\b": "unknown",
    r"\bnobody\b": "no reader, no thread",
    r"\bon loan\b": "held by views, in use",
    r"\b(pass|passes|passed) over\b": "skip",
    r"\broom\b": "space, capacity",
    r"\b(said|say|says) of\b": "state",
    r"\b(see|sees) to it\b": "ensure",
    r"\bso (much|many) of\b": "at most N bytes of",
    r"\bsound\b": "valid",
    r"\bspoils?\b": "corrupt",
    r"\btaken for\b": "mistaken for, treated as",
    r"\b(takes?|took) (an?|the|its|no) (package|option|path|file|argument|number|list)s?\b": "require",
    r"\bthat it takes\b": "that match, that are accepted",
    r"\bthe other way (round|around)\b": "the reverse",
}
# A docstring starts with an imperative or a noun. Only benchmarks start with a question.
START = re.compile(r"\s*(what|whether|where|how|why|who|which)\b(?![^?]*\?)", re.IGNORECASE)

# Literal meanings, and examples: file, and a part of the line.
ALLOWED = {("tests/package/test_lint_checks.py", "")}

PATTERNS = [(re.compile(pattern, re.IGNORECASE), better) for pattern, better in DIALECT.items()]
LITERAL = re.compile(
    r'(?P<prefix>[rbfRBF]{0,2})(?P<text>"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')'
    r"|#(?P<comment>[^\n]*)",
    re.DOTALL,
)
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"``[^`]*``|`[^`\n]*`|\{[^{}\n]*\}")  # the latter: fields of f-strings


class Finding(NamedTuple):
    """A word to replace."""

    path: str
    line: int
    found: str
    better: str


def main(arguments: list[str]) -> int:
    """Check files; print what was found; return the exit code."""
    paths = [Path(name).resolve() for name in arguments] or repository_files()
    findings = [finding for path in paths for finding in check(path)]
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.found!r}: {finding.better}")
    print(f"{len(paths)} files, {len(findings)} words to replace")
    return 1 if findings or not paths else 0


def repository_files() -> list[Path]:
    """Return the tracked files that hold prose."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listing.stdout.splitlines() if Path(name).suffix in SUFFIXES]


def check(path: Path) -> list[Finding]:
    """Return the words of our dialect in a file."""
    name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
    source = path.read_text()
    prose = markdown_prose(source) if path.suffix == ".md" else code_prose(source)
    found = [finding for offset, text in prose for finding in words(name, source, offset, text)]
    lines = source.splitlines()
    return sorted(
        finding
        for finding in found
        if not any(name == file and part in lines[finding.line - 1] for file, part in ALLOWED)
    )


def words(name: str, source: str, offset: int, text: str) -> Iterator[Finding]:
    """Yield the words in a text that starts at an offset of the source."""
    plain = CODE.sub(lambda code: " " * len(code[0]), text)
    if source[offset - 3 : offset] == '"""' and (match := START.match(plain.partition("\n\n")[0])):
        yield Finding(name, source.count("\n", 0, offset) + 1, match[1], "start with an imperative or a noun")
    for pattern, better in PATTERNS:
        for match in pattern.finditer(plain):
            line = source.count("\n", 0, offset + match.start()) + 1
            yield Finding(name, line, " ".join(match[0].split()), better)


def code_prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield offset and text of comments and of strings that hold a sentence."""
    for match in LITERAL.finditer(source):
        if match["comment"] is not None:
            yield match.start("comment"), match["comment"]
        elif "b" not in match["prefix"].lower():
            quote = 3 if match["text"].startswith('"""') else 1
            text = match["text"][quote:-quote]
            if " " in text.strip():
                yield match.start("text") + quote, text


def markdown_prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield the text of a Markdown file, with code blocks blanked out."""
    yield 0, FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), source)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
