"""Classic pcap: the decoder alone, then `PcapSource` on every sample, cut and read in every way."""

from __future__ import annotations

import bisect
import contextlib
import io
import itertools
import struct
import subprocess
import sys
import tracemalloc
import weakref

import make_samples
import numpy as np
import pytest
from support.files import Trickle
from make_samples import MICRO, MODIFIED, NANO, pcap_file, pcap_header, pcap_record

from slimcap import (
    NO_IP,
    RECORD_DTYPE,
    FileFormatError,
    Link,
    PacketType,
    PcapSource,
    RecordFlag,
    TruncatedFileError,
    read,
)
from slimcap.source.pcap import PcapDecoder

MOST = 262144
DBUS, DBUS_MOST = 231, 128 << 20
HEADER = pcap_header()
FRAME = make_samples.ethernet(make_samples.packet4())
GOOD = [name for name in make_samples.SAMPLES if not name.startswith("bad/")]
TWINS = [
    "mixed_be.pcap",
    "mixed_ns.pcap",
    "mixed_ns_be.pcap",
    "mixed_modified.pcap",
    "mixed.pcap.gz",
    "mixed_members.pcap.gz",
]
# What a column of a record is, whatever block it was read in.
PLACELESS = [name for name in RECORD_DTYPE.names if name != "offset"]


def decode(data, room=1000, start=24, snaplen=0):
    decoder = PcapDecoder(data[:24], snaplen)
    rows = np.zeros(room, RECORD_DTYPE)
    count = decoder.decode(data, rows, start)
    return decoder, rows[:count]


def without_places(records):
    return records[PLACELESS].tolist()


def same_rows(records, rows):
    """Whether the records say what the builder's rows do, offsets included."""
    return (
        records["timestamp"].tolist() == [row.timestamp for row in rows]
        and records["offset"].tolist() == [row.offset for row in rows]
        and records["total_len"].tolist() == [row.total_len for row in rows]
        and records["cap_len"].tolist() == [len(row.data) for row in rows]
    )


# ---- the decoder alone


class TestDecoder:
    def test_decodes_every_record(self, good):
        decoder, rows = decode(good.data)
        assert same_rows(rows, good.rows)
        assert rows["ip_offset"].tolist() == good.ip_offsets
        assert decoder.position == len(good.data)
        assert decoder.needed == (24 if good.magic == MODIFIED else 16)
        assert decoder.fault is None

    def test_says_what_the_header_says(self, good):
        decoder = PcapDecoder(good.data[:24])
        assert decoder.linktype == good.linktype & 0xFFFF
        assert decoder.snaplen == good.snaplen
        assert (decoder.version_major, decoder.version_minor) == (2, 4)
        assert decoder.resolution == (1 if good.magic == NANO else 1000)
        assert decoder.swapped is (good.big_endian == (sys.byteorder == "little"))

    @pytest.mark.parametrize("room", [1, 2, 7])
    def test_goes_on_where_it_ran_out_of_room(self, sample_of, room):
        sample = sample_of("mixed.pcap")
        decoder, rows = PcapDecoder(sample.data[:24]), np.zeros(room, RECORD_DTYPE)
        found, at = [], 24
        while count := decoder.decode(sample.data, rows, at):
            found.append(rows[:count].copy())
            at = decoder.position
            assert at == sample.starts[sum(map(len, found))]
        assert same_rows(np.concatenate(found), sample.rows)
        assert max(map(len, found)) == room

    def test_no_room_is_no_progress(self, sample_of):
        data = sample_of("mixed.pcap").data
        decoder, rows = decode(data, room=0)
        assert (len(rows), decoder.position, decoder.needed, decoder.fault) == (0, 24, 16, None)

    @pytest.mark.parametrize("index", [0, 1, 100, 194, 195])
    def test_start_is_in_the_middle(self, sample_of, index):
        sample = sample_of("mixed.pcap")
        decoder, rows = decode(sample.data, start=sample.starts[index])
        assert same_rows(rows, sample.rows[index:])
        assert decoder.position == len(sample.data)

    def test_start_defaults_to_the_first_byte(self, sample_of):
        sample = sample_of("mixed.pcap")
        rows = np.zeros(1000, RECORD_DTYPE)
        count = PcapDecoder(sample.data[:24]).decode(sample.data[24:], rows)
        assert same_rows(rows[:count], [row._replace(offset=row.offset - 24) for row in sample.rows])

    @pytest.mark.parametrize("start", [len(HEADER) + 1, 1 << 40, (1 << 64) - 1])
    def test_start_behind_the_end(self, start):
        decoder, rows = decode(HEADER, start=start)
        assert (len(rows), decoder.position, decoder.needed, decoder.fault) == (0, 24, 16, None)

    def test_no_bytes(self):
        decoder = PcapDecoder(HEADER)
        assert decoder.decode(b"", np.zeros(1, RECORD_DTYPE)) == 0
        assert (decoder.position, decoder.needed) == (0, 16)

    @pytest.mark.parametrize("magic", [MICRO, NANO, MODIFIED])
    @pytest.mark.parametrize("big_endian", [False, True])
    def test_cut_anywhere_says_what_it_needs(self, magic, big_endian):
        packets = make_samples.simple()
        data = pcap_file(packets, magic=magic, big_endian=big_endian)
        header = 24 if magic == MODIFIED else 16
        starts = list(itertools.accumulate((header + len(packet.data) for packet in packets), initial=24))
        for cut in range(24, len(data) + 1):
            decoder, rows = decode(data[:cut])
            whole = bisect.bisect_right(starts, cut) - 1
            behind = cut - starts[whole]
            needed = header if behind < header else header + len(packets[whole].data)
            assert (len(rows), decoder.position) == (whole, starts[whole]), cut
            assert (decoder.needed, decoder.fault) == (needed, None), cut

    def test_writes_nothing_behind_its_rows(self, sample_of):
        data = sample_of("mixed.pcap").data
        rows = np.frombuffer(bytearray(b"\xa5" * 40 * 300), RECORD_DTYPE)
        count = PcapDecoder(HEADER).decode(data, rows[:250], 24)
        assert count == 195
        assert rows[count:].tobytes() == b"\xa5" * 40 * (300 - count)

    def test_fault_stays_at_its_record(self):
        data = HEADER + pcap_record(FRAME) + pcap_record(b"", cap_len=MOST + 1) + pcap_record(FRAME)
        decoder, rows = decode(data)
        bad = 24 + 16 + len(FRAME)
        assert (len(rows), decoder.position) == (1, bad)
        assert str(MOST + 1) in decoder.fault
        rows = np.zeros(5, RECORD_DTYPE)
        assert decoder.decode(data, rows, bad) == 0
        assert decoder.fault is not None
        assert decoder.decode(data, rows, bad + 16) == 1
        assert decoder.fault is None

    def test_snaplen_cuts_what_a_row_shows(self, sample_of):
        sample = sample_of("mixed.pcap")
        decoder, rows = decode(sample.data, snaplen=60)
        assert rows["cap_len"].tolist() == [min(len(row.data), 60) for row in sample.rows]
        assert rows["offset"].tolist() == [row.offset for row in sample.rows]
        assert decoder.position == len(sample.data)

    @pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, "u1")])
    def test_takes_any_buffer(self, sample_of, buffer):
        sample = sample_of("null.pcap")
        _, rows = decode(buffer(sample.data))
        assert same_rows(rows, sample.rows)

    @pytest.mark.parametrize("size", [0, 1, 23])
    def test_short_header(self, size):
        with pytest.raises(ValueError, match=f"24 bytes, not {size}"):
            PcapDecoder(HEADER[:size])

    @pytest.mark.parametrize("magic", [0, 0xA1B2C3D5, 0xFFFFFFFF])
    def test_unknown_magic(self, magic):
        with pytest.raises(ValueError, match=f"magic 0x{magic:08x}"):
            PcapDecoder(pcap_header(magic=magic))

    def test_pcapng_is_told_apart(self):
        with pytest.raises(ValueError, match="pcapng"):
            PcapDecoder(bytes.fromhex("0a0d0d0a1c0000004d3c2b1a01000000") + bytes(8))

    @pytest.mark.parametrize(
        "rows", [np.zeros(4, "u1"), np.zeros((2, 2), RECORD_DTYPE), np.zeros(8, RECORD_DTYPE)[::2]]
    )
    def test_rows_of_another_shape(self, rows):
        with pytest.raises(ValueError, match=r"."):
            PcapDecoder(HEADER).decode(HEADER, rows, 24)

    def test_read_only_rows(self):
        rows = np.zeros(4, RECORD_DTYPE)
        rows.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            PcapDecoder(HEADER).decode(HEADER, rows, 24)

    @pytest.mark.parametrize("data", ["b''", "bytes(100)"])
    def test_never_initialised_is_no_crash(self, data):
        code = f"""if True:
            import numpy, slimcap
            from slimcap.source.pcap import PcapDecoder
            rows = numpy.zeros(4, slimcap.RECORD_DTYPE)
            try:
                assert PcapDecoder.__new__(PcapDecoder).decode({data}, rows) == 0
            except (TypeError, ValueError, AttributeError):
                pass
        """
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


# ---- every sample


def test_records_are_what_was_built(good):
    batch = read(good.path)
    with PcapSource(good.path) as source:
        first = source.next_batch() if good.rows else None
    assert [bytes(batch.payload(i)) for i in range(len(batch))] == [row.data for row in good.rows]
    assert batch["timestamp"].tolist() == [row.timestamp for row in good.rows]
    assert batch["total_len"].tolist() == [row.total_len for row in good.rows]
    assert batch["cap_len"].tolist() == [len(row.data) for row in good.rows]
    if first is not None:
        assert same_rows(first.records, good.rows[: len(first)])
        assert bytes(first.data) == good.data[: len(first.data)]


def test_ip_offsets_are_those_of_tshark(good):
    assert read(good.path)["ip_offset"].tolist() == good.ip_offsets
    assert len(good.ip_offsets) == len(good.rows)


def cooked_type(linktype, data):
    """The packet type that a Linux cooked header has."""
    if linktype == 113 and len(data) >= 16:
        return int.from_bytes(data[:2], "big")
    if linktype == 276 and len(data) >= 20:
        return data[10]
    return PacketType.UNKNOWN


def test_packet_types(good):
    batch = read(good.path)
    assert batch["pkt_type"].tolist() == [cooked_type(good.linktype, row.data) for row in good.rows]


def test_packet_types_of_both_cooked_headers(sample_of):
    for name in ("sll.pcap", "sll2.pcap"):
        types = set(read(sample_of(name).path)["pkt_type"].tolist())
        assert types == {0, 1, 2, 3, 4}


def outermost_tag(linktype, data):
    """(TPID, TCI) of the tag that follows the link-layer header, as IEEE 802.1Q puts it."""
    at = {1: (12, 14), 113: (14, 16), 276: (0, 20)}.get(linktype & 0xFFFF)
    if at is None or len(data) < at[1] + 4:
        return None
    tpid = int.from_bytes(data[at[0] : at[0] + 2], "big")
    return (
        (tpid, int.from_bytes(data[at[1] : at[1] + 2], "big")) if tpid in (0x8100, 0x88A8, 0x9100) else None
    )


def test_vlan_columns_and_flags(good):
    batch = read(good.path)
    tags = [outermost_tag(good.linktype, row.data) for row in good.rows]
    assert list(zip(batch["vlan_tpid"].tolist(), batch["vlan_tci"].tolist(), strict=True)) == [
        t or (0, 0) for t in tags
    ]
    flags = [
        (RecordFlag.VLAN if tag else 0) | (RecordFlag.TRUNCATED if len(row.data) < row.total_len else 0)
        for tag, row in zip(tags, good.rows, strict=True)
    ]
    assert batch["flags"].tolist() == flags


def test_vlan_samples_have_tags(sample_of):
    for name, tagged in (("ethernet_vlan.pcap", 16), ("sll.pcap", 3), ("sll2.pcap", 3), ("mixed.pcap", 26)):
        flags = read(sample_of(name).path)["flags"]
        assert np.count_nonzero(flags & RecordFlag.VLAN) == tagged, name


def test_source_tells_what_the_header_says(good):
    with PcapSource(good.path) as source:
        assert source.name == str(good.path)
        assert source.snaplen == good.snaplen
        assert source.version == (2, 4)
        assert source.byte_order == ("big" if good.big_endian else "little")
        assert source.resolution == (1 if good.magic == NANO else 1000)
        assert source.links == (Link(str(good.path), 0, good.linktype & 0xFFFF, named=False),)
        assert source.link == source.links[0]
        batches = list(source.batches())
        assert source.progress == (good.path.stat().st_size, good.path.stat().st_size)
    assert all(batch.links == source.links for batch in batches)
    assert all((batch["interface"] == 0).all() for batch in batches)


@pytest.mark.parametrize(
    ("linktype", "name"),
    [(0, "NULL"), (1, "ETHERNET"), (12, "RAW"), (113, "LINUX_SLL"), (276, "LINUX_SLL2"), (147, "147")],
)
def test_link_type_names(linktype, name):
    with PcapSource(io.BytesIO(pcap_header(linktype=linktype))) as source:
        assert source.link.type_name == name


@pytest.mark.parametrize("twin", TWINS)
def test_twins_of_mixed_are_equal(sample_of, twin):
    mixed, other = read(sample_of("mixed.pcap").path), read(sample_of(twin).path)
    assert [bytes(mixed.payload(i)) for i in range(len(mixed))] == [
        bytes(other.payload(i)) for i in range(len(other))
    ]
    times = other["timestamp"] // 1000 * 1000
    assert times.tolist() == mixed["timestamp"].tolist()
    assert (times != other["timestamp"]).any() == ("_ns" in twin)
    columns = [name for name in PLACELESS if name != "timestamp"]
    assert other.records[columns].tolist() == mixed.records[columns].tolist()


def test_timestamps_are_exact_to_the_nanosecond():
    data = (
        pcap_header(magic=NANO)
        + pcap_record(FRAME, 0xFFFFFFFF, 999_999_999)
        + pcap_record(FRAME, 0, 0xFFFFFFFF)
    )
    assert read(io.BytesIO(data))["timestamp"].tolist() == [0xFFFFFFFF * 10**9 + 999_999_999, 0xFFFFFFFF]


def test_spare_bytes_of_a_record_are_zero(sample_of):
    """Records may be written to a file or hashed: no memory of the process shows in them."""
    spare = np.ones(RECORD_DTYPE.itemsize, bool)
    for kind, at in RECORD_DTYPE.fields.values():
        spare[at : at + kind.itemsize] = False
    assert np.count_nonzero(spare) == 3
    sample = sample_of("mixed.pcap")
    with PcapSource(sample.path, block_size=4096) as source:
        records = b"".join(batch.records.tobytes() for batch in source.batches())
    assert not np.frombuffer(records, "u1").reshape(-1, 40)[:, spare].any()
    rows = np.frombuffer(bytearray(b"\xa5" * 40 * 200), RECORD_DTYPE)
    count = PcapDecoder(HEADER).decode(sample.data, rows, 24)
    assert not np.frombuffer(rows[:count].tobytes(), "u1").reshape(-1, 40)[:, spare].any()


# ---- options


@pytest.mark.parametrize("snaplen", [1, 14, 15, 60, 96, MOST, MOST + 1, (1 << 32) - 1])
def test_snaplen_option(sample_of, snaplen):
    sample = sample_of("mixed.pcap")
    batch = read(sample.path, snaplen=snaplen)
    assert [bytes(batch.payload(i)) for i in range(len(batch))] == [row.data[:snaplen] for row in sample.rows]
    assert batch["total_len"].tolist() == [row.total_len for row in sample.rows]
    cut = [len(row.data) > snaplen for row in sample.rows]
    assert (batch["flags"] & RecordFlag.TRUNCATED != 0).tolist() == cut
    expected = [
        at if at < min(snaplen, len(row.data)) else NO_IP
        for at, row in zip(sample.ip_offsets, sample.rows, strict=True)
    ]
    assert batch["ip_offset"].tolist() == expected


def test_snaplen_option_does_what_a_capture_with_it_does(sample_of):
    cut, captured = read(sample_of("mixed.pcap").path, snaplen=96), read(sample_of("snap96.pcap").path)
    assert without_places(cut.records) == without_places(captured.records)


@pytest.mark.parametrize("snaplen", [0, -1, 1 << 32])
def test_snaplen_out_of_range(sample_of, snaplen):
    with pytest.raises(ValueError, match=f"not {snaplen}"):
        PcapSource(sample_of("mixed.pcap").path, snaplen=snaplen)


@pytest.mark.parametrize("block_size", [-1, 0, 63, (1 << 30) + 1])
def test_block_size_out_of_range(sample_of, block_size):
    with pytest.raises(ValueError, match=f"not {block_size}"):
        PcapSource(sample_of("mixed.pcap").path, block_size=block_size)


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan")])
def test_timeout_out_of_range(sample_of, timeout):
    with pytest.raises(ValueError, match="timeout"):
        PcapSource(sample_of("mixed.pcap").path, timeout=timeout)


@pytest.mark.parametrize("options", [{"snaplen": "x"}, {"block_size": "x"}, {"timeout": "x"}, {"color": 1}])
def test_options_of_another_type(sample_of, options):
    with pytest.raises(TypeError):
        PcapSource(sample_of("mixed.pcap").path, **options)


# ---- file headers


@pytest.mark.parametrize(
    "above", [0x0400_0000, 0x1400_0000, 0x2400_0000, 0xF400_0000, 0x03FF_0000, 0x0800_0000]
)
def test_bits_above_the_link_type_are_masked(above):
    packets = make_samples.simple()
    with PcapSource(io.BytesIO(pcap_file(packets, linktype=above | 1))) as source:
        assert source.link.type == 1
        assert source.next_batch()["ip_offset"].tolist() == [14] * len(packets)


@pytest.mark.parametrize("linktype", [2, 11, 300, 1234, 0xFFFF])
def test_link_types_that_nobody_knows_are_delivered(linktype):
    """wiretap refuses the file; libpcap delivers its packets."""
    with PcapSource(io.BytesIO(pcap_file(make_samples.simple(), linktype=linktype))) as source:
        batch = source.next_batch()
    assert [link.type for link in batch.links] == [linktype]
    assert [bytes(packet.payload) for packet in batch] == [packet.data for packet in make_samples.simple()]
    assert (batch["ip_offset"] == NO_IP).all()


@pytest.mark.parametrize("snaplen", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_snaplen_of_the_file_limits_nothing(snaplen):
    header = struct.pack("<IHHiIII", MICRO, 2, 4, 0, 0, snaplen, 1)
    with PcapSource(io.BytesIO(header + pcap_record(FRAME))) as source:
        assert source.snaplen == snaplen
        assert source.next_payload()[0] == FRAME


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("version", "swapped"),
    [
        ((2, 0), True),
        ((2, 1), True),
        ((2, 2), True),
        ((543, 0), True),
        ((543, 1), False),
        ((2, 4), False),
        ((2, 5), False),
        ((2, 0xFFFF), False),
        ((3, 0), False),
        ((0xFFFF, 0xFFFF), False),
    ],
)
def test_versions_and_the_order_of_lengths(version, swapped, big_endian):
    first, second = (len(FRAME) + 100, len(FRAME)) if swapped else (len(FRAME), len(FRAME) + 100)
    record = pcap_record(FRAME, cap_len=first, orig_len=second, big_endian=big_endian)
    data = pcap_header(version=version, big_endian=big_endian) + record * 3
    with PcapSource(io.BytesIO(data)) as source:
        assert source.version == version
        batch = source.next_batch()
    assert batch["cap_len"].tolist() == [len(FRAME)] * 3
    assert batch["total_len"].tolist() == [len(FRAME) + 100] * 3
    assert bytes(batch.payload(2)) == FRAME


@pytest.mark.parametrize("big_endian", [False, True])
def test_version_2_3_has_lengths_in_either_order(big_endian):
    data = pcap_header(version=(2, 3), big_endian=big_endian)
    for lengths in ((len(FRAME), 2000), (2000, len(FRAME)), (len(FRAME), len(FRAME))):
        data += pcap_record(FRAME, cap_len=lengths[0], orig_len=lengths[1], big_endian=big_endian)
    batch = read(io.BytesIO(data))
    assert batch["cap_len"].tolist() == [len(FRAME)] * 3
    assert batch["total_len"].tolist() == [2000, 2000, len(FRAME)]


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("version", [(0, 0), (1, 0), (1, 4), (1, 0xFFFF)])
def test_versions_that_are_refused(version, big_endian):
    with pytest.raises(FileFormatError, match=f"version {version[0]}.{version[1]}") as raised:
        PcapSource(io.BytesIO(pcap_header(version=version, big_endian=big_endian)))
    assert not isinstance(raised.value, TruncatedFileError)
    assert (raised.value.offset, raised.value.packet_index) == (0, 0)


# ---- lengths


@pytest.mark.parametrize("linktype", [1, 101, 147])
def test_most_that_a_packet_may_have(linktype, drain):
    data = (
        pcap_header(linktype=linktype)
        + pcap_record(bytes(MOST))
        + pcap_record(FRAME)
        + pcap_record(bytes(MOST + 1))
    )
    with PcapSource(io.BytesIO(data)) as source:
        drained = drain(source)
    assert drained.records["cap_len"].tolist() == [MOST, len(FRAME)]
    assert type(drained.error) is FileFormatError
    assert str(MOST + 1) in drained.error.reason
    assert drained.error.offset == 24 + 16 + MOST + 16 + len(FRAME)
    assert drained.error.packet_index == 2


def test_dbus_may_have_more(drain):
    data = pcap_header(linktype=DBUS) + pcap_record(bytes(MOST + 1)) + pcap_record(b"", cap_len=DBUS_MOST + 1)
    with PcapSource(io.BytesIO(data)) as source:
        drained = drain(source)
    assert drained.records["cap_len"].tolist() == [MOST + 1]
    assert type(drained.error) is FileFormatError
    assert str(DBUS_MOST + 1) in drained.error.reason
    with PcapSource(
        io.BytesIO(pcap_header(linktype=DBUS) + pcap_record(bytes(9), cap_len=DBUS_MOST))
    ) as source:
        assert isinstance(drain(source).error, TruncatedFileError)


# NO_IP is 65535, which could be a place in a packet of 70,000 bytes.
LONG_WITHOUT_IP = pcap_file([make_samples.Packet(bytes(70_000)), make_samples.Packet(FRAME)], linktype=147)


def test_no_ip_is_no_place_in_a_batch():
    batch = read(io.BytesIO(LONG_WITHOUT_IP))
    assert batch["ip_offset"].tolist() == [NO_IP, NO_IP]
    assert [len(batch.ip_layer(i)) for i in range(2)] == [0, 0]
    assert [len(packet.ip_layer) for packet in batch] == [0, 0]


@pytest.mark.parametrize("method", ["next_ip_packet", "next_ip_packet_zero_copy"])
@pytest.mark.parametrize("block_size", [64, 1 << 20])
def test_no_ip_is_no_place_in_a_source(block_size, method):
    with PcapSource(io.BytesIO(LONG_WITHOUT_IP), block_size=block_size) as source, pytest.raises(EOFError):
        getattr(source, method)()


def test_lengths_on_the_wire_are_never_less_than_captured():
    data = HEADER + pcap_record(FRAME, orig_len=0) + pcap_record(FRAME, orig_len=len(FRAME) - 1)
    batch = read(io.BytesIO(data))
    assert batch["total_len"].tolist() == [len(FRAME)] * 2
    assert (batch["flags"] & RecordFlag.TRUNCATED == 0).all()


# ---- cut files


def raised_by(call):
    """As `pytest.raises`, which takes its time."""
    try:
        call()
    except Exception as error:
        return error
    return None


def cuts_of(sample):
    """Every byte behind the header; of a file with a huge packet, those near the ends of records."""
    if len(sample.data) < 40_000:
        return range(24, len(sample.data))
    near = {at + delta for at in sample.starts for delta in range(-40, 41)}
    return sorted(at for at in near if 24 <= at < len(sample.data))


@pytest.mark.parametrize("cut", range(24))
@pytest.mark.parametrize("name", ["mixed.pcap", "mixed_ns_be.pcap", "mixed_modified.pcap"])
def test_cut_in_the_file_header(sample_of, name, cut):
    with pytest.raises(TruncatedFileError) as raised:
        PcapSource(io.BytesIO(sample_of(name).data[:cut]))
    assert (raised.value.offset, raised.value.packet_index) == (cut, 0)


@pytest.mark.parametrize(
    "name", [name for name in GOOD if not name.startswith("mixed") or name.endswith(".pcap")]
)
def test_cut_at_every_byte(sample_of, name):
    """All packets before the cut, then an error that says where the cut one starts; none if none was cut."""
    good = sample_of(name)
    expected, starts = decode(good.data)[1], good.starts
    for cut in cuts_of(good):
        source = PcapSource(io.BytesIO(good.data[:cut]), block_size=max(4096, len(good.data)))
        whole = bisect.bisect_right(starts, cut) - 1
        if whole:
            assert np.array_equal(source.next_batch().records, expected[:whole]), cut
        error = raised_by(source.next_batch)
        if cut == starts[whole]:
            assert type(error) is EOFError, cut
        else:
            assert type(error) is TruncatedFileError, cut
            assert (error.offset, error.packet_index) == (starts[whole], whole), cut


@pytest.mark.parametrize("block_size", [64, 65, 100])
def test_cut_at_every_byte_in_small_blocks(sample_of, block_size, drain):
    sample = sample_of("null_be.pcap")
    for cut in range(24, len(sample.data)):
        whole = bisect.bisect_right(sample.starts, cut) - 1
        with PcapSource(io.BytesIO(sample.data[:cut]), block_size=block_size) as source:
            drained = drain(source)
        assert drained.facts == sample.facts[:whole], cut
        if cut == sample.starts[whole]:
            assert drained.error is None, cut
        else:
            assert type(drained.error) is TruncatedFileError, cut
            assert (drained.error.offset, drained.error.packet_index) == (sample.starts[whole], whole), cut


# ---- the same from any pieces


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 4096])
def test_read_in_pieces_of_any_size(good, step, drain):
    with PcapSource(Trickle(good.data, step)) as source:
        drained = drain(source)
    assert drained.error is None
    assert drained.facts == good.facts
    assert drained.records["ip_offset"].tolist() == good.ip_offsets


@pytest.mark.parametrize("block_size", [64, 65, 100, 333, 1000, 1514 + 16, 4096, 1 << 16])
def test_read_in_blocks_of_any_size(good, block_size, drain):
    whole = read(good.path)
    with PcapSource(good.path, block_size=block_size) as source:
        drained = drain(source)
    assert drained.error is None
    assert drained.facts == good.facts
    assert without_places(drained.records) == without_places(whole.records)


@pytest.mark.parametrize(("step", "block_size"), [(1, 64), (3, 65), (7, 100), (63, 64), (64, 64), (65, 4096)])
def test_pieces_and_blocks_together(sample_of, step, block_size, drain):
    sample = sample_of("mixed_modified.pcap")
    with PcapSource(Trickle(sample.data, step), block_size=block_size) as source:
        assert drain(source).facts == sample.facts


@pytest.mark.parametrize("block_size", [64, 100, 1000])
def test_batches_on_loan_stay_as_they_were(good, block_size):
    """Blocks move on while all batches are kept: none may be overwritten."""
    with PcapSource(good.path, block_size=block_size) as source:
        batches = list(source.batches())
    kept = [bytes(batch.payload(i)) for batch in batches for i in range(len(batch))]
    assert kept == [row.data for row in good.rows]


# ---- broken files


HOSTILE = {
    "zero.pcap": (0, TruncatedFileError, 0),
    "cut_header.pcap": (0, TruncatedFileError, 23),
    "cut_record.pcap": (3, TruncatedFileError, 245),
    "cut_data.pcap": (3, TruncatedFileError, 245),
    "huge_caplen.pcap": (3, FileFormatError, 245),
    "caplen_262145.pcap.gz": (3, FileFormatError, 245),
    "bad_magic.pcap": (0, FileFormatError, 0),
    "version1.pcap": (0, FileFormatError, 0),
    "cut.pcap.gz": (20, TruncatedFileError, None),
    "cut_between.pcap.gz": (20, TruncatedFileError, None),
    "bad_crc.pcap.gz": (20, FileFormatError, None),
    "garbage_behind.pcap.gz": (20, None, None),
}


def test_all_broken_samples_are_listed():
    assert {f"bad/{name}" for name in HOSTILE} == {n for n in make_samples.SAMPLES if n.startswith("bad/")}


@pytest.mark.parametrize("block_size", [64, 1 << 20])
@pytest.mark.parametrize("name", HOSTILE)
def test_broken_samples(data_path, sample_of, name, block_size, drain):
    path = data_path / "bad" / name
    count, kind, offset = HOSTILE[name]
    try:
        with PcapSource(path, block_size=block_size) as source:
            drained = drain(source)
        facts, error = drained.facts, drained.error
    except FileFormatError as raised:
        facts, error = [], raised
    assert facts == sample_of("mixed.pcap").facts[:count]
    if kind is None:
        assert error is None
        return
    whole = make_samples.inflated(path.read_bytes()) if name.endswith(".gz") else b""
    assert type(error) is kind
    assert error.path == str(path)
    assert error.offset == (len(whole) if offset is None else offset)
    assert error.packet_index == count
    assert str(path) in str(error)
    assert error.reason in str(error)


READS = [
    "next_packet",
    "next_payload",
    "next_ip_packet",
    "next_batch",
    "next_payload_zero_copy",
    "next_ip_packet_zero_copy",
]


@pytest.mark.parametrize(
    "name", ["huge_caplen.pcap", "cut_data.pcap", "cut_between.pcap.gz", "bad_crc.pcap.gz"]
)
def test_errors_stay(data_path, name, drain):
    """After the error every call raises one like it, until the source is closed; nothing comes twice."""
    with PcapSource(data_path / "bad" / name) as source:
        first = drain(source).error
        count = source.total_stats.packets_received
        for method in READS:
            with pytest.raises(type(first)) as raised:
                getattr(source, method)()
            again = raised.value
            assert (again.reason, again.offset, again.packet_index) == (
                first.reason,
                first.offset,
                first.packet_index,
            )
        with pytest.raises(type(first)):
            source.next_packet_fn(print)
        with pytest.raises(type(first)):
            next(iter(source))
        assert source.total_stats.packets_received == count == first.packet_index


def test_errors_keep_nothing_alive(data_path, drain):
    """The error that a source remembers must not hold on to the frames that it went through."""

    class Local:
        pass

    def fails(source):
        local = Local()
        with contextlib.suppress(TruncatedFileError):
            source.next_packet()
        return weakref.ref(local)

    with PcapSource(data_path / "bad" / "cut_data.pcap") as source:
        drain(source)
        assert [fails(source)() for _ in range(3)] == [None] * 3


@pytest.mark.parametrize("linktype", [1, DBUS])
@pytest.mark.parametrize("have", [0, 100, 100_000])
def test_what_a_length_claims_is_not_allocated(linktype, have, drain):
    """Most that a packet may have, and little of it there: memory grows with what is there."""
    data = pcap_header(linktype=linktype) + pcap_record(
        bytes(have), cap_len=DBUS_MOST if linktype == DBUS else MOST
    )
    tracemalloc.start()
    try:
        with PcapSource(io.BytesIO(data), block_size=4096) as source:
            error = drain(source).error
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(error, TruncatedFileError)
    assert peak < 1_000_000 + 4 * have
