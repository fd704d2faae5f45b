"""Arrays, views and batches of a source stay valid and unchanged for as long as they are kept."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest

from slimcap import Batch, Link, concat, open_file, read
from support.batches import is_locked, payloads_of, rows_of
from support.rows import rows

OUTLIVE = {
    "records": (lambda batch: batch.records.tolist(), lambda batch: batch.records),
    "column": (lambda batch: batch["timestamp"].tolist(), lambda batch: batch["timestamp"]),
    "timestamps": (lambda batch: batch.timestamps.tolist(), lambda batch: batch.timestamps),
    "data": (lambda batch: batch.data.tolist(), lambda batch: batch.data),
    "data_slice": (lambda batch: batch.data[99:200].tolist(), lambda batch: batch.data[:300][99:200]),
    "sub_records": (lambda batch: batch.records[::3].tolist(), lambda batch: batch[::3].records),
    "payload": (lambda batch: list(batch.payload(9)), lambda batch: memoryview(batch.payload(9))),
    "sub_data": (lambda batch: batch.data.tolist(), lambda batch: batch[:3][1:].data),
}


@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")
@pytest.mark.parametrize("kind", OUTLIVE)
@pytest.mark.parametrize("block_size", [4096, 1 << 20])
def test_arrays_outlive_batch_and_source(mixed_path, kind, block_size):
    def first():
        return open_file(mixed_path, block_size=block_size).next_batch()

    value, make = OUTLIVE[kind]
    expected = value(first())
    kept = make(first())
    gc.collect()
    with open_file(mixed_path.with_name("mixed_be.pcap"), block_size=block_size) as source:
        churn = list(source.batches())
    assert churn
    assert kept.tolist() == expected


class LinkWithBatches(Link):
    """A link that can refer to the batches that refer to it: it has a `__dict__`."""


def test_batches_in_cycles_are_collected(memory):
    for _ in range(20):
        link = LinkWithBatches("eth0", 0, 1)
        batch = Batch(rows(), memory, [link])
        vars(link)["batches"] = [batch, batch.records, batch[1:]]
    assert is_locked(memory)
    del link, batch
    gc.collect()
    assert not is_locked(memory)


@pytest.mark.parametrize("max_packets", [None, 1, 7])
@pytest.mark.parametrize("block_size", [64, 1000, 4096, 20_000])
def test_kept_batches_of_a_source_do_not_change(mixed_path, block_size, max_packets):
    """The source's pool must not reuse blocks that a batch still shows."""
    whole = read(mixed_path)
    with open_file(mixed_path, block_size=block_size) as source:
        batches = list(source.batches(max_packets))
    del source
    assert len(batches) > 1
    assert [line for batch in batches for line in rows_of(batch.records)] == rows_of(whole.records)
    assert [payload for batch in batches for payload in payloads_of(batch)] == payloads_of(whole)
    together = concat(batches)
    assert together.records.tolist() == whole.records.tolist()
    assert together.data.tobytes() == whole.data.tobytes()


@pytest.mark.parametrize("seed", range(5))
def test_kept_views_of_a_source_do_not_change(mixed_path, seed):
    """Keep random views of each batch for random times."""
    chance = random.Random(seed)
    keep = {
        "batch": lambda batch: (batch, payloads_of),
        "records": lambda batch: (batch.records, np.ndarray.tolist),
        "column": lambda batch: (batch["timestamp"], np.ndarray.tolist),
        "data": lambda batch: (batch.data, np.ndarray.tobytes),
        "payload": lambda batch: (batch.payload(-1), bytes),
        "packet": lambda batch: (batch[0], bytes),
        "sub_batch": lambda batch: (batch[::2], payloads_of),
    }
    kept = []
    with open_file(mixed_path, block_size=chance.choice((500, 2000, 6000))) as source:
        for batch in source.batches(chance.choice((None, 3))):
            for kind in chance.sample(sorted(keep), chance.randrange(4)):
                view, snapshot = keep[kind](batch)
                kept.append((view, snapshot, snapshot(view)))
            if chance.random() < 0.3:
                del kept[chance.randrange(len(kept) + 1) :]
            assert all(snapshot(view) == expected for view, snapshot, expected in kept)


# ---- reuse of memory


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("array", ["records", "data"])
def test_memory_is_reused_after_its_last_view(mixed_path, array):
    with open_file(mixed_path, block_size=2000) as source:
        addresses = [address(getattr(batch, array)) for batch in source.batches()]
    assert len(addresses) > 15
    # One block is being filled, another belongs to the batch of the loop.
    assert len(set(addresses)) <= 3


@pytest.mark.parametrize("array", ["records", "data"])
def test_memory_is_not_reused_while_a_view_is_open(mixed_path, array):
    with open_file(mixed_path, block_size=4096) as source:
        kept = getattr(source.next_batch(), array)[-5:]
        content, taken = kept.tobytes(), address(kept)
        for _ in range(3):
            shown = getattr(source.next_batch(), array)
            assert not address(shown) <= taken < address(shown) + shown.nbytes
        assert kept.tobytes() == content


def test_released_memory_is_reused(mixed_path):
    with open_file(mixed_path, block_size=2000) as source:
        released = []
        for batch in source.batches():
            released.append((batch, address(batch.data)))
            batch.release()
    assert len(released) > 15
    assert len({at for _, at in released}) <= 3
    # Records of released batches are kept.
    assert (
        np.concatenate([batch["timestamp"] for batch, _ in released]).tolist()
        == read(mixed_path)["timestamp"].tolist()
    )
