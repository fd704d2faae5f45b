"""Fixtures of the tests of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcap.cli.main import main
from support.cli import RunConvert


@pytest.fixture
def convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RunConvert:
    """Run `slimcap convert FILE OUT` with OUT in `tmp_path`; return its path.

    `code` is the expected exit status, `error` a part of standard error; default: 0, and nothing there.
    """

    def converted(file: Path, out: str, *args: object, code: int = 0, error: str = "") -> Path:
        assert main(["convert", *map(str, args), str(file), str(tmp_path / out)]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert error in captured.err if error else captured.err == ""
        return tmp_path / out

    return converted
