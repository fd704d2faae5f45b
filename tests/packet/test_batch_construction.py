"""Batch(records, data, links): accepted records and buffers, bounds, links, calling init again."""

from __future__ import annotations

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, Batch, Link, Packet
from slimcap.packet.lease import Lease
from support.batches import is_locked, payloads_of
from support.rows import CONTENT, LENGTHS, NAMES, SIZE, payloads_in, row, rows

# ---- data


BUFFERS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": lambda content: memoryview(b"<" + content)[1:],
    "packet": Packet,
    "numpy": lambda content: np.frombuffer(content, "u1"),
    "numpy_u4": lambda content: np.frombuffer(content, "u4"),
    "lease": Lease,
    "view": lambda content: Batch(row(0, len(content)), content).payload(0),
    "data_of_a_batch": lambda content: Batch([], content).data,
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_data_may_be_any_buffer(kind):
    batch = Batch(rows(), BUFFERS[kind](CONTENT))
    assert len(batch) == len(LENGTHS)
    assert payloads_of(batch) == payloads_in(rows())
    assert batch.data.tobytes() == CONTENT


def test_data_is_not_copied(memory):
    batch = Batch(rows(), memory)
    memory[:] = bytes(SIZE)
    assert not batch.data.any()
    assert payloads_of(batch) == [bytes(length) for length in LENGTHS]


# ---- records


RECORDS = {
    "array": rows,
    "list_of_tuples": lambda: rows().tolist(),
    "big_endian": lambda: rows().astype(RECORD_DTYPE.newbyteorder(">")),
    "packed": lambda: rows().astype([(name, RECORD_DTYPE[name]) for name in NAMES]),
    "backwards": lambda: rows()[::-1].copy()[::-1],
    "every_second": lambda: np.repeat(rows(), 2)[::2],
    "read_only": lambda: np.frombuffer(rows().tobytes(), RECORD_DTYPE),
    "records_of_a_batch": lambda: Batch(rows(), CONTENT).records,
}


@pytest.mark.parametrize("kind", RECORDS)
def test_records_may_be_any_array_like(kind):
    batch = Batch(RECORDS[kind](), CONTENT)
    assert batch.records.dtype == RECORD_DTYPE
    assert batch.records.tolist() == rows().tolist()
    assert payloads_of(batch) == payloads_in(rows())


class Provider:
    """An object whose `__array__` returns the same array each time, without a copy."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.mark.parametrize("wrap", [lambda array: array, Provider], ids=["array", "provider"])
def test_records_are_copied(wrap):
    records = rows()
    batch = Batch(wrap(records), CONTENT)
    records["total_len"] = 5
    records["offset"] = 2**40
    assert batch.records.tolist() == rows().tolist()


def test_a_single_record_makes_a_batch_of_one():
    assert len(Batch(rows()[3], CONTENT)) == len(Batch(rows().tolist()[3], CONTENT)) == 1


@pytest.mark.parametrize("shape", [(2, 3), (6, 1), (1, 6), (1, 2, 3)], ids=str)
def test_records_of_other_dimensions_are_refused(shape, memory):
    with pytest.raises(ValueError, match="one dimension"):
        Batch(rows().reshape(shape), memory)
    assert not is_locked(memory)


INSIDE = [(0, 0), (0, SIZE), (SIZE, 0), (SIZE - 1, 1), (1, SIZE - 1), (2000, 2096)]
OUTSIDE = [
    *[(0, SIZE + 1), (1, SIZE), (SIZE, 1), (SIZE + 1, 0), (SIZE - 1, 2), (0, 2**32 - 1)],
    *[(SIZE, 2**32 - 1), (2**32, 0), (2**32 - 1, 1), (2**63, 0), (2**63 - 1, 1), (2**63, 2**32 - 1)],
    # The end of these wraps around in 64 bits.
    *[(2**64 - 1, 0), (2**64 - 1, 1), (2**64 - 1, 2), (2**64 - 2, 60), (2**64 - 60, 60), (2**64 - 60, 120)],
    *[(2**64 - 2**32 + 1, 2**32 - 1), (2**64 - SIZE, SIZE)],
]


@pytest.mark.parametrize(("offset", "cap_len"), INSIDE)
def test_records_within_the_data_are_accepted(offset, cap_len):
    batch = Batch(row(offset, cap_len), CONTENT)
    assert payloads_of(batch) == [CONTENT[offset : offset + cap_len]]
    assert batch[0].payload == batch[:][0].payload == CONTENT[offset : offset + cap_len]


@pytest.mark.parametrize("position", [0, 1, 6])
@pytest.mark.parametrize(("offset", "cap_len"), OUTSIDE)
def test_records_outside_the_data_are_refused(memory, offset, cap_len, position):
    records = np.insert(rows(), position, row(offset, cap_len))
    with pytest.raises(
        ValueError, match=rf"record {position} .* {SIZE} bytes .*offset {offset}, cap_len {cap_len}"
    ):
        Batch(records, memory)
    assert not is_locked(memory)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError, ()),
        (TypeError, (rows(),)),
        (TypeError, (rows(), "text")),
        (TypeError, (rows(), None)),
        (TypeError, (rows(), CONTENT, 5)),
        (BufferError, (rows(), memoryview(CONTENT * 2)[::2])),
        ((TypeError, ValueError), (None, CONTENT)),
        ((TypeError, ValueError), (["text"], CONTENT)),
        ((TypeError, ValueError), ([(1, 2)], CONTENT)),
        ((TypeError, OverflowError), ([(0, -1, *range(8))], CONTENT)),
        (ValueError, (rows(), b"")),
    ],
    ids=range(11),
)
def test_construction_refuses_wrong_arguments(error, arguments):
    with pytest.raises(error):
        Batch(*arguments)


# ---- links and subclasses


def test_links_are_a_tuple():
    links = [Link("eth0", 1, 1), Link("eth1", 2, 1)]
    assert Batch(rows(), CONTENT).links == ()
    assert (
        Batch(rows(), CONTENT, links).links == Batch(rows(), CONTENT, links=iter(links)).links == tuple(links)
    )


def test_batch_cannot_be_subclassed():
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (Batch,), {})


# ---- init called again


def test_init_again_raises_and_changes_nothing(batch, memory):
    other = bytearray(SIZE)
    with pytest.raises(TypeError, match="a batch is made once"):
        batch.__init__(rows()[:1], other, [Link("eth0", 0, 1)])
    assert (is_locked(memory), is_locked(other)) == (True, False)
    assert payloads_of(batch) == payloads_in(rows())
    assert batch.links == ()
    batch.release()
    with pytest.raises(TypeError, match="a batch is made once"):
        batch.__init__(rows()[:1], other)
    assert batch.records.tolist() == rows().tolist()


# ---- records with other dtypes


def test_records_are_taken_by_the_names_of_their_fields(memory):
    plain = rows()
    reordered = np.zeros(len(plain), [(name, plain.dtype[name]) for name in reversed(plain.dtype.names)])
    for name in plain.dtype.names:
        reordered[name] = plain[name]
    assert Batch(reordered, memory).records.tolist() == Batch(plain, memory).records.tolist()


def test_records_with_other_fields_are_refused(memory):
    for changed in (
        rows()[["timestamp", "offset"]],
        np.zeros(2, [("x", "u1"), *((name, RECORD_DTYPE[name]) for name in RECORD_DTYPE.names)]),
    ):
        with pytest.raises(TypeError, match="records must have the fields timestamp, offset, total_len"):
            Batch(changed, memory)


def test_values_that_do_not_fit_are_refused(memory):
    wide = np.zeros(1, [(name, "i8") for name in RECORD_DTYPE.names])
    wide["total_len"] = 1 << 32
    with pytest.raises(ValueError, match=r"records\['total_len'\] has values that do not fit into uint32"):
        Batch(wide, memory)


def test_renaming_fields_of_an_array_changes_no_other(memory):
    first = Batch(rows(), memory)
    first.records.dtype.names = [f"x{index}" for index in range(len(RECORD_DTYPE.names))]
    second = Batch(rows(), memory)
    assert second.records.dtype.names == RECORD_DTYPE.names
    assert second["total_len"].tolist() == rows()["total_len"].tolist()
    assert list(RECORD_DTYPE.fields) == list(RECORD_DTYPE.names)
