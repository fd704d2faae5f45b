"""Plain packets (plain.pxd) have the same header columns as if they were parsed like all other packets.

The oracle is the same batch with records by which no packet is plain:

    columns of the link layer   `ip_offset` is NO_IP
    all others                  the link type is unknown, and columns of the link layer are asked for, too
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import chain, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcap import NO_IP, Batch, Link, LinkType, RecordFlag, read
from slimcap.packet.headers.columns import HEADER_COLUMNS
from support.builders.layers import TCP, UDP, ip, tcp, udp
from support.builders.links import ethernet
from support.packets import decoded_batch
from support.profiles import scaled
from support.samples import DATA, GOOD

LINK = ["src_mac", "dst_mac", "ethertype", "vlan_id", "inner_vlan_id"]
FIVE = ["src", "dst", "src_port", "dst_port", "protocol"]
HASHES = ["flow_hash", "flow_hash_symmetric"]
# Sets of columns whose loops are compiled for them, in other orders, and sets that share a loop.
SETS = [
    FIVE,
    ["status", *FIVE],
    [*FIVE[::-1], "status"],
    [*FIVE, *HASHES],
    ["flow_hash_symmetric", *FIVE, "status"],
    ["flow_hash", "status", *FIVE],
    HASHES,
    ["status", "community_id"],
    [*HASHES, "src_port", "community_id"],
    ["protocol", "src"],
    ["dst", "flow_hash"],
    ["ttl", "flow_hash_symmetric", "l7_len"],
    ["vlan_id", "community_id", "src"],
    ["tcp_seq", "tcp_flags", "icmp_type"],
]
ADDRESSES = [("192.0.2.1", "198.51.100.2"), ("2001:db8::1", "2001:db8:9::2"), ("::ffff:192.0.2.1", "::1")]


def with_records(batch: Batch, link_type: int | None = None, **columns: object) -> Batch:
    """Return the same packets with other values in their records, and another link type."""
    records = batch.records.copy()
    for name, values in columns.items():
        records[name] = values
    links = batch.links if link_type is None else tuple(Link(link.name, 0, link_type) for link in batch.links)
    return Batch(records, batch.data, links)


def oracle(batch: Batch, *, inner: bool) -> np.ndarray:
    """Return all columns, none of them of a plain packet."""
    expected = with_records(batch, LinkType.USER0).headers(HEADER_COLUMNS, inner=inner)
    without_ip = with_records(batch, ip_offset=NO_IP).headers(HEADER_COLUMNS, inner=inner)
    has_ip = (batch["ip_offset"] != NO_IP) & (batch["ip_offset"] < batch["cap_len"])
    found = np.where(has_ip, expected, without_ip)
    for name in LINK:
        found[name] = without_ip[name]
    return found


def check(batch: Batch) -> np.ndarray:
    """Compare every way to the header columns with the oracle; return the columns."""
    for inner in (False, True):
        expected = oracle(batch, inner=inner)
        for columns in [None, HEADER_COLUMNS, *([name] for name in HEADER_COLUMNS), *SETS]:
            found = batch.headers(columns, inner=inner)
            for name in found.dtype.names:
                different = np.nonzero(np.asarray(found[name]) != np.asarray(expected[name]))[0]
                where = [(name, bytes(batch.payload(index)).hex()) for index in different[:1]]
                assert not where, (columns, inner, found[name][different[0]], expected[name][different[0]])
    return expected


def frames() -> Iterator[bytes]:
    """Yield plain frames of each kind, untagged, tagged and padded."""
    tags = [(), ((0x8100, 7 << 13 | 100),), ((0x88A8, 200),), ((0x88A8, 200), (0x8100, 100))]
    for (src, dst), tag, data in product(ADDRESSES, tags, (b"", b"some data")):
        for segment, protocol in (
            (tcp(data, src, dst, 50000, 443, seq=0xFFFFFFF0, ack=0x80000001), TCP),
            (tcp(data, src, dst, 443, 50000, options=b"\x01\x01\x08\x0a" + bytes(range(8))), TCP),
            (udp(data, dst, src, 53, 50000), UDP),
            (udp(data, src, dst, 50000, 4789), UDP),  # a VXLAN port
        ):
            ends = (src, dst) if segment[:2] > b"\x40\0" else (dst, src)
            packet = ethernet(ip(segment, protocol, *ends), tags=tag)
            yield packet
            yield packet + bytes(6)


def test_every_kind_of_plain_packet() -> None:
    found = check(decoded_batch(list(frames()), before=b"\xee", after=b"\xee"))
    assert not found["status"].any()


def test_truncated_anywhere() -> None:
    for frame in frames():
        sizes = range(len(frame) + 1)
        cut = [frame[:size] for size in sizes]
        for total_len in (sizes, len(frame)):  # on the wire, and by the capture
            found = check(decoded_batch(cut, after=b"\xee" * 3, total_len=total_len))
        assert found["status"].any()


def test_every_value_of_each_byte_of_the_headers() -> None:
    for frame in (ethernet(ip(tcp(b"data", *ends, 50000, 443), TCP, *ends)) for ends in ADDRESSES[:2]):
        changed = [
            frame[:offset] + bytes([value]) + frame[offset + 1 :]
            for offset in (*range(12, 24), *range(54, 70))
            for value in range(256)
            if offset < len(frame)
        ]
        assert len(np.unique(check(decoded_batch(changed))["status"])) >= 3


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_length_fields_around_the_headers(protocol: int) -> None:
    payloads, total_lens = [], []
    for (src, dst), stated, of_udp, extra in product(ADDRESSES[:2], range(72), (0, 7, 8, 9, 20), (-1, 0, 9)):
        segment = udp(b"twelve bytes", src, dst, 1, 2) if protocol == UDP else tcp(b"", src, dst, 1, 2)
        packet = bytearray(ip(segment, protocol, src, dst))
        ip_header = 20 if packet[0] >> 4 == 4 else 40
        at = 4 if ip_header == 40 else 2
        packet[at : at + 2] = struct.pack(">H", stated)
        if protocol == UDP:
            packet[ip_header + 4 : ip_header + 6] = struct.pack(">H", of_udp)
        payloads.append(ethernet(bytes(packet)))
        total_lens.append(len(payloads[-1]) + extra)
    check(decoded_batch(payloads, total_len=total_lens))


def test_tags_that_the_kernel_has_removed() -> None:
    payloads = list(frames())
    flags = RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED
    found = check(decoded_batch(payloads, flags=flags, vlan_tci=0xF123, vlan_tpid=0x88A8))
    assert set(found["vlan_id"]) == {0x123}
    assert set(found["inner_vlan_id"]) == {0, 100, 200}


def test_cisco_inter_switch_link_is_not_a_tag() -> None:
    inside = ethernet(ip(udp(b"", "192.0.2.1", "192.0.2.2", 1, 2), UDP, "192.0.2.1", "192.0.2.2"))
    frame = bytes.fromhex("01000c000000 020000000001 8100 aaaa0300000c 0800 0000") + bytes(4) + inside
    check(decoded_batch([frame]))


@pytest.mark.parametrize("ip_offset", [0, 1, 13, 15, 18, 30, 65534, 65535])
def test_ip_offsets_that_do_not_fit_the_frame(ip_offset: int) -> None:
    payloads = [
        *frames(),
        b"\x45" * 70_000,
        bytes(65_535) + ip(udp(b"", "::1", "::2", 1, 2), UDP, "::1", "::2"),
    ]
    check(decoded_batch(payloads, ip_offset=ip_offset))


def test_records_of_interfaces_that_do_not_exist() -> None:
    check(decoded_batch(list(frames()), interface=7))


@pytest.mark.parametrize("name", GOOD)
def test_sample_captures(name: str) -> None:
    check(read(DATA / name))


headers = st.builds(
    lambda ends, tags, protocol, ports, data, padding: (
        ethernet(
            ip(
                (tcp if protocol == TCP else udp)(data, *ends, *ports),
                protocol,
                *ends,
            ),
            tags=tags,
        )
        + bytes(padding)
    ),
    st.sampled_from(ADDRESSES),
    st.lists(st.tuples(st.sampled_from([0x8100, 0x88A8, 0x9100]), st.integers(0, 65535)), max_size=2),
    st.sampled_from([TCP, UDP]),
    st.tuples(*[st.sampled_from([1, 53, 2152, 4789, 65535])] * 2),
    st.binary(max_size=40),
    st.integers(0, 8),
)
changes = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4)


@scaled(2)
@given(
    st.lists(st.tuples(headers, changes, st.integers(0, 120), st.integers(-3, 3)), min_size=1, max_size=70)
)
def test_changed_packets(packets: list[tuple[bytes, list[tuple[int, int]], int, int]]) -> None:
    payloads, total_lens = [], []
    for frame, bytes_changed, size, extra in packets:
        changed = bytearray(frame)
        for offset, value in bytes_changed:
            if offset < len(changed):
                changed[offset] = value
        total_lens.append(max(len(changed) + extra, 0))
        payloads.append(bytes(changed[: size if size < 100 else None]))
    check(decoded_batch(payloads, total_len=total_lens))


def test_batches_longer_than_a_chunk_and_of_any_rest() -> None:
    payloads = list(chain.from_iterable([frame, frame[:40]] for frame in frames()))
    batch = decoded_batch(payloads)
    expected = oracle(batch, inner=False)
    for count in (0, 1, 8, 63, 64, 65, 128, 129):
        for columns in [None, ["status"], *SETS]:
            found = batch[:count].headers(columns)
            for name in found.dtype.names:
                assert (np.asarray(found[name]) == np.asarray(expected[name][:count])).all()


def test_plain_packets_before_between_and_after_long_runs_of_others() -> None:
    plain = list(frames())[:40]
    others = [ethernet(ip(b"\x08\0data", 1, "192.0.2.1", "192.0.2.2")), *(frame[:40] for frame in plain)]
    runs = [(plain, 3), (others, 40), (plain, 20), (others, 1), (plain, 40), (others, 70), (plain, 2)]
    check(decoded_batch([frame for kind, times in runs for frame in kind * times]))
