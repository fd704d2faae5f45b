"""`slimcap doctor`, in namespaces with their own /sys."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from slimcap.source.live import rtnetlink
from slimcap.source.live.host import ethtool
from slimcap.source.live.host.finding import Finding, Status
from slimcap.source.live.host.link_checks import check_link, find_net
from support.capture_command import PR_CAPBSET_DROP, drop_net_raw
from support.cli import COMMAND, PATIENCE
from support.netns import Namespace, Veth

Findings: TypeAlias = dict[tuple[str | None, str], dict[str, Any]]
# /sys shows the network namespace that it was mounted in.
OWN_SYS = ("unshare", "--mount", "sh", "-c", 'mount -t sysfs none /sys && exec "$@"', "sh")


def run_doctor(
    namespace: Namespace, *args: str, own_sys: bool = True, **options: Any
) -> subprocess.CompletedProcess[str]:
    command = [*(OWN_SYS if own_sys else ()), COMMAND, "doctor", "--interval", "0.1", *args]
    with namespace.inside():
        return subprocess.run(command, capture_output=True, timeout=PATIENCE, text=True, **options)


def examine(namespace: Namespace, *args: str, **options: Any) -> tuple[int, Findings]:
    done = run_doctor(namespace, "--json", *args, **options)
    assert done.stderr == ""
    rows = list(map(json.loads, done.stdout.splitlines()))
    assert all([*row] == ["check", "interface", "status", "found", "advice", "commands"] for row in rows)
    return done.returncode, {(row["interface"], row["check"]): row for row in rows}


def test_a_quiet_veth_pair_has_no_problems(veth: Veth) -> None:
    code, found = examine(veth.namespace)
    assert code == 0
    assert {name for name, _ in found if name} == {"left", "right"}  # lo is down
    assert found[None, "privileges"]["status"] == "ok"
    assert found[None, "kernel"]["status"] == "ok"
    assert "libpcap version" in found[None, "libpcap"]["found"]
    assert found["right", "interface"]["found"] == "up, ETHERNET, MTU 1,500"
    assert found["right", "queues"]["status"] == "ok"
    assert found["right", "drops"]["status"] == "ok"


def test_offloads_are_advice_until_the_commands_are_run(veth: Veth, need_tool: Callable[[str], str]) -> None:
    need_tool("ethtool")
    code, found = examine(veth.namespace, "right")
    row = found["right", "offloads"]
    assert (code, row["status"]) == (0, "advice")
    assert "tso" in row["found"]
    assert "larger than the MTU" in row["advice"]
    assert run_doctor(veth.namespace, "--strict", "right").returncode == 1
    with veth.namespace.inside():
        for command in row["commands"]:
            subprocess.run(command, shell=True, check=True, timeout=PATIENCE)
    _, found = examine(veth.namespace, "right")
    assert found["right", "offloads"]["status"] == "ok"
    assert found["right", "offloads"]["found"].startswith("on: none")


def test_features_are_those_that_ethtool_shows(veth: Veth, need_tool: Callable[[str], str]) -> None:
    need_tool("ethtool")
    with veth.namespace.inside():
        shown = subprocess.run(
            ["ethtool", "-k", "right"], capture_output=True, text=True, timeout=PATIENCE, check=True
        ).stdout
        features = ethtool.features("right")
    words = dict(line.strip().split(": ") for line in shown.splitlines() if ": " in line)
    for name, long in (("rx-gro", "generic-receive-offload"), ("rx-lro", "large-receive-offload")):
        assert (
            words[long]
            == f"{'on' if features[name].active else 'off'}{' [fixed]' * (not features[name].changeable)}"
        )


def test_interfaces_that_receive_nothing_are_problems(veth: Veth) -> None:
    veth.namespace.ip("link set dev left down")
    code, found = examine(veth.namespace, "left", "right", "nope")
    assert code == 1
    down, without, missing = (found[name, "interface"] for name in ("left", "right", "nope"))
    assert {row["status"] for row in (down, without, missing)} == {"problem"}
    assert "up without carrier" in without["found"]
    assert "no interface 'nope'" in missing["found"]
    veth.namespace.ip(down["commands"][0].removeprefix("sudo ").removeprefix("ip "))
    veth.namespace.wait_until_up("left", "right")
    code, found = examine(veth.namespace, "left", "right")
    assert (code, found["right", "interface"]["status"]) == (0, "ok")


def test_unsupported_link_type_is_advice(namespace: Namespace) -> None:
    namespace.tun("odd", arphrd=280)  # CAN
    _, found = examine(namespace, "odd")
    assert found["odd", "interface"]["status"] == "advice"
    assert "ARPHRD_ 280" in found["odd", "interface"]["advice"]


def test_without_privileges_it_says_what_it_cannot_see(veth: Veth) -> None:
    code, found = examine(veth.namespace, "right", preexec_fn=drop_net_raw)
    assert code == 1
    refused = found[None, "privileges"]
    assert refused["status"] == "problem"
    (command,) = refused["commands"]
    interpreter = command.split()[-1]
    assert command.startswith("sudo setcap cap_net_raw,cap_net_admin=eip ")
    assert os.path.isfile(interpreter)
    assert not os.path.islink(interpreter)
    assert found[None, "kernel"]["status"] == "unknown"
    assert found["right", "interface"]["status"] == "ok"


def test_a_user_without_any_privilege_can_run_it(veth: Veth) -> None:
    def drop_all() -> None:  # but not the user, who may be the only one to read the interpreter
        for number in range(64):
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, number)

    code, found = examine(veth.namespace, "right", own_sys=False, preexec_fn=drop_all)
    assert code == 1
    assert found[None, "privileges"]["status"] == "problem"
    assert found["right", "drops"]["status"] == "ok"
    assert found[None, "receive_buffer"]["status"] in ("ok", "unknown", "advice")
    assert "CAP_NET_ADMIN permits" not in found[None, "receive_buffer"]["found"]


def test_sys_of_another_namespace_is_not_read(veth: Veth) -> None:
    _, found = examine(veth.namespace, "right", own_sys=False)
    assert found["right", "queues"]["status"] == "unknown"
    assert "another network namespace" in found["right", "queues"]["found"]


def test_rps_is_seen(veth: Veth) -> None:
    with veth.namespace.inside():
        command = "mount -t sysfs none /sys && echo 1 > /sys/class/net/right/queues/rx-0/rps_cpus"
        subprocess.run(["unshare", "--mount", "sh", "-c", command], check=True, timeout=PATIENCE)
    _, found = examine(veth.namespace, "right")
    assert found["right", "queues"]["found"].endswith("RPS on 1")


def test_hostile_interface_name_is_quoted_and_escaped(veth: Veth) -> None:
    veth.namespace.ip("link set dev right down")
    with veth.namespace.inside():
        subprocess.run([b"ip", b"link", b"set", b"right", b"name", b"a;b\x1b\xff"], check=True, timeout=20)
    done = run_doctor(veth.namespace, os.fsdecode(b"a;b\x1b\xff"))
    assert (done.returncode, done.stderr) == (1, "")
    assert "a;b\\x1b\\xff interface: down" in done.stdout
    assert "\x1b" not in done.stdout
    assert "ip link set dev 'a;b\\x1b\\xff' up" in done.stdout


def test_text_has_a_line_for_each_finding_and_counts(veth: Veth) -> None:
    done = run_doctor(veth.namespace, "right", "nope", env=os.environ | {"COLUMNS": "200"})
    lines = done.stdout.splitlines()
    assert "ok       right interface: up, ETHERNET, MTU 1,500" in lines
    assert any(line.startswith("problem  nope interface: no interface 'nope'") for line in lines)
    assert lines[-1].startswith("1 problem, ")


def test_packets_that_an_interface_drops_are_seen(namespace: Namespace) -> None:
    device = namespace.tun("tun0")
    with namespace.inside():
        before = rtnetlink.state(rtnetlink.find("tun0").ifindex, "tun0")
        for _ in range(5):
            with pytest.raises(OSError, match="Invalid argument"):
                os.write(device, bytes(20))  # IP has no version 0
        found = {finding.check: finding for finding in check_link("tun0", before, 0.5, Path("/"), None)}
    assert found["drops"].status is Status.ADVICE
    assert found["drops"].found == "5 packets lost of 5, 5 of them in the last 0.5 s (rx_dropped 5)"


# ---- devices, which are simulated


def device_tree(root: Path, veth: Veth, interrupts: str, affinity: dict[int, str]) -> None:
    """Write /proc and /sys of a host on which `right` is a device with two queues."""
    with veth.namespace.inside():
        shown = json.loads(veth.namespace.ip("-json link"))
    net = root / "sys/class/net"
    for one in shown:
        (net / one["ifname"]).mkdir(parents=True)
        (net / one["ifname"] / "ifindex").write_text(f"{one['ifindex']}\n")
    (net / "right/device").mkdir()
    (root / "proc").mkdir()
    (root / "proc/interrupts").write_text(interrupts)
    for number, cpus in affinity.items():
        (root / f"proc/irq/{number}").mkdir(parents=True)
        (root / f"proc/irq/{number}/smp_affinity_list").write_text(cpus)
    (root / "sys/devices/system/cpu").mkdir(parents=True)
    (root / "sys/devices/system/cpu/online").write_text("0-3\n")


def findings_of(veth: Veth, root: Path) -> dict[str, Finding]:
    with veth.namespace.inside():
        return {finding.check: finding for finding in check_link("right", None, 0, root, find_net(root))}


INTERRUPTS = " 31: 5 0 PCI-MSI 1-edge right-TxRx-0\n 32: 5 0 PCI-MSI 2-edge right-TxRx-1\n"


@pytest.mark.parametrize(
    ("affinity", "status"),
    [
        ({31: "1", 32: "1"}, Status.ADVICE),
        ({31: "0", 32: "1"}, Status.OK),
        ({31: "0"}, Status.OK),
        ({}, Status.UNKNOWN),
        ({31: "garbage", 32: "3-1"}, Status.UNKNOWN),
    ],
)
def test_interrupts_of_several_queues_should_be_spread(
    veth: Veth, tmp_path: Path, affinity: dict[int, str], status: Status
) -> None:
    device_tree(tmp_path, veth, INTERRUPTS, affinity)
    finding = findings_of(veth, tmp_path)["interrupts"]
    assert finding.status is status
    if status is Status.ADVICE:
        assert [command.split()[1] for command in finding.commands] == ["0", "1"]
        assert finding.commands[1].endswith("/proc/irq/32/smp_affinity_list")


def test_small_ring_of_a_device_is_advice(
    veth: Veth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = ethtool.DeviceRing(256, 4096)
    monkeypatch.setattr(ethtool, "receive_ring", lambda name: ring)
    finding = findings_of(veth, tmp_path)["device_ring"]
    assert (finding.status, finding.found) == (Status.ADVICE, "256 packets, at most 4,096")
    assert finding.commands[0].endswith("ethtool -G right rx 4096")
    ring = ethtool.DeviceRing(4096, 4096)
    assert findings_of(veth, tmp_path)["device_ring"].status is Status.OK


def test_offloads_that_cannot_be_turned_off_are_no_advice(
    veth: Veth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merges = {"rx-gro": ethtool.Feature(active=True, changeable=True)}
    merges |= {"rx-gro-hw": ethtool.Feature(active=True, changeable=False)}
    monkeypatch.setattr(ethtool, "features", lambda name: merges)
    finding = findings_of(veth, tmp_path)["offloads"]
    assert finding.status is Status.ADVICE
    assert finding.advice.endswith("rx-gro-hw cannot be turned off")
    assert [command.removeprefix("sudo ") for command in finding.commands] == ["ethtool -K right gro off"]
    del merges["rx-gro"]
    finding = findings_of(veth, tmp_path)["offloads"]
    assert (finding.status, finding.commands) == (Status.OK, ())
    assert "cannot be turned off" in finding.found
