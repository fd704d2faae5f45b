"""Plans: all tasks of a file together give what the file gives, for any size of the parts."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import slimcap
from make_samples import MICRO, Ng
from slimcap import PcapSource, TruncatedFileError, plan
from slimcap.capfile.boundaries import BlockBoundaries
from support.compression import near
from support.plans import FILES, MOST, Checker, blocks, check, contents_of, record, records


@pytest.mark.parametrize("name", FILES)
def test_sample_can_be_read_in_parts(name, tmp_path):
    path = tmp_path / name.replace("/", "_")
    path.write_bytes(FILES[name])
    size = len(FILES[name])
    sizes = [1, 300, size // 3 + 1, size + 1] if size < 50_000 else [size // 7, size // 2 + 1]
    if name == "resolutions.pcapng":  # each task describes 170 interfaces
        sizes = sizes[1:]
    checker = Checker(path)
    counts = [len(checker.check(chunk)) for chunk in sizes]
    assert counts[0] >= counts[-1]
    assert counts[-1] <= 2
    if name in ("mixed.pcap", "mixed.pcapng", "sections.pcapng"):
        assert counts[0] > 5


@pytest.mark.parametrize(
    "name", ["simple.pcapng", "null_be.pcap", "mixed_modified.pcap", "bad/cut_data.pcap"]
)
def test_small_file_can_be_read_in_parts_of_any_size(name, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(FILES[name])
    cuts = set()
    checker = Checker(path)
    for chunk in range(1, min(len(FILES[name]) + 2, 400)):
        cuts.update(task.start for task in checker.check(chunk))
    assert len(cuts) > 2


@pytest.mark.parametrize("name", ["null.pcap", "sections.pcapng", "simple.pcapng"])
def test_file_that_is_cut_can_be_read_in_parts(name, tmp_path):
    """Cut in the header, and in the fields and at the end of each record or block."""
    path = tmp_path / "file"
    data = FILES[name][:700]
    starts = blocks(FILES[name]) if name.endswith("ng") else records(FILES[name])
    places = {at + field for at in starts for field in (4, 8, 12, 16, 20)}
    sizes = {size for size in [*near(0, 4, 12, 20, *starts), *places] if 0 <= size < len(data)}
    assert len(sizes) > 40
    for size in sorted(sizes):
        path.write_bytes(FILES[name][:size])
        checker = Checker(path)
        checker.check(1)
        checker.check(150)


@pytest.mark.parametrize("options", [{"snaplen": 20}, {"filter": "udp"}, {"filter": "udp", "snaplen": 60}])
def test_task_has_the_options_of_the_plan(options, data_path):
    path = data_path / "mixed.pcap"
    tasks = check(path, 2000, **options)
    assert len(tasks) > 3
    assert all(
        (task.snaplen, task.filter) == (options.get("snaplen"), options.get("filter")) for task in tasks
    )
    with tasks[1].open(filter=None, snaplen=14) as source:
        assert source.next_batch()["cap_len"].max() == 14


def test_interfaces_are_numbered_as_in_the_file(data_path):
    path = data_path / "sections.pcapng"
    tasks = plan(path, chunk_bytes=1)
    numbers = np.concatenate([task.read()["interface"] for task in tasks])
    assert (numbers == slimcap.read(path)["interface"]).all()
    assert numbers.max() > 1
    assert {task.read().links[0] for task in tasks} == {slimcap.read(path).links[0]}


@given(
    st.lists(st.binary(max_size=90) | st.integers(0, 300).map(bytes), max_size=30),
    st.sampled_from("<>"),
    st.integers(1, 500),
    st.integers(0, 400),
)
def test_any_file_can_be_read_in_parts(tmp_path_factory, payloads, order, chunk, cut):
    path = tmp_path_factory.mktemp("any") / "file.pcap"
    header = struct.pack(order + "IHHiIII", MICRO, 2, 4, 0, 0, MOST, 1)
    data = header + b"".join(record(payload, order) for payload in payloads)
    path.write_bytes(data[: max(len(data) - cut, 24)])
    tasks = check(path, chunk)
    assert {task.start for task in tasks[1:]} <= set(records(data, order=order))


# ---- pcapng


def test_large_blocks_are_skipped(tmp_path):
    ng = Ng()
    data = ng.section() + ng.interface()
    for _ in range(3):
        data += ng.packet(bytes(60)) + ng.block(0xBAD, bytes(3 << 20))
    path = tmp_path / "file.pcapng"
    path.write_bytes(data)
    assert len(check(path, 1)) == 3
    with path.open("rb") as file:
        walk = BlockBoundaries(file.fileno(), len(data), str(path))
        assert [walk.walk(1 << 40) for _ in range(3)] == ["description", "description", None]


def test_size_of_the_preambles_is_bounded(tmp_path):
    ng = Ng()
    texts = ng.interface(options=[(3, b"x" * 60_000)])
    data = ng.section() + (texts + ng.packet(bytes(60))) * 40
    path = tmp_path / "file.pcapng"
    path.write_bytes(data)
    tasks = check(path, 1)
    assert 10 < len(tasks) < 40
    assert max(len(task.preamble) for task in tasks) <= 1 << 20


@pytest.mark.parametrize(
    "bad",
    [
        Ng().block(1, b"\1\0\0\0\0\0\0\0" + struct.pack("<HHI", 9, 1, 0x7F)),  # a resolution that is too fine
        Ng().packet(bytes(60), interface=9),
        Ng().block(6, bytes(20), length=21),
        Ng(big_endian=True).section() + Ng().packet(bytes(60)),
        b"\0" * 40,
    ],
    ids=["resolution", "unknown interface", "length", "byte order", "zeros"],
)
def test_damaged_pcapng_can_be_read_in_parts(bad, tmp_path):
    ng = Ng()
    good = ng.packet(bytes(60)) * 5
    path = tmp_path / "file.pcapng"
    path.write_bytes(ng.section() + ng.interface() + good + bad + good)
    assert contents_of(lambda: PcapSource(path)).fault is not None
    checker = Checker(path)
    for chunk in (1, 100, 300):
        checker.check(chunk)


# ---- files


def test_file_of_dbus_messages_is_walked(tmp_path):
    data = struct.pack("<IHHiIII", MICRO, 2, 4, 0, 0, MOST, 231) + record(bytes(6 << 20)) * 3
    path = tmp_path / "dbus.pcap"
    path.write_bytes(data)
    assert [task.start for task in check(path, 5 << 20)] == [0, *records(data)[1:]]


def test_compressed_files_are_one_task(data_path):
    (task,) = plan(data_path / "mixed.pcap.gz", chunk_bytes=1)
    assert (task.compression, task.start) == ("gzip", 0)
    assert task.stop == (data_path / "mixed.pcap.gz").stat().st_size
    whole = slimcap.read(data_path / "mixed.pcap.gz")
    assert (task.read().records == whole.records).all()


def test_tasks_of_several_files_are_in_order(data_path):
    names = ["mixed.pcap", "mixed.pcap.gz", "mixed.pcapng", "empty.pcap"]
    tasks = plan([data_path / name for name in names], chunk_bytes=5000)
    assert list(dict.fromkeys(task.path for task in tasks)) == [str(data_path / name) for name in names]
    assert plan([]) == []
    assert len(tasks[-1].read()) == 0
    assert tasks[-1].read().links


def test_paths_can_be_bytes(data_path):
    path = str(data_path / "mixed.pcap")
    assert plan(os.fsencode(path)) == plan(path)


def test_only_regular_files_can_be_planned(fifo, tmp_path):
    for path in (fifo.path, "/dev/null"):
        with pytest.raises(ValueError, match="not a regular file"):
            plan(path)
    with pytest.raises(FileNotFoundError):
        plan("-")
    with pytest.raises(FileNotFoundError):
        plan(tmp_path / "nothing")


def test_arguments_that_are_not_valid_raise(data_path):
    path = data_path / "mixed.pcap"
    with pytest.raises(ValueError, match="from 1 on"):
        plan(path, chunk_bytes=0)
    with pytest.raises(TypeError, match="pickled"):
        plan(path, filter=slimcap.filter.Machine([(6, 0, 0, 0xFFFF)]))
    with pytest.raises(slimcap.FilterError):
        plan(path, filter="no such thing")
    with pytest.raises(ValueError, match="snaplen"):
        plan(path, snaplen=0)
    with pytest.raises(TruncatedFileError):
        plan(data_path / "bad" / "cut_header.pcap")
