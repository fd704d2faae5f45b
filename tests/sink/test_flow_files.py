"""`write` of flow records: tables, a file for each window, and errors."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import slimcap
from slimcap import Batch, FlowBatch, TruncatedFileError
from slimcap.io.atomic_file import PartialFile
from slimcap.mock import MockRingSource
from slimcap.sink import writer_thread
from slimcap.sink.file_series import FileSeries
from slimcap.sink.flow_file import FlowFile, FlowFiles
from slimcap.sink.table_file import FORMATS, ArrowFile
from support.cli import PATIENCE
from support.flow_files import WINDOW, flows_at, packets_at, packets_in_files, rows_of
from support.flow_traffic import START, batch_at, udp_packet
from support.tables import read_table
from support.threads import wait_until

pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAME = "{time:%H%M%S}.parquet"  # START is 22:13:20


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def windows_in(folder: Path) -> dict[str, list[int]]:
    """Return the numbers of the records in each file of a folder."""
    return {name: read_table(folder / name)["flow_id"].to_pylist() for name in names_in(folder)}


def ports_in(folder: Path) -> dict[str, list[int]]:
    """Return the source ports of the records in each file of a folder."""
    return {name: read_table(folder / name)["src_port"].to_pylist() for name in names_in(folder)}


# ---- a single file


@pytest.mark.parametrize("way", ["stream", "batch", "list", "iterator"])
def test_every_input_gives_the_same_records(way: str, tmp_path: Path, mixed: Batch) -> None:
    flows = FlowBatch.concat(slimcap.flows(mixed, idle_timeout=0.1))
    inputs: dict[str, Any] = {
        "stream": slimcap.flows(mixed, idle_timeout=0.1),
        "batch": flows,
        "list": [flows[:7], flows[7:]],
        "iterator": iter([flows[:7], flows[:0], flows[7:]]),
    }
    seen: list[int] = []
    assert slimcap.write(inputs[way], tmp_path / "out.parquet", progress=seen.append) == len(flows) > 20
    assert seen[-1] == len(flows)
    assert read_table(tmp_path / "out.parquet").to_pylist() == rows_of(flows)
    assert names_in(tmp_path) == ["out.parquet"]


@pytest.mark.parametrize("format", FORMATS)
def test_columns_and_addresses_are_chosen(format: str, tmp_path: Path, mixed: Batch) -> None:
    path, columns = tmp_path / f"out.{format}", ["src_port", "src", "last"]
    flows = FlowBatch.concat(slimcap.flows(mixed))
    assert slimcap.write(flows, path, columns=columns) == len(flows)
    table = read_table(path)
    assert table.column_names == columns
    assert table["src"].to_pylist() == flows.to_arrow()["src"].to_pylist()
    assert list(map(int, table["src_port"].to_pylist())) == flows["src_port"].tolist()
    if format != "csv":
        slimcap.write(flows, path, addresses="binary")
        assert read_table(path).to_pylist() == rows_of(flows, addresses="binary")


@pytest.mark.parametrize("name", ["out.parquet", "out.arrow", NAME])
def test_features_are_columns(name: str, tmp_path: Path, mixed: Batch) -> None:
    options: Any = {"features": ["lengths", "iat", "community_id"], "splt": 3, "first_bytes": 4}
    count = slimcap.write(slimcap.flows(mixed, window=100, **options), tmp_path / name)
    flows = FlowBatch.concat(slimcap.flows(mixed, window=100, **options))
    (file,) = tmp_path.iterdir()
    assert count == len(flows) > 20
    assert read_table(file).to_pylist() == rows_of(flows)
    empty = slimcap.flows(packets_at(), **options)
    slimcap.write(empty, tmp_path / "empty.arrow")
    assert read_table(tmp_path / "empty.arrow").column_names == list(flows.records.dtype.names or ())


def test_csv_refuses_columns_that_are_not_text(tmp_path: Path, mixed: Batch) -> None:
    flows = slimcap.flows(mixed, splt=3, first_bytes=4)
    refused = "splt_len, splt_iat, src_first_bytes, dst_first_bytes"
    with pytest.raises(ValueError, match=f"CSV has no type for {refused}: choose columns without"):
        slimcap.write(flows, tmp_path / "out.csv")
    assert names_in(tmp_path) == []
    assert slimcap.write(flows, tmp_path / "out.csv", columns=["src", "src_first_len"]) > 20


def test_a_stream_without_records_gives_an_empty_table(tmp_path: Path) -> None:
    assert slimcap.write(slimcap.flows(packets_at()), tmp_path / "out.parquet") == 0
    table = read_table(tmp_path / "out.parquet")
    assert table.num_rows == 0
    assert table.schema == flows_at().to_arrow().schema


@pytest.mark.parametrize("compression", ["snappy", None])
def test_compression_is_that_of_the_file(compression: str | None, tmp_path: Path) -> None:
    slimcap.write(flows_at(1, 2), tmp_path / "out.parquet", compression=compression)
    column = pq.ParquetFile(tmp_path / "out.parquet").metadata.row_group(0).column(0)
    assert column.compression == (compression or "UNCOMPRESSED").upper()


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("out.pcap", {}, "flow records are written to parquet, arrow, csv, not to pcap"),
        ("out.parquet", {"snaplen": 9}, "snaplen is not an option of flow records"),
        ("out.parquet", {"payload": False}, "payload is not an option of flow records"),
        ("out.parquet", {"max_seconds": 9}, "max_seconds is not an option of flow records"),
        ("out.parquet", {"max_files": 9}, "max_files is not an option of a single file"),
        ("out.parquet", {"columns": ["sport"]}, "column 'sport'"),
        ("out.csv", {"addresses": "binary"}, "addresses='binary' is not for CSV"),
        ("out.csv", {"compression": "zstd"}, "csv files are not compressed"),
        ("out.parquet", {"compression": "gz"}, "compression of parquet must be zstd, .* or None, not 'gz'"),
        (NAME, {}, "names a file for each window: give `flows` a window"),
        ("{host}.parquet", {}, r"is not a valid template: .*; the fields are \{index\} and \{time\}"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, options: Any, error: str, tmp_path: Path) -> None:
    for flows in (flows_at(1), [flows_at(1)], slimcap.flows(packets_at(1))):
        with pytest.raises(ValueError, match=error):
            slimcap.write(flows, tmp_path / name, **options)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        (NAME, {"columns": ["sport"]}, "column 'sport'"),
        (f"nowhere/{NAME}", {}, "No such file or directory"),
        ("{tim}.parquet", {}, "is not a valid template"),
    ],
)
def test_windows_are_refused_before_there_is_a_packet(
    name: str, options: Any, error: str, tmp_path: Path
) -> None:
    def never() -> Iterator[Batch]:
        pytest.fail("a packet was read")
        yield

    with pytest.raises((ValueError, OSError), match=error):
        slimcap.write(slimcap.flows(never(), window=WINDOW), tmp_path / name, **options)


def test_batches_of_other_columns_are_refused(tmp_path: Path) -> None:
    with FlowFile(tmp_path / "out.parquet", flows_at(1)) as file:
        file.add(flows_at(1))
        file._dtype = slimcap.RECORD_DTYPE
        with pytest.raises(ValueError, match="write them to different files"):
            file.add(flows_at(1))


# ---- windows


def test_each_window_has_a_file_with_its_records(tmp_path: Path) -> None:
    stream = slimcap.flows(packets_at(0, 9.9, 10, 19, 35), window=WINDOW)
    assert slimcap.write(stream, tmp_path / NAME) == 5
    assert ports_in(tmp_path) == {
        "221320.parquet": [1024, 1025],
        "221330.parquet": [1026, 1027],
        "221350.parquet": [1028],
    }


def test_a_batch_is_split_at_the_ends_of_windows(tmp_path: Path) -> None:
    """Records that are older than those before belong to the current file."""
    flows = flows_at(3, 1, 9.999999999, 10, 2, 11, 40, 8)
    with FlowFiles(FileSeries(str(tmp_path / NAME)), WINDOW, lambda path: FlowFile(path, flows)) as files:
        for start in range(0, len(flows), 3):
            files.add(flows[start : start + 3])
        files.add(flows[:0])
    assert windows_in(tmp_path) == {
        "221320.parquet": [0, 1, 2],
        "221330.parquet": [3, 4, 5],
        "221400.parquet": [6, 7],
    }


def test_a_window_is_complete_when_it_has_ended(tmp_path: Path) -> None:
    flows = flows_at(5, 8, 21)
    with FlowFiles(FileSeries(str(tmp_path / NAME)), WINDOW, lambda path: FlowFile(path, flows)) as files:
        files.add(flows[:1])
        files.end_window(int(flows["last"][0]) + 5 * 10**9 - 1)
        assert not (tmp_path / "221320.parquet").exists()
        files.end_window(int(flows["last"][0]) + 5 * 10**9)
        assert (tmp_path / "221320.parquet").exists()
        files.add(flows[1:2])  # late: it belongs to the current window
    assert windows_in(tmp_path) == {"221320.parquet": [0], "221330.parquet": [1]}


def test_a_live_window_is_complete_in_time_without_packets(tmp_path: Path, background: Any) -> None:
    now = time.time_ns()
    with MockRingSource(auto_filter=False, block_timeout=0.01) as mock:
        mock.add_packet(udp_packet((now - START) / 1e9))
        mock.finalize_block()
        writing = background(lambda: slimcap.write(slimcap.flows(mock, window=1), tmp_path / "{index}.arrow"))
        wait_until((tmp_path / "0.arrow").exists, 10)
        assert time.time_ns() - now < 8 * 10**9
        assert read_table(tmp_path / "0.arrow").num_rows == 1
        mock.stop()
        assert writing.result() == 1


def test_time_that_was_set_back_returns_to_windows_without_a_file(tmp_path: Path) -> None:
    stream = slimcap.flows(packets_at(0, 3, 1000, 21, 35), window=WINDOW, active_timeout=20)
    slimcap.write(stream, tmp_path / NAME)
    assert ports_in(tmp_path) == {
        "221320.parquet": [1024, 1025],
        "221340.parquet": [1027],
        "221350.parquet": [1028],
        "223000.parquet": [1026],
    }


def test_time_that_was_set_back_to_windows_with_files_stays_in_the_current_file(tmp_path: Path) -> None:
    stream = slimcap.flows(packets_at(0, 12, 25, 3, 14, 40), window=WINDOW, active_timeout=8)
    slimcap.write(stream, tmp_path / NAME)
    assert ports_in(tmp_path) == {
        "221320.parquet": [1024],
        "221330.parquet": [1025],
        "221340.parquet": [1026, 1027, 1028],
        "221400.parquet": [1029],
    }


def test_a_complete_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "221330.parquet").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"use \{index\} in the template, or overwrite=True"):
        slimcap.write(slimcap.flows(packets_at(0, 12, 22), window=WINDOW), tmp_path / NAME)
    assert names_in(tmp_path) == ["221320.parquet", "221330.parquet"]
    assert (tmp_path / "221330.parquet").read_bytes() == b"precious"
    numbered = tmp_path / "{time:%H%M%S}-{index}.parquet"
    for _ in range(2):
        slimcap.write(slimcap.flows(packets_at(0), window=WINDOW), numbered)
    assert names_in(tmp_path)[:2] == ["221320-0.parquet", "221320-1.parquet"]
    slimcap.write(slimcap.flows(packets_at(12), window=WINDOW), tmp_path / NAME, overwrite=True)
    assert read_table(tmp_path / "221330.parquet").num_rows == 1


def test_a_name_that_two_windows_have_requires_an_index(tmp_path: Path) -> None:
    """`overwrite=True` would not help: it does not replace the files of the same call."""
    with pytest.raises(FileExistsError, match=r"use \{index\} in the template:"):
        slimcap.write(slimcap.flows(packets_at(0, 12), window=WINDOW), tmp_path / "{time:%H}.parquet")


def test_old_files_are_removed(tmp_path: Path) -> None:
    told: list[str] = []
    stream = slimcap.flows(packets_at(0, 12, 22, 32), window=WINDOW)
    slimcap.write(stream, tmp_path / NAME, max_files=2, on_file=told.append)
    assert names_in(tmp_path) == ["221340.parquet", "221350.parquet"]
    assert len(told) == 4


# ---- errors of the source


def test_records_before_damage_are_written(tmp_path: Path, data_path: Path) -> None:
    with pytest.raises(TruncatedFileError):
        slimcap.write(slimcap.flows(data_path / "bad/cut_record.pcap"), tmp_path / "out.parquet")
    assert packets_in_files([tmp_path / "out.parquet"]) == 1


@pytest.mark.parametrize("name", ["out.parquet", NAME])
def test_ctrl_c_while_reading_completes_the_files(name: str, tmp_path: Path) -> None:
    def interrupted() -> Iterator[Batch]:
        yield from packets_at(0, 1, 12)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slimcap.write(slimcap.flows(interrupted(), window=WINDOW), tmp_path / name)
    assert packets_in_files(tmp_path.iterdir()) == 3


def test_ctrl_c_outside_of_the_stream_completes_the_files(tmp_path: Path) -> None:
    """Flows that are still in the table then are written, too."""

    def interrupt(records: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slimcap.write(
            slimcap.flows([batch_at(udp_packet(0), udp_packet(12), udp_packet(13, src=9))], window=WINDOW),
            tmp_path / NAME,
            progress=interrupt,
        )
    assert packets_in_files(tmp_path.iterdir()) == 3


def test_ctrl_c_at_the_last_flush_loses_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has no flows then, but the records of the interrupted call."""
    interrupts, original = iter([KeyboardInterrupt]), FlowBatch.__init__

    def interrupted(batch: FlowBatch, records: Any) -> None:
        if len(records):
            for error in interrupts:
                raise error
        original(batch, records)

    monkeypatch.setattr(FlowBatch, "__init__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        slimcap.write(slimcap.flows(packets_at(0, 1, 2)), tmp_path / "out.parquet")
    assert packets_in_files(tmp_path.iterdir()) == 3


def test_files_that_flows_opened_are_closed(tmp_path: Path, data_path: Path) -> None:
    """An open source would warn, which is an error here."""
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(OSError, match="directory"):
        slimcap.write(slimcap.flows(data_path / "mixed.pcap"), tmp_path / "folder.parquet")
    slimcap.write(slimcap.flows(data_path / "mixed.pcap"), tmp_path / "out.parquet")


def test_writing_does_not_import_pandas(tmp_path: Path, data_path: Path) -> None:
    """It takes so long that a live capture would lose packets."""
    code = (
        "import sys, slimcap\n"
        "path, out = sys.argv[1:]\n"
        "slimcap.write(slimcap.flows(path), out)\n"
        "slimcap.write(slimcap.read(path), out)\n"
        "assert 'pyarrow' in sys.modules and 'pandas' not in sys.modules"
    )
    files = [str(data_path / "mixed.pcap"), str(tmp_path / "out.parquet")]
    subprocess.run([sys.executable, "-P", "-c", code, *files], check=True, timeout=PATIENCE)


# ---- errors of writing


@pytest.mark.parametrize("name", ["out.parquet", NAME])
def test_an_error_of_progress_leaves_no_file(name: str, tmp_path: Path) -> None:
    def stop(records: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        slimcap.write(slimcap.flows(packets_at(0, 1), window=WINDOW), tmp_path / name, progress=stop)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.parquet", NAME])
def test_a_full_disk_ends_the_stream_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source has no end, and after its packets waits forever."""

    def fail(file: ArrowFile) -> None:
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr("slimcap.sink.table_file.GROUP_SIZE", 0)
    monkeypatch.setattr(ArrowFile, "_write_group", fail)
    with MockRingSource(auto_filter=False, block_timeout=0.01) as mock:
        for second in (0, 30):
            mock.add_packet(udp_packet(second))
        mock.finalize_block()
        start = time.monotonic()
        with pytest.raises(OSError, match=r"No space left on device: .*\.parquet'"):
            slimcap.write(slimcap.flows(mock, window=WINDOW), tmp_path / name)
        assert time.monotonic() - start < 10
        assert not mock.closed
    assert names_in(tmp_path) == []


def test_windows_before_a_failure_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = PartialFile.finish

    def fail(file: PartialFile) -> None:
        if file.path.endswith("221330.parquet"):
            raise OSError(28, "No space left on device", file.path)
        finish(file)

    monkeypatch.setattr(PartialFile, "finish", fail)
    with pytest.raises(OSError, match="No space left on device"):
        slimcap.write(slimcap.flows(packets_at(0, 12, 22, 32), window=WINDOW), tmp_path / NAME)
    assert names_in(tmp_path) == ["221320.parquet"]


# ---- the queue


def test_the_reader_waits_only_when_the_queue_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: Any
) -> None:
    add, may_write, read = FlowFile.add, threading.Event(), []

    def stalled(file: FlowFile, batch: FlowBatch) -> None:
        assert may_write.wait(20)
        add(file, batch)

    def batches() -> Iterator[FlowBatch]:
        for number in range(100):
            read.append(number)
            yield flows_at(*range(100))

    monkeypatch.setattr(FlowFile, "add", stalled)
    size = flows_at(*range(100)).records.nbytes + 1024
    monkeypatch.setattr(writer_thread, "QUEUE_SIZE", 10 * size)
    writing = background(lambda: slimcap.write(batches(), tmp_path / "out.parquet"))
    wait_until(lambda: len(read) == 11)
    writing.wait_until_blocked()
    assert len(read) == 11
    may_write.set()
    assert writing.result() == 10_000
    assert read_table(tmp_path / "out.parquet").num_rows == 10_000


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt in the main thread, also if a runner of tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def press_ctrl_c(count: int) -> None:
    """Interrupt the main thread, which waits, or will soon."""
    for _ in range(count):
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    time.sleep(0.2)


def press_ctrl_c_at_each_write(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Interrupt the main thread `count` times before each batch that the writing thread adds to a file."""

    def slow(file: FlowFile, batch: FlowBatch) -> None:
        press_ctrl_c(count)
        add(file, batch)

    add = FlowFile.add
    monkeypatch.setattr(FlowFile, "add", slow)


def test_ctrl_c_while_the_last_records_are_written_completes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    press_ctrl_c_at_each_write(monkeypatch, 1)
    with interrupted_by_signals(), pytest.raises(KeyboardInterrupt):
        slimcap.write(flows_at(1, 2), tmp_path / "out.parquet")
    assert names_in(tmp_path) == ["out.parquet"]
    assert read_table(tmp_path / "out.parquet").num_rows == 2


def test_a_second_ctrl_c_gives_the_file_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    press_ctrl_c_at_each_write(monkeypatch, 2)
    with interrupted_by_signals(), pytest.raises(KeyboardInterrupt):
        slimcap.write(flows_at(1), tmp_path / "out.parquet")
    assert names_in(tmp_path) == []
