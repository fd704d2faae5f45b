"""Limits of what a mock captures and holds, and the errno of its errors."""

from __future__ import annotations

import errno

import pytest

from slimcap import LinkDown, LinkGone
from slimcap.mock import MockRingSource
from support.batches import batch_of
from support.mocks import fill, hand_over
from support.traffic import collect, ethernet, payloads, tagged, udp

SNAPLEN = 80


def test_packets_with_a_restored_tag_are_truncated_to_the_snaplen(opened):
    whole = tagged(ethernet(udp(1, 100)), 5)
    lengths = range(SNAPLEN - 6, SNAPLEN + 7)
    mock = opened(snaplen=SNAPLEN, reinsert_vlan=True)
    assert mock.add_batch(batch_of([whole[:length] for length in lengths], pkt_type=0)) == len(lengths)
    hand_over(mock)
    captured = collect(mock, len(lengths))
    assert payloads(captured) == [whole[: min(length, SNAPLEN)] for length in lengths]
    assert [one.total_len for one in captured] == list(lengths)


@pytest.mark.parametrize(
    ("state", "error", "number"), [("gone", LinkGone, errno.ENODEV), ("down", LinkDown, errno.ENETDOWN)]
)
def test_errors_of_the_link_have_the_errno_of_the_kernel(opened, state, error, number):
    mock = opened(link_down="raise")
    mock.set_link(state)
    with pytest.raises(error) as raised:
        mock.next_packet()
    assert raised.value.errno == number


def test_buffer_is_free_again_after_its_packets_were_read(kind, opened):
    """Rings of 16 blocks are read two blocks at a time."""
    sizes = {"block_size": 4096, "num_blocks": 16} if kind is MockRingSource else {"buffer_size": 1 << 16}
    mock = opened(**sizes)
    counts = []
    for _ in range(3):
        counts.append(len(fill(mock)))
        hand_over(mock)
        assert len(collect(mock, counts[-1])) == counts[-1]
    assert counts[0] > 32
    assert counts == counts[:1] * 3
