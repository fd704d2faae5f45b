"""Interfaces and comments of a batch: they belong to its packets, whatever is done with these."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import slimcap
from slimcap import Batch, InterfaceInfo, Link
from support.batches import batch_of, payloads_of

LINKS = (Link("eth0", 0, 1), Link("eth1", 1, 1))
INFOS = tuple([InterfaceInfo(link, 96, 1000, filter="udp") for link in LINKS])
COMMENTS = {0: "first", 3: "two\nlines", 4: "größer", 9: "last"}


@pytest.fixture
def batch() -> Batch:
    """Ten packets, the number of each as its only byte, of two interfaces and with four comments."""
    plain = batch_of([bytes([number]) for number in range(10)], interface=[0, 1] * 5)
    return Batch(plain.records, plain.data, interfaces=INFOS, comments=COMMENTS)


def commented(batch: Batch) -> dict[int, str]:
    """Return the comments by the number in the packet."""
    return {bytes(batch.payload(row))[0]: text for row, text in batch.comments.items()}


def test_batch_has_the_given_interfaces_and_comments(batch: Batch) -> None:
    assert (batch.links, batch.interfaces, batch.comments) == (LINKS, INFOS, COMMENTS)


def test_batch_without_metadata_has_what_its_links_tell() -> None:
    batch = batch_of([b"x"], links=LINKS)
    assert [info.link for info in batch.interfaces] == list(LINKS)
    assert {info.filter for info in batch.interfaces} == {""}
    assert batch.comments == {}
    assert batch_of([b"x"]).interfaces == ()


def test_links_and_interfaces_together_raise() -> None:
    with pytest.raises(ValueError, match="links or interfaces, not both"):
        Batch([], b"", LINKS, interfaces=INFOS)


SELECTIONS: dict[str, Callable[[Batch], Batch]] = {
    "all": lambda batch: batch[:],
    "slice": lambda batch: batch[3:9],
    "step": lambda batch: batch[::3],
    "backwards": lambda batch: batch[::-1],
    "nothing": lambda batch: batch[5:5],
    "mask": lambda batch: batch[np.arange(10) % 2 == 1],
    "numbers": lambda batch: batch[[9, 4, 0, -1]],
    "twice": lambda batch: batch[[3, 3, 5, 3]],
    "filter": lambda batch: batch.filter("ether[0] > 2"),
    "filter of a slice": lambda batch: batch[2:].filter("ether[0] & 1 = 1"),
    "copy": lambda batch: batch.copy(),
    "pickle": lambda batch: pickle.loads(pickle.dumps(batch)),
    "slice of a mask": lambda batch: batch[batch["interface"] == 1][1:],
}


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_comments_follow_their_packets(batch: Batch, select: Callable[[Batch], Batch]) -> None:
    selected = select(batch)
    numbers = [payload[0] for payload in payloads_of(selected)]
    assert selected.comments == {
        row: COMMENTS[number] for row, number in enumerate(numbers) if number in COMMENTS
    }
    assert selected.interfaces == INFOS
    assert selected.links == LINKS


def test_concat_shifts_the_comments_and_keeps_the_longer_interfaces(batch: Batch) -> None:
    short = Batch(batch.records[:1], batch.data, interfaces=INFOS[:1], comments={0: "short"})
    joined = slimcap.concat([short, batch, short, batch[9:]])
    assert joined.comments == {
        0: "short",
        **{1 + row: text for row, text in COMMENTS.items()},
        11: "short",
        12: "last",
    }
    assert joined.interfaces == INFOS


def test_concat_has_the_counters_of_the_later_batch(batch: Batch) -> None:
    later = tuple([info._replace(received=9) for info in INFOS])
    joined = slimcap.concat([batch, Batch(batch.records, batch.data, interfaces=later)])
    assert joined.interfaces == later


def test_several_comments_on_a_packet_are_joined_by_newlines() -> None:
    batch = batch_of([b"a", b"b"]).with_comments({1: ["one", "two"]})
    assert batch.comments == {1: "one\ntwo"}
    assert batch[1:].comments == {0: "one\ntwo"}


def test_with_comments_replaces_them_in_a_new_batch(batch: Batch) -> None:
    other = batch.with_comments({2: "new"})
    assert other.comments == {2: "new"}
    assert batch.comments == COMMENTS
    assert payloads_of(other) == payloads_of(batch)
    assert other.interfaces == INFOS
    batch.release()
    assert [payload[0] for payload in payloads_of(other)] == list(range(10))


@pytest.mark.parametrize("row", [-1, 10, 2**70])
def test_comments_on_rows_that_do_not_exist_raise(batch: Batch, row: int) -> None:
    with pytest.raises(ValueError, match=f"a comment on packet {row} of 10"):
        batch.with_comments({0: "x", row: "y"})
    with pytest.raises(ValueError, match="a comment on packet"):
        Batch(batch.records, batch.data, comments={row: "y"})


@pytest.mark.parametrize("comments", [{0: b"x"}, {0: 5}, {"a": "x"}, {0: [b"x"]}])
def test_comments_that_are_no_text_raise(batch: Batch, comments: dict[int, str]) -> None:
    with pytest.raises(TypeError):
        batch.with_comments(comments)


def test_changing_the_returned_comments_changes_nothing(batch: Batch) -> None:
    batch.comments[0] = "changed"
    batch.comments.clear()
    assert batch.comments == COMMENTS


@pytest.mark.parametrize("block_size", [256, 1 << 20])
@pytest.mark.parametrize("size", [None, 1, 7])
def test_batches_of_a_file_have_its_comments_and_interfaces(
    data_path: Path, block_size: int, size: int | None
) -> None:
    whole = slimcap.read(data_path / "sections.pcapng")
    assert len(whole.comments) > 1
    found = {}
    with slimcap.open_file(data_path / "sections.pcapng", block_size=block_size) as source:
        first = 0
        for batch in source.batches(size):
            found |= {first + row: text for row, text in batch.comments.items()}
            first += len(batch)
            assert [info.link for info in batch.interfaces] == list(batch.links)
            assert batch.interfaces == source.interfaces[: len(batch.interfaces)]
    assert found == whole.comments
    assert [info.link for info in whole.interfaces] == list(whole.links)


def test_released_batch_keeps_its_comments_but_gives_no_packets(batch: Batch) -> None:
    batch.release()
    assert batch.comments == COMMENTS
    with pytest.raises(ValueError, match="released"):
        batch.with_comments({})


def test_packets_have_their_comment(batch: Batch) -> None:
    assert {row: packet.comment for row, packet in enumerate(batch) if packet.comment is not None} == COMMENTS
    assert batch[-1].comment == "last"
    assert batch[3].copy().comment == pickle.loads(pickle.dumps(batch[3].copy())).comment == "two\nlines"


def test_packets_of_a_source_have_their_comment(data_path: Path) -> None:
    wanted = slimcap.read(data_path / "sections.pcapng").comments
    with slimcap.open_file(data_path / "sections.pcapng") as source:
        assert {
            row: packet.comment for row, packet in enumerate(source) if packet.comment is not None
        } == wanted
    found, buf = {}, None
    with slimcap.open_file(data_path / "sections.pcapng") as source:
        for row in range(len(slimcap.read(data_path / "sections.pcapng"))):
            buf = source.next_packet(buf)
            if buf.comment is not None:
                found[row] = buf.comment
    assert found == wanted
