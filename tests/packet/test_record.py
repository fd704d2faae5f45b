"""RECORD_DTYPE, RecordFlag and PacketType: layout and values."""

import pickle
import socket
import struct

import numpy as np
import pytest

from slimcap import NO_IP, RECORD_DTYPE, Batch, PacketType, RecordFlag, read
from slimcap.packet.enums import PACKET_HDR_OFFSET

FIELDS = [
    # name, kind, offset
    ("timestamp", "i8", 0),
    ("offset", "u8", 8),
    ("total_len", "u4", 16),
    ("cap_len", "u4", 20),
    ("interface", "u4", 24),
    ("vlan_tci", "u2", 28),
    ("vlan_tpid", "u2", 30),
    ("ip_offset", "u2", 32),
    ("pkt_type", "u1", 34),
    ("flags", "u4", 36),
]
ROW = struct.Struct("=qQIIIHHHBxI")
VALUES = (-1_700_000_000_123_456_789, 2**64 - 2, 2**32 - 3, 70_000, 70_001, 513, 0xE123, 0x88A8, 254, 1 << 31)

# ---- RECORD_DTYPE


@pytest.mark.parametrize(("name", "kind", "offset"), FIELDS)
def test_fields_have_these_types_and_offsets(name, kind, offset):
    dtype, at = RECORD_DTYPE.fields[name][:2]
    assert dtype == np.dtype(kind)
    assert dtype.isnative
    assert at == offset
    assert at % dtype.itemsize == 0


def test_row_is_40_bytes_of_these_fields_and_no_others():
    assert RECORD_DTYPE.names == tuple(name for name, _, _ in FIELDS)
    assert RECORD_DTYPE.itemsize == ROW.size == 40


def test_values_lie_where_the_struct_module_puts_them():
    rows = np.zeros(2, RECORD_DTYPE)
    rows[1] = VALUES
    assert rows.tobytes() == bytes(40) + ROW.pack(*VALUES)


def test_rows_can_be_read_back_from_bytes():
    (row,) = np.frombuffer(ROW.pack(*VALUES), RECORD_DTYPE)
    assert row.item() == VALUES


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_dtype_survives_pickling(protocol):
    rows = np.zeros(3, RECORD_DTYPE)
    rows[1] = VALUES
    again = pickle.loads(pickle.dumps(rows, protocol))
    assert again.dtype == RECORD_DTYPE
    assert again[1].item() == VALUES


def test_records_of_every_batch_have_this_dtype(data_path):
    batch = read(data_path / "mixed.pcap")
    assert {records.dtype for records in (batch.records, batch[::2].records, Batch([], b"").records)} == {
        RECORD_DTYPE
    }


# ---- numbers with names


def test_no_ip_is_the_largest_ip_offset():
    assert np.iinfo(RECORD_DTYPE["ip_offset"]).max == NO_IP


def test_packet_header_is_six_bytes():
    assert struct.calcsize("=BBI") == PACKET_HDR_OFFSET


FLAGS = {
    "VLAN": 1,
    "VLAN_STRIPPED": 2,
    "TRUNCATED": 4,
    "CHECKSUM_VALID": 8,
    "CHECKSUM_NOT_READY": 16,
    "LOSING": 32,
    "GSO": 64,
    "TIME_CLAMPED": 128,
}


def test_flags_have_these_values():
    assert {flag.name: flag.value for flag in RecordFlag} == FLAGS


@pytest.mark.parametrize("value", [0, 5, 0x80000000, 0xFFFFFFFF])
def test_flags_keep_bits_without_a_name(value):
    assert RecordFlag(value) == value


TYPES = {"THIS_HOST": 0, "BROADCAST": 1, "MULTICAST": 2, "OTHER_HOST": 3, "OUTGOING": 4, "UNKNOWN": 255}


def test_packet_types_have_these_values():
    assert {kind.name: kind.value for kind in PacketType} == TYPES


@pytest.mark.parametrize("name", ["BROADCAST", "MULTICAST", "OUTGOING"])
def test_packet_types_are_the_kernels(name):
    assert getattr(socket, f"PACKET_{name}") == PacketType[name]
    assert (socket.PACKET_HOST, socket.PACKET_OTHERHOST) == (PacketType.THIS_HOST, PacketType.OTHER_HOST)


@pytest.mark.parametrize("as_int", [int, np.uint8], ids=["int", "uint8"])
def test_every_byte_is_a_packet_type(as_int):
    # Items of a column are integers of numpy.
    types = [PacketType(as_int(byte)) for byte in range(256)]
    assert types[:5] == [0, 1, 2, 3, 4]
    assert set(types[5:]) == {PacketType.UNKNOWN}


@pytest.mark.parametrize("value", [-1, 256, 2**64, 1.5, "THIS_HOST", None])
def test_values_outside_a_byte_are_refused_as_packet_types(value):
    with pytest.raises(ValueError, match="is not a valid PacketType"):
        PacketType(value)


@pytest.mark.parametrize("member", [*PacketType, *RecordFlag])
def test_members_survive_pickling(member):
    again = pickle.loads(pickle.dumps(member))
    assert again is member
    assert isinstance(again, int)
