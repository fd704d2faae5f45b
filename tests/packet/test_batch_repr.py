"""Batch as text and HTML; batches without packets, packets without bytes."""

from __future__ import annotations

import mmap
import pickle

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, Batch, Packet, View, concat, read
from support.batches import payloads_of
from support.markup import Tags
from support.rows import CONTENT, NAMES, row, rows

# ---- text and HTML


NOON = 1_709_294_400 * 10**9  # 2024-03-01 12:00


def batch_at(*times, total_len=60):
    return Batch(np.concatenate([row(timestamp=time, total_len=total_len) for time in times]), b"")


def test_repr_shows_packets_bytes_and_duration():
    batch = batch_at(NOON + 1_500_000_000, NOON, NOON + 1, total_len=1000)
    assert repr(batch) == "<Batch: 3 packets, 3,000 bytes, 1.500000 s from 2024-03-01T12:00:00.000000000>"


def test_repr_shows_more_than_4_gib_of_bytes():
    batch = batch_at(*[NOON] * 1200, total_len=2**32 - 1)
    assert repr(batch).startswith("<Batch: 1,200 packets, 5,153,960,754,000 bytes, 0.000000 s from 2024")


@pytest.mark.parametrize(
    "times", [(-(2**63),), (-(2**63), 0, NOON), (2**63 - 1, -(2**63) + 1), (-(2**63), 2**63 - 1)], ids=str
)
def test_repr_accepts_any_times(times):
    # The lowest int64 is NaT in numpy; differences of times may need more than 63 bits.
    text = repr(batch_at(*times))
    assert text.startswith(f"<Batch: {len(times)} packets, ")
    assert " -" not in text
    assert batch_at(*times)._repr_html_().count("<tr>") == 1 + len(times)


@pytest.mark.parametrize("count", [1, 9, 10, 11, 1500])
def test_html_shows_the_first_ten_rows(count):
    batch = batch_at(*[NOON] * count)
    tags = Tags(batch._repr_html_())
    shown = min(count, 10)
    assert tags.open == []
    assert [text for tag, text in tags.cells if tag == "th"] == [*NAMES, "src", "dst", "protocol"]
    cells = [text for tag, text in tags.cells if tag == "td"]
    columns = [NAMES.index(name) for name in NAMES if name not in ("timestamp", "pkt_type")]
    for number, record in enumerate(batch.records[:shown].tolist()):
        line = cells[number * len(NAMES) :][: len(NAMES)]  # without the empty cells of the headers
        assert [line[column] for column in columns] == [str(record[column]) for column in columns]
        assert line[NAMES.index("timestamp")] == "2024-03-01T12:00:00.000000000"
        assert line[NAMES.index("pkt_type")] == "THIS_HOST"
    assert batch._repr_html_().count("<td></td><td></td><td></td></tr>") == shown
    notes = [text for tag, text in tags.cells if tag == "p"]
    assert notes == [repr(batch).strip("<>"), *([f"… {count - 10:,} more"] if count > 10 else [])]


def test_html_shows_addresses_and_protocols(data_path):
    batch = read(data_path / "mixed.pcap")
    html = batch._repr_html_()
    assert "<tr><td>2024-03-01T12:00:00.000004000</td>" in html
    assert "<td>192.0.2.10</td><td>192.0.2.1</td><td></td></tr>" in html  # ARP
    assert "<td>192.0.2.53</td><td>233.252.0.1</td><td>UDP</td></tr>" in html
    with batch:
        pass
    assert "192.0.2.1" not in batch._repr_html_()  # released: only the records are left


def test_names_of_columns_can_be_completed():
    assert batch_at(NOON)._ipython_key_completions_() == list(RECORD_DTYPE.names)


# ---- no packets, no bytes


@pytest.mark.parametrize(
    "make",
    [
        lambda: Batch([], b""),
        lambda: Batch(rows()[:0], CONTENT),
        lambda: Batch(rows(), CONTENT)[:0],
        lambda: Batch(rows(), CONTENT)[np.zeros(6, bool)],
        lambda: Batch([], b"").copy(),
        lambda: pickle.loads(pickle.dumps(Batch([], b""))),
        lambda: concat([]),
        lambda: Batch([], View.__new__(View)),
        lambda: Batch([], mmap.mmap(-1, 1)),
    ],
    ids=range(9),
)
def test_an_empty_batch_has_empty_arrays(make):
    batch = make()
    assert (len(batch), bool(batch), list(batch), repr(batch)) == (0, False, [], "<Batch: 0 packets>")
    assert (batch.records.shape, batch.records.dtype) == ((0,), RECORD_DTYPE)
    assert (batch.timestamps.shape, batch["flags"].shape, batch.gather(5).shape) == ((0,), (0,), (0, 5))
    assert batch.headers().size == batch.headers(["src"]).size == 0
    assert (len(batch[:]), len(batch[::-1]), len(batch.copy())) == (0, 0, 0)
    assert Tags(batch._repr_html_()).open == []
    for index in (0, -1):
        with pytest.raises(IndexError):
            batch[index]
    batch.release()
    assert (batch.released, len(batch)) == (True, 0)


def test_a_file_without_packets_is_an_empty_batch(data_path):
    batch = read(data_path / "empty.pcap")
    assert (len(batch), batch.records.size, batch.data.size) == (0, 0, 0)


def test_packets_may_have_no_bytes():
    batch = Batch(np.repeat(row(total_len=60), 4), b"")
    assert payloads_of(batch) == [b""] * 4
    assert not batch.gather(3).any()
    assert [packet.total_len for packet in batch] == [60] * 4
    assert isinstance(batch[0].copy(), Packet)
    assert len(concat([batch, batch])) == 8


@pytest.mark.parametrize("count", [0, 1, 3])
def test_total_bytes_sums_lengths_on_the_wire(count):
    rows = np.zeros(count, RECORD_DTYPE)
    rows["total_len"] = 0xFFFFFFFF
    batch = Batch(rows, b"")
    assert batch.total_bytes == count * 0xFFFFFFFF
    assert type(batch.total_bytes) is int
    assert batch[:1].total_bytes == min(count, 1) * 0xFFFFFFFF
