"""`slimcap capture` as tcpdump's users type it: -i, -c, the expression as last words, SIGUSR1."""

from __future__ import annotations

import signal
import time
import zlib
from pathlib import Path

import pytest

import slimcap
from support.batches import payloads_of
from support.capture_command import StartCapture, numbered_frames, payloads_in, totals
from support.cli import PATIENCE
from support.netns import Veth
from support.threads import wait_until


@pytest.mark.parametrize(
    ("link", "args"),
    [
        ("-i", ["right", "-c", "2", "udp", "and", "len", ">", "65"]),
        ("-i", ["right", "-c", "2", "udp and len > 65"]),
        ("right", ["udp", "and", "len > 65", "-c", "2"]),
        ("right", ["-c", "2", "udp", "and", "len > 65"]),
        ("-c", ["2", "right", "udp", "and", "len > 65"]),
        ("-c", ["2", "-i", "right", "--filter", "udp and len > 65"]),
        ("-c", ["2", "udp and len > 65", "-i", "right"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_interface_count_and_expression(
    veth: Veth, capture: StartCapture, tmp_path: Path, link: str, args: list[str]
) -> None:
    path = tmp_path / "out.pcap"
    running = capture(*args, f"-w{path}", link=link)
    assert running.first == "slimcap: listening on right, ETHERNET, snaplen 262144\n"
    sent = numbered_frames(veth, 7)
    veth.send(sent)
    code, _, err = running.end()
    assert (code, err.splitlines()[0]) == (0, "2 packets captured")
    assert payloads_in(path) == [frame for frame in sent if len(frame) > 65][:2]


@pytest.mark.parametrize(
    ("options", "ip_only"),
    [([], True), (["--everything"], False), (["arp"], False), (["--filter=ip"], False)],
)
def test_first_line_says_if_packets_without_ip_are_left_out(
    capture: StartCapture, options: list[str], ip_only: bool
) -> None:
    running = capture(*options, "-n", "0")
    assert running.first.endswith("IP packets only (see --everything)\n" if ip_only else "snaplen 262144\n")
    assert running.end()[0] == 0


def test_sigusr1_prints_the_counts_and_the_capture_goes_on(
    veth: Veth, capture: StartCapture, tmp_path: Path
) -> None:
    path = tmp_path / "out.pcap"
    running = capture("-w", path)
    sent = numbered_frames(veth, 5)
    veth.send(sent[:3])
    wait_until(lambda: path.stat().st_size > 24 + 3 * 60, PATIENCE)
    for _ in range(2):
        running.interrupt(signal.SIGUSR1)
        assert "".join(running.stderr.readline().decode() for _ in range(3)) == totals(3)
    veth.send(sent[3:])
    wait_until(lambda: path.stat().st_size > 24 + 5 * 60, PATIENCE)
    running.interrupt()
    assert running.end() == (0, b"", totals(5))
    assert payloads_in(path) == sent


def test_compressed_file_has_the_packets_after_a_second(
    veth: Veth, capture: StartCapture, tmp_path: Path
) -> None:
    """Also if no more packets come, and again for the next ones."""
    path = tmp_path / "out.pcap.gz"
    running = capture("-w", path)
    sent = numbered_frames(veth, 6)
    for count in (3, 6):
        veth.send(sent[count - 3 : count])

        def is_there(count: int = count) -> bool:
            return zlib.decompressobj(31).decompress(path.read_bytes()).endswith(sent[count - 1])

        began = time.monotonic()
        wait_until(is_there, PATIENCE)
        assert time.monotonic() - began < 10
    running.interrupt()
    assert running.end() == (0, b"", totals(6))
    assert payloads_of(slimcap.read(path)) == sent
