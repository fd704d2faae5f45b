"""Constants that several modules need are declared once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "slimcap"

ONCE = {
    "nanoseconds in a second": r"^\s+\w+ = 1_?000_?000_?000\b",
    "maximum captured length": r"^\s+\w+ = 262_?144\b",
    "LINKTYPE_ETHERNET": r"^\s+LINKTYPE_ETHERNET = ",
    "NO_IP": r"^\s+NO_IP\w* = ",
}


def test_constants_of_compiled_modules_are_declared_once() -> None:
    files = [path for path in PACKAGE.rglob("*.p*") if path.suffix in (".pyx", ".pxd")]
    assert len(files) > 60
    found: Counter[str] = Counter()
    for path in files:
        for line in path.read_text().splitlines():
            found.update(name for name, pattern in ONCE.items() if re.search(pattern, line))
    assert found == dict.fromkeys(ONCE, 1)
