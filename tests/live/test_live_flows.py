"""Flow records of live packets: `slimcap.write` while the disk is slow, and `slimcap flows --live`."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import slimcap
from slimcap import FlowBatch
from slimcap.sink.flow_file import FlowFile
from support.capture_command import StartCapture, numbered_frames, totals
from support.cli import PATIENCE, environment
from support.flow_files import packets_in_files
from support.netns import Veth
from support.screen import Screen
from support.threads import Background, wait_until

pytest.importorskip("pyarrow.parquet")

README = Path(__file__).parents[2] / "README.md"
FLOWS = ("flows", "--live")
SENDER = """
import socket, sys, time
name, seconds = sys.argv[1], float(sys.argv[2])
frame = bytearray.fromhex(sys.argv[3])
frames = []
for number in range(5000):  # as many flows: the source port differs
    frame[34:36] = (1024 + number).to_bytes(2)
    frames.append(bytes(frame))
sent = 0
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
    out.setsockopt(263, 20, 1)  # SOL_PACKET, PACKET_QDISC_BYPASS
    out.bind((name, 0))
    send, start = out.send, time.monotonic()
    while time.monotonic() < start + seconds:
        for frame in frames[sent % 5000 : sent % 5000 + 500]:
            send(frame)
        sent += 500
        time.sleep(max(0, start + sent / 300_000 - time.monotonic()))  # 300,000 packets/s
print(sent)
"""


def test_no_packet_is_lost_while_the_disk_is_slow(
    veth: Veth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that writes sleeps for longer than the ring can hold packets."""
    add = FlowFile.add
    slept: list[bool] = []

    def stalled(file: FlowFile, batch: FlowBatch) -> None:
        if not slept:
            slept.append(True)
            time.sleep(3)
        add(file, batch)

    monkeypatch.setattr(FlowFile, "add", stalled)
    (frame,) = numbered_frames(veth, 1)
    with veth.namespace.inside(), slimcap.open_live("right") as source:
        stream = slimcap.flows(source, window=0.5)
        writing = Background(lambda: slimcap.write(stream, tmp_path / "{index}.parquet"))
        writing.wait_until_blocked()
        command = [sys.executable, "-P", "-c", SENDER, "left", "3.5", frame.hex()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        source.stop()
        records = writing.result(30)
        assert slept
        assert source.total_stats.packets_dropped == 0
        sent = int(done.stdout)
        assert stream.table.stats.packets == sent > 100_000
    assert records > 5000
    assert packets_in_files(tmp_path.iterdir()) == sent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_all_records(veth: Veth, capture: StartCapture, tmp_path: Path, number: int) -> None:
    path = tmp_path / "{index}.parquet"
    running = capture("--window", "1s", "--to", path, command=FLOWS)
    assert running.first.startswith("slimcap: listening on right, ETHERNET")
    veth.send(numbered_frames(veth, 1000))
    wait_until((tmp_path / "0.parquet").exists, PATIENCE)  # while there are no packets
    veth.send(numbered_frames(veth, 500))
    running.interrupt(number)  # most of them are still in the ring
    code, out, err = running.end()
    files = sorted(tmp_path.iterdir())
    assert (code, out) == (0, b"")
    assert err == f"{totals(1500)}{len(files)} flow records\n"
    assert packets_in_files(files) == 1500


def test_readme_recipe_of_telemetry(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    """Its command with shorter windows, and its query of their files."""
    duckdb = pytest.importorskip("duckdb")
    page = README.read_text()
    (words,) = (shlex.split(line) for line in page.splitlines() if line.startswith("slimcap flows --live "))
    (query,) = re.findall(r'"""(.+?from \'flows/.+?)"""', page, re.S)
    assert words[:4] == ["slimcap", "flows", "--live", "eth0"]
    (tmp_path / "flows").mkdir()
    running = capture(*("1s" if word == "5m" else word for word in words[4:]), command=FLOWS, cwd=tmp_path)
    for count in (20, 30):
        veth.send(numbered_frames(veth, count))
        wait_until(lambda: list(tmp_path.glob("flows/*.parquet")), PATIENCE)
    running.interrupt()
    assert running.end()[0] == 0
    sizes = sum(len(frame) for count in (20, 30) for frame in numbered_frames(veth, count))
    with duckdb.connect() as connection:
        rows = connection.sql(query.replace("flows/", f"{tmp_path}/flows/")).fetchall()
    assert [row[:3] for row in rows] == [("192.0.2.1", sizes, 0)]


def test_lines_are_printed_as_flows_end(veth: Veth, capture: StartCapture) -> None:
    running = capture("--json", "--idle-timeout", "0.1", "--count", "20", command=FLOWS)
    veth.send(numbered_frames(veth, 15))
    line = json.loads(running.stdout.readline())
    assert (line["src_packets"], line["dst_packets"], line["end_reason"]) == (15, 0, "IDLE")
    veth.send(numbered_frames(veth, 9))
    code, out, err = running.end()
    assert json.loads(out)["src_packets"] == 5
    assert code == 0
    assert err.startswith("20 packets captured\n")
    assert err.endswith("\n2 flow records\n")


def test_conditions_select_live_packets(veth: Veth, capture: StartCapture) -> None:
    args = ("--filter", "udp", "--host", "192.0.2.1", "--port", "7", "--top", "3", "--duration", "0.5s")
    running = capture(*args, "--snaplen", "96", "--promiscuous", "--direction", "in", command=FLOWS)
    veth.send(numbered_frames(veth, 3))
    assert running.end() == (0, b"", f"{totals(0, 3)}0 flow records\n")


def test_status_line_shows_flows_and_records(
    veth: Veth, capture: StartCapture, screen: Screen, tmp_path: Path
) -> None:
    pytest.importorskip("rich")
    options = {"stderr": screen.theirs, "env": environment()}
    running = capture("--to", tmp_path / "out.csv", "--idle-timeout", "1.5", command=FLOWS, **options)
    screen.until(b"listening on right")
    veth.send(numbered_frames(veth, 1234))
    screen.until(rb"0 dropped, 1,234 packets, 1 flows, 0 records, \d")
    screen.until(rb"0 dropped, 1,234 packets, 0 flows, 1 records, \d")
    running.interrupt()
    screen.until(rb"1 flow record\r\n")
    assert running.process.wait(PATIENCE) == 0


def test_sigusr1_prints_the_counts(veth: Veth, capture: StartCapture) -> None:
    running = capture(command=FLOWS)
    running.interrupt(signal.SIGUSR1)
    assert running.stderr.readline() == b"0 packets captured\n"
    running.interrupt()
    assert running.end()[0] == 0


def test_records_before_an_error_of_the_source_are_written(
    veth: Veth, capture: StartCapture, tmp_path: Path
) -> None:
    running = capture("--to", tmp_path / "out.parquet", command=FLOWS)
    veth.send(numbered_frames(veth, 30))
    veth.namespace.ip("link delete left")
    code, _, err = running.end()
    assert (code, err.startswith(totals(30) + "1 flow record\n")) == (1, True)
    assert "right" in err.splitlines()[-1]
    assert packets_in_files([tmp_path / "out.parquet"]) == 30


def test_a_file_that_exists_ends_the_capture(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "{time.min.year}.parquet"  # the same for each window
    running = capture("--window", "1", "--to", path, command=FLOWS)
    veth.send(numbered_frames(veth, 3))
    wait_until((tmp_path / "1.parquet").exists, PATIENCE)
    veth.send(numbered_frames(veth, 3))
    code, _, err = running.end()
    assert code == 1
    assert "1.parquet: File exists: use {index} in the template" in err
    assert packets_in_files([tmp_path / "1.parquet"]) == 3
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]
