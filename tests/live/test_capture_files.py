"""`slimcap capture -w`: files, compared with tcpdump, and signals that end it."""

from __future__ import annotations

import functools
import signal
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import slimcap
from support.builders.pcapng import STATISTICS
from support.capture_command import (
    StartCapture,
    all_kinds,
    holds_packets,
    numbered_frames,
    payloads_in,
    totals,
)
from support.cli import PATIENCE, NeedTool
from support.netns import Veth
from support.pcapng_dump import blocks_of
from support.peers import listening_tcpdump, run_peer
from support.threads import wait_until


def test_snaplen_truncates_packets_in_the_file(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    running = capture("--snaplen", "50", "-n", "3", "-w", path)
    sent = numbered_frames(veth, 3, size=100)
    veth.send(sent)
    assert running.end() == (0, b"", totals(3))
    batch = slimcap.read(path)
    assert payloads_in(path) == [frame[:50] for frame in sent]
    assert batch["total_len"].tolist() == list(map(len, sent))
    assert struct.unpack_from("=I", path.read_bytes(), 16) == (50,)


@pytest.mark.parametrize("count", [0, 3])
def test_pcapng_has_the_interface_and_the_counts(
    count: int, veth: Veth, capture: StartCapture, tmp_path: Path
) -> None:
    path = tmp_path / "out.pcapng"
    running = capture("--filter", "udp", "--duration", "0.5", "-w", path)
    sent = numbered_frames(veth, count)
    veth.send(sent)
    assert running.end() == (0, b"", totals(count))
    assert payloads_in(path) == sent
    with slimcap.open_file(path) as source:
        assert sum(map(len, source.batches())) == count
        (info,) = source.interfaces
    assert (info.link.name, info.link.type, info.filter) == ("right", 1, "udp")
    assert (info.received, info.os_dropped, info.interface_dropped) == (count, 0, 0)
    (statistics,) = [block for block in blocks_of(path.read_bytes()) if block.type == STATISTICS]
    assert abs(statistics.fields[1] - time.time_ns()) < 60 * 10**9


def test_file_is_that_of_tcpdump(
    veth: Veth, capture: StartCapture, need_tool: NeedTool, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours.pcap", tmp_path / "theirs.pcap"
    tcpdump = need_tool("tcpdump")
    sent = all_kinds(veth) * 20
    with (
        veth.namespace.inside(),
        listening_tcpdump(tcpdump, "right", theirs, "--nano", "-s", "2000") as peer,
    ):
        running = capture("--everything", "--snaplen", "2000", "-n", str(len(sent)), "-w", ours)
        veth.send(sent)
        assert running.end() == (0, b"", totals(len(sent)))
        wait_until(lambda: theirs.exists() and theirs.stat().st_size >= ours.stat().st_size, PATIENCE)
        peer.send_signal(signal.SIGINT)
        assert f"{len(sent)} packets captured" in peer.communicate(timeout=PATIENCE)[1]

    def read_by_tcpdump(path: Path) -> bytes:
        return run_peer(tcpdump, "-r", path, "-t", "-nn", "-e", "-xx").stdout

    text = read_by_tcpdump(ours)
    assert text.count(b"0x0000:") == len(sent)
    assert text == read_by_tcpdump(theirs)
    assert ours.read_bytes()[:24] == theirs.read_bytes()[:24]
    apart = slimcap.read(ours)["timestamp"] - slimcap.read(theirs)["timestamp"]
    assert np.abs(apart).max() < 10**9


def test_file_on_standard_output(veth: Veth, capture: StartCapture) -> None:
    running = capture("-w", "-", "-n", "3")
    sent = numbered_frames(veth, 3)
    veth.send(sent)
    code, out, err = running.end()
    assert (code, err) == (0, totals(3))
    assert len(out) == 24 + sum(16 + len(frame) for frame in sent)
    assert out.endswith(sent[-1])


def test_file_of_more_than_the_ring_holds(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    """Blocks are released as they are written."""
    path = tmp_path / "out.pcap"
    running = capture("-w", path)
    sent = numbered_frames(veth, 500, size=1200)
    for n in range(1, 21):  # 13 MB through 4
        veth.send(sent)
        wait_until(functools.partial(holds_packets, path, 500 * n, len(sent[0])), PATIENCE)
    running.interrupt()
    assert running.end() == (0, b"", totals(10_000))
    assert payloads_in(path) == sent * 20


# ---- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_leaves_a_complete_file(
    veth: Veth, capture: StartCapture, tmp_path: Path, number: int
) -> None:
    path = tmp_path / "out.pcap"
    running = capture("-w", path)
    sent = numbered_frames(veth, 1000)
    veth.send(sent)
    running.interrupt(number)  # most of them are still in the ring
    assert running.end() == (0, b"", totals(1000))
    assert payloads_in(path) == sent


def test_repeated_signal_leaves_a_complete_file(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    """As timeout(1) sends it."""
    path = tmp_path / "out.pcap"
    running = capture("-w", path)
    sent = numbered_frames(veth, 100)
    veth.send(sent)
    for _ in range(3):
        running.interrupt()
        time.sleep(0.005)  # so that they do not count as one for the kernel
    assert running.end() == (0, b"", totals(100))
    assert payloads_in(path) == sent


def test_hangup_is_ignored_under_nohup(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    running = capture("-w", path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    running.interrupt(signal.SIGHUP)
    sent = numbered_frames(veth, 1)
    veth.send(sent)
    wait_until(lambda: holds_packets(path, 1, len(sent[0])), PATIENCE)
    running.interrupt()
    assert running.end() == (0, b"", totals(1))


def test_interrupt_while_idle(capture: StartCapture) -> None:
    running = capture()
    time.sleep(0.1)
    start = time.monotonic()
    running.interrupt()
    assert running.stderr.readline() == b"0 packets captured\n"
    # It takes less than 0.1 s; more only on a machine that has no time for us.
    assert time.monotonic() - start < 2
    assert running.end()[0] == 0


def test_second_interrupt_kills_while_the_output_pipe_is_full(veth: Veth, capture: StartCapture) -> None:
    running = capture("--json")
    for _ in range(5):
        veth.send(numbered_frames(veth, 400))  # more lines than a pipe holds
        time.sleep(0.05)
    running.interrupt()
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(0.5)
    running.interrupt()
    assert running.process.wait(PATIENCE) == -signal.SIGINT
