"""Columns, packets, selections, payloads and IP layers of a batch."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from slimcap import NO_IP, RECORD_DTYPE, Batch, PacketView, View
from support.batches import is_locked, payloads_of
from support.rows import CONTENT, LENGTHS, MASK, NAMES, payload_of, payloads_in, row, rows

# ---- columns


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_views_of_the_records(batch, name):
    column = batch[name]
    assert column.dtype == RECORD_DTYPE[name]
    assert column.tolist() == rows()[name].tolist()
    assert np.shares_memory(column, batch.records)


def test_timestamps_are_datetimes_in_nanoseconds():
    batch = Batch(
        np.concatenate([row(timestamp=time) for time in (0, -1, 2**62, 1_709_294_400 * 10**9)]), b""
    )
    assert batch.timestamps.dtype == "M8[ns]"
    assert batch.timestamps.astype("i8").tolist() == batch["timestamp"].tolist()
    assert str(batch.timestamps[3]) == "2024-03-01T12:00:00.000000000"
    assert np.shares_memory(batch.timestamps, batch.records)


ARRAYS = {
    "records": lambda batch: batch.records,
    "column": lambda batch: batch["flags"],
    "timestamps": lambda batch: batch.timestamps,
    "data": lambda batch: batch.data,
    "data_slice": lambda batch: batch.data[5:],
    "sub_records": lambda batch: batch[[1, 0]].records,
    "sub_data": lambda batch: batch[2:].data,
    "copy_records": lambda batch: batch.copy().records,
    "copy_data": lambda batch: batch.copy().data,
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_cannot_be_made_writeable(batch, memory, kind):
    array = ARRAYS[kind](batch)
    for part in (array, array[:], array[::-1], array.view(np.ndarray), np.asarray(array)):
        assert not part.flags.writeable
        assert part.flags.aligned
        with pytest.raises(ValueError, match="WRITEABLE"):
            part.flags.writeable = True
        with pytest.raises(ValueError, match="WRITEABLE"):
            part.setflags(write=True)
        with pytest.raises(ValueError, match="read-only"):
            part[0] = part[1]
    assert memory == CONTENT


# ---- numbers


@pytest.mark.parametrize("as_index", [int, np.int64, np.int8, np.uint8, np.intp])
def test_a_number_gives_a_packet_view(batch, as_index):
    for index in range(len(LENGTHS)):
        packet = batch[as_index(index)]
        assert type(packet) is PacketView
        assert packet.payload == payload_of(rows()[index])
        assert (packet.timestamp, packet.flags) == (rows()["timestamp"][index], rows()["flags"][index])


class Index:
    """An object with `__index__` (PEP 357)."""

    def __index__(self):
        return 3


def test_objects_with_index_count_as_numbers(batch):
    assert batch.payload(Index()) == batch[Index()].payload == batch[3].payload


@pytest.mark.parametrize("index", range(-len(LENGTHS), len(LENGTHS)))
def test_numbers_count_from_either_end(batch, index):
    record = rows()[index]
    assert batch[index].payload == batch.payload(index) == payload_of(record)
    assert batch.ip_layer(index) == payload_of(record)[record["ip_offset"] :]
    assert batch.payload(np.int64(index)) == payload_of(record)


@pytest.mark.parametrize("index", [6, -7, 100, -(2**63), 2**63 - 1, 2**63, 2**70, -(2**70)])
def test_numbers_out_of_range_raise_index_error(batch, index):
    for ask in (batch.__getitem__, batch.payload, batch.ip_layer):
        with pytest.raises(IndexError):
            ask(index)


@pytest.mark.parametrize("index", ["0", 1.0, None, slice(1), [1]], ids=str)
def test_payload_accepts_numbers_only(batch, index):
    for ask in (batch.payload, batch.ip_layer):
        with pytest.raises(TypeError):
            ask(index)


# ---- selections


KEYS = {
    "all": slice(None),
    "head": slice(2),
    "tail": slice(-2, None),
    "step": slice(None, None, 2),
    "backwards": slice(None, None, -1),
    "back_step": slice(4, 0, -2),
    "none": slice(3, 3),
    "beyond": slice(4, 100),
    "mask": MASK,
    "mask_list": MASK.tolist(),
    "mask_of_none": np.zeros(6, bool),
    "numbers": np.array([4, 0, 4, -1]),
    "numbers_u1": np.array([5, 1], "u1"),
    "numbers_backwards": np.arange(6)[::-2],
    "no_numbers": np.array([], int),
    "list": [3, 3, 2],
    "empty_list": [],
    "ellipsis": ...,
}


@pytest.mark.parametrize("kind", KEYS)
def test_selected_rows_are_a_batch_over_the_same_memory(batch, kind):
    part = batch[KEYS[kind]]
    expected = rows()[KEYS[kind]]
    assert type(part) is Batch
    assert len(part) == len(expected)
    assert part.records.tolist() == expected.tolist()
    assert payloads_of(part) == payloads_in(expected)
    assert part.links is batch.links
    assert part.data.ctypes.data == batch.data.ctypes.data


def test_selections_can_be_selected_from(batch):
    chance = random.Random(3)
    for _ in range(50):
        part, expected = batch, rows()
        for _ in range(5):
            key = chance.choice(
                [
                    slice(chance.randint(-3, 1), None),
                    slice(None, None, -1),
                    np.array([chance.random() < 0.7 for _ in expected], bool),
                    [chance.randrange(len(expected)) for _ in range(4)] if len(expected) else [],
                ]
            )
            part, expected = part[key], expected[key]
        assert part.records.tolist() == expected.tolist()
        assert payloads_of(part) == payloads_in(expected)


def test_index_arrays_are_not_kept(batch):
    key = np.array([1, 2])
    part = batch[key]
    key[:] = 0
    assert part.records.tolist() == rows()[[1, 2]].tolist()


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (TypeError, None),
        (TypeError, True),
        (TypeError, np.bool_(False)),
        (TypeError, ["total_len", "cap_len"]),
        (TypeError, [[0, 1], [2, 3]]),
        (TypeError, np.zeros((1, 1), int)),
        (IndexError, 1.5),
        (IndexError, (0, 1)),
        (IndexError, [6]),
        (IndexError, [0, -7]),
        (IndexError, [1.0]),
        (IndexError, ["total_len", 1]),
        (IndexError, np.ones(5, bool)),
        (IndexError, np.ones(7, bool)),
        (IndexError, np.ones((6, 2), bool)),
        (IndexError, b"total_len"),
        (IndexError, object()),
        ((TypeError, IndexError), slice("a")),
        (ValueError, slice(None, None, 0)),
        (ValueError, "no such column"),
        (ValueError, ""),
    ],
    ids=range(21),
)
def test_invalid_keys_raise(batch, memory, error, key):
    with pytest.raises(error):
        batch[key]
    batch.release()
    assert not is_locked(memory)


def test_batches_cannot_be_written_to(batch):
    with pytest.raises(TypeError):
        batch["flags"] = 0
    with pytest.raises(TypeError):
        del batch[0]
    with pytest.raises(AttributeError):
        batch.records = rows()


# ---- iteration


def test_iteration_gives_packet_views(batch):
    packets = list(batch)
    assert {type(packet) for packet in packets} == {PacketView}
    assert [bytes(packet.payload) for packet in packets] == payloads_in(rows())
    assert [packet.timestamp for packet in packets] == rows()["timestamp"].tolist()


def test_nested_iterations_are_independent(batch):
    pairs = [(one.timestamp, two.timestamp) for one in batch for two in batch]
    assert pairs == list(itertools.product(rows()["timestamp"].tolist(), repeat=2))


def test_iteration_raises_after_release(batch):
    packets = iter(batch)
    next(packets)
    batch.release()
    with pytest.raises(ValueError, match="released"):
        next(packets)


# ---- payloads and IP layers


def test_payloads_are_views_of_the_data(batch):
    base = batch.data.ctypes.data
    for index, record in enumerate(rows()):
        view = batch.payload(index)
        assert type(view) is View
        assert np.frombuffer(memoryview(view), "u1").ctypes.data == base + record["offset"]


@pytest.mark.parametrize("offset", [0, 1, 59, 60, 61, 65534, NO_IP])
def test_ip_layer_starts_at_its_offset_or_is_empty(offset):
    batch = Batch(row(7, 60, ip_offset=offset), CONTENT)
    assert batch.ip_layer(0) == batch[0].ip_layer == CONTENT[7:67][offset:]


@pytest.mark.parametrize("cap_len", [NO_IP - 1, NO_IP, NO_IP + 1, 70_000])
def test_no_ip_is_not_used_as_an_offset_in_a_longer_packet(cap_len):
    batch = Batch(row(0, cap_len, ip_offset=NO_IP), b"\x45" * cap_len)
    assert (len(batch.ip_layer(0)), len(batch[0].ip_layer)) == (0, 0)


def test_an_index_that_changes_the_batch_is_refused(batch):
    class Index:
        def __index__(self):
            with pytest.raises(TypeError):
                batch.__init__([], b"")
            with pytest.raises(BufferError):
                batch.release()
            return 1

    assert len(batch[Index() :]) == len(batch) - 1
