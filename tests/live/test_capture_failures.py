"""`slimcap capture`: output that cannot be written, interfaces that go, missing privileges."""

from __future__ import annotations

import resource
import signal
import time
from pathlib import Path

import pytest

from support.capture_command import (
    StartCapture,
    drop_net_raw,
    holds_packets,
    numbered_frames,
    payloads_in,
    totals,
)
from support.cli import PATIENCE
from support.netns import Veth
from support.threads import wait_until


@pytest.mark.parametrize(
    ("file", "message"),
    [("/dev/full", "write: No space left on device"), ("/no/such/folder", "No such file or directory")],
)
def test_file_that_cannot_be_written_fails(capture: StartCapture, file: str, message: str) -> None:
    running = capture("-w", file)
    assert running.first == f"slimcap: {file}: {message}\n"
    assert running.end() == (1, b"", "")


def test_full_standard_output_fails(veth: Veth, capture: StartCapture) -> None:
    with open("/dev/full", "wb") as full:
        running = capture("-n", "1", stdout=full)
        veth.send(numbered_frames(veth, 1))
        code, _, err = running.end()
    assert (code, err) == (1, totals(0, 1) + "slimcap: write error: No space left on device\n")


def test_file_size_limit_fails(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    running = capture("-w", path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
    veth.send(numbered_frames(veth, 100))
    code, out, err = running.end()
    assert (code, out) == (1, b"")
    assert "packets captured\n" in err
    assert err.endswith(f"slimcap: {path}: write: File too large\n")
    assert path.stat().st_size == 4096


@pytest.mark.parametrize("options", [[], ["--json"], ["-w", "-"]])
def test_output_pipe_without_a_reader_ends_with_the_status_of_sigpipe(
    veth: Veth, capture: StartCapture, options: list[str]
) -> None:
    running = capture(*options)
    running.stdout.close()
    veth.send(numbered_frames(veth, 1))
    assert running.process.wait(PATIENCE) == 128 + signal.SIGPIPE
    assert b"slimcap: " not in running.stderr.read()


def test_deleted_interface_ends_with_a_complete_file(
    veth: Veth, capture: StartCapture, tmp_path: Path
) -> None:
    path = tmp_path / "out.pcap"
    running = capture("-w", path)
    sent = numbered_frames(veth, 100)
    veth.send(sent)
    veth.namespace.ip("link delete left")
    code, out, err = running.end()
    assert (code, out) == (1, b"")
    assert err.endswith(
        totals(100) + "slimcap: right: the interface was removed: open a new source once it exists again\n"
    )
    assert payloads_in(path) == sent


def test_capture_goes_on_after_down_and_up(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    running = capture("-w", path)
    veth.namespace.ip("link set right down")
    time.sleep(0.3)
    assert running.process.poll() is None
    veth.namespace.ip("link set right up")
    (frame,) = numbered_frames(veth, 1)
    sent = 0

    def comes_through() -> bool:  # what is sent before the kernel has seen the carrier is lost
        nonlocal sent
        sent += veth.send([frame])
        return holds_packets(path, 1, len(frame))

    wait_until(comes_through, PATIENCE)
    running.interrupt()
    code, _, err = running.end()
    assert code == 0
    captured = payloads_in(path)
    assert err == totals(len(captured))
    assert 0 < len(captured) <= sent
    assert set(captured) == {frame}


def test_unknown_interface_fails(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    running = capture("-w", path, link="nowhere")
    assert running.first == (
        "slimcap: no interface 'nowhere' in this network namespace: `ip link` lists all interfaces\n"
    )
    assert running.end() == (1, b"", "")
    assert not path.exists()


def test_invalid_expression_leaves_the_file_alone(capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    path.write_bytes(b"what was there before")
    running = capture("-w", path, "--filter", "udp udp udp")
    assert running.first.startswith("slimcap: ")
    assert "udp udp udp" in running.first
    assert running.end() == (1, b"", "")
    assert path.read_bytes() == b"what was there before"


def test_missing_privilege_is_explained(capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    running = capture("-w", path, preexec_fn=drop_net_raw)
    assert running.first.startswith("slimcap: right: socket: capturing requires CAP_NET_RAW: ")
    assert "`sudo setcap cap_net_raw" in running.first
    assert running.end() == (1, b"", "")
    assert not path.exists()
