"""The `slimcap` command: help, version, wrong arguments, and what needs no capture file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

import slimcap
from slimcap.cli import main as main_module
from slimcap.cli.main import main
from slimcap.cli.packets.live_input import live_totals
from slimcap.source.live.rtnetlink import LinkDrops
from support.cli import JSON_KEYS, run_slimcap, sample_path


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"slimcap {slimcap.__version__}\n", "")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("read", JSON_KEYS),
        ("capture", ["INTERFACE", "--snaplen", "SIGTERM", "141"]),
        ("links", ["may_capture"]),
        ("doctor", ["INTERFACE", "privileges", "commands", "--strict"]),
        ("top", ["INTERFACE", "--interval", "packets/s", "Ctrl-Z"]),
        ("flows", ["FILE", "--window DURATION", "--to FILE", "{time:%Y%m%d-%H%M%S}", "SIGTERM"]),
        ("convert", ["IN OUT", "--split-seconds", "{index:05}", "Ctrl-C"]),
        ("merge", ["-w OUT", "--after TIME", "{index:05}"]),
    ],
)
def test_help_lists_options_within_80_columns(
    command: str, words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert main([command, "-h"]) == 0
    assert capsys.readouterr().out == text
    assert all(word in text for word in words)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["write"],
        ["read"],
        ["read", "-n", "-1", "x"],
        ["read", "-n", "one", "x"],
        ["read", "--bar", "x"],
        ["capture"],
        ["capture", "lo", "tcp", "--filter", "udp"],
        ["capture", "lo", "tcp", "--bar"],
        ["capture", "-i", "lo", "-c", "one"],
        ["capture", "lo", "-n", "-1"],
        ["capture", "lo", "-w"],
        ["capture", "lo", "-w", "x", "--json"],
        ["capture", "lo", "--direction", "up"],
        ["capture", "lo", "--duration", "0"],
        ["capture", "lo", "--duration", "nan"],
        ["capture", "lo", "--duration", "inf"],
        ["capture", "lo", "--duration", "soon"],
        ["capture", "lo", "--duration", "1 hour"],
        ["capture", "lo", "--snaplen", "0"],
        ["capture", "lo", "--buffer", "1MB"],
        ["capture", "lo", "--buffer", "2TiB"],
        ["capture", "lo", "--buffer", "much"],
        ["capture", "lo", "--latency", "0"],
        ["top", "lo", "--latency", "3601"],
        ["capture", "lo", "--snaplen", "262145"],
        ["capture", "lo", "--snaplen", "all"],
        ["links", "lo"],
        ["doctor", "--interval", "soon"],
        ["top"],
        ["top", "lo", "--batch", "0"],
        ["top", "lo", "--batch", "1", "--interval", "0.01"],
        ["top", "lo", "--batch", "1", "--rows", "0"],
        ["top", "lo", "--batch", "1", "--sort", "port"],
        ["top", "lo", "--batch", "1", "--by", "packets"],
        ["convert", "x"],
        ["convert", "x", "y", "z"],
        ["merge", "x"],
        ["merge", "-w", "x"],
    ],
)
def test_invalid_arguments_exit_with_usage(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: slimcap")
    assert "error: " in err


@pytest.mark.parametrize(
    "args", [["capture", "lo", "--bar"], ["read", "--bar", "x"], ["links", "lo"], ["convert", "x", "y", "z"]]
)
def test_unknown_arguments_show_the_usage_of_their_command(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"usage: slimcap {args[0]} ")
    assert f"slimcap {args[0]}: error: unrecognized arguments: " in err


def test_read_as_a_program_prints_a_line_per_packet() -> None:
    done = run_slimcap("read", "-n", "2", sample_path("mixed.pcap"))
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == [
        "2024-03-01 12:00:00.000004  -       42/42     no IP layer",
        "2024-03-01 12:00:00.000006  -       71/71     192.0.2.53:7007 => 233.252.0.1:7007 (proto: 17)",
    ]


def test_links_lists_the_interfaces_of_this_host(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["links", "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["index"], one["name"]) for one in shown] == [
        (link.index, link.name) for link in slimcap.links()
    ]
    assert shown


@pytest.mark.parametrize(("command", "options"), [("capture", []), ("top", ["--batch", "1"])])
def test_capture_from_an_unknown_interface_fails(
    command: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "no/interface", *options]) == 1
    out, err = capsys.readouterr()
    assert (out, err.startswith("slimcap: no interface 'no/interface' ")) == ("", True)


def test_totals_of_a_capture_are_singular_for_one_packet() -> None:
    source = SimpleNamespace(total_stats=slimcap.Stats(5, 1, 0), link_drops=LinkDrops(9, 2, 1))
    assert live_totals(source, 4) == (
        "4 packets captured\n5 packets received by filter\n"
        "1 packet dropped by kernel\n3 packets dropped by interface\n"
    )


def test_every_option_appears_in_a_test() -> None:
    parser = main_module._parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    options = {
        option
        for command in commands.choices.values()
        for action in command._actions
        for option in action.option_strings
    }
    assert len(options) >= 20
    tests = "".join(file.read_text() for file in Path(__file__).parents[1].rglob("test_*.py"))
    assert {option for option in options if f'"{option}"' not in tests} == set()
