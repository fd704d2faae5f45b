"""Expressions on files and batches match the packets that libpcap and tcpdump match."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimcap import (
    RECORD_DTYPE,
    Batch,
    FilterError,
    Link,
    PcapSource,
    RecordFlag,
    read,
)
from slimcap.filter import compile_expression
from support.bpf_oracles import (
    LibpcapMachine,
    libpcap_matches,
)
from support.peers import run_peer
from support.samples import DATA
from support.samples import GOOD as SAMPLES

CUT = {"oversnap.pcap": 60}  # libpcap cuts to the snaplen that the file states


EXPRESSIONS = """
ip
ip6
arp
tcp
udp
icmp
icmp6
sctp
ip or ip6
not ip
not (ip or ip6)
tcp port 80
tcp dst port 443
tcp src port 443
port 53
udp port 53 or udp port 123
src port 53
portrange 1-1023
tcp portrange 1024-65535
udp src portrange 1000-60000
host 10.0.0.1
src host 10.0.0.2
host 192.0.2.1 or host 198.51.100.7
net 10.0.0.0/8
src net 192.168.0.0/16
dst net 10.0.0.0 mask 255.255.255.0
ip6 host 2001:db8::1
ip6 net 2001:db8::/32
src net 2001:db8::/64
ip proto 17
ip proto 47 or ip proto 50
ip6 proto 6
ip6 proto 44
ip6 protochain 6
ip6 protochain 17
ip protochain 17
vlan
vlan 7
vlan 100 and ip
vlan and vlan
vlan and vlan and ip6
vlan and tcp port 80
not vlan
mpls
mpls and ip
mpls 100
mpls and mpls and ip
pppoed
pppoes
pppoes and ip
pppoes and ip6 and tcp
pppoes 1 and udp
len > 100
len <= 60
len = 0
less 64
greater 500
tcp[tcpflags] & (tcp-syn|tcp-fin) != 0
tcp[13] = 2
tcp[tcpflags] = tcp-ack
icmp[icmptype] = icmp-echo
icmp6[icmp6type] = icmp6-echo
ip[8] < 65
ip[6:2] & 0x1fff != 0
ip[6:2] & 0x3fff = 0
ip[0] & 0xf != 5
ip[2:2] - ((ip[0] & 0xf) << 2) > 20
ip[12:4] ^ ip[16:4] > 0x1000
ip[8] * 2 + ip[9] % 5 / 1 != 3
ip[8] >> 1 = 32
ip6[6] = 17
ip6[40] & 0x80 = 0
udp[4:2] > 20
udp[4:2] = len - 34
ether proto 0x88cc
ether proto 0x86dd
ether host 02:00:00:00:00:01
ether src 02:00:00:00:00:01
ether broadcast
ether multicast
ether[0] & 1 = 0
ether[12:2] > 1500
ether[len - 1] = 0
link[0] = 0
ip broadcast
ip broadcast or ip6
ip multicast
ip6 multicast
geneve
llc
stp
isis
inbound
outbound
wlan type mgt subtype beacon
ip and not tcp and not udp
tcp and (port 80 or port 443) and host 10.0.0.1
(ip or (vlan and ip)) and udp
""".strip().splitlines()


RAW_LINK_TYPE, OPENBSD_RAW_LINK_TYPE = bytes((101, 0, 0, 0)), bytes((14, 0, 0, 0))


RECORD = struct.Struct("=IIII")


# ---- files


def numbered(sample: Any) -> bytes:
    """Return the sample with the number of each packet as its time in seconds.

    Lengths on the wire are at least the captured lengths: slimcap corrects them, libpcap does not.
    """
    data = bytearray(sample.data)
    order = "<>"[sample.big_endian]
    for number, (start, row) in enumerate(zip(sample.starts[:-1], sample.rows, strict=True)):
        struct.pack_into(order + "II", data, start, number, 0)
        struct.pack_into(order + "I", data, start + 12, row.total_len)
    return bytes(data)


def known_to_libpcap(data: bytes) -> bytes:
    """Replace the link type number of raw IP that only OpenBSD uses."""
    return data[:20] + RAW_LINK_TYPE + data[24:] if data[20:24] == OPENBSD_RAW_LINK_TYPE else data


def tcpdump_matches(tcpdump: str, data: bytes, expression: str) -> list[int] | None:
    """Return the seconds of the packets that match; None if tcpdump refuses the expression."""
    done = run_peer(tcpdump, "-r-", "-w-", expression, reads=[], stdin=known_to_libpcap(data), check=False)
    if done.returncode:
        assert b"tcpdump: " in done.stderr
        return None
    times, at = [], 24
    while at < len(done.stdout):
        seconds, _, cap_len, _ = RECORD.unpack_from(done.stdout, at)
        times.append(seconds)
        at += RECORD.size + cap_len
    return times


def slimcap_matches(file: Any, expression: str, **options: Any) -> list[int] | None:
    """Return the seconds of the packets that match; None if the expression cannot be compiled."""
    try:
        source = PcapSource(file, filter=expression, **options)
    except FilterError:
        return None
    with source:
        batches = list(source.batches())
        if source.unfilterable:
            assert source.unfilterable.keys() == {link.type for link in source.links}
            assert not batches
            return None
    return [time // 10**9 for batch in batches for time in batch["timestamp"].tolist()]


def in_batch(batch: Batch, expression: str) -> list[int]:
    """Return the seconds of the packets that match; none if the expression is valid for no link type."""
    try:
        return [time // 10**9 for time in batch.filter(expression)["timestamp"].tolist()]
    except FilterError:
        return []


def test_expressions_and_samples_are_many_and_distinct() -> None:
    assert len(set(EXPRESSIONS)) == len(EXPRESSIONS) >= 60
    assert len(SAMPLES) >= 30


@pytest.mark.parametrize("name", SAMPLES)
def test_files_and_batches_match_as_libpcap_does(
    name: str, sample_of: Callable[[str], Any], tmp_path: Path
) -> None:
    """libpcap stands for tcpdump, because there are thousands of pairs."""
    data = numbered(sample_of(name))
    file = tmp_path / "numbered.pcap"
    file.write_bytes(known_to_libpcap(data))
    cut = CUT.get(name)
    whole = read(io.BytesIO(data), snaplen=cut)
    selective = 0
    for expression in EXPRESSIONS:
        theirs = libpcap_matches(file, expression)
        ours = slimcap_matches(io.BytesIO(data), expression, snaplen=cut)
        assert ours == theirs if len(whole) else not ours, expression
        assert in_batch(whole, expression) == (theirs or []), expression
        selective += 0 < len(theirs or []) < len(whole)
    assert selective >= (5 if len(whole) > 6 and name != "unknown.pcap" else 0)


def test_files_match_as_tcpdump_does(
    sample_of: Callable[[str], Any], need_tool: Callable[[str], str]
) -> None:
    """Each expression on one sample or more, each sample with one expression or more."""
    tcpdump = need_tool("tcpdump")
    selective = 0
    for number, expression in enumerate(EXPRESSIONS):
        for name in {SAMPLES[number % len(SAMPLES)], "mixed.pcap"}:
            data = numbered(sample_of(name))
            theirs = tcpdump_matches(tcpdump, data, expression)
            assert slimcap_matches(io.BytesIO(data), expression, snaplen=CUT.get(name)) == theirs, (
                name,
                expression,
            )
            selective += bool(theirs)
    assert selective > 40


# ---- stripped VLAN tags


def ethernet_rows(frames: list[bytes], *, stripped: bool) -> Batch:
    """Make a batch of tagged frames as a file has them, or as a live capture gives them."""
    records = np.zeros(len(frames), RECORD_DTYPE)
    data = b""
    for row, frame in zip(records, frames, strict=True):
        tpid, tci = struct.unpack_from(">HH", frame, 12)
        payload = frame[:12] + frame[16:] if stripped else frame
        row["offset"], row["cap_len"], row["total_len"] = len(data), len(payload), len(payload)
        row["vlan_tpid"], row["vlan_tci"] = tpid, tci
        row["flags"] = RecordFlag.VLAN | (RecordFlag.VLAN_STRIPPED if stripped else 0)
        data += payload
    return Batch(records, data, (Link("eth", 0, 1),))


def tagged_frames() -> list[bytes]:
    """Return frames whose first tag the kernel would take out, twice, and a large one between them."""
    with PcapSource(DATA / "ethernet_vlan.pcap") as source:
        payloads = [bytes(payload) for packet in source for payload in [packet.payload]]
    frames = [frame for frame in payloads if len(frame) >= 16 and frame[12:14] in (b"\x81\x00", b"\x88\xa8")]
    return [*frames, frames[0] + bytes(100_000), *frames]


def test_stripped_tags_match_as_if_in_place() -> None:
    frames = tagged_frames()
    assert len(frames) > 10
    on_the_wire, captured = ethernet_rows(frames, stripped=False), ethernet_rows(frames, stripped=True)
    selective = 0
    for expression in EXPRESSIONS:
        try:
            wanted = LibpcapMachine(compile_expression(expression, 1))
        except FilterError:
            continue
        takes = [index for index, frame in enumerate(frames) if wanted.run(frame)]
        for batch in (on_the_wire, captured):
            matched = batch.filter(expression)
            assert np.array_equal(matched.records, batch[takes].records), expression
        selective += 0 < len(takes) < len(frames)
    assert selective > 10


def test_stripped_tag_of_a_packet_shorter_than_two_addresses_is_not_seen() -> None:
    records = np.zeros(14, RECORD_DTYPE)
    records["cap_len"] = range(14)
    records["total_len"] = 14
    records["flags"] = RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED
    records["vlan_tpid"], records["vlan_tci"] = 0x8100, 7
    batch = Batch(records, bytes(14), (Link("eth", 0, 1),))
    assert batch.filter("vlan 7")["cap_len"].tolist() == [12, 13]
    assert len(batch.filter("len = 18")) == 2
    records["total_len"] = 2**32 - 1
    assert len(Batch(records, bytes(14), batch.links).filter("greater 16")) == 14
