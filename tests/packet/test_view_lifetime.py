"""A view outlives the packet, batch or source that it shows bytes of."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest

from slimcap import Packet, open_file
from support.batches import batch_of
from support.packets import GAP, view_of

CONTENT = random.Random(1).randbytes(300)


pytestmark = pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")


def small(content=CONTENT[:60]):
    return Packet(content)


def large():
    return Packet(CONTENT)


def next_payload_into(source):
    return source.next_payload(bytearray(2000))[0]


OWNERS = {
    # Each deletes the owner of the view.
    "small_packet": lambda path: small().payload,
    "large_packet": lambda path: large().payload,
    "packet_ip_layer": lambda path: large().ip_layer,
    "packet_copy": lambda path: small().copy().payload,
    "packet_slice": lambda path: small().payload[3:][:9],
    "memoryview_of_small_packet": lambda path: memoryview(small()),
    "memoryview_of_large_packet": lambda path: memoryview(large()),
    "payload_of_a_filled_packet": lambda path: Packet.from_payload(CONTENT, buf=small()).payload,
    "batch": lambda path: view_of(CONTENT),
    "batch_ip_layer": lambda path: batch_of([CONTENT], ip_offset=14).ip_layer(0),
    "batch_packet": lambda path: batch_of([CONTENT])[0].payload,
    "sub_batch": lambda path: batch_of([CONTENT, CONTENT[:50]], before=GAP)[[1, 0]][1:].payload(0),
    "batch_copy": lambda path: batch_of([CONTENT]).copy()[0].ip_layer,
    "memoryview_of_packet_view": lambda path: memoryview(batch_of([CONTENT])[0]),
    "memoryview_of_batch": lambda path: memoryview(view_of(CONTENT)),
    "numpy_of_batch": lambda path: np.frombuffer(view_of(CONTENT), "u1"),
    "iterator": lambda path: iter(view_of(CONTENT)),
    "source_batch": lambda path: open_file(path).next_batch().payload(3),
    "source_packet": lambda path: open_file(path).next_packet().ip_layer,
    "source_next": lambda path: next(open_file(path)).payload,
    "source_payload_into": lambda path: next_payload_into(open_file(path)),
    "source_ip_packet": lambda path: open_file(path).next_ip_packet()[0],
    "source_payload_zero_copy": lambda path: open_file(path).next_payload_zero_copy()[0],
    "source_ip_packet_zero_copy": lambda path: open_file(path).next_ip_packet_zero_copy()[0],
    "source_packet_fn": lambda path: open_file(path).next_packet_fn(lambda payload, *_: payload),
}


def churn(path):
    """Allocate memory of every kind that the views above have, and write to it."""
    noise = [Packet(b"\xaa" * n) for n in (0, 60, 148, 149, 300, 2000) for _ in range(100)]
    noise += [batch_of([b"\xaa" * n]).copy() for n in (60, 300, 70_000) for _ in range(20)]
    noise += [source.next_batch() for source in [open_file(path) for _ in range(4)]]
    noise += [view_of(b"\xaa" * 60) for _ in range(100)]
    return noise


@pytest.mark.parametrize("owner", OWNERS)
def test_a_view_outlives_its_owner(owner, data_path):
    path = data_path / "snaplen0.pcap"
    expected = bytes(OWNERS[owner](path))
    assert len(expected) > 8
    view = OWNERS[owner](path)
    gc.collect()
    assert churn(data_path / "mixed.pcap")
    assert bytes(view) == expected


def test_a_view_outlives_the_closed_source(data_path):
    with open_file(data_path / "mixed.pcap") as source:
        views = [source.next_payload_zero_copy()[0] for _ in range(50)]
    with open_file(data_path / "mixed.pcap") as source:
        expected = [bytes(next(source).payload) for _ in range(50)]
    del source
    assert churn(data_path / "snap96.pcap")
    assert views == expected
