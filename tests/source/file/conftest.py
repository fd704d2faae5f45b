"""Fixtures of the tests of files that grow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.files import Growing


@pytest.fixture
def growing(tmp_path: Path) -> Callable[..., Growing]:
    """`growing(data, name)` makes a file that can be written to."""

    def make(data: bytes = b"", name: str = "growing") -> Growing:
        return Growing(tmp_path / name, data)

    return make
