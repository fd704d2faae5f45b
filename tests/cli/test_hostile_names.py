"""Names of files and interfaces that control a terminal, or are not UTF-8."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from slimcap.cli.main import main
from support.cli import run_slimcap

RED = "a\x1b[31m\nslimcap: all is well\r\x9b2J"


@pytest.fixture
def red(tmp_path: Path, data_path: Path) -> Path:
    path = tmp_path / f"{RED}.pcap"
    path.write_bytes((data_path / "bad" / "cut_data.pcap").read_bytes())
    return path


def test_errors_do_not_control_the_terminal(
    red: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    missing, out = str(red.with_suffix(".none")), tmp_path / "out.pcapng"
    broken = tmp_path / f"{RED}.pcapng"
    broken.write_bytes(b"no capture at all, only some text")
    tries: list[list[str]] = [
        ["read", missing],
        ["read", str(red)],
        ["read", str(broken)],
        ["info", str(red), str(broken)],
        ["convert", str(red), str(out)],
        ["convert", missing, str(out)],
        ["convert", str(red), str(tmp_path / RED / "out")],
        ["merge", str(red), str(broken), "-w", str(out)],
        ["capture", RED],
        ["read", str(red), "--to", str(red)],
        ["read", str(red), "--after", RED],
        ["convert", str(red), f"{RED}{{x}}.pcap", "--split-packets", "3"],
    ]
    for arguments in tries:
        assert main(arguments) != 0
        shown = capfd.readouterr().err
        lines = [line for line in shown.splitlines() if not line.startswith(("usage:", " "))]
        assert lines, arguments
        assert not [line for line in lines if line.startswith("slimcap: all is well")]
        assert not {"\x1b", "\r", "\x9b"} & set(shown), arguments
        assert "\\x1b[31m\\n" in shown, arguments


@pytest.mark.parametrize("command", ["read", "info"])
def test_json_of_names_that_are_not_utf8_is_valid(command: str, tmp_path: Path, data_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xe4\x80.pcap"
    with open(path, "wb") as file:
        file.write((data_path / "mixed.pcap").read_bytes())
    done = run_slimcap(command, "--json", path)
    assert done.returncode == 0
    found: list[str] = []
    for line in done.stdout.splitlines():
        collect(json.loads(line), found)
    assert any(text.endswith("/\\xff\\xe4\\x80.pcap") for text in found)
    for text in found:
        text.encode()  # raises if there are lone surrogates


def collect(value: Any, found: list[str]) -> None:
    """Append all texts in a value from JSON."""
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            collect(one, found)


def test_parts_of_a_split_do_not_replace_the_input(
    tmp_path: Path, data_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (data_path / "mixed.pcap").read_bytes()
    monkeypatch.chdir(tmp_path)
    for command in (["convert", "x-1.pcap", "x-{index}.pcap"], ["merge", "x-1.pcap", "-w", "x-{index}.pcap"]):
        Path("x-1.pcap").write_bytes(data)
        assert main([*command, "--split-packets", "50"]) == 1
        assert "is being read: choose another template" in capsys.readouterr().err
        assert Path("x-1.pcap").read_bytes() == data
        assert sorted(os.listdir()) == ["x-0.pcap", "x-1.pcap"]
    Path("link").symlink_to("x-1.pcap")
    assert main(["convert", "link", "x-{index}.pcap", "--split-packets", "50"]) == 1
    assert Path("x-1.pcap").read_bytes() == data
