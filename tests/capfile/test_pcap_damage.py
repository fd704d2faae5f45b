"""Cut and broken pcap files: packets before the damage, then an error that names its place."""

from __future__ import annotations

import bisect
import contextlib
import io
import tracemalloc
import weakref

import pytest

from slimcap import FileFormatError, PcapSource, TruncatedFileError
from support.builders.captures import SAMPLES
from support.builders.compressed import inflated
from support.builders.pcap import pcap_header, pcap_record
from support.capfiles import LONGEST, LONGEST_DBUS, near, outcome_of
from support.samples import GOOD

DBUS = 231


# ---- cut files; test_pcap_decoder cuts at every byte


@pytest.mark.parametrize("cut", range(24))
@pytest.mark.parametrize("name", ["mixed.pcap", "mixed_ns_be.pcap", "mixed_modified.pcap"])
def test_cut_in_the_file_header_raises(sample_of, name, cut):
    with pytest.raises(TruncatedFileError) as raised:
        PcapSource(io.BytesIO(sample_of(name).data[:cut]))
    assert (raised.value.offset, raised.value.packet_index) == (cut, 0)


@pytest.mark.parametrize(
    "name", [name for name in GOOD if not name.startswith("mixed") or name.endswith(".pcap")]
)
def test_packets_before_a_cut_near_every_record_are_delivered(sample_of, name):
    """Delivers all packets before the cut, then raises with the offset of the cut record, if one was cut.

    Of files with many records, near some sixty of them; the decoder's test cuts every record.
    """
    sample = sample_of(name)
    header = sample.rows[0].offset - 24 if sample.rows else 16
    step = max(1, len(sample.rows) // 60)
    starts = [*sample.starts[::step], sample.starts[-1]]
    cuts = near([*starts, *(start + header for start in starts)], len(sample.data))
    for cut in cuts:
        if cut < 24:
            continue
        whole = bisect.bisect_right(sample.starts, cut) - 1
        facts, error = outcome_of(sample.data[:cut], block_size=max(4096, len(sample.data)))
        assert facts == sample.facts[:whole], f"cut at byte {cut}"
        if cut == sample.starts[whole]:
            assert error is None, f"cut at byte {cut}"
        else:
            assert type(error) is TruncatedFileError, f"cut at byte {cut}"
            assert (error.offset, error.packet_index) == (sample.starts[whole], whole), f"cut at byte {cut}"
    assert len(cuts) >= 3 * len(sample.rows) // step + 2


@pytest.mark.parametrize("block_size", [64, 65, 100])
def test_small_blocks_deliver_the_packets_before_a_cut_at_every_byte(sample_of, block_size):
    sample = sample_of("null_be.pcap")
    for cut in range(24, len(sample.data)):
        whole = bisect.bisect_right(sample.starts, cut) - 1
        facts, error = outcome_of(sample.data[:cut], block_size=block_size)
        assert facts == sample.facts[:whole], f"cut at byte {cut}"
        if cut == sample.starts[whole]:
            assert error is None, f"cut at byte {cut}"
        else:
            assert type(error) is TruncatedFileError, f"cut at byte {cut}"
            assert (error.offset, error.packet_index) == (sample.starts[whole], whole), f"cut at byte {cut}"
    assert len(sample.data) > 24


# ---- broken files


BROKEN = {
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
    assert {f"bad/{name}" for name in BROKEN} == {n for n in SAMPLES if n.startswith("bad/")}


@pytest.mark.parametrize("block_size", [64, 1 << 20])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_samples_raise_after_their_valid_packets(data_path, sample_of, name, block_size, drain):
    path = data_path / "bad" / name
    count, kind, offset = BROKEN[name]
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
    whole = inflated(path.read_bytes()) if name.endswith(".gz") else b""
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
def test_errors_are_raised_again_by_every_later_call(data_path, name, drain):
    """No packet is delivered twice."""
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


def test_remembered_errors_hold_no_frames(data_path, drain):
    """A traceback in the error that a source remembers would keep the caller's variables alive."""

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
def test_length_without_data_allocates_no_memory(linktype, have, drain):
    """Memory grows with the bytes in the file, not with the length in a record."""
    data = pcap_header(linktype=linktype) + pcap_record(
        bytes(have), cap_len=LONGEST_DBUS if linktype == DBUS else LONGEST
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
