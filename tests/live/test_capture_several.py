"""`slimcap capture`, `flows --live` and `top` of several interfaces."""

from __future__ import annotations

import json
import socket
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import slimcap
from support.capture_command import StartCapture, numbered_frames, payloads_in
from support.cli import COMMAND, PATIENCE, NeedTool
from support.netns import Veth
from support.threads import wait_until


def cross(veth: Veth) -> list[bytes]:
    """Send three packets through the veth pair: one end sends them, and the other receives them."""
    sent = numbered_frames(veth, 3)
    veth.send(sent)
    return sent


def names_in(path: Path) -> Counter[str]:
    """Return the number of packets of each interface in a capture file."""
    batch = slimcap.read(path)
    return Counter(batch.links[number].name for number in batch["interface"].tolist())


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["left", "udp", "port", "5000"], {"right": 3, "left": 3}),
        (["l*t"], {"right": 3, "left": 3}),
        (["any", "--exclude", "r*"], {"right": 3, "left": 3}),
    ],
    ids=["names", "pattern", "any"],
)
def test_a_pcapng_file_has_the_packets_of_all(
    words: list[str], names: dict[str, int], veth: Veth, capture: StartCapture, tmp_path: Path
) -> None:
    """The interface `right`, which is named first, is captured from although a pattern excludes it."""
    path = tmp_path / "out.pcapng"
    running = capture(*words, "-n", "6", "-w", path)
    sent = cross(veth)
    code, output, errors = running.end()
    assert (code, output) == (0, b"")
    assert sorted(payloads_in(path)) == sorted(sent * 2)
    assert names_in(path) == names
    with slimcap.open_file(path) as source:
        list(source.batches())
        counts = {info.link.name: (info.received, info.os_dropped) for info in source.interfaces}
    assert {name: counts[name] for name in names} == dict.fromkeys(names, (3, 0))
    for name in names:
        assert f"  {name}: 3 received by filter, 0 dropped by kernel" in errors


def test_tshark_reads_the_interfaces(
    veth: Veth, capture: StartCapture, tmp_path: Path, need_tool: NeedTool
) -> None:
    path = tmp_path / "out.pcapng"
    running = capture("left", "-w", path, "-n", "6")
    cross(veth)
    assert running.end()[0] == 0
    command = [need_tool("tshark"), "-r", str(path), "-T", "fields", "-e", "frame.interface_name"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout
    assert Counter(shown.split()) == {"left": 3, "right": 3}


def test_interfaces_by_option_and_lines(veth: Veth, capture: StartCapture) -> None:
    running = capture("left", "-i", "right", "-n", "6", "--json", "udp", link="-i")
    assert "listening on right (ETHERNET), left (ETHERNET), snaplen" in running.first  # by index
    cross(veth)
    code, output, _ = running.end()
    assert code == 0
    assert len([json.loads(line) for line in output.splitlines()]) == 6


def test_an_exclusion_is_not_an_interface(veth: Veth, capture: StartCapture) -> None:
    running = capture("!left", link="-i")
    assert running.first == "slimcap: '!left' is not an interface: exclude with --exclude left\n"
    assert running.end()[0] == 1


def test_an_interface_that_appears_is_in_the_file(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    running = capture("new*", "-n", "1", "-w", path)
    veth.namespace.ip_batch(
        "link add new0 type veth peer name far0", "link set new0 addrgenmode none up", "link set far0 up"
    )
    veth.namespace.wait_until_up("new0")

    def is_captured() -> bool:
        veth.namespace.send("far0", numbered_frames(veth, 1))
        return running.process.poll() is not None

    wait_until(is_captured)
    assert running.end()[0] == 0
    assert set(names_in(path)) == {"new0"}


def test_a_pcap_file_of_several_interfaces_is_warned_about(
    veth: Veth, capture: StartCapture, tmp_path: Path
) -> None:
    running = capture("left", "-w", tmp_path / "out.pcap", "-n", "6")
    assert "pcap does not keep the interface of a packet" in running.first
    assert "listening on" in running.stderr.readline().decode()
    cross(veth)
    assert running.end()[0] == 0
    assert len(payloads_in(tmp_path / "out.pcap")) == 6


def test_pcap_refuses_two_link_types(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    veth.namespace.tun("tun0")
    running = capture("tun0", "-w", path, link="left")
    with veth.namespace.inside():
        subprocess.run(["ip", "address", "add", "192.0.2.9/24", "dev", "tun0"], check=True, timeout=PATIENCE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(b"data", ("192.0.2.77", 9))
    code, _, errors = running.end()
    assert code == 1
    assert "pcap has one link type for all packets" in errors


def test_flows_of_several_interfaces_are_one_table(veth: Veth, capture: StartCapture) -> None:
    running = capture("right", "--json", "--count", "6", command=("flows", "--live"), link="left")
    cross(veth)
    code, output, _ = running.end()
    records = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert [record["src_packets"] + record["dst_packets"] for record in records] == [6]


def test_top_names_all_interfaces(veth: Veth) -> None:
    with veth.namespace.inside():
        command = [COMMAND, "top", "left", "right", "--batch", "1"]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0
    assert done.stdout.startswith(b"right, left ")
