"""`--metrics` of `slimcap capture` and `slimcap flows --live`."""

from __future__ import annotations

import http.client
import re
import time
from pathlib import Path

import pytest

from support.capture_command import CaptureCommand, StartCapture, numbered_frames, totals
from support.cli import PATIENCE
from support.netns import Veth
from support.threads import wait_until
from support.traffic import arp

Samples = dict[str, int]
LISTENING = "slimcap: listening on right, ETHERNET, snaplen 262144"


def samples_of(text: str) -> Samples:
    """Parse the text format; every sample needs its type before it."""
    found: Samples = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"# TYPE (\w+) (counter|gauge)", line):
            kinds[match[1]] = match[2]
        elif not line.startswith("# HELP "):
            name, value = line.rsplit(" ", 1)
            base = name.partition("{")[0]
            assert kinds[base] == ("counter" if base.endswith("_total") else "gauge")
            found[name.replace('interface="right"', "").replace("{}", "")] = int(value)
    return found


def port_of(running: CaptureCommand) -> int:
    match = re.fullmatch(r"slimcap: metrics on http://127\.0\.0\.1:(\d+)/metrics\n", running.first)
    assert match
    assert running.stderr.readline().decode().startswith(LISTENING)
    return int(match[1])


def fetch(veth: Veth, port: int) -> Samples:
    with veth.namespace.inside():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            assert response.status == 200
            return samples_of(response.read().decode())
        finally:
            connection.close()


@pytest.fixture(autouse=True)
def with_loopback(veth: Veth) -> None:
    veth.namespace.ip("link set lo up")


def test_metrics_of_a_capture_over_http(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    running = capture("--metrics", "0", "-w", tmp_path / "x.pcap")
    port = port_of(running)
    assert fetch(veth, port)["slimcap_captured_packets_total"] == 0
    frames = numbered_frames(veth, 100)
    veth.send(frames)
    veth.send([arp()] * 7)  # filtered
    wait_until(lambda: fetch(veth, port)["slimcap_captured_packets_total"] == 100, PATIENCE)
    found = fetch(veth, port)
    running.interrupt()
    assert running.end() == (0, b"", totals(100))
    assert found == {
        "slimcap_captured_packets_total": 100,
        "slimcap_captured_bytes_total": sum(map(len, frames)),
        "slimcap_received_packets_total": 100,
        "slimcap_dropped_packets_total": 0,
        "slimcap_in_flight_packets": 0,
        "slimcap_link_packets_total": 107,
        "slimcap_link_dropped_packets_total": 0,
    }


def test_metrics_are_answered_while_the_output_is_blocked(veth: Veth, capture: StartCapture) -> None:
    """The reader of the pipe is slow: counters of the kernel are current all the same."""
    running = capture("--metrics", "0", "--json")
    port = port_of(running)
    deadline = time.monotonic() + PATIENCE
    sent = 0
    while fetch(veth, port)["slimcap_in_flight_packets"] < 500 and time.monotonic() < deadline:
        veth.send(numbered_frames(veth, 1000))
        sent += 1000
    found = fetch(veth, port)
    assert found["slimcap_in_flight_packets"] >= 500
    assert found["slimcap_link_packets_total"] == sent
    assert found["slimcap_captured_packets_total"] < sent


def test_metrics_of_flows_in_a_file(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "flows.prom"
    running = capture("--metrics", path, command=("flows", "--live"))
    assert running.first.startswith(LISTENING)
    assert samples_of(path.read_text())["slimcap_captured_packets_total"] == 0  # it is there at once
    veth.send(numbered_frames(veth, 50))
    running.interrupt()
    code, _, err = running.end()
    assert (code, err) == (0, f"{totals(50)}1 flow record\n")
    found = samples_of(path.read_text())
    assert found["slimcap_captured_packets_total"] == 50
    assert found["slimcap_active_flows"] == 0
    assert found["slimcap_started_flows_total"] == 1
    assert found["slimcap_other_packets_total"] == 0
    assert found['slimcap_flow_records_total{reason="FORCED"}'] == 1
    assert sum(value for name, value in found.items() if "flow_records" in name) == 1


def test_metrics_of_flows_while_they_are_active(veth: Veth, capture: StartCapture) -> None:
    running = capture("--metrics", "0", command=("flows", "--live"))
    port = port_of(running)
    veth.send(numbered_frames(veth, 50))
    wait_until(lambda: fetch(veth, port).get("slimcap_active_flows") == 1, PATIENCE)
    running.interrupt()
    assert running.end()[0] == 0


@pytest.mark.parametrize("target", ["missing/x.prom", "1"])
def test_metrics_that_cannot_be_exported_end_the_command(
    veth: Veth, capture: StartCapture, tmp_path: Path, target: str
) -> None:
    if target == "1":
        running = capture("--metrics", "0")
        target = str(port_of(running))
    failed = capture("--metrics", target, cwd=tmp_path)
    code, out, _ = failed.end()
    assert (code, out) == (1, b"")
    assert re.fullmatch(
        r"slimcap: .*(missing/x\.prom: No such file|127\.0\.0\.1:\d+: Address already).*\n", failed.first
    )
