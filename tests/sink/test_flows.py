"""`slimcap.flows`: files, sources and batches to flow records; ends, pauses and exceptions."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slimcap
from slimcap import Batch, CaptureUnblocked, FlowBatch, FlowTable, TruncatedFileError
from slimcap.flow import FlowEnd
from slimcap.mock import MockRingSource
from slimcap.sink.flow_stream import FlowStream
from support.cli import PATIENCE
from support.flow_traffic import batch_at, udp_packet
from support.threads import Background


@pytest.fixture(scope="module")
def mixed(data_path: Path) -> Path:
    return data_path / "mixed.pcap"


def records_of(stream: FlowStream) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = np.asarray(FlowBatch.concat(stream).records).tolist()
    return rows


def expected(batch: Batch, **options: Any) -> list[tuple[Any, ...]]:
    table = FlowTable(**options)
    rows: list[tuple[Any, ...]] = np.asarray(
        FlowBatch.concat([table.update(batch), table.flush()]).records
    ).tolist()
    return rows


def test_a_file_a_source_and_batches_have_the_same_flows(mixed: Path) -> None:
    batch = slimcap.read(mixed)
    flows = expected(batch, idle_timeout=1)
    assert len(flows) > 10
    with slimcap.open_file(mixed) as source:
        assert records_of(slimcap.flows(source, idle_timeout=1)) == flows
        assert not source.closed
    inputs = (mixed, str(mixed), bytes(mixed), io.BytesIO(mixed.read_bytes()), batch, [batch], iter([batch]))
    for packets in inputs:
        assert records_of(slimcap.flows(packets, idle_timeout=1)) == flows


def test_several_files_are_merged_in_order_of_time(mixed: Path, tmp_path: Path) -> None:
    for name in ("a.pcap", "b.pcap"):
        shutil.copy(mixed, tmp_path / name)
    flows = expected(slimcap.read(tmp_path))
    for files in (tmp_path, str(tmp_path / "*.pcap"), [tmp_path / "a.pcap", tmp_path / "b.pcap"]):
        stream = slimcap.flows(files)
        assert records_of(stream) == flows
        assert stream.table.stats.packets + stream.table.stats.other_packets == 2 * len(slimcap.read(mixed))


def test_no_batch_is_empty_and_the_table_is_empty_at_the_end(mixed: Path) -> None:
    stream = slimcap.flows(mixed, window=0.001)
    batches = list(stream)
    assert len(batches) > 1
    assert all(len(batch) for batch in batches)
    assert len(stream.table) == 0
    assert list(stream) == []


def test_records_come_before_the_exception_of_a_damaged_file(data_path: Path) -> None:
    path = data_path / "bad/cut_record.pcap"
    stream = slimcap.flows(path)
    assert [FlowEnd(end) for end in next(stream)["end_reason"]] == [FlowEnd.FORCED]
    with pytest.raises(TruncatedFileError):
        next(stream)
    assert stream.table.stats.packets > 0


def test_files_that_flows_opened_are_closed(mixed: Path) -> None:
    """An open source would warn, which is an error here."""
    for stream in (slimcap.flows(mixed), slimcap.flows([mixed])):
        with stream:
            pass
        assert list(stream) == []
    list(slimcap.flows(mixed))


def test_ctrl_c_while_waiting_ends_all_flows(mixed: Path) -> None:
    def batches() -> Any:
        yield batch_at(udp_packet(0))
        raise KeyboardInterrupt

    stream = slimcap.flows(batches())
    assert [FlowEnd(end) for end in next(stream)["end_reason"]] == [FlowEnd.FORCED]
    with pytest.raises(KeyboardInterrupt):
        next(stream)


def test_a_live_source_expires_flows_while_nothing_comes() -> None:
    with MockRingSource(auto_filter=False, block_timeout=0.01) as mock:
        mock.add_packet(udp_packet(0))
        mock.finalize_block()
        stream = slimcap.flows(mock, idle_timeout=0.5)
        start = time.monotonic()
        assert [FlowEnd(end) for end in next(stream)["end_reason"]] == [FlowEnd.IDLE]
        assert 0.5 < time.monotonic() - start < 30


@pytest.mark.parametrize("call", ["close", "stop"])
def test_a_source_that_is_closed_or_stopped_ends_all_flows(call: str) -> None:
    with MockRingSource(auto_filter=False, block_timeout=0.01) as mock:
        mock.add_packet(udp_packet(0))
        mock.finalize_block()
        reading = Background(lambda: list(slimcap.flows(mock)))
        reading.wait_until_blocked()
        getattr(mock, call)()
        assert [FlowEnd(end) for batch in reading.result() for end in batch["end_reason"]] == [FlowEnd.FORCED]


def test_unblock_ends_all_flows() -> None:
    with MockRingSource(auto_filter=False, block_timeout=0.01) as mock:
        mock.add_packet(udp_packet(0))
        mock.finalize_block()
        stream = slimcap.flows(mock)
        timer = threading.Timer(0.2, stream.unblock)
        timer.start()
        assert len(next(stream)) == 1
        with pytest.raises(CaptureUnblocked):
            next(stream)
        timer.join()


def test_the_timeout_of_a_source_ends_all_flows() -> None:
    with MockRingSource(auto_filter=False, block_timeout=0.01, timeout=0.1) as mock:
        mock.add_packet(udp_packet(0))
        mock.finalize_block()
        stream = slimcap.flows(mock)
        assert len(next(stream)) == 1
        with pytest.raises(TimeoutError):
            next(stream)


def test_a_stream_is_an_arrow_stream(mixed: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table(slimcap.flows(mixed, window=0.01))
    assert table.equals(FlowBatch.concat(slimcap.flows(mixed, window=0.01)).to_arrow())


@pytest.mark.parametrize("packets", [5, None, 1.5])
def test_other_arguments_are_refused(packets: Any) -> None:
    with pytest.raises(TypeError, match="packets must be a Source, a Batch"):
        slimcap.flows(packets)


@pytest.mark.slow  # and with a limit of memory, which a sanitizer does not work with
def test_a_large_batch_needs_little_memory() -> None:
    """A table reserves memory for a record of each packet: here 2 GiB, of which one is used."""
    code = """if True:
        import resource, numpy as np, slimcap
        from slimcap.mock import build_packet
        options = {"max_flows": 100, "splt": 4096, "first_bytes": 4096}
        payload = bytes(build_packet("192.0.2.1", "192.0.2.2", 1024, 53, 17, b"x").payload)
        records = np.zeros(40_000, slimcap.RECORD_DTYPE)
        records["cap_len"] = records["total_len"] = len(payload)
        records["ip_offset"] = 14
        batch = slimcap.Batch(records, payload)
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        table = slimcap.FlowTable(**options)
        try:
            table.update(batch)
        except MemoryError as error:
            assert "40,000 records of 57,480 bytes: pass fewer packets at a time" in str(error)
        else:
            raise AssertionError("the limit was too high")
        table.update(batch[:10])
        assert table.stats.packets == 10
        (flow,) = slimcap.FlowBatch.concat(slimcap.flows(batch, **options))
        assert flow["src_packets"] == 40_000
    """
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=PATIENCE)
