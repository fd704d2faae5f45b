"""PcapDecoder: records from bytes, without a source."""

from __future__ import annotations

import bisect
import itertools
import subprocess
import sys

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, PcapSource
from slimcap.capfile.pcap_decoder import PcapDecoder
from support.builders.captures import simple
from support.builders.pcap import MICRO, MODIFIED, NANO, pcap_file, pcap_header, pcap_record
from support.capfiles import FRAME, LONGEST, near, same_rows
from support.samples import GOOD

HEADER = pcap_header()


def decode(data, capacity=1000, start=24, snaplen=0):
    decoder = PcapDecoder(data[:24], snaplen)
    rows = np.zeros(capacity, RECORD_DTYPE)
    count = decoder.decode(data, rows, start)
    return decoder, rows[:count]


def test_decodes_every_record(good):
    decoder, rows = decode(good.data)
    assert same_rows(rows, good.rows)
    assert rows["ip_offset"].tolist() == good.ip_offsets
    assert decoder.position == len(good.data)
    assert decoder.needed == (24 if good.magic == MODIFIED else 16)
    assert decoder.fault is None


def test_decoder_has_the_fields_of_the_file_header(good):
    decoder = PcapDecoder(good.data[:24])
    assert decoder.linktype == good.linktype & 0xFFFF
    assert decoder.snaplen == good.snaplen
    assert (decoder.version_major, decoder.version_minor) == (2, 4)
    assert decoder.resolution == (1 if good.magic == NANO else 1000)
    assert decoder.swapped is (good.big_endian == (sys.byteorder == "little"))


@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_decoding_continues_after_the_rows_were_full(sample_of, capacity):
    sample = sample_of("mixed.pcap")
    decoder, rows = PcapDecoder(sample.data[:24]), np.zeros(capacity, RECORD_DTYPE)
    found, at = [], 24
    while count := decoder.decode(sample.data, rows, at):
        found.append(rows[:count].copy())
        at = decoder.position
        assert at == sample.starts[sum(map(len, found))]
    assert same_rows(np.concatenate(found), sample.rows)
    assert max(map(len, found)) == capacity


def test_decoding_into_no_rows_makes_no_progress(sample_of):
    data = sample_of("mixed.pcap").data
    decoder, rows = decode(data, capacity=0)
    assert (len(rows), decoder.position, decoder.needed, decoder.fault) == (0, 24, 16, None)


@pytest.mark.parametrize("index", [0, 1, 100, 194, 195])
def test_decoding_starts_at_any_record(sample_of, index):
    sample = sample_of("mixed.pcap")
    decoder, rows = decode(sample.data, start=sample.starts[index])
    assert same_rows(rows, sample.rows[index:])
    assert decoder.position == len(sample.data)


def test_start_defaults_to_the_first_byte(sample_of):
    sample = sample_of("mixed.pcap")
    rows = np.zeros(1000, RECORD_DTYPE)
    count = PcapDecoder(sample.data[:24]).decode(sample.data[24:], rows)
    assert same_rows(rows[:count], [row._replace(offset=row.offset - 24) for row in sample.rows])


@pytest.mark.parametrize("start", [len(HEADER) + 1, 1 << 40, (1 << 64) - 1])
def test_start_after_the_end_decodes_nothing(start):
    decoder, rows = decode(HEADER, start=start)
    assert (len(rows), decoder.position, decoder.needed, decoder.fault) == (0, 24, 16, None)


def test_empty_data_decodes_nothing():
    decoder = PcapDecoder(HEADER)
    assert decoder.decode(b"", np.zeros(1, RECORD_DTYPE)) == 0
    assert (decoder.position, decoder.needed) == (0, 16)


@pytest.mark.parametrize("magic", [MICRO, NANO, MODIFIED])
@pytest.mark.parametrize("big_endian", [False, True])
def test_needed_bytes_are_reported_at_every_cut(magic, big_endian):
    packets = simple()
    data = pcap_file(packets, magic=magic, big_endian=big_endian)
    header = 24 if magic == MODIFIED else 16
    starts = list(itertools.accumulate((header + len(packet.data) for packet in packets), initial=24))
    for cut in range(24, len(data) + 1):
        decoder, rows = decode(data[:cut])
        whole = bisect.bisect_right(starts, cut) - 1
        rest = cut - starts[whole]
        needed = header if rest < header else header + len(packets[whole].data)
        assert (len(rows), decoder.position) == (whole, starts[whole]), cut
        assert (decoder.needed, decoder.fault) == (needed, None), cut


@pytest.mark.parametrize(
    "name", [name for name in GOOD if not name.startswith("mixed") or name.endswith(".pcap")]
)
def test_records_before_a_cut_at_every_byte_are_decoded(sample_of, name):
    """Decodes the two whole records before the cut, and stops where the cut record starts.

    A file with a huge packet is cut at the bytes near the ends of its records.
    """
    good = sample_of(name)
    starts, data, size = good.starts, memoryview(good.data), RECORD_DTYPE.itemsize
    expected = decode(good.data)[1].tobytes()
    header = 24 if good.magic == MODIFIED else 16
    small = len(data) < 40_000
    cuts = range(24, len(data)) if small else near(starts, len(data) - 1, 40)
    decoder, rows = PcapDecoder(data[:24]), np.zeros(5, RECORD_DTYPE)
    tried = 0
    for cut in cuts:
        if cut < 24:
            continue
        whole = bisect.bisect_right(starts, cut) - 1
        first = max(0, whole - 2)
        count = decoder.decode(data[:cut], rows, starts[first])
        assert first + count == whole, f"cut at byte {cut}"
        assert rows[:count].tobytes() == expected[first * size : whole * size], f"cut at byte {cut}"
        rest = cut - starts[whole]
        needed = header if rest < header else header + len(good.rows[whole].data)
        state = (decoder.position, decoder.needed, decoder.fault)
        assert state == (starts[whole], needed, None), f"cut at byte {cut}"
        tried += 1
    assert tried == len(data) - 24 or (tried > 100 and not small)


def test_rows_after_the_last_record_are_not_written(sample_of):
    data = sample_of("mixed.pcap").data
    rows = np.frombuffer(bytearray(b"\xa5" * 40 * 300), RECORD_DTYPE)
    count = PcapDecoder(HEADER).decode(data, rows[:250], 24)
    assert count == 195
    assert rows[count:].tobytes() == b"\xa5" * 40 * (300 - count)


def test_fault_is_reported_until_its_record_is_skipped():
    data = HEADER + pcap_record(FRAME) + pcap_record(b"", cap_len=LONGEST + 1) + pcap_record(FRAME)
    decoder, rows = decode(data)
    bad = 24 + 16 + len(FRAME)
    assert (len(rows), decoder.position) == (1, bad)
    assert str(LONGEST + 1) in decoder.fault
    rows = np.zeros(5, RECORD_DTYPE)
    assert decoder.decode(data, rows, bad) == 0
    assert decoder.fault is not None
    assert decoder.decode(data, rows, bad + 16) == 1
    assert decoder.fault is None


def test_snaplen_truncates_rows(sample_of):
    sample = sample_of("mixed.pcap")
    decoder, rows = decode(sample.data, snaplen=60)
    assert rows["cap_len"].tolist() == [min(len(row.data), 60) for row in sample.rows]
    assert rows["offset"].tolist() == [row.offset for row in sample.rows]
    assert decoder.position == len(sample.data)


def test_padding_of_decoded_rows_is_zero(sample_of):
    """Records may be written to a file or hashed: they must not show memory of the process."""
    spare = np.ones(RECORD_DTYPE.itemsize, bool)
    for kind, at in RECORD_DTYPE.fields.values():
        spare[at : at + kind.itemsize] = False
    assert np.count_nonzero(spare) == 1
    sample = sample_of("mixed.pcap")
    with PcapSource(sample.path, block_size=4096) as source:
        records = b"".join(batch.records.tobytes() for batch in source.batches())
    assert not np.frombuffer(records, "u1").reshape(-1, 40)[:, spare].any()
    rows = np.frombuffer(bytearray(b"\xa5" * 40 * 200), RECORD_DTYPE)
    count = PcapDecoder(HEADER).decode(sample.data, rows, 24)
    assert not np.frombuffer(rows[:count].tobytes(), "u1").reshape(-1, 40)[:, spare].any()


@pytest.mark.parametrize(
    "buffer",
    [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, "u1")],
    ids=["bytes", "bytearray", "memoryview", "array"],
)
def test_accepts_any_buffer(sample_of, buffer):
    sample = sample_of("null.pcap")
    _, rows = decode(buffer(sample.data))
    assert same_rows(rows, sample.rows)


@pytest.mark.parametrize("size", [0, 1, 23])
def test_short_header_raises(size):
    with pytest.raises(ValueError, match=f"24 bytes, not {size}"):
        PcapDecoder(HEADER[:size])


@pytest.mark.parametrize("magic", [0, 0xA1B2C3D5, 0xFFFFFFFF])
def test_unknown_magic_raises(magic):
    with pytest.raises(ValueError, match=f"magic 0x{magic:08x}"):
        PcapDecoder(pcap_header(magic=magic))


def test_pcapng_header_raises_an_error_that_names_pcapng():
    with pytest.raises(ValueError, match="pcapng"):
        PcapDecoder(bytes.fromhex("0a0d0d0a1c0000004d3c2b1a01000000") + bytes(8))


@pytest.mark.parametrize(
    "rows",
    [np.zeros(4, "u1"), np.zeros((2, 2), RECORD_DTYPE), np.zeros(8, RECORD_DTYPE)[::2]],
    ids=["bytes", "2-d", "strided"],
)
def test_rows_of_another_dtype_or_shape_raise(rows):
    with pytest.raises(ValueError, match=r"."):
        PcapDecoder(HEADER).decode(HEADER, rows, 24)


def test_read_only_rows_raise():
    rows = np.zeros(4, RECORD_DTYPE)
    rows.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        PcapDecoder(HEADER).decode(HEADER, rows, 24)


@pytest.mark.parametrize("data", ["b''", "bytes(100)"])
def test_uninitialised_decoder_does_not_crash(data):
    code = f"""if True:
        import numpy, slimcap
        from slimcap.capfile.pcap_decoder import PcapDecoder
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
