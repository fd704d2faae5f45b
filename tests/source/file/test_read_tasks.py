"""ReadTask: a part of a file as a value, which threads and processes read, while the file does not change."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

import make_samples
import slimcap
from slimcap import FileFormatError, ReadTask, plan
from support.plans import COLUMNS


def test_task_can_be_compared_hashed_pickled_and_printed(data_path):
    task = plan(data_path / "mixed.pcap", chunk_bytes=5000)[1]
    assert pickle.loads(pickle.dumps(task)) == task
    program = [(6, 0, 0, 0xFFFF)]
    (filtered,) = plan(data_path / "mixed.pcap", filter=program)
    assert len(pickle.loads(pickle.dumps(filtered)).read()) == len(slimcap.read(data_path / "mixed.pcap"))
    assert hash(filtered) != hash(task)
    assert hash(task) == hash(pickle.loads(pickle.dumps(task)))
    with pytest.raises(AttributeError):
        task.start = 3
    size = (data_path / "mixed.pcap").stat().st_size
    part = f"bytes {task.start:,} to {task.stop:,} of {size:,}"
    assert repr(task) == f"<ReadTask {str(data_path / 'mixed.pcap')!r}: {part}>"
    with task.open() as source:
        assert source.name == task.path


def total(task: ReadTask) -> int:
    """Return the bytes of all packets on the wire."""
    return sum(int(batch["total_len"].sum()) for batch in task.batches())


def test_threads_can_read_tasks(data_path):
    path = data_path / "mixed.pcap"
    tasks = plan(path, chunk_bytes=5000)
    assert len(tasks) > 2
    expected = int(slimcap.read(path)["total_len"].sum())
    with ThreadPoolExecutor(2) as threads:
        assert sum(threads.map(total, tasks)) == expected


@pytest.mark.slow
def test_processes_can_read_tasks(data_path):
    path = data_path / "mixed.pcap"
    tasks = plan(path, chunk_bytes=5000)
    assert len(tasks) > 2
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        parts = list(processes.map(ReadTask.read, tasks))
    whole = slimcap.concat(parts)
    assert (whole.records[COLUMNS] == slimcap.read(path).records[COLUMNS]).all()
    assert whole["timestamp"][0] >= make_samples.START


# ---- files that change


@pytest.mark.parametrize("name", ["mixed.pcap", "mixed.pcap.gz"])
def test_file_that_changed_since_the_plan_is_refused(name, data_path, tmp_path):
    path = tmp_path / name
    path.write_bytes((data_path / name).read_bytes())
    task = plan(path, chunk_bytes=2000)[-1]
    assert len(task.read())
    with path.open("ab") as file:
        file.write(b"\0")
    for call in (task.open, task.read, lambda: next(task.batches())):
        with pytest.raises(OSError, match="changed after it was planned") as raised:
            call()
        assert (raised.value.errno, raised.value.filename) == (errno.ESTALE, str(path))


def test_file_that_gets_shorter_while_it_is_read_raises(data_path, tmp_path):
    path = tmp_path / "mixed.pcap"
    path.write_bytes((data_path / "mixed.pcap").read_bytes())
    task = plan(path, chunk_bytes=5000)[1]
    with task.open(block_size=64) as source:
        source.next_packet()
        os.truncate(path, task.start)
        with pytest.raises(OSError, match="truncated while it was being read") as raised:
            list(source)
        assert raised.value.errno == errno.ESTALE


# ---- descriptors


def test_tasks_leave_no_descriptor_open(data_path, tmp_path):
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    tasks = plan(data_path / "mixed.pcap", chunk_bytes=2000)
    before = descriptors()
    for task in tasks:
        task.read()
        task.open()
        next(task.batches())
        with pytest.raises(slimcap.FilterError):
            task.open(filter="no such thing")
    with pytest.raises(FileFormatError):
        plan(data_path / "bad" / "bad_magic.pcap")
    assert descriptors() == before
