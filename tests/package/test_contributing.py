"""CONTRIBUTING.md: the places that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
QUESTION = re.compile(r"^\| ([a-z][^|]+) \| ((?:`slimcap/[\w/.]+`(?:, )?)+) \|$", re.MULTILINE)
WAY = re.compile(r"^    ((?:\w+/)+\w+\.pyx?)", re.MULTILINE)


def test_every_question_is_answered_by_paths_that_exist() -> None:
    questions = QUESTION.findall(TEXT)
    assert len({question for question, _ in questions}) == len(questions) >= 10
    for question, answer in questions:
        for path in re.findall(r"`([^`]+)`", answer):
            assert (ROOT / path).exists(), (question, path)


def test_files_on_the_ways_through_the_tree_exist() -> None:
    section = TEXT[TEXT.index("### Four ways through the tree") : TEXT.index("### A new source")]
    ways = section[section.index("```text") :].split("\n\n")
    assert len(ways) >= 4
    for way in ways[:4]:
        files = WAY.findall(way)
        assert len(files) >= 3, way
        for file in files:
            assert (ROOT / "slimcap" / file).is_file(), file
        for name in re.findall(r"(?<=[ →,])(?:\w+/)+\w+(?=[ ,\n])", way):
            assert list((ROOT / "slimcap").glob(f"{name}*")), name
