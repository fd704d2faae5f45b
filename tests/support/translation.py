"""A copy of the build's translator to C, without the package that it belongs to."""

from __future__ import annotations

import shutil
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "slimcap"


def translator_copy(folder: Path) -> Path:
    """Return a new package in `folder`, which has the translator and no modules to translate."""
    package = folder / "slimcap"
    package.mkdir()
    for name in ("errors.py", "option_set.py", "translate.py"):
        shutil.copy(PACKAGE / name, package)
    return package
