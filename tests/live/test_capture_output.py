"""`slimcap capture`: lines, JSON, and which packets."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from support.capture_command import (
    StartCapture,
    all_kinds,
    numbered_frames,
    payloads_in,
    totals,
)
from support.cli import PATIENCE
from support.netns import Veth


def test_line_for_each_packet(veth: Veth, capture: StartCapture) -> None:
    running = capture("-n", "5")
    assert running.first == (
        "slimcap: listening on right, ETHERNET, snaplen 262144, IP packets only (see --everything)\n"
    )
    veth.send(numbered_frames(veth, 5))
    code, out, err = running.end()
    assert (code, err) == (0, totals(5))
    lines = out.decode().splitlines()
    assert len(lines) == 5
    for n, line in enumerate(lines):
        size = 14 + 28 + 20 + n
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9}  In   "
            rf"{size:>5}/{size:<5}  192\.0\.2\.1:4000 => 192\.0\.2\.2:5000 \(proto: 17\)",
            line,
        )


def test_lines_appear_at_once(veth: Veth, capture: StartCapture) -> None:
    running = capture("--json")
    for n in range(3):
        start = time.time_ns()
        veth.send(numbered_frames(veth, 1))
        shown = json.loads(running.stdout.readline())
        assert start <= shown["timestamp_ns"] <= time.time_ns(), n
    running.interrupt()
    assert running.end() == (0, b"", totals(3))


def test_count_is_exact(veth: Veth, capture: StartCapture) -> None:
    running = capture("-n", "7")
    veth.send(numbered_frames(veth, 50))
    code, out, err = running.end()
    assert (code, len(out.splitlines())) == (0, 7)
    assert err.startswith("7 packets captured\n")


def test_count_of_0_captures_nothing(capture: StartCapture) -> None:
    assert capture("-n", "0").end() == (0, b"", totals(0))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], 12),
        (["--everything"], 16),
        (["--filter", "udp and len > 900"], 1),
        (["--filter", "vlan 7"], 4),
        (["--direction", "in"], 12),
        (["--direction", "out"], 3),
        (["--direction", "both"], 12),
    ],
)
def test_options_select_packets(veth: Veth, capture: StartCapture, options: list[str], expected: int) -> None:
    running = capture("--json", *options)
    sent = all_kinds(veth)
    veth.send(sent)
    if "out" in options:
        veth.namespace.send(veth.right, numbered_frames(veth, 3))
    shown = [json.loads(running.stdout.readline()) for _ in range(expected)]
    running.interrupt()
    assert running.end() == (0, b"", totals(expected))
    assert (
        {one["type"] for one in shown} <= {"OUTGOING"} if "out" in options else {one["vlan"] for one in shown}
    )
    if options == ["--everything"]:
        assert [one["total_len"] for one in shown] == list(map(len, sent))
        assert [one["vlan"] for one in shown] == [None, 7, 8, None] * 4


def test_promiscuous_mode_ends_with_the_command(veth: Veth, capture: StartCapture) -> None:
    def is_promiscuous() -> bool:
        return "promiscuity 1" in veth.namespace.ip("-d link show right")

    assert not is_promiscuous()
    running = capture("--promiscuous")
    assert is_promiscuous()
    running.interrupt()
    assert running.end()[0] == 0
    assert not is_promiscuous()


@pytest.mark.parametrize("busy", [False, True])
def test_duration_ends_the_capture(veth: Veth, capture: StartCapture, tmp_path: Path, busy: bool) -> None:
    path = tmp_path / "out.pcap"
    start = time.monotonic()
    running = capture("--duration", "0.5", "-w", path)
    count = 0
    while busy and running.process.poll() is None:
        count += veth.send(numbered_frames(veth, 10))
    code, _, err = running.end()
    assert code == 0
    assert 0.5 <= time.monotonic() - start < PATIENCE / 2
    captured = int(err.split()[0])
    assert 10 * busy <= captured <= count
    assert err == totals(captured)
    assert len(payloads_in(path)) == captured


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["", "unbuffered"])
def test_drops_are_counted_while_nobody_reads(veth: Veth, capture: StartCapture, unbuffered: str) -> None:
    """Packets are dropped while no reader reads, and the drops are counted.

    All captured packets are written, even if the signal comes in the middle of a write.
    """
    running = capture("--json", "--buffer", "16MiB", env=os.environ | {"PYTHONUNBUFFERED": unbuffered})
    for _ in range(40):
        veth.send(numbered_frames(veth, 500, size=1200))  # 26 MB, where the ring holds 16
    time.sleep(0.3)  # the kernel closes its last block, though the machine may be busy
    running.interrupt()
    code, out, err = running.end()
    captured, received, dropped = map(int, re.findall(r"^(\d+) packets", err, re.M))
    assert code == 0
    assert received == 20_000
    assert len(out.splitlines()) == captured == received - dropped
    assert dropped > 0
