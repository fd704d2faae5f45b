"""Lengths in headers that do not fit the packet: the status of each, and how much data there is.

Each case is built from numbers, and so is what is expected of it:

    IP header | UDP header | data (20) | more bytes: padding
              |<------- UDP's length field ------->|
    |<----------------- IP's length field -------->|
    |<---- total_len: on the wire ------------------------->|
    |<---- cap_len: captured -->|
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import pytest

from slimcap import HeaderStatus
from support.builders.layers import IPIP, UDP, ipv4, ipv6, tcp, udp
from support.builders.links import ethernet
from support.packets import decoded_batch

OK, TRUNCATED, MALFORMED, FRAGMENT = (
    HeaderStatus.OK,
    HeaderStatus.TRUNCATED,
    HeaderStatus.MALFORMED,
    HeaderStatus.FRAGMENT,
)
LINK, HEADER4, HEADER6, OF_UDP, DATA = 14, 20, 40, 8, 20
HERE4, THERE4, HERE6, THERE6 = "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"


class Case(NamedTuple):
    """A packet whose lengths, counted from the IP header on, may contradict each other."""

    version: int
    ip: int  # the packet's length by its IP header; for IPv6 with that header
    udp: int
    wire: int
    captured: int

    @property
    def header(self) -> int:
        return HEADER4 if self.version == 4 else HEADER6

    def frame(self) -> bytes:
        """Build the frame as it was on the wire."""
        data = bytes(range(DATA))
        segment = struct.pack(">HHHH", 1111, 2222, self.udp, 0) + data
        if self.version == 4:
            packet = ipv4(segment, UDP, HERE4, THERE4)
            packet = packet[:2] + struct.pack(">H", self.ip) + packet[4:]
        else:
            packet = ipv6(segment, UDP, HERE6, THERE6)
            packet = packet[:4] + struct.pack(">H", self.ip and self.ip - HEADER6) + packet[6:]
        return (ethernet(packet) + b"\xee" * 100)[: LINK + self.wire]

    def expected(self) -> tuple[HeaderStatus, int | None]:
        """Return status and `l7_len`; None for a length that is not known."""
        end = min(self.ip or self.wire, self.wire)  # a length of 0: up to the end of the packet
        start = self.header + OF_UDP
        if self.ip and self.ip < self.header:
            return MALFORMED, None
        if self.ip > self.wire:
            status = MALFORMED
        elif end < start or self.captured < start:
            return TRUNCATED if self.captured < end else MALFORMED, None
        elif 0 < self.udp < OF_UDP or self.udp > end - self.header:
            status = MALFORMED
        else:
            status = OK
        if min(end, self.captured) < start or 0 < self.udp < OF_UDP:
            return status, None
        return status, min(self.udp or end - self.header, end - self.header) - OF_UDP


def cases() -> list[Case]:
    found = []
    for version, header in (4, HEADER4), (6, HEADER6):
        exact = header + OF_UDP + DATA
        for stated in {
            0,
            header - 1 if version == 4 else header + 1,
            header + 4,
            exact - 1,
            exact,
            exact + 1,
            1500,
        }:
            for datagram in 0, 1, 7, OF_UDP, OF_UDP + DATA - 1, OF_UDP + DATA, OF_UDP + DATA + 1, 65535:
                for wire in exact - 1, exact, exact + 18:
                    for captured in header, header + 4, header + OF_UDP, wire - 1, wire:
                        found.append(Case(version, stated, datagram, wire, captured))
    return found


def test_status_and_data_follow_from_the_lengths():
    table = cases()
    frames = [case.frame() for case in table]
    captured = [frame[: LINK + case.captured] for case, frame in zip(table, frames, strict=True)]
    rows = decoded_batch(captured, total_len=[len(frame) for frame in frames]).headers()
    seen = set()
    for case, row in zip(table, rows, strict=True):
        status, data = case.expected()
        assert HeaderStatus(row["status"]) == status, case
        if data is not None:
            assert (row["l7_len"], row["src_port"], row["dst_port"]) == (data, 1111, 2222), case
        assert row["ip_len"] == case.ip, case
        seen.add((case.version, status))
    assert len(table) == 2 * 7 * 8 * 3 * 5
    assert seen == {(version, status) for version in (4, 6) for status in (OK, TRUNCATED, MALFORMED)}


def status_of(frame: bytes, total_len: int | None = None, *, inner: bool = False) -> HeaderStatus:
    row = decoded_batch([frame], total_len=total_len or len(frame)).headers(["status"], inner=inner)[0]
    return HeaderStatus(row["status"])


def with_length(packet: bytes, length: int) -> bytes:
    return packet[:2] + struct.pack(">H", length) + packet[4:]


@pytest.mark.parametrize("protocol", [1, 6, 50, 89, 132])
def test_ip_length_beyond_the_packet_is_malformed_for_every_protocol(protocol):
    packet = ipv4(tcp(b"data", HERE4, THERE4, 1, 2), protocol, HERE4, THERE4)
    assert status_of(ethernet(packet)) == OK
    assert status_of(ethernet(with_length(packet, len(packet) + 1))) == MALFORMED
    assert status_of(ethernet(with_length(packet, len(packet) + 1)), LINK + len(packet) + 1) == OK
    assert status_of(ethernet(with_length(packet, 0))) == OK


def test_fields_of_a_packet_with_too_large_a_length_are_known():
    packet = ipv4(tcp(b"data", HERE4, THERE4, 1, 2), 6, HERE4, THERE4)
    row = decoded_batch([ethernet(with_length(packet, 1500))]).headers(["status", "dst_port", "l7_len"])[0]
    assert tuple(row) == (MALFORMED, 2, 4)


def test_fragments_are_compared_with_their_own_length():
    first = ipv4(udp(bytes(100), HERE4, THERE4, 1, 2)[:40], UDP, HERE4, THERE4, fragment=0x2000)
    later = ipv4(bytes(40), UDP, HERE4, THERE4, fragment=0x0005)
    assert [status_of(ethernet(packet)) for packet in (first, later)] == [
        OK,
        FRAGMENT,
    ]  # UDP's is that of all
    assert [status_of(ethernet(with_length(packet, 99))) for packet in (first, later)] == [MALFORMED] * 2


def test_inner_packet_is_compared_with_the_outer_one():
    inner = ipv4(udp(b"data", HERE4, THERE4, 1, 2), UDP, HERE4, THERE4)
    fits = ethernet(ipv4(inner, IPIP, HERE4, THERE4))
    beyond = ethernet(ipv4(with_length(inner, len(inner) + 1), IPIP, HERE4, THERE4) + bytes(20))
    assert (status_of(fits, inner=True), status_of(beyond, inner=True)) == (OK, MALFORMED)
    assert status_of(beyond) == OK
