"""Arrow streams of sources that fail, end or are interrupted: the consumer gets all packets before that."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimcap import Batch, open_file
from slimcap.sink.arrow import ArrowStream
from support.tables import by_pyarrow, expected_columns, uneven_batch

pa = pytest.importorskip("pyarrow")


def rows_before_error(source_of: Callable[[], Any]) -> tuple[int, str]:
    """Return how many rows a consumer gets, and the message of the error after them, if any."""
    reader = pa.RecordBatchReader.from_stream(source_of())
    rows = 0
    try:
        for batch in reader:
            rows += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        return rows, str(error)
    return rows, ""


def test_packets_before_a_cut_are_read_for_cuts_at_every_byte(samples: Any) -> None:
    packets = [samples.pcap_record(bytes(length)) for length in (60, 0, 7)]
    data = samples.pcap_header() + b"".join(packets)
    found = set()
    for size in range(24, len(data) + 1):
        want, raised = 0, ""
        try:
            for batch in open_file(io.BytesIO(data[:size]), block_size=64).batches():
                want += len(batch)
        except Exception as error:
            raised = f"{type(error).__name__}: {error}"
        rows, message = rows_before_error(
            lambda size=size: open_file(io.BytesIO(data[:size]), block_size=64).batches()
        )
        assert rows == want, f"cut to {size} bytes"
        assert raised in message, f"cut to {size} bytes"
        assert bool(raised) == bool(message), f"cut to {size} bytes"
        found.add(rows)
    assert found == {0, 1, 2, 3}


def test_consumers_raise_with_the_error_of_the_source(data_path: Path) -> None:
    bad = data_path / "bad" / "cut_data.pcap"
    with pytest.raises(
        pa.ArrowInvalid, match=r"TruncatedFileError: .*cut_data.pcap: the file ends in .*byte 245"
    ):
        pa.table(open_file(bad).batches())
    polars = pytest.importorskip("polars")
    with pytest.raises(BaseException, match=r"TruncatedFileError: .*byte 245"):
        polars.DataFrame(open_file(bad).batches())
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        connection.register("packets", open_file(bad).batches())
        query = connection.sql("select sum(total_len) from packets")
        with pytest.raises(duckdb.Error, match=r"TruncatedFileError: .*byte 245"):
            query.fetchall()


def test_timeouts_reach_the_consumer_after_the_packets(fifo: Any, samples: Any) -> None:
    fifo.write(samples.pcap_header() + samples.pcap_record(bytes(60)))
    with open_file(fifo.path, timeout=0.05) as source:
        rows, message = rows_before_error(source.batches)
    assert rows == 1
    assert "TimeoutError" in message


def test_closing_the_source_ends_the_stream(data_path: Path) -> None:
    source = open_file(data_path / "mixed.pcap", block_size=700)
    batches = source.batches()
    reader = pa.RecordBatchReader.from_stream(batches)
    rows = reader.read_next_batch().num_rows
    source.close()
    assert rows
    assert list(reader) == []
    assert pa.table(batches).num_rows == 0


def test_items_that_are_not_batches_are_refused() -> None:
    array = np.zeros(3, [("a", "u1")])
    for thing, message in ((None, "not NoneType"), (array, "rows of"), (uneven_batch().records, "attribute")):
        with pytest.raises((OSError, pa.ArrowInvalid), match=message):
            pa.table(ArrowStream([thing]))  # type: ignore[list-item]
    with pytest.raises(TypeError):
        pa.table(ArrowStream(5))  # type: ignore[arg-type]


def test_errors_of_every_kind_reach_the_consumer() -> None:
    class Unshown(Exception):
        def __str__(self) -> str:
            raise self

    def failing(error: BaseException) -> Iterator[Batch]:
        yield uneven_batch()
        raise error

    for error, kind, message in (
        (ValueError("a\0b \udc80 ä"), pa.ArrowInvalid, r"ValueError: a\?b \? ä"),
        (MemoryError("all of it"), MemoryError, "MemoryError: all of it"),
        (OSError(28, "full", "name"), OSError, "OSError: .*full: 'name'"),
        (OSError(-5, "negative"), OSError, "negative"),
        (TimeoutError("late"), OSError, "TimeoutError: late"),
        (RuntimeError("busy"), OSError, "RuntimeError: busy"),
        (SystemExit(3), OSError, "SystemExit: 3"),
        (Unshown(), OSError, None),
    ):
        with pytest.raises(kind, match=message):
            pa.table(ArrowStream(failing(error)))


def test_keyboard_interrupt_in_a_stream_stays_one() -> None:
    def interrupted() -> Iterator[Batch]:
        yield uneven_batch()
        raise KeyboardInterrupt

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    told = []

    def export() -> None:
        try:
            pa.table(ArrowStream(interrupted()))
        except OSError as error:
            told.append(str(error))
            for _ in range(1000):  # until the interpreter handles the signal
                pass

    with pytest.raises(KeyboardInterrupt):
        export()
    assert not told or "KeyboardInterrupt" in told[0]


def test_streams_can_be_read_in_another_thread(data_path: Path, mixed: Batch, background: Any) -> None:
    with open_file(data_path / "mixed.pcap", block_size=700) as source:
        reader = pa.RecordBatchReader.from_stream(source.batches())
        table = background(reader.read_all).result()
        background(lambda: reader.close()).result()
    assert by_pyarrow(table) == expected_columns(mixed)
