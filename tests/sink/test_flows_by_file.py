"""`slimcap.flows_by_file`: each file has its own table; several threads, errors, early ends."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slimcap
from slimcap import FileFormatError, FilterError, FlowBatch, TruncatedFileError
from support.cli import PATIENCE
from support.samples import DATA, GOOD


def rows_of(flows: FlowBatch) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = np.asarray(flows.records).tolist()
    return rows


def expected(path: Path | str, **options: Any) -> list[tuple[Any, ...]]:
    return rows_of(FlowBatch.concat(slimcap.flows(path, **options)))


def reading_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("slimcap-flows")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two good files around a damaged one."""
    shutil.copy(DATA / "mixed.pcap", tmp_path / "a.pcap")
    (tmp_path / "b.pcap").write_bytes((DATA / "mixed.pcap").read_bytes()[:-1])
    shutil.copy(DATA / "mixed.pcap", tmp_path / "c.pcap")
    return tmp_path


@pytest.mark.parametrize("workers", [1, 2, 50, None])
def test_each_file_has_the_flows_that_it_has_alone(workers: int | None) -> None:
    paths = [DATA / name for name in GOOD]
    options: dict[str, Any] = {"features": ("lengths", "flags"), "window": 1}
    found = list(slimcap.flows_by_file(paths, workers=workers, **options))
    assert [path for path, _ in found] == [str(path) for path in paths]
    assert [rows_of(flows) for _, flows in found] == [expected(path, **options) for path in paths]
    assert reading_threads() == []


def test_only_packets_that_match_the_filter_are_counted() -> None:
    ((_, flows),) = slimcap.flows_by_file([DATA / "mixed.pcap"], filter="tcp")
    assert len(flows) > 0
    assert set(flows["protocol"].tolist()) == {6}


def test_records_before_the_damage_come_before_the_error(folder: Path) -> None:
    found = slimcap.flows_by_file(folder, workers=2)
    names, packets = [], []
    for path, flows in (next(found), next(found)):
        names.append(Path(path).name)
        packets.append(int(flows["src_packets"].sum() + flows["dst_packets"].sum()))
    assert names == ["a.pcap", "b.pcap"]
    assert packets[1] == packets[0] - 1 > 0
    with pytest.raises(TruncatedFileError, match=r"b\.pcap"):
        next(found)
    assert reading_threads() == []


def test_a_damaged_file_can_be_skipped(folder: Path) -> None:
    (folder / "d.pcap").write_bytes(b"not a capture file at all")
    names = [Path(path).name for path, _ in slimcap.flows_by_file(folder, on_error="skip")]
    assert names == ["a.pcap", "b.pcap", "c.pcap"]
    with pytest.warns(RuntimeWarning, match="the rest of a file is skipped") as caught:
        assert len(list(slimcap.flows_by_file(folder, on_error="warn"))) == 3
    assert len(caught) == 2
    with pytest.raises(FileFormatError):
        list(slimcap.flows_by_file(folder / "d.pcap"))


def test_closing_the_iterator_ends_a_thread_that_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.pcap")
    shutil.copy(DATA / "mixed.pcap", tmp_path / "a.pcap")
    keeper = os.open(tmp_path / "b.pcap", os.O_RDWR)  # a FIFO with a writer that writes nothing
    try:
        found = slimcap.flows_by_file([tmp_path / "a.pcap", tmp_path / "b.pcap"], workers=2)
        assert Path(next(iter(found))[0]).name == "a.pcap"
        assert reading_threads() != []
        time.sleep(0.2)  # so that the other thread waits for the header
        start = time.monotonic()
        found.close()  # type: ignore[attr-defined]
        assert time.monotonic() - start < PATIENCE
        assert reading_threads() == []
    finally:
        os.close(keeper)


def test_wrong_arguments_are_reported_at_once(tmp_path: Path) -> None:
    sample = DATA / "mixed.pcap"
    with pytest.raises(ValueError, match="workers must be"):
        slimcap.flows_by_file(sample, workers=0)
    with pytest.raises(ValueError, match="on_error"):
        slimcap.flows_by_file(sample, on_error="never")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="idle_timeout"):
        slimcap.flows_by_file(sample, idle_timeout=-1)
    with pytest.raises(FileNotFoundError):
        slimcap.flows_by_file(tmp_path / "*.pcap")
    with pytest.raises(TypeError, match="a path"), sample.open("rb") as file:
        slimcap.flows_by_file([file])
    with pytest.raises(FilterError):
        next(iter(slimcap.flows_by_file(sample, filter="no such filter")))
