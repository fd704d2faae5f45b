"""Conditions on headers as options of the commands: the packets that the library finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slimcap import read
from slimcap.cli.main import main
from support.cli import RunConvert, facts_in

CASES: list[tuple[list[str], dict[str, Any]]] = [
    (["--port", "53", "--port", "80"], {"port": [53, 80]}),
    (["--port", "80-443", "--protocol", "tcp"], {"port": range(80, 444), "protocol": 6}),
    (["--net", "192.0.2.0/24"], {"net": "192.0.2.0/24"}),
    (["--host", "192.0.2.10", "--inner"], {"host": "192.0.2.10", "inner": True}),
    (["--vlan", "100"], {"vlan": 100}),
    (
        ["--port", "80", "--inner", "--tunnel-ports", "vxlan=8472,4789", "--tunnel-ports", "gtpu=2153"],
        {"port": 80, "inner": True, "tunnel_ports": {"vxlan": [8472, 4789], "gtpu": [2153]}},
    ),
]


def run(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    assert main([str(one) for one in args]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize(("arguments", "conditions"), CASES)
def test_commands_select_as_the_library_does(
    arguments: list[str], conditions: dict[str, Any], data_path: Path, tmp_path: Path, convert: RunConvert,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = data_path / "mixed.pcap"
    wanted = read(path, where=conditions)
    assert 0 < len(wanted) < len(read(path))
    times = wanted["timestamp"].tolist()
    lines = run(capsys, "read", "--json", *arguments, path).splitlines()
    assert [json.loads(line)["timestamp_ns"] for line in lines] == times
    assert json.loads(run(capsys, "info", "--json", *arguments, path))["packets"] == len(wanted)
    assert [fact[0] for fact in facts_in(convert(path, "out.pcap", *arguments))] == times
    run(capsys, "merge", *arguments, "-w", tmp_path / "merged.pcap", path)
    assert [fact[0] for fact in facts_in(tmp_path / "merged.pcap")] == times


def test_a_printed_flow_and_a_community_id_are_found(
    data_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = data_path / "mixed.pcap"
    line = next(line for line in run(capsys, "read", path).splitlines() if "proto: 17" in line)
    flow = line[line.index("/") :].split(None, 1)[1].split("  ")[0]
    assert line in run(capsys, "read", "--flow", flow, path).splitlines()
    batch = read(path)
    ids = batch.headers(["community_id"])["community_id"]
    one = ids[ids != b""][0]
    found = run(capsys, "read", "--community-id", one.decode(), path).splitlines()
    assert len(found) == (ids == one).sum() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "example.org"], "argument --host: must be an IPv4 or IPv6 address, not 'example.org'"),
        (["--port", "http"], "argument --port: must be a port, or a range"),
        (["--community-id", ""], "argument --community-id: must be a Community ID"),
        (["--vlan", "0"], "argument --vlan: must be 1 to 4095, not 0"),
        (["--vlan", "x"], "argument --vlan: must be an integer"),
        (["--flow", "x"], "argument --flow: must be such as"),
        (["--inner"], "--inner requires a condition"),
        (["--host", "::1", "--tunnel-ports", "vxlan=8472"], "--tunnel-ports requires --inner"),
        (["--tunnel-ports", "vxlan"], "argument --tunnel-ports: 'vxlan' is not such as"),
        (
            ["--tunnel-ports", "vxlan=99999"],
            "argument --tunnel-ports: a port of tunnel_ports['vxlan'] must be",
        ),
        (["--tunnel-ports", "vxlam=8472"], "argument --tunnel-ports: 'vxlam' is not a tunnel over UDP: did"),
    ],
)
def test_values_that_are_not_valid(
    arguments: list[str], message: str, data_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["read"], ["info"], ["convert", "-"], ["merge", "-w", "-"]):
        assert main([command[0], *arguments, str(data_path / "mixed.pcap"), *command[1:]]) == 2
        assert message in capsys.readouterr().err


def test_help_says_what_an_expression_does_not_see(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("read", "info", "convert", "merge"):
        text = run(capsys, command, "--help")
        assert "not those with VLAN tags, MPLS" in text
        for flag in (
            "--host",
            "--net",
            "--port",
            "--protocol",
            "--flow",
            "--community-id",
            "--vlan",
            "--inner",
        ):
            assert flag in text
