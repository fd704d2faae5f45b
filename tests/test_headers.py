"""Header columns: every status, every cut, selections, keys. test_headers_tshark.py compares the fields."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import itertools
import json
import random
import struct
import subprocess
from ipaddress import ip_address

import communityid
import make_samples
import numpy as np
import pytest
import xxhash

import slimcap
from slimcap import HEADER_DTYPE, NO_IP, RECORD_DTYPE, Batch, HeaderStatus, Link, RecordFlag, open_file, read

FIVE = ["src", "dst", "protocol", "src_port", "dst_port"]
KEYS = ["flow_hash", "flow_hash_symmetric", "community_id"]
ETHERNET = (Link("test", 0, 1),)
OK, NO_IP_STATUS, ARP, FRAGMENT, TRUNCATED, MALFORMED = HeaderStatus


def batch_of(payloads, linktype=1, total_lens=None, before=b"", behind=b""):
    """A batch as a source would make it, its payloads one behind the other with these bytes around them."""
    captured = read_back(payloads, linktype)
    data = b"".join(before + payload + behind for payload in payloads)
    records = captured.records.copy()
    lengths = np.array([len(payload) for payload in payloads])
    stride = lengths + len(before) + len(behind)
    records["offset"] = np.cumsum(stride) - stride + len(before)
    if total_lens is not None:
        records["total_len"] = total_lens
    return Batch(records, data, captured.links)


def read_back(payloads, linktype):
    file = make_samples.pcap_file(map(make_samples.Packet, payloads), linktype=linktype)
    return read(io.BytesIO(file))


def headers_of(payload, **options):
    return batch_of([payload]).headers(**options)[0]


# ---- the same as one packet at a time


def assert_agrees(batch):
    """What IPLayer says, which is what it always said, is what the columns say."""
    rows = batch.headers()
    layers = [packet.ip_layer for packet in batch]
    assert rows["ip_version"].tolist() == [layer.type for layer in layers]
    assert rows["protocol"].tolist() == [layer.protocol for layer in layers]
    known = rows["status"] != MALFORMED
    assert known.any() or not len(batch)
    for row, layer in zip(rows[known], itertools.compress(layers, known), strict=True):
        assert (row["src_port"], row["dst_port"]) == (layer.sport, layer.dport)
        if row["status"] != ARP and layer.src:
            assert bytes(row["src"])[-4:] == ip_address(layer.src).packed[-4:]
            assert str(slimcap.ip_to_str(row["dst"])) == layer.dst


def test_every_sample(good):
    assert_agrees(read(good.path))


@pytest.mark.parametrize("snaplen", [1, 14, 20, 24, 34, 40, 54, 62, 80])
@pytest.mark.parametrize("name", ["mixed.pcap", "ethernet_vlan.pcap", "sll2.pcap", "ppp.pcap", "raw101.pcap"])
def test_samples_cut(data_path, name, snaplen):
    assert_agrees(read(data_path / name, snaplen=snaplen))


def test_the_mixed_sample_has_something_to_tell(data_path):
    batch = read(data_path / "mixed.pcap")
    rows = batch.headers()
    assert np.bincount(rows["ip_version"]).tolist() == [7, 0, 0, 0, 162, 0, 26]
    assert {1, 6, 17, 58} <= set(rows["protocol"].tolist())
    assert np.bincount(rows["status"]).tolist() == [185, 4, 3, 3]
    assert rows["status"][batch["ip_offset"] == NO_IP].min() == NO_IP_STATUS


def test_batches_of_a_source(data_path):
    whole = read(data_path / "mixed.pcap").headers()
    with open_file(data_path / "mixed.pcap", block_size=3000) as source:
        parts = [batch[::-1].headers()[::-1] for batch in source.batches()]
    assert len(parts) > 3
    assert np.concatenate(parts).tolist() == whole.tolist()


# ---- statuses


ODD = [MALFORMED] * 4 + [OK] * 2 + [MALFORMED] * 3 + [OK] * 2 + [MALFORMED] * 3 + [OK] + [MALFORMED] * 4


def test_odd_headers(data_path):
    assert read(data_path / "odd_headers.pcap").headers()["status"].tolist() == [*ODD, NO_IP_STATUS]


# Of what is cut: the type of a tag, not of what is behind it; the number of the extension header that is cut.
MAY_DIFFER = {"status", "ethertype", "protocol", "l7_offset", "l7_len"}


@functools.cache
def sample_rows(name):
    return [packet.data for packet in make_samples.paced(getattr(make_samples, name)())]


@pytest.mark.parametrize("name", ["transports", "tunnels", "odd_headers", "ethernet_vlan", "ethernet_pppoe"])
def test_every_cut_tells_less_but_nothing_else(name):
    """A field of a cut packet is that of the whole one, or zero. The rest of the packet lies right behind."""
    cut_within = set()
    for payload in sample_rows(name):
        whole = headers_of(payload)
        rows = batch_of([payload[:n] for n in range(len(payload) + 1)], total_lens=len(payload)).headers()
        assert rows[-1].tobytes() == whole.tobytes()
        for row in rows:
            for column in set(HEADER_DTYPE.names) - MAY_DIFFER:
                assert row[column] in (whole[column], np.zeros_like(whole[column])), column
            cut_within.add(HeaderStatus(row["status"]))
            if row["status"] == OK:
                assert (row["l7_offset"], row["l7_len"]) == (whole["l7_offset"], whole["l7_len"])
        if whole["status"] == OK and whole["l7_offset"]:
            statuses = rows["status"].tolist()
            assert statuses[whole["l7_offset"]] == OK
            assert statuses[whole["l7_offset"] - 1] == TRUNCATED
            assert set(statuses[: whole["l7_offset"]]) == {NO_IP_STATUS, TRUNCATED}
    assert cut_within >= {OK, NO_IP_STATUS, TRUNCATED}


def mutated(count, seed):
    """Packets of the samples with some bytes changed, cut anywhere."""
    randomness = random.Random(seed)
    payloads = [row for name in ("transports", "tunnels", "odd_headers") for row in sample_rows(name)]
    for _ in range(count):
        payload = bytearray(randomness.choice(payloads))
        for _ in range(randomness.randrange(1, 6)):
            payload[randomness.randrange(len(payload))] = randomness.choice(
                (0, 1, 0x45, 0x60, 0xFF, randomness.randrange(256))
            )
        yield bytes(payload[: randomness.randrange(len(payload) + 1)])


@pytest.mark.parametrize("inner", [False, True], ids=["outer", "inner"])
def test_mutated_packets_depend_on_nothing_around_them(inner):
    payloads = list(mutated(4000, 7))
    totals = [len(payload) + number % 3 * 40 for number, payload in enumerate(payloads)]
    columns = [*HEADER_DTYPE.names, *KEYS]
    seen = [
        batch_of(payloads, total_lens=totals, before=fill * 9, behind=fill * 70).headers(columns, inner=inner)
        for fill in (b"\0", b"\xff", b"\x45")
    ]
    assert seen[0].tobytes() == seen[1].tobytes() == seen[2].tobytes()
    rows, lengths = seen[0], np.array([len(payload) for payload in payloads])
    assert set(rows["status"].tolist()) == {int(status) for status in HeaderStatus}
    assert (rows["l4_offset"] <= lengths).all()
    assert (rows["l7_offset"] <= lengths).all()
    assert (rows["l7_offset"] + rows["l7_len"] <= np.maximum(totals, rows["l7_offset"])).all()
    assert (rows["tunnels"] <= 8).all()
    assert inner == bool(rows["tunnels"].any())


def test_no_ip_is_no_offset_in_a_packet_that_is_longer():
    records = np.zeros(1, RECORD_DTYPE)
    records["cap_len"], records["ip_offset"] = 70_000, NO_IP
    assert Batch(records, b"\x45" * 70_000).headers()["status"].tolist() == [NO_IP_STATUS]


@pytest.mark.parametrize("links", [(), ETHERNET], ids=["no links", "one link"])
def test_an_interface_that_is_not_there_has_no_link_layer(links):
    records = read_back([sample_rows("transports")[0]], 1).records.copy()
    records["offset"], records["interface"] = 0, 5
    row = Batch(records, sample_rows("transports")[0], links).headers()[0]
    assert (row["status"], row["ethertype"], bytes(row["src_mac"])) == (OK, 0, bytes(6))


# ---- selections


def test_layout():
    assert HEADER_DTYPE.itemsize == 104
    used = sorted(
        (offset, kind.itemsize) for kind, offset in (field[:2] for field in HEADER_DTYPE.fields.values())
    )
    assert sum(size for _, size in used) == 101
    assert all(at + size <= after for (at, size), (after, _) in itertools.pairwise(used))


@pytest.mark.parametrize("name", ["transports.pcap", "tunnels.pcap", "mixed.pcap", "sll2.pcap"])
@pytest.mark.parametrize("inner", [False, True], ids=["outer", "inner"])
def test_each_column_alone_is_that_of_all(name, inner, data_path):
    batch = read(data_path / name)
    rows = batch.headers(inner=inner)
    for column in HEADER_DTYPE.names:
        alone = batch.headers([column], inner=inner)
        assert alone.dtype.names == (column,)
        assert alone[column].tobytes() == rows[column].tobytes(), column


def test_columns_are_in_the_order_asked_for_with_zeros_between(data_path):
    batch = read(data_path / "mixed.pcap")
    rows = batch.headers(iter(["status", "src", "tcp_seq", "src_port", "l7_len", "protocol"]))
    assert rows.dtype.names == ("status", "src", "tcp_seq", "src_port", "l7_len", "protocol")
    assert rows.dtype.alignment == 4
    again = np.zeros(len(rows), rows.dtype)
    for name in rows.dtype.names:
        again[name] = rows[name]
    assert again.tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("columns", "error", "match"),
    [
        (["src", "nope"], ValueError, "no header column 'nope': there are status, src_mac"),
        ([], ValueError, "at least one"),
        (["src", "src"], ValueError, "each once"),
        ("src", TypeError, r"\['src'\]"),
        (5, TypeError, "iterable"),
    ],
)
def test_wrong_columns(columns, error, match):
    with pytest.raises(error, match=match):
        Batch([], b"").headers(columns)


def test_columns_are_the_callers(data_path):
    batch = read(data_path / "mixed.pcap")
    arrays = [batch.headers(), batch.headers(FIVE)]
    expected = [array.tobytes() for array in arrays]
    batch.release()
    del batch
    assert [array.tobytes() for array in arrays] == expected
    assert all(array.flags.owndata and array.flags.writeable for array in arrays)


def test_a_released_batch_has_no_headers():
    batch = Batch(np.zeros(3, RECORD_DTYPE), b"")
    batch.release()
    with pytest.raises(ValueError, match="released"):
        batch.headers()


# ---- the link layer


def test_a_tag_that_the_kernel_took_out_is_the_outermost():
    payload = make_samples.ethernet(
        make_samples.packet4(), tags=[(make_samples.VLAN, 20), (make_samples.VLAN, 3)]
    )
    records = read_back([payload], 1).records.copy()
    records["offset"], records["vlan_tci"] = 0, 5 << 13 | 100
    in_line = Batch(records, payload, ETHERNET).headers()[0]
    records["flags"] |= np.uint32(RecordFlag.VLAN_STRIPPED)
    stripped = Batch(records, payload, ETHERNET).headers()[0]
    assert (in_line["vlan_id"], in_line["inner_vlan_id"]) == (100, 3)
    assert (stripped["vlan_id"], stripped["inner_vlan_id"]) == (100, 20)
    assert stripped["ethertype"] == 0x0800


def test_arp_has_addresses(data_path):
    rows = read(data_path / "transports.pcap").headers()
    row = rows[rows["status"] == ARP][0]
    assert slimcap.ip_to_str([row["src"], row["dst"]]).tolist() == ["192.0.2.10", "192.0.2.1"]
    assert (row["ethertype"], row["ip_version"], row["protocol"]) == (0x0806, 0, 0)


# ---- inner packets


def test_inner_is_what_was_put_in(data_path):
    rows = read(data_path / "tunnels.pcap").headers(inner=True)
    assert rows["tunnels"].tolist() == [*([1] * 13 + [2]) * 2, 0, 0, 0, 0, 8]
    for first, packet in (0, make_samples.packet4(2)), (14, make_samples.packet6(1)):
        alone = batch_of([packet], linktype=101).headers()[0]
        same = set(HEADER_DTYPE.names) - {"src_mac", "dst_mac", "ethertype", "vlan_id", "inner_vlan_id"}
        for row in rows[first : first + 14]:
            for name in same - {"tunnels", "l4_offset", "l7_offset"}:
                assert row[name] == alone[name], name
            assert row["l7_offset"] - row["l4_offset"] == alone["l7_offset"] - alone["l4_offset"]


def test_outer_is_unchanged_without_inner(data_path):
    rows = read(data_path / "tunnels.pcap").headers()
    assert not rows["tunnels"].any()
    assert set(rows["protocol"].tolist()) == {4, 17, 41, 47}


# ---- keys


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


def community_id_of(row):
    """By the reference implementation."""
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


def test_every_icmp_type_has_the_community_id_of_the_reference():
    ends4, ends6 = ("192.0.2.9", "192.0.2.1"), ("2001:db8::9", "2001:db8::1")
    payloads = []
    for kind in range(256):
        message4 = make_samples.icmp(kind, 3, bytes(4))
        message6 = make_samples.icmpv6(kind, 3, bytes(4), *ends6)
        payloads += [make_samples.ip(message4, 1, *ends4), make_samples.ip(message6, 58, *ends6)]
    rows = batch_of(payloads, linktype=101).headers([*FIVE, "icmp_type", "icmp_code", "community_id"])
    assert [row["community_id"].decode() for row in rows] == [community_id_of(row) for row in rows]


def test_community_id_is_that_of_tshark(data_path, need_tool):
    path = data_path / "mixed.pcap"
    command = [
        need_tool("tshark"),
        "-n",
        "-r",
        path,
        "-T",
        "json",
        "-e",
        "communityid",
        "-e",
        "frame.protocols",
    ]
    command += [
        "--enable-protocol",
        "communityid",
        "-o",
        "ip.defragment:FALSE",
        "-o",
        "ipv6.defragment:FALSE",
    ]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    rows = read(path).headers(["status", "protocol", "community_id"])
    compared = 0
    for row, packet in zip(rows, json.loads(done.stdout), strict=True):
        fields = packet["_source"]["layers"]
        simple = fields["frame.protocols"][0].count(":ip") == 1  # it takes the innermost packet's
        if row["status"] == OK and row["protocol"] in {6, 17} and simple:
            assert row["community_id"].decode() == fields["communityid"][0]
            compared += 1
    assert compared > 100


def test_a_community_id_is_what_its_specification_says():
    key = struct.pack(">H4B4BBBHH", 0, 192, 0, 2, 10, 192, 0, 2, 53, 17, 0, 53124, 53)
    expected = "1:" + base64.b64encode(hashlib.sha1(key).digest()).decode()
    ends = ("192.0.2.10", "192.0.2.53")
    there = make_samples.udp(b"", *ends, 53124, 53)
    back = make_samples.udp(b"", *ends[::-1], 53, 53124)
    payloads = [make_samples.ip(there, 17, *ends), make_samples.ip(back, 17, *ends[::-1])]
    rows = batch_of(payloads, linktype=101).headers(["community_id"])
    assert [row["community_id"].decode() for row in rows] == [expected] * 2
