"""Releasing a batch: it raises while views are open; which objects are views of its buffer."""

from __future__ import annotations

import gc
import pickle
import random
import threading

import numpy as np
import pytest

from slimcap import Batch, concat
from slimcap.packet.lease import Lease
from support.batches import is_locked, payloads_of
from support.rows import LENGTHS, MASK, payload_of, payloads_in, row, rows

USES = {
    "payload": lambda batch: batch.payload(0),
    "ip_layer": lambda batch: batch.ip_layer(-1),
    "packet": lambda batch: batch[0],
    "slice": lambda batch: batch[1:3],
    "mask": lambda batch: batch[MASK],
    "data": lambda batch: batch.data,
    "gather": lambda batch: batch.gather(4),
    "copy": lambda batch: batch.copy(),
    "concat": lambda batch: concat([batch]),
    "next": lambda batch: next(iter(batch), None) or batch.payload(0),
    "headers": lambda batch: batch.headers(),
    "pickle": pickle.dumps,
}
VIEWS = {
    "payload": lambda batch: batch.payload(0),
    "empty_payload": lambda batch: batch.payload(1),
    "payload_slice": lambda batch: batch.payload(0)[5:][:9],
    "ip_layer": lambda batch: batch.ip_layer(0),
    "empty_ip_layer": lambda batch: batch.ip_layer(1),
    "memoryview": lambda batch: memoryview(batch.payload(0)),
    "frombuffer": lambda batch: np.frombuffer(batch.payload(3), "u1")[::7],
    "iterator_of_bytes": lambda batch: iter(batch.payload(0)),
    "lease": lambda batch: Lease(batch.payload(0)),
    "data": lambda batch: batch.data,
    "data_slice": lambda batch: batch.data[10:20],
    "data_memoryview": lambda batch: memoryview(batch.data),
    "data_matrix": lambda batch: batch.data.reshape(64, -1).T,
    "packet": lambda batch: batch[0],
    "packet_payload": lambda batch: batch[0].payload,
    "packet_ip_layer": lambda batch: batch[0].ip_layer,
    "list": lambda batch: list(batch),
    "slice": lambda batch: batch[1:3],
    "mask": lambda batch: batch[MASK],
    "nothing": lambda batch: batch[:0],
    "sub_sub_batch": lambda batch: batch[1:][::2],
    "sub_payload": lambda batch: batch[[3]].payload(0),
    "batch_over_data": lambda batch: Batch([], batch.data),
}
NO_VIEWS = {
    "nothing": lambda batch: None,
    "used": lambda batch: [use(batch) for use in USES.values()] and None,
    "records": lambda batch: batch.records,
    "column": lambda batch: batch["total_len"],
    "timestamps": lambda batch: batch.timestamps,
    "row": lambda batch: batch.records[0],
    "sub_records": lambda batch: batch[::2].records,
    "bytes": lambda batch: bytes(batch.payload(0)),
    "stepped_payload": lambda batch: batch.payload(0)[::2],
    "gathered": lambda batch: batch.gather(10),
    "copy": lambda batch: batch.copy(),
    "packet_copy": lambda batch: batch[0].copy(),
    "text": lambda batch: str(batch.ip_layer(0)),
    "iterator": lambda batch: iter(batch),
}


# ---- release


@pytest.mark.parametrize("kind", VIEWS)
def test_release_raises_while_a_view_is_open(batch, memory, kind):
    view = VIEWS[kind](batch)
    for _ in range(3):
        with pytest.raises(BufferError, match="open"):
            batch.release()
        assert not batch.released
        assert is_locked(memory)
    assert payloads_of(batch) == payloads_in(rows())
    del view
    batch.release()
    assert batch.released
    assert not is_locked(memory)


@pytest.mark.parametrize("kind", NO_VIEWS)
def test_release_succeeds_when_no_view_is_open(batch, memory, kind):
    kept = NO_VIEWS[kind](batch)
    batch.release()
    batch.release()
    assert batch.released
    assert not is_locked(memory)
    del kept


@pytest.mark.parametrize("use", USES)
def test_a_released_batch_refuses_access_to_bytes(batch, use):
    batch.release()
    with pytest.raises(ValueError, match="released"):
        USES[use](batch)


def test_records_survive_release(batch):
    early = batch.records
    batch.release()
    assert len(batch) == len(LENGTHS)
    assert early.tolist() == batch.records.tolist() == rows().tolist()
    assert batch["total_len"].tolist() == rows()["total_len"].tolist()
    assert batch.timestamps.astype("i8").tolist() == rows()["timestamp"].tolist()
    assert repr(batch).startswith("<Batch: 6 packets")


def test_with_releases_the_batch(memory):
    with Batch(rows(), memory) as batch:
        assert is_locked(memory)
        total = int(batch["total_len"].sum())
    assert batch.released
    assert not is_locked(memory)
    assert total == batch["total_len"].sum()


def test_with_raises_while_a_view_is_open(batch, memory):
    with pytest.raises(BufferError), batch:
        view = batch.payload(0)
    assert view == payload_of(rows()[0])
    assert is_locked(memory)


def test_a_sub_batch_is_released_on_its_own(batch, memory):
    part = batch[1:]
    payload = part.payload(0)
    with pytest.raises(BufferError):
        part.release()
    del payload
    part.release()
    assert part["cap_len"].tolist() == list(LENGTHS[1:])
    assert payloads_of(batch) == payloads_in(rows())
    batch.release()
    assert not is_locked(memory)


def test_a_batch_of_a_part_is_a_view_of_the_batch_that_owns_the_bytes(batch, memory):
    part = batch[1:]
    deeper = part[::2]
    part.release()
    assert payloads_of(deeper) == payloads_in(rows()[1::2])
    del part
    with pytest.raises(BufferError):
        batch.release()
    del deeper
    batch.release()
    assert not is_locked(memory)


def test_a_batch_without_init_is_empty_and_released():
    batch = Batch.__new__(Batch)
    assert (len(batch), list(batch), batch.released) == (0, [], True)
    assert (batch.records.shape, batch["flags"].shape, batch.timestamps.shape) == ((0,), (0,), (0,))
    assert repr(batch) == "<Batch: 0 packets>"
    batch.release()
    for use in (*USES.values(), lambda batch: batch[:], pickle.dumps, lambda batch: batch.__enter__().data):
        with pytest.raises((ValueError, IndexError)):
            use(batch)


# ---- views without the batch


@pytest.mark.parametrize("kind", VIEWS)
def test_views_keep_the_buffer(memory, kind):
    batch = Batch(rows(), memory)
    view = VIEWS[kind](batch)
    del batch
    gc.collect()
    assert is_locked(memory)
    del view
    assert not is_locked(memory)


@pytest.mark.parametrize("kind", sorted(NO_VIEWS.keys() - {"iterator"}))
def test_records_and_copies_do_not_keep_the_buffer(memory, kind):
    kept = NO_VIEWS[kind](Batch(rows(), memory))
    assert not is_locked(memory)
    del kept


# ---- threads


READS = {
    "gather": (lambda batch: batch.gather(256), np.ndarray.tobytes),
    "copy": (lambda batch: batch.copy(), lambda own: own.data.tobytes()),
    "concat": (lambda batch: concat([batch, batch]), lambda own: own.data.tobytes()),
    "headers": (lambda batch: batch.headers(), np.ndarray.tobytes),
    "payload": (lambda batch: batch.payload(-1), bytes),
    "data": (lambda batch: batch.data, lambda data: data.tobytes()),
    "sub_batch": (lambda batch: batch[-3:], lambda part: part.gather(256).tobytes()),
}


@pytest.mark.parametrize("kind", READS)
def test_release_in_another_thread_succeeds_or_raises(background, kind):
    """Released memory is overwritten at once: a reader must not see that."""
    content = random.Random(5).randbytes(256 * 1000)
    records = np.repeat(row(0, 256, ip_offset=14), 1000)
    records["offset"] = np.arange(1000) * 256
    read_it, snapshot = READS[kind]
    expected = snapshot(read_it(Batch(records, content)))
    for _ in range(15):
        memory = bytearray(content)
        batch = Batch(records, memory)
        barrier = threading.Barrier(2)

        def reader(batch=batch, barrier=barrier):
            results = []
            barrier.wait()
            try:
                for _ in range(5):
                    results.append(snapshot(read_it(batch)))
            except ValueError as error:
                results.append(str(error))
            return results

        job = background(reader)
        barrier.wait()
        for _ in range(1000):
            try:
                batch.release()
            except BufferError:
                continue
            memory[:] = bytes(len(memory))
            memory.clear()
            break
        assert all(result in (expected, "this memory was released") for result in job.result())
        batch.release()
        assert not is_locked(memory)
