"""Copies of a batch: gather, copy, concat, pickling."""

from __future__ import annotations

import copy
import io
import itertools
import pickle

import numpy as np
import pytest

from slimcap import Batch, Link, PcapNgWriter, concat, open_file, read
from slimcap.packet.interface import Statistics
from support.batches import is_locked, payloads_of, rows_of
from support.builders.pcapng import Ng
from support.rows import CONTENT, ETH0, ETH1, LENGTHS, SIZE, TUN0, payload_of, payloads_in, row, rows

# ---- gather


def gathered(batch, n):
    """Return the expected result of `batch.gather(n)`."""
    out = np.zeros((len(batch), n), "u1")
    for line, payload in zip(out, payloads_of(batch), strict=True):
        line[: len(payload)] = np.frombuffer(payload[:n], "u1")
    return out


@pytest.mark.parametrize("n", [0, 1, 2, 59, 60, 61, 1513, 1514, 1515, 10_000])
def test_gather_pads_payloads_with_zeros(batch, mixed_path, n):
    for packets in (batch, batch[::-2], batch[:0], read(mixed_path)):
        matrix = packets.gather(n)
        assert (matrix.dtype, matrix.shape) == (np.uint8, (len(packets), n))
        assert np.array_equal(matrix, gathered(packets, n))


def test_a_gathered_matrix_is_independent_of_the_batch(batch, memory):
    matrix = batch.gather(64)
    expected = matrix.copy()
    batch.release()
    memory[:] = bytes(SIZE)
    assert np.array_equal(matrix, expected)
    matrix[:] = 1
    assert matrix.flags.owndata


@pytest.mark.parametrize(
    ("error", "n"),
    [(ValueError, -1), (ValueError, -(2**63)), (OverflowError, 2**64), (TypeError, "4"), (TypeError, 1.5)],
)
def test_gather_refuses_wrong_lengths(batch, error, n):
    with pytest.raises(error):
        batch.gather(n)


@pytest.mark.parametrize("n", [2**45, 2**62, 2**63 - 1])
def test_gather_of_more_than_memory_raises(batch, n):
    with pytest.raises((MemoryError, ValueError)):
        batch.gather(n)


# ---- copy


def test_a_copy_has_the_packets_without_the_bytes_between(batch):
    own = batch.copy()
    assert rows_of(own.records) == rows_of(batch.records)
    assert payloads_of(own) == payloads_of(batch)
    assert own.data.tobytes() == b"".join(payloads_of(batch))
    assert own["offset"].tolist() == np.cumsum([0, *LENGTHS])[:-1].tolist()


def test_a_copy_is_independent(batch, memory):
    own = batch.copy()
    expected = payloads_of(own)
    view = batch.payload(0)
    own.release()
    assert view == payload_of(rows()[0])
    own = batch.copy()
    del view
    batch.release()
    memory[:] = bytes(SIZE)
    memory.clear()
    del batch
    assert payloads_of(own) == expected
    assert own.records.tolist() == own.copy().records.tolist()


def test_a_copy_of_overlapping_packets_has_each_in_full():
    records = np.concatenate([row(0, 100), row(50, 100), row(0, 100), row(99, 0)])
    own = Batch(records, CONTENT).copy()
    assert payloads_of(own) == [CONTENT[:100], CONTENT[50:150], CONTENT[:100], b""]
    assert len(own.data) == 300


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_the_copy_module_copies_the_packets(batch, memory, duplicate):
    own = duplicate(batch)
    batch.release()
    memory[:] = bytes(SIZE)
    assert payloads_of(own) == payloads_in(rows())


# ---- concat


def test_concat_joins_batches_in_order(batch, mixed_path):
    def parts():
        # Each batch is deleted before the next is made.
        yield batch
        yield batch[::-1]
        yield Batch([], b"")
        yield Batch(rows(), CONTENT)[[2, 2]]

    whole = concat(parts())
    expected = np.concatenate([rows(), rows()[::-1], rows()[[2, 2]]])
    assert rows_of(whole.records) == rows_of(expected)
    assert payloads_of(whole) == payloads_in(expected)
    assert len(whole.data) == sum(map(len, payloads_of(whole)))


@pytest.mark.parametrize("size", [1, 2, 7, 50, 195])
def test_concat_restores_a_batch_cut_into_parts(mixed_path, size):
    whole = read(mixed_path)
    again = concat(whole[start : start + size] for start in range(0, len(whole), size))
    assert again.records.tolist() == whole.records.tolist()
    assert again.data.tobytes() == whole.data.tobytes()


def test_concat_of_nothing_is_empty():
    for nothing in (concat([]), concat([Batch([], b"")] * 3)):
        assert (len(nothing), nothing.data.size, nothing.links) == (0, 0, ())


def test_concat_holds_no_buffer_of_its_batches(batch, memory):
    whole = concat([batch, batch])
    batch.release()
    assert not is_locked(memory)
    assert len(whole) == 2 * len(LENGTHS)


@pytest.mark.parametrize(
    ("links", "together"),
    [
        ([(), ()], ()),
        ([(ETH0,), (ETH0,)], (ETH0,)),
        ([(), (ETH0,), ()], (ETH0,)),
        # Later packets of a capture file may have further interfaces.
        ([(ETH0,), (ETH0, ETH1)], (ETH0, ETH1)),
        ([(ETH0, ETH1, TUN0), (), (ETH0,), (ETH0, ETH1)], (ETH0, ETH1, TUN0)),
        ([(ETH0,), (Link("eth0", 1, 1), TUN0)], (ETH0, TUN0)),
    ],
)
def test_concat_merges_compatible_links(links, together):
    for order in itertools.permutations(links):
        assert concat(Batch(rows(), CONTENT, some) for some in order).links == together


@pytest.mark.parametrize(
    "links",
    [
        [(ETH0,), (ETH1,)],
        [(ETH0, ETH1), (ETH1,)],
        [(ETH0, ETH1), (ETH0, TUN0)],
        [(ETH0,), (ETH0, ETH1), (TUN0,)],
    ],
)
def test_concat_renumbers_interfaces_of_other_links(links):
    for order in itertools.permutations(links):
        batches = [Batch(rows(), CONTENT, some) for some in order]
        for number, batch in enumerate(batches):
            records = batch.records.copy()
            records["interface"] = np.arange(len(records)) % (len(batch.links) + (number == 0))
            batches[number] = Batch(records, CONTENT, batch.links)
        together = concat(batches)
        assert len(together.links) == len(set(together.links))
        assert set(together.links) == {link for some in links for link in some}
        assert [info.link for info in together.interfaces] == list(together.links)
        wanted = [
            batch.links[row["interface"]] if row["interface"] < len(batch.links) else None
            for batch in batches
            for row in batch.records
        ]
        found = [
            together.links[number] if number < len(together.links) else None
            for number in together["interface"].tolist()
        ]
        assert [one for one, want in zip(found, wanted, strict=True) if want] == [
            want for want in wanted if want
        ]


def test_concat_of_batches_of_two_files_keeps_what_belongs_to_their_packets():
    ng = Ng()
    files = []
    for name in ("a", "b"):
        data = ng.section([(1, name.encode())]) + ng.interface(name=name, options=[(11, b"\0udp")])
        data += ng.packet(name.encode() * 60, options=[(1, name.encode())]) + ng.statistics(
            0, [ng.count(4, 7)]
        )
        files.append(read(io.BytesIO(data + ng.packet(b"end"))))
    first, second = files
    both = concat([first, second, first])
    assert [link.name for link in both.links] == ["a", "b"]
    assert both["interface"].tolist() == [0, 0, 1, 1, 0, 0]
    assert both.comments == {0: "a", 2: "b", 4: "a"}
    kinds = [(row, block.interface) for row, block in both.blocks if isinstance(block, Statistics)]
    assert kinds == [(1, 0), (3, 1), (5, 0)]
    assert [block for _, block in both.blocks if isinstance(block, int)] == [0, 1, 0]
    out = io.BytesIO()
    with PcapNgWriter(out) as writer:
        writer.write_batch(both)
    again = read(io.BytesIO(out.getvalue()))
    assert [again.links[number].name for number in again["interface"]] == ["a", "a", "b", "b", "a", "a"]
    assert again.comments == both.comments


def test_concat_of_too_many_links_is_refused():
    many = tuple(Link(f"if{number}", number, 1) for number in range(140_000))
    others = tuple(Link(f"other{number}", number, 1) for number in range(140_000))
    with pytest.raises(ValueError, match="262,144 links"):
        concat([Batch([], b"", many), Batch([], b"", others)])


@pytest.mark.parametrize(
    "wrong", [None, 5, [None], [CONTENT], [rows()], [Batch([], b""), None]], ids=range(6)
)
def test_concat_accepts_batches_only(wrong):
    with pytest.raises(TypeError):
        concat(wrong)


# ---- pickling


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_batches_survive_pickling(batch, protocol):
    batch = Batch(rows(), CONTENT, (ETH0, TUN0))
    again = pickle.loads(pickle.dumps(batch, protocol))
    assert type(again) is Batch
    assert rows_of(again.records) == rows_of(rows())
    assert payloads_of(again) == payloads_of(batch)
    assert again.links == (ETH0, TUN0)


def test_a_pickled_selection_has_only_its_own_packets(mixed_path):
    whole = read(mixed_path)
    part = whole[:1]
    assert len(pickle.dumps(part)) < 2000 < len(pickle.dumps(whole))
    assert payloads_of(pickle.loads(pickle.dumps(part))) == payloads_of(whole)[:1]


def test_batches_of_a_source_survive_pickling(mixed_path):
    with open_file(mixed_path, block_size=5000) as source:
        again = [pickle.loads(pickle.dumps(batch)) for batch in source.batches()]
    assert concat(again).records.tolist() == read(mixed_path).records.tolist()
