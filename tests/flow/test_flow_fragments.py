"""Fragments belong to the flow of their packet's first fragment, if that came before."""

from __future__ import annotations

import struct

import pytest

from slimcap import FlowBatch, FlowTable
from support.builders.layers import UDP, ipv4, ipv6_fragments, udp
from support.builders.links import ethernet
from support.packets import decoded_batch

A, B = "192.0.2.1", "198.51.100.7"
MORE, LATER = 0x2000, 0x0003  # words of flags and offset
MAX_FRAGMENTED = 512  # of fragments.pxd


def first(port: int, ident: int, src: str = A) -> bytes:
    return ethernet(
        ipv4(struct.pack(">HHHH", port, 53, 100, 0) + bytes(16), UDP, src, B, ident=ident, fragment=MORE)
    )


def later(ident: int, src: str = A, protocol: int = UDP) -> bytes:
    return ethernet(ipv4(bytes(40), protocol, src, B, ident=ident, fragment=LATER))


def packets_by_port(*frames: bytes) -> dict[int, int]:
    """Return the number of packets of each source port."""
    table = FlowTable()
    flows = FlowBatch.concat([table.update(decoded_batch(frames)), table.flush()])
    packets = (flows["src_packets"] + flows["dst_packets"]).tolist()
    return dict(zip(flows["src_port"].tolist(), packets, strict=True))


def test_later_fragments_have_the_ports_of_the_first() -> None:
    assert packets_by_port(first(4000, 1), later(1), later(1)) == {4000: 3}


def test_a_later_fragment_that_comes_first_has_no_ports() -> None:
    assert packets_by_port(later(1), first(4000, 1)) == {0: 1, 4000: 1}


@pytest.mark.parametrize("other", [later(2), later(1, "192.0.2.9"), later(1, protocol=17 + 119)])
def test_fragments_of_other_packets_have_no_ports(other: bytes) -> None:
    assert packets_by_port(first(4000, 1), other) == {4000: 1, 0: 1}


def test_the_last_packet_with_an_identification_counts() -> None:
    assert packets_by_port(first(4000, 1), first(5000, 1), later(1)) == {4000: 1, 5000: 2}


def test_the_last_fragmented_packets_are_remembered() -> None:
    """The oldest of one more than MAX_FRAGMENTED packets is not."""
    firsts = [first(1024 + ident, ident) for ident in range(MAX_FRAGMENTED + 1)]
    found = packets_by_port(*firsts, later(0), later(1), later(MAX_FRAGMENTED))
    assert {port for port, count in found.items() if count == 2} == {1025, 1024 + MAX_FRAGMENTED}
    assert found[0] == 1


def test_a_flush_forgets_fragments() -> None:
    table = FlowTable()
    table.update(decoded_batch([first(4000, 1)]))
    table.flush()
    table.update(decoded_batch([later(1)]))
    assert table.flush()["src_port"].tolist() == [0]


def test_fragments_of_ipv6_belong_to_their_flow() -> None:
    whole = udp(bytes(200), "2001:db8::1", "2001:db8::2", 4000, 53)
    fragments = [ethernet(one) for one in ipv6_fragments(whole, UDP, "2001:db8::1", "2001:db8::2", 40)]
    assert len(fragments) > 3
    assert packets_by_port(*fragments) == {4000: len(fragments)}
