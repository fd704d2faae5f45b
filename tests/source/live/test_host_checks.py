"""Checks of the host, with /proc and /sys as other hosts have them."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from slimcap.errors import FilterError, LinkError
from slimcap.source.live import rtnetlink
from slimcap.source.live.host import host_checks
from slimcap.source.live.host.diagnosis import diagnose
from slimcap.source.live.host.finding import Finding, Status, loss, write_command
from slimcap.source.live.host.host_checks import check_host, read_backlog
from slimcap.source.live.host.host_files import Backlog

GIBIBYTE = 1 << 30


def host(tmp_path: Path, files: Mapping[str, str]) -> Path:
    """A folder with these files."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def found(root: Path, before: Backlog | None = None) -> dict[str, Finding]:
    return {finding.check: finding for finding in check_host(before, 1, root)}


def test_a_host_without_proc_and_sys_is_unknown(tmp_path: Path) -> None:
    findings = found(tmp_path)
    assert findings["ring_memory"].status is Status.UNKNOWN
    assert findings["backlog"].status is Status.UNKNOWN
    assert findings["cpu_governor"].status is Status.OK
    assert "memory_limit" not in findings
    assert all(finding.found and "\n" not in finding.found for finding in findings.values())


def test_too_little_memory_for_the_ring_is_a_problem(tmp_path: Path) -> None:
    root = host(tmp_path, {"proc/meminfo": "MemAvailable: 10240 kB\n"})
    finding = found(root)["ring_memory"]
    assert finding.status is Status.PROBLEM
    assert "64 MiB, 10 MiB of memory are available" in finding.found
    assert "--buffer" in finding.advice
    host(tmp_path, {"proc/meminfo": "MemAvailable: 1048576 kB\n"})
    assert found(root)["ring_memory"].status is Status.OK


@pytest.mark.parametrize(("limit", "status"), [(GIBIBYTE, Status.OK), (200 << 20, Status.ADVICE)])
def test_limit_of_the_control_group(tmp_path: Path, limit: int, status: Status) -> None:
    files = {
        "proc/meminfo": "MemAvailable: 1048576 kB\n",
        "proc/self/cgroup": "0::/here\n",
        "sys/fs/cgroup/here/memory.max": f"{limit}\n",
        "sys/fs/cgroup/here/memory.current": f"{100 << 20}\n",
        "sys/fs/cgroup/here/memory.stat": "inactive_file 0\n",
    }
    finding = found(host(tmp_path, files))["memory_limit"]
    assert finding.status is status
    assert f"{(limit >> 20) - 100:,} MiB are left" in finding.found
    host(tmp_path, {"sys/fs/cgroup/here/memory.max": f"{(1 << 63) - 4096}\n"})  # as version 1 has it
    assert "memory_limit" not in found(tmp_path)


def test_losses_of_the_backlog(tmp_path: Path) -> None:
    root = host(
        tmp_path,
        {
            "proc/net/softnet_stat": "000f4240 0000000a 0\n",
            "proc/sys/net/core/netdev_max_backlog": "1000\n",
        },
    )
    finding = found(root, read_backlog(root))["backlog"]
    assert finding.status is Status.OK  # ten of a million, and none now
    assert "netdev_max_backlog = 1,000" in finding.found
    finding = found(root, Backlog(1_000_000, 7))["backlog"]
    assert finding.status is Status.PROBLEM
    assert "3 of them in the last 1 s" in finding.found
    assert finding.commands[0].endswith("sysctl -w net.core.netdev_max_backlog=10000")


def test_loss_is_judged_by_what_is_lost_now_and_by_the_share_lost_earlier() -> None:
    assert loss(0, 0, 0, 1) == (Status.OK, "0 packets lost of 0, 0 of them in the last 1 s")
    assert loss(1, 1, 9_999, 1)[0] is Status.OK
    assert loss(2, 2, 9_999, 1)[0] is Status.ADVICE
    assert loss(2, 1, 10**9, 1)[0] is Status.PROBLEM
    assert loss(1, 5, 10**9, 1)[0] is Status.OK  # the counter was reset


def test_governors(tmp_path: Path) -> None:
    name = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
    root = host(tmp_path, {name.format(0): "performance\n", name.format(1): "performance\n"})
    assert found(root)["cpu_governor"].status is Status.OK
    finding = found(host(tmp_path, {name.format(1): "powersave\n"}))["cpu_governor"]
    assert (finding.status, finding.found) == (Status.ADVICE, "performance, powersave")
    assert finding.commands[0].startswith("echo performance | ")
    assert finding.commands[0].endswith("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")


def test_receive_buffer_below_the_default_of_socket_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_checks, "_may_exceed_maximum", lambda size: False)
    root = host(tmp_path, {"proc/sys/net/core/rmem_max": "212992\n"})
    finding = found(root)["receive_buffer"]
    assert finding.status is Status.ADVICE
    assert "rmem_max = 212,992, rmem_default = not visible" in finding.found
    assert finding.commands[0].endswith("sysctl -w net.core.rmem_max=4194304")
    host(tmp_path, {"proc/sys/net/core/rmem_max": "4194304\n"})
    assert found(root)["receive_buffer"].status is Status.OK


def test_missing_libpcap_is_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise FilterError("filter expressions require libpcap")

    monkeypatch.setattr(host_checks, "library_version", missing)
    finding = found(tmp_path)["libpcap"]
    assert finding.status is Status.ADVICE
    assert finding.commands


def test_commands_are_run_by_sudo_unless_the_user_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert write_command(1, "/proc/x") == "echo 1 | sudo tee /proc/x"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert write_command(1, "/proc/x") == "echo 1 | tee /proc/x"


def test_host_is_checked_even_if_interfaces_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> list[rtnetlink.Interface]:
        raise LinkError(errno.EPERM, "rtnetlink: Operation not permitted")

    monkeypatch.setattr(rtnetlink, "interfaces", refuse)
    *findings, last = diagnose(interval=0)
    assert {finding.check for finding in findings} >= {"privileges", "libpcap", "backlog"}
    assert (last.check, last.status) == ("interface", Status.UNKNOWN)
    assert last.found.endswith("Operation not permitted")
