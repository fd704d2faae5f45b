"""Tables from a ring: consumers may keep them, and the capture continues."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from slimcap import Batch, RingSource, write
from slimcap.sink.arrow import ArrowStream

pa = pytest.importorskip("pyarrow")


pq = pytest.importorskip("pyarrow.parquet")


PAGE = os.sysconf("SC_PAGESIZE")


# Ten frames fit. With a shorter timeout, ten frames could use up both blocks.
SMALL: dict[str, Any] = {"block_size": PAGE, "num_blocks": 2, "block_timeout": 0.05, "auto_filter": False}


COUNT = 200  # some ten times what the ring holds


@pytest.fixture
def source(veth: Any) -> Iterator[RingSource]:
    with veth.namespace.inside():
        made = RingSource("right", timeout=5, **SMALL)
    with made:
        yield made


def frames(count: int, first: int = 0) -> list[bytes]:
    head = bytes.fromhex("020000000002 020000000001 88b5")
    return [head + n.to_bytes(4) + bytes(40 + n % 200) for n in range(first, first + count)]


class Paced:
    """The batches of a source; ten frames are sent when those before have been read."""

    def __init__(self, veth: Any, source: RingSource, sent: list[bytes]) -> None:
        self._veth, self._source, self._sent = veth, source, sent
        self._batches = source.batches()
        self._read = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        if self._read == len(self._sent):
            self._source.close()
        elif self._read % 10 == 0:
            self._veth.send(self._sent[self._read : self._read + 10])
        batch = next(self._batches)
        self._read += len(batch)
        return batch


@pytest.mark.parametrize("to", ["table", "polars", "reader"])
def test_kept_tables_hold_no_blocks(veth: Any, source: RingSource, to: str) -> None:
    sent = frames(COUNT)
    stream = ArrowStream(Paced(veth, source, sent))
    if to == "table":
        got = pa.table(stream)["payload"].to_pylist()
    elif to == "polars":
        got = pytest.importorskip("polars").DataFrame(stream)["payload"].to_list()
    else:
        kept = list(pa.RecordBatchReader.from_stream(stream))
        assert len(kept) > SMALL["num_blocks"]
        got = pa.Table.from_batches(kept)["payload"].to_pylist()
    assert got == sent


@pytest.mark.parametrize(
    "rows",
    [
        lambda batch: batch,
        lambda batch: batch[:],
        lambda batch: batch[[0]][[0]],
        lambda batch: batch.filter("greater 1"),
    ],
)
def test_tables_copy_the_bytes_of_a_batch(veth: Any, source: RingSource, rows: Callable[[Any], Any]) -> None:
    (sent,) = frames(1)
    veth.send([sent])
    batch = source.next_batch()
    part = rows(batch)
    table = pa.table(part)
    columns = pa.table(ArrowStream(part, ["total_len"]))
    if part is not batch:
        part.release()
    del part
    batch.release()  # no view is left
    assert table["payload"].to_pylist() == [sent]
    assert columns["total_len"].to_pylist() == [len(sent)]


def test_parquet_file_of_a_live_capture(veth: Any, source: RingSource, tmp_path: Path) -> None:
    sent = frames(COUNT)
    assert write(Paced(veth, source, sent), tmp_path / "out.parquet") == len(sent)
    assert pq.read_table(tmp_path / "out.parquet")["payload"].to_pylist() == sent


def test_close_ends_the_stream(veth: Any, source: RingSource) -> None:
    sent = frames(5)
    veth.send(sent)
    reader = pa.RecordBatchReader.from_stream(source.batches())
    rows = 0
    while rows < len(sent):
        rows += reader.read_next_batch().num_rows
    threading.Timer(0.1, source.close).start()
    assert list(reader) == []
