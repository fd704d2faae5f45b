"""ip_columns: what IPLayer says of one packet, for a whole batch at a time."""

import numpy as np
import pytest

from slimcap import NO_IP, RECORD_DTYPE, Batch, open_file, read
from slimcap.packet.headers import ip_columns


def columns_one_by_one(batch):
    layers = [packet.ip_layer for packet in batch]
    return [layer.type for layer in layers], [layer.protocol for layer in layers]


def assert_agrees(batch):
    versions, protocols = ip_columns(batch)
    assert (versions.dtype, protocols.dtype) == (np.uint8, np.uint8)
    assert (versions.tolist(), protocols.tolist()) == columns_one_by_one(batch)


def test_every_sample(good):
    assert_agrees(read(good.path))


@pytest.mark.parametrize("snaplen", [1, 14, 20, 24, 34, 40, 54, 62, 80])
@pytest.mark.parametrize("name", ["mixed.pcap", "ethernet_vlan.pcap", "sll2.pcap", "ppp.pcap", "raw101.pcap"])
def test_samples_cut(data_path, name, snaplen):
    assert_agrees(read(data_path / name, snaplen=snaplen))


def test_the_mixed_sample_has_something_to_tell(data_path):
    batch = read(data_path / "mixed.pcap")
    versions, protocols = ip_columns(batch)
    assert np.bincount(versions).tolist() == [7, 0, 0, 0, 162, 0, 26]
    assert {1, 6, 17, 58} <= set(protocols.tolist())
    assert not protocols[batch["ip_offset"] == NO_IP].any()


def test_batches_of_a_source(data_path):
    whole = ip_columns(read(data_path / "mixed.pcap"))
    with open_file(data_path / "mixed.pcap", block_size=3000) as source:
        parts = [ip_columns(batch[::-1][::-1]) for batch in source.batches()]
    for column, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.concatenate(pieces).tolist() == column.tolist()


PACKETS = {
    "ipv4": bytes([0x45]) + bytes(8) + b"\x11" + bytes(30),
    "ipv6": bytes([0x60]) + bytes(5) + b"\x3c" + bytes(33) + b"\x2c\x01" + bytes(14) + b"\x06" + bytes(30),
    "neither": b"\x55" + b"\x11" * 40,
}


@pytest.mark.parametrize("kind", PACKETS)
@pytest.mark.parametrize("ip_offset", [0, 1, 14, 39, 60, 200, 65534, NO_IP])
def test_every_captured_length(kind, ip_offset):
    data = b"\x45" * min(ip_offset, 60) + PACKETS[kind]
    records = np.zeros(len(data) + 1, RECORD_DTYPE)
    records["cap_len"] = range(len(records))
    records["ip_offset"] = ip_offset
    batch = Batch(records, data)
    assert_agrees(batch)
    versions, _ = ip_columns(batch)
    assert np.array_equal(versions != 0, records["cap_len"] > ip_offset)


def test_no_ip_is_no_offset_in_a_packet_that_is_longer():
    records = np.zeros(1, RECORD_DTYPE)
    records["cap_len"], records["ip_offset"] = 70_000, NO_IP
    versions, protocols = ip_columns(Batch(records, b"\x45" * 70_000))
    assert (versions.tolist(), protocols.tolist()) == ([0], [0])


def test_columns_are_the_callers(data_path):
    batch = read(data_path / "mixed.pcap")
    columns = ip_columns(batch)
    expected = [column.tolist() for column in columns]
    batch.release()
    del batch
    assert [column.tolist() for column in columns] == expected
    assert all(column.flags.owndata and column.flags.writeable for column in columns)


def test_a_released_batch_has_no_headers():
    batch = Batch(np.zeros(3, RECORD_DTYPE), b"")
    batch.release()
    with pytest.raises(ValueError, match="released"):
        ip_columns(batch)


@pytest.mark.parametrize("wrong", [None, b"", np.zeros(3, RECORD_DTYPE)], ids=["None", "bytes", "records"])
def test_takes_batches_only(wrong):
    with pytest.raises(TypeError):
        ip_columns(wrong)
