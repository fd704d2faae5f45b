"""Messages for a packet socket that is refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from slimcap.source.live.host.privileges import explain_refusal


def status(tmp_path: Path, effective: int) -> str:
    path = tmp_path / "status"
    path.write_text(f"Name:\tpython\nCapPrm:\tffffffffffffffff\nCapEff:\t{effective:016x}\nCapBnd:\t0\n")
    return str(path)


def test_without_the_capability_the_interpreter_itself_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """setcap(8) refuses the symbolic link that a virtual environment has."""
    real = tmp_path / "usr bin" / "python3"
    real.parent.mkdir()
    real.touch()
    link = tmp_path / "python"
    link.symlink_to(real)
    monkeypatch.setattr(sys, "executable", str(link))
    told = explain_refusal(status(tmp_path, 0xFFFF & ~(1 << 13)))
    assert f"`sudo setcap cap_net_raw,cap_net_admin=eip '{os.path.realpath(real)}'`" in told
    assert "run as root" in told
    assert "every script and user" in told


def test_with_the_capability_a_sandbox_is_named(tmp_path: Path) -> None:
    told = explain_refusal(status(tmp_path, 1 << 13))
    assert "although this process has CAP_NET_RAW: a sandbox" in told
    assert "sudo" not in told
    assert "setcap" not in told


def test_without_proc_the_capability_is_assumed_to_be_missing(tmp_path: Path) -> None:
    assert "setcap" in explain_refusal(str(tmp_path / "nothing"))
