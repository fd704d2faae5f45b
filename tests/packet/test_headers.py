"""Columns of headers: statuses, packets cut and mutated anywhere, selections, inner packets.

test_headers_tshark.py compares every field.
"""

from __future__ import annotations

import itertools
import random
from ipaddress import ip_address

import numpy as np
import pytest

import slimcap
from slimcap import HEADER_DTYPE, NO_IP, RECORD_DTYPE, Batch, HeaderStatus, Link, RecordFlag, open_file, read
from support.builders.conversations import packet4, packet6
from support.builders.layers import VLAN
from support.builders.links import ethernet
from support.packets import decoded_batch
from support.samples import sample_of

OK, NO_IP_STATUS, ARP, FRAGMENT, TRUNCATED, MALFORMED = HeaderStatus
ETHERNET = (Link("test", 0, 1),)
FIVE = ["src", "dst", "protocol", "src_port", "dst_port"]
KEYS = ["flow_hash", "flow_hash_symmetric", "community_id"]


# ---- the same as one packet at a time


def assert_agrees(batch):
    """Assert that the columns have the values that `IPLayer` reads."""
    rows = batch.headers()
    layers = [packet.ip_layer for packet in batch]
    assert rows["ip_version"].tolist() == [layer.type for layer in layers]
    assert rows["protocol"].tolist() == [layer.protocol for layer in layers]
    known = rows["status"] != MALFORMED
    assert known.any() or not len(batch)
    for row, layer in zip(rows[known], itertools.compress(layers, known), strict=True):
        assert (row["src_port"], row["dst_port"]) == (layer.src_port, layer.dst_port)
        if row["status"] != ARP and layer.src:
            assert bytes(row["src"])[-4:] == ip_address(layer.src).packed[-4:]
            assert str(slimcap.ip_to_str(row["dst"])) == layer.dst


def test_columns_agree_with_ip_layer_for_every_sample(good):
    assert_agrees(read(good.path))


@pytest.mark.parametrize("snaplen", [1, 14, 20, 24, 34, 40, 54, 62, 80])
@pytest.mark.parametrize("name", ["mixed.pcap", "ethernet_vlan.pcap", "sll2.pcap", "ppp.pcap", "raw101.pcap"])
def test_columns_agree_with_ip_layer_for_cut_samples(data_path, name, snaplen):
    assert_agrees(read(data_path / name, snaplen=snaplen))


def test_mixed_sample_has_all_versions_and_statuses(data_path):
    batch = read(data_path / "mixed.pcap")
    rows = batch.headers()
    assert np.bincount(rows["ip_version"]).tolist() == [7, 0, 0, 0, 162, 0, 26]
    assert {1, 6, 17, 58} <= set(rows["protocol"].tolist())
    assert np.bincount(rows["status"]).tolist() == [185, 4, 3, 3]
    assert rows["status"][batch["ip_offset"] == NO_IP].min() == NO_IP_STATUS


def test_headers_of_small_batches_are_those_of_the_whole(data_path):
    whole = read(data_path / "mixed.pcap").headers()
    with open_file(data_path / "mixed.pcap", block_size=3000) as source:
        parts = [batch[::-1].headers()[::-1] for batch in source.batches()]
    assert len(parts) > 3
    assert np.concatenate(parts).tolist() == whole.tolist()


# ---- statuses


ODD = [MALFORMED] * 5 + [OK] + [MALFORMED] * 3 + [OK] + [MALFORMED] * 9


def test_odd_headers_have_these_statuses(data_path):
    assert read(data_path / "odd_headers.pcap").headers()["status"].tolist() == [*ODD, NO_IP_STATUS]


# A packet that is cut has the EtherType of the tag, or the number of the extension header, that is cut.
MAY_DIFFER = {"status", "ethertype", "protocol", "l7_offset", "l7_len"}


def frames_of(name):
    """Return the packets of a sample."""
    return [row.data for row in sample_of(f"{name}.pcap").rows]


def decoded_prefixes(payload):
    """Return a batch of the packet cut to every length, from 0 to all of it, each with the rest after it."""
    cuts = [payload[:n] for n in range(len(payload) + 1)]
    records = decoded_batch(cuts, total_len=len(payload)).records.copy()
    records["offset"] = 0
    return Batch(records, payload, ETHERNET)


@pytest.mark.parametrize("name", ["transports", "tunnels", "odd_headers", "ethernet_vlan", "ethernet_pppoe"])
def test_fields_of_a_cut_packet_are_those_of_the_whole_or_zero(name):
    """The rest of the packet is in memory right after each cut."""
    cut_within = set()
    for number, payload in enumerate(frames_of(name)):
        whole = decoded_batch([payload]).headers()[0]
        rows = decoded_prefixes(payload).headers()
        assert rows[-1].tobytes() == whole.tobytes()
        for column in set(HEADER_DTYPE.names) - MAY_DIFFER:
            allowed = (whole[column].tobytes(), bytes(HEADER_DTYPE[column].itemsize))
            wrong = [n for n, value in enumerate(rows[column]) if value.tobytes() not in allowed]
            assert not wrong, f"{column} of packet {number}, cut to {wrong[0]} bytes"
        complete = rows[rows["status"] == OK][["l7_offset", "l7_len"]].tolist()
        assert set(complete) <= {(whole["l7_offset"], whole["l7_len"])}, f"packet {number}"
        statuses = rows["status"].tolist()
        cut_within.update(map(HeaderStatus, statuses))
        if whole["status"] == OK and whole["l7_offset"]:
            assert statuses[whole["l7_offset"]] == OK
            assert statuses[whole["l7_offset"] - 1] == TRUNCATED
            assert set(statuses[: whole["l7_offset"]]) == {NO_IP_STATUS, TRUNCATED}
    assert cut_within >= {OK, NO_IP_STATUS, TRUNCATED}


def mutated(count, seed):
    """Yield packets of the samples with some bytes changed, cut anywhere."""
    randomness = random.Random(seed)
    payloads = [row for name in ("transports", "tunnels", "odd_headers") for row in frames_of(name)]
    for _ in range(count):
        payload = bytearray(randomness.choice(payloads))
        for _ in range(randomness.randrange(1, 6)):
            payload[randomness.randrange(len(payload))] = randomness.choice(
                (0, 1, 0x45, 0x60, 0xFF, randomness.randrange(256))
            )
        yield bytes(payload[: randomness.randrange(len(payload) + 1)])


@pytest.mark.parametrize("inner", [False, True], ids=["outer", "inner"])
def test_headers_do_not_depend_on_bytes_around_the_packet(inner):
    payloads = list(mutated(4000, 7))
    totals = [len(payload) + number % 3 * 40 for number, payload in enumerate(payloads)]
    columns = [*HEADER_DTYPE.names, *KEYS]
    around = (b"\0", b"\xff", b"\x45")
    batches = [decoded_batch(payloads, total_len=totals, before=x * 9, after=x * 70) for x in around]
    seen = [batch.headers(columns, inner=inner) for batch in batches]
    assert seen[0].tobytes() == seen[1].tobytes() == seen[2].tobytes()
    rows, lengths = seen[0], np.array([len(payload) for payload in payloads])
    assert set(rows["status"].tolist()) == {int(status) for status in HeaderStatus}
    assert (rows["l4_offset"] <= lengths).all()
    assert (rows["l7_offset"] <= lengths).all()
    assert (rows["l7_offset"] + rows["l7_len"] <= np.maximum(totals, rows["l7_offset"])).all()
    assert (rows["tunnels"] <= 8).all()
    assert inner == bool(rows["tunnels"].any())


def test_no_ip_means_no_ip_layer_in_a_longer_packet():
    records = np.zeros(1, RECORD_DTYPE)
    records["cap_len"], records["ip_offset"] = 70_000, NO_IP
    assert Batch(records, b"\x45" * 70_000).headers()["status"].tolist() == [NO_IP_STATUS]


@pytest.mark.parametrize("links", [(), ETHERNET], ids=["no links", "one link"])
def test_packets_of_an_unknown_interface_have_no_link_layer(links):
    payload = frames_of("transports")[0]
    records = decoded_batch([payload], interface=5).records
    row = Batch(records, payload, links).headers()[0]
    assert (row["status"], row["ethertype"], bytes(row["src_mac"])) == (OK, 0, bytes(6))


# ---- selections


def test_header_fields_do_not_overlap():
    assert HEADER_DTYPE.itemsize == 104
    used = sorted(
        (offset, kind.itemsize) for kind, offset in (field[:2] for field in HEADER_DTYPE.fields.values())
    )
    assert sum(size for _, size in used) == 101
    assert all(at + size <= after for (at, size), (after, _) in itertools.pairwise(used))


@pytest.mark.parametrize("name", ["transports.pcap", "tunnels.pcap", "mixed.pcap", "sll2.pcap"])
@pytest.mark.parametrize("inner", [False, True], ids=["outer", "inner"])
def test_each_column_alone_is_that_of_all_columns(name, inner, data_path):
    batch = read(data_path / name)
    rows = batch.headers(inner=inner)
    for column in HEADER_DTYPE.names:
        alone = batch.headers([column], inner=inner)
        assert alone.dtype.names == (column,)
        assert alone[column].tobytes() == rows[column].tobytes(), column


def test_columns_are_in_the_requested_order_with_zeros_between(data_path):
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
        (["src", "nope"], ValueError, "unknown header column 'nope': use any of status, src_mac"),
        ([], ValueError, "at least one"),
        (["src", "src"], ValueError, "each only once"),
        ("src", TypeError, r"\['src'\]"),
        (5, TypeError, "list of names"),
    ],
)
def test_wrong_columns_are_refused(columns, error, match):
    with pytest.raises(error, match=match):
        Batch([], b"").headers(columns)


def test_columns_are_independent_of_the_batch(data_path):
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


def test_a_stripped_vlan_tag_is_the_outermost():
    payload = ethernet(packet4(), tags=[(VLAN, 20), (VLAN, 3)])
    in_line = decoded_batch([payload], vlan_tci=5 << 13 | 100).headers()[0]
    flags = RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED
    stripped = decoded_batch([payload], vlan_tci=5 << 13 | 100, flags=flags).headers()[0]
    assert (in_line["vlan_id"], in_line["inner_vlan_id"]) == (100, 3)
    assert (stripped["vlan_id"], stripped["inner_vlan_id"]) == (100, 20)
    assert stripped["ethertype"] == 0x0800


def test_arp_packets_have_addresses(data_path):
    rows = read(data_path / "transports.pcap").headers()
    row = rows[rows["status"] == ARP][0]
    assert slimcap.ip_to_str([row["src"], row["dst"]]).tolist() == ["192.0.2.10", "192.0.2.1"]
    assert (row["ethertype"], row["ip_version"], row["protocol"]) == (0x0806, 0, 0)


# ---- inner packets


def test_inner_headers_are_those_of_the_tunnelled_packet(data_path):
    rows = read(data_path / "tunnels.pcap").headers(inner=True)
    assert rows["tunnels"].tolist() == [*([1] * 13 + [2]) * 2, 0, 0, 0, 0, 8]
    for first, packet in (0, packet4(2)), (14, packet6(1)):
        alone = decoded_batch([packet], linktype=101).headers()[0]
        same = set(HEADER_DTYPE.names) - {"src_mac", "dst_mac", "ethertype", "vlan_id", "inner_vlan_id"}
        for row in rows[first : first + 14]:
            for name in same - {"tunnels", "l4_offset", "l7_offset"}:
                assert row[name] == alone[name], name
            assert row["l7_offset"] - row["l4_offset"] == alone["l7_offset"] - alone["l4_offset"]


def test_headers_without_inner_are_those_of_the_tunnel(data_path):
    rows = read(data_path / "tunnels.pcap").headers()
    assert not rows["tunnels"].any()
    assert set(rows["protocol"].tolist()) == {4, 17, 41, 47}


def test_headers_can_be_saved(data_path, tmp_path):
    headers = read(data_path / "mixed.pcap").headers()
    np.save(tmp_path / "headers.npy", headers)
    for mode in (None, "r"):
        loaded = np.load(tmp_path / "headers.npy", mmap_mode=mode)
        assert loaded.dtype.names == HEADER_DTYPE.names
        assert loaded.tolist() == headers.tolist()
    assert memoryview(headers).itemsize == HEADER_DTYPE.itemsize
    headers.dtype.names = [name.upper() for name in HEADER_DTYPE.names]
    assert "src" in read(data_path / "mixed.pcap").headers().dtype.names
