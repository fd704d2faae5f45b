"""More files overlap in time than a process may have open."""

from __future__ import annotations

import gzip
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from slimcap.cli.main import main
from support.merging import descriptors, write

COUNT = """if True:
    import os, resource, sys, slimcap
    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    def memory():
        return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
    before = memory()
    count, last, most, opened = 0, -1, 0, 0
    with slimcap.open_files(sys.argv[1]) as source:
        for batch in source.batches():
            times = batch["timestamp"]
            assert times[0] >= last and (times[1:] >= times[:-1]).all()
            last = times[-1]
            count += len(batch)
            most = max(most, memory())
            opened = max(opened, len(os.listdir("/proc/self/fd")))
    print(count, most - before, opened)
"""


def merged(pattern: Path, limit: int) -> list[int]:
    """Merge files with a limit of descriptors; return the counts of packets, bytes and descriptors."""
    command = [sys.executable, "-c", COUNT, str(pattern), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def overlapping(folder: Path, files: int, packets: int, *, packed: int = 0) -> None:
    """Write files whose packets alternate; every `packed`th is compressed."""
    for number in range(files):
        path = write(folder / f"{number}.pcap", range(number, files * packets, files), number % 251)
        if packed and number % packed == 0:
            path.write_bytes(gzip.compress(path.read_bytes(), 1))


def test_more_overlapping_files_than_descriptors_are_merged(tmp_path: Path) -> None:
    overlapping(tmp_path, 100, 600, packed=3)
    packets, _, opened = merged(tmp_path / "*.pcap", 56)
    assert packets == 100 * 600
    assert opened <= 56


@pytest.mark.slow
def test_thousands_of_overlapping_files_take_little_memory_for_each(tmp_path: Path) -> None:
    overlapping(tmp_path, 2000, 300)
    packets, memory, opened = merged(tmp_path / "*.pcap", 1024)
    assert packets == 2000 * 300
    assert opened < 600
    assert memory < 2000 * (64 << 10)


REPLACED = """if True:
    import os, resource, sys, slimcap
    resource.setrlimit(resource.RLIMIT_NOFILE, (56, 56))
    with slimcap.open_files(sys.argv[1]) as source:
        count = 0
        while count < 5000:  # all files are open
            count += len(source.next_batch(1000))
        for number in range(100):
            path = sys.argv[1].replace("*", str(number))
            os.rename(path, path + ".old")
            open(path, "wb").write(open(path + ".old", "rb").read())
        errors = []
        while True:
            try:
                count += len(source.next_batch())
            except EOFError:
                break
            except OSError as error:
                assert "replaced" in str(error), error
                errors.append(error.filename)
    print(count, len(set(errors)))
"""


def test_file_that_was_replaced_while_it_was_closed_raises_with_its_name(tmp_path: Path) -> None:
    overlapping(tmp_path, 100, 600)
    command = [sys.executable, "-c", REPLACED, str(tmp_path / "*.pcap")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    count, errors = map(int, done.stdout.split())
    assert 30 <= errors <= 100
    assert count < 100 * 600


EXHAUSTED = """if True:
    import gzip, os, resource, sys, slimcap
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    source = slimcap.open_files([sys.argv[1]])
    held = []
    while True:
        try:
            held.append(os.dup(0))
        except OSError:
            break
    try:
        source.next_batch()
    except OSError as error:
        print(error.filename, error.errno)
    for fd in held:
        os.close(fd)
    print(sum(map(len, source.batches())))
"""


@pytest.mark.parametrize("packed", [0, 1])
def test_error_about_descriptors_names_the_file_and_loses_no_packet(tmp_path: Path, packed: int) -> None:
    overlapping(tmp_path, 1, 10, packed=packed)
    path = str(tmp_path / "0.pcap")
    done = subprocess.run(
        [sys.executable, "-c", EXHAUSTED, path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{path} 24", "10"]


def test_merge_command_uses_the_hard_limit_and_restores_the_soft_one(tmp_path: Path) -> None:
    overlapping(tmp_path, 20, 10)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = max(map(int, os.listdir("/proc/self/fd"))) + 8
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, limits[1]))
    try:
        before = descriptors()
        assert main(["merge", str(tmp_path), "-w", str(tmp_path / "out")]) == 0
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (low, limits[1])
        assert descriptors() == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    packets, _, _ = merged(tmp_path / "out", 64)
    assert packets == 200
