"""Capture files, filters and links, as in the packages pcap, filter and link.

These state the behaviours that the Go library slimcap states in its own tests. Where ours differs on
purpose, the test says how and why.
"""

from __future__ import annotations

import io

import pytest

from make_samples import SAMPLES, pcap_header, pcap_record
from slimcap import (
    NO_IP,
    FileFormatError,
    Link,
    LinkNotFound,
    PacketType,
    PcapSource,
    Stats,
    TruncatedFileError,
    open_file,
)
from slimcap.filter import accept, build_program
from support.readers import ALL_READERS
from support.upstream import packets


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", FileFormatError),
        (pcap_header()[:10], TruncatedFileError),
        (bytes(24), FileFormatError),
    ],
    ids=["empty", "truncated", "no magic"],
)
def test_input_without_a_file_header_raises(data, error):
    """Upstream returns io.EOF, io.ErrUnexpectedEOF and a text."""
    with pytest.raises(error):
        PcapSource(io.BytesIO(data)).next_packet()


def test_opening_none_raises_type_error():
    with pytest.raises(TypeError):
        PcapSource(None)


@pytest.mark.parametrize("snaplen", [0, 16 * 1024 * 1024 + 1, 2**32 - 1])
def test_any_snaplen_in_a_file_header_is_accepted(snaplen):
    """Upstream refuses these. Ours accepts them as libpcap does: no buffer depends on them."""
    with PcapSource(io.BytesIO(pcap_header(snaplen=snaplen) + pcap_record(bytes(60)))) as source:
        assert source.next_packet().total_len == 60


def test_a_file_is_read_to_its_end_and_counted(sample_of):
    sample = sample_of("mixed.pcap")
    with open_file(sample.path) as source:
        assert source.link == Link(source.link.name, 0, 1, named=False)
        for row in sample.rows:
            packet = source.next_packet()
            assert (bytes(packet.payload), packet.total_len) == (row.data, row.total_len)
        called = []
        for method in (
            source.next_packet,
            source.next_payload,
            source.next_ip_packet,
            lambda: source.next_packet_fn(lambda *given: called.append(given)),
        ):
            with pytest.raises(EOFError):
                method()
        assert called == []  # upstream calls it without a packet
        assert source.stats() == Stats(len(sample.rows), 0, 0)


@pytest.mark.parametrize("reader", ALL_READERS.values(), ids=ALL_READERS)
def test_every_reader_reads_every_sample(reader, sample_of):
    """They include nanoseconds, tags, and link types that upstream refuses or panics at."""
    names = [name for name in SAMPLES if not name.startswith("bad/")]
    assert names
    for name in names:
        sample = sample_of(name)
        rows = list(zip(sample.rows, sample.ip_offsets, strict=True))
        if reader.ip_layer:
            rows = [(row, at) for row, at in rows if at != NO_IP and at < len(row.data)]
        with open_file(sample.path) as source:
            buf = reader.new_buffer(source, 300_000)
            for row, at in rows:
                data, pkt_type, total_len = reader(source, buf)
                assert bytes(data) == row.data[at if reader.ip_layer else 0 :], name
                assert pkt_type in PacketType
                assert total_len == row.total_len
                del data
            with pytest.raises((EOFError, StopIteration)):
                reader(source, buf)


@pytest.mark.parametrize("reader", ALL_READERS.values(), ids=ALL_READERS)
def test_an_impossible_capture_length_raises_after_the_packets_before(reader):
    """Upstream reads it as -1, ours as 4 GiB; the error has the offset, and is raised again."""
    good = pcap_record(bytes(packets()[101].payload))
    data = pcap_header(snaplen=64) + good + pcap_record(b"", cap_len=2**32 - 1, orig_len=64)
    with PcapSource(io.BytesIO(data)) as source:
        buf = reader.new_buffer(source, 100)
        reader(source, buf)
        for _ in range(2):
            with pytest.raises(FileFormatError, match=str(2**32 - 1)) as caught:
                reader(source, buf)
            assert caught.value.offset == 24 + len(good)
        assert source.stats() == Stats(1, 0, 0)


def test_a_capture_length_above_the_snaplen_is_accepted():
    """Upstream refuses it. Such files exist, and wiretap reads them, too."""
    data = pcap_header(snaplen=64) + pcap_record(bytes(65))
    with PcapSource(io.BytesIO(data)) as source:
        assert source.next_packet().cap_len == 65


# ---- filters


@pytest.mark.parametrize("snaplen", [4096, 65536])
def test_the_default_filter_depends_on_the_link_type(snaplen):
    """Ethernet (also loopback) and raw IP (tunnels) have one; other link types accept all packets."""
    ethernet, raw, unknown = (program_of(link_type, snaplen) for link_type in (1, 101, 147))
    assert unknown == accept(snaplen)
    assert len({ethernet, raw, unknown, program_of(1, snaplen, ignore_vlans=True)}) == 4
    for program in (ethernet, raw):
        assert {k for code, _, _, k in program if code == 0x06} == {0, snaplen}


def program_of(link_type, snaplen, *, ignore_vlans=False):
    return build_program(
        link_type, None, snaplen=snaplen, auto_filter=True, ignore_vlans=ignore_vlans, interface=None
    )


# ---- links


def test_links_have_ip_offsets_and_an_unknown_name_raises():
    assert Link("lo").ip_offset == 14
    assert Link("tun0", 1, 101).ip_offset == 0
    with pytest.raises(LinkNotFound):
        Link("no such")
