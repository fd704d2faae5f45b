"""Columns of flow keys: hashes and community IDs, compared with their reference implementations."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from ipaddress import ip_address

import communityid
import numpy as np
import pytest
import xxhash

from slimcap import HeaderStatus, read
from support.builders.layers import icmp, icmpv6, ip, udp
from support.packets import decoded_batch
from support.peers import run_peer

OK, NO_IP_STATUS, ARP, FRAGMENT, TRUNCATED, MALFORMED = HeaderStatus
FIVE = ["src", "dst", "protocol", "src_port", "dst_port"]
KEYS = ["flow_hash", "flow_hash_symmetric", "community_id"]


# ---- hashes


@pytest.mark.parametrize("name", ["mixed.pcap", "transports.pcap", "odd_headers.pcap"])
def test_flow_hashes_are_xxh64(name, data_path):
    rows = read(data_path / name).headers([*FIVE, "ip_version", "status", *KEYS])
    compared = 0
    for row in rows:
        ends = [bytes(row[f"{end}"]) + int(row[f"{end}_port"]).to_bytes(2, "big") for end in ("src", "dst")]
        hashes = []
        for one, other in (ends, sorted(ends)):
            key = one[:16] + other[:16] + one[16:] + other[16:] + bytes([row["protocol"]])
            hashes.append(xxhash.xxh64_intdigest(key))
        known = row["ip_version"] in (4, 6) and bytes(row["dst"]) != bytes(16)
        expected = hashes if known else [0, 0]
        assert [row["flow_hash"], row["flow_hash_symmetric"]] == expected
        compared += known
    assert compared > 10


def test_both_directions_have_the_same_symmetric_hash(data_path):
    rows = read(data_path / "mixed.pcap").headers([*FIVE, *KEYS])
    tcp = rows[(rows["protocol"] == 6) & (rows["src_port"] != 0)]
    flows = {
        frozenset(((bytes(r["src"]), int(r["src_port"])), (bytes(r["dst"]), int(r["dst_port"])))) for r in tcp
    }
    assert len(flows) == len(np.unique(tcp["flow_hash_symmetric"])) == len(np.unique(tcp["community_id"])) > 3
    assert len(np.unique(tcp["flow_hash"])) == 2 * len(flows)


# ---- community IDs


def community_id_of(row):
    """Return the community ID that the reference implementation gives."""
    ends = [ip_address(bytes(row[end])) for end in ("src", "dst")]
    src, dst = (end.ipv4_mapped or end for end in ends)
    protocol = int(row["protocol"])
    ports = (int(row["src_port"]), int(row["dst_port"]))
    if protocol in {1, 58}:
        ports = (int(row["icmp_type"]), int(row["icmp_code"]))
    elif protocol not in {6, 17, 132}:
        ports = (None, None)
    return communityid.CommunityID().calc(communityid.FlowTuple(protocol, str(src), str(dst), *ports))


@pytest.mark.parametrize("name", ["mixed.pcap", "transports.pcap", "tunnels.pcap"])
def test_community_id_is_that_of_the_reference(name, data_path):
    rows = read(data_path / name).headers(
        [*FIVE, "icmp_type", "icmp_code", "status", "ip_version", "community_id"]
    )
    compared = set()
    for row in rows:
        expected = community_id_of(row) if row["status"] == OK else ""
        assert row["community_id"].decode() == expected
        compared.add(int(row["protocol"]))
    assert len(compared) > 2
    assert compared >= {1, 6, 17, 58, 132} or name != "transports.pcap"


@pytest.mark.parametrize(("protocol", "has_id"), [(47, True), (50, True), (89, True), (6, False), (1, False)])
def test_later_fragments_have_a_community_id_if_their_protocol_has_no_ports(protocol, has_id):
    packet = ip(bytes(24), protocol, "192.0.2.1", "192.0.2.2")
    fragments = [packet[:6] + struct.pack("!H", place) + packet[8:] for place in (0x2000, 3)]
    first, later = decoded_batch(fragments, linktype=101).headers(["status", "community_id"])
    assert later["status"] == HeaderStatus.FRAGMENT
    assert first["community_id"] != b""
    assert later["community_id"] == (first["community_id"] if has_id else b"")


def test_every_icmp_type_has_the_community_id_of_the_reference():
    ends4, ends6 = ("192.0.2.9", "192.0.2.1"), ("2001:db8::9", "2001:db8::1")
    payloads = []
    for kind in range(256):
        message4 = icmp(kind, 3, bytes(4))
        message6 = icmpv6(kind, 3, bytes(4), *ends6)
        payloads += [ip(message4, 1, *ends4), ip(message6, 58, *ends6)]
    rows = decoded_batch(payloads, linktype=101).headers([*FIVE, "icmp_type", "icmp_code", "community_id"])
    assert [row["community_id"].decode() for row in rows] == [community_id_of(row) for row in rows]


def test_community_id_is_that_of_tshark(data_path, need_tool):
    path = data_path / "mixed.pcap"
    command = [need_tool("tshark"), "-n", "-r", path, "-T", "json", "--enable-protocol", "communityid"]
    command += ["-e", "communityid", "-e", "frame.protocols"]
    command += ["-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"]
    done = run_peer(*command, reads=[path])
    rows = read(path).headers(["status", "protocol", "community_id"])
    compared = 0
    for row, packet in zip(rows, json.loads(done.stdout), strict=True):
        fields = packet["_source"]["layers"]
        simple = fields["frame.protocols"][0].count(":ip") == 1  # it takes the innermost packet's
        if row["status"] == OK and row["protocol"] in {6, 17} and simple:
            assert row["community_id"].decode() == fields["communityid"][0]
            compared += 1
    assert compared > 100


def test_community_id_is_the_hash_that_its_specification_defines():
    key = struct.pack(">H4B4BBBHH", 0, 192, 0, 2, 10, 192, 0, 2, 53, 17, 0, 53124, 53)
    expected = "1:" + base64.b64encode(hashlib.sha1(key).digest()).decode()
    ends = ("192.0.2.10", "192.0.2.53")
    there = udp(b"", *ends, 53124, 53)
    back = udp(b"", *ends[::-1], 53, 53124)
    payloads = [ip(there, 17, *ends), ip(back, 17, *ends[::-1])]
    rows = decoded_batch(payloads, linktype=101).headers(["community_id"])
    assert [row["community_id"].decode() for row in rows] == [expected] * 2
