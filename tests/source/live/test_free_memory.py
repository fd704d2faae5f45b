"""The memory for a ring is compared with what is available; files as the kernel writes them say how much."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import slimcap.source.live.ring_source as ring_source
from slimcap.mock import MockRingSource
from slimcap.source.live.host.free_memory import require_memory

MIB = 1 << 20


def write(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def host(mib: int) -> dict[str, str]:
    return {"proc/meminfo": f"MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable:   {mib * 1024} kB\n"}


VERSION_2 = {
    "proc/self/cgroup": "0::/system.slice/capture.service\n",
    "sys/fs/cgroup/system.slice/capture.service/memory.max": "max\n",
    "sys/fs/cgroup/system.slice/capture.service/memory.current": "0\n",
    "sys/fs/cgroup/system.slice/memory.max": f"{1000 * MIB}\n",
    "sys/fs/cgroup/system.slice/memory.current": f"{936 * MIB}\n",
    "sys/fs/cgroup/system.slice/memory.stat": f"anon 1\ninactive_file {96 * MIB}\nactive_file 5\n",
}
VERSION_1 = {
    "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/host/container\n0::/\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{500 * MIB}\n",  # the path is not visible in a container
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{350 * MIB}\n",
    "sys/fs/cgroup/memory/memory.stat": f"total_inactive_file {10 * MIB}\ninactive_file 7\n",
}


@pytest.mark.parametrize(
    ("files", "charged", "available", "named"),
    [
        ({}, False, 320, "MemAvailable"),
        (VERSION_2, False, 320, "MemAvailable"),
        (VERSION_2, True, 160, "system.slice"),
        (VERSION_1, True, 160, "memory"),
    ],
    ids=["host", "host-only", "version-2", "version-1"],
)
def test_more_than_is_available_is_refused(
    tmp_path: Path, files: dict[str, str], charged: bool, available: int, named: str
) -> None:
    root = write(tmp_path, host(320) | files)
    most = available * MIB * 15 // 16
    require_memory(most, charged=charged, root=root)
    with pytest.raises(
        OSError, match=rf"^\[Errno 12\] {most + 1:,} bytes, and {available * MIB:,} are .*{named}"
    ):
        require_memory(most + 1, charged=charged, root=root)


def test_unknown_memory_is_not_refused(tmp_path: Path) -> None:
    require_memory(1 << 50, charged=True, root=str(tmp_path))
    require_memory(1 << 50, charged=True, root=write(tmp_path, {"proc/meminfo": "MemFree: 1 kB\n"}))


def test_memory_of_this_host_is_known() -> None:
    require_memory(1, charged=True)
    with pytest.raises(OSError, match="MemAvailable") as caught:
        require_memory(1 << 60, charged=False)
    assert caught.value.errno == errno.ENOMEM


def test_ring_that_is_too_large_is_not_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    def limited(size: int, *, charged: bool) -> None:
        assert charged  # the memory of a mock
        if size > 10 * MIB:
            raise OSError(errno.ENOMEM, f"{size:,} bytes, and 10 MiB are available (a test)")

    monkeypatch.setattr(ring_source, "require_memory", limited)
    message = "a ring of 128 blocks of 524288 bytes: 67,108,864 bytes, and 10 MiB .*smaller_ring=True"
    with pytest.raises(OSError, match=message) as caught:
        MockRingSource()
    assert caught.value.errno == errno.ENOMEM
    with MockRingSource(smaller_ring=True) as mock:
        assert mock.num_blocks == 16
