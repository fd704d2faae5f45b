"""Arguments of readers: buffers and packets to write to, and the maximum of a batch."""

from __future__ import annotations

import array
import ctypes
import gc
import io
import mmap

import numpy as np
import pytest

from make_samples import pcap_header
from slimcap import PcapSource, read
from support.numbered import FRAME, number_of, numbered, rest_of


@pytest.mark.parametrize(
    "make",
    [
        bytearray,
        lambda size: memoryview(bytearray(size)),
        lambda size: memoryview(bytearray(size + 8))[4:-4],
        lambda size: np.zeros(size, "u1"),
        lambda size: np.zeros((4, size // 4), "u1"),
        lambda size: array.array("I", bytes(size)),
        lambda size: mmap.mmap(-1, size),
    ],
    ids=["bytearray", "memoryview", "slice", "numpy", "numpy 2d", "array", "mmap"],
)
def test_any_writable_contiguous_buffer_is_accepted(file_of, make):
    with PcapSource(file_of(numbered(2))) as source:
        buf = make(4096)
        first, _, _ = source.next_payload(buf)
        assert bytes(first) == FRAME + b"\0" == bytes(memoryview(buf).cast("B"))[: len(FRAME) + 1]
        del first
        assert bytes(source.next_ip_packet(buf)[0]) == FRAME[14:] + b"\1"


@pytest.mark.parametrize("method", ["next_payload", "next_ip_packet"])
@pytest.mark.parametrize(
    ("buf", "error"),
    [
        (bytes(100), BufferError),
        (memoryview(bytearray(100))[::2], BufferError),
        ("text", TypeError),
        (7, TypeError),
    ],
    ids=["read-only", "strided", "text", "number"],
)
def test_a_buffer_that_cannot_be_written_costs_no_packet(file_of, method, buf, error):
    with PcapSource(file_of(numbered(3))) as source:
        for _ in range(2):
            with pytest.raises(error):
                getattr(source, method)(buf)
        assert source.total_stats.packets_received == 0
        assert rest_of(source) == [0, 1, 2]


@pytest.mark.parametrize("buf", [bytearray(100), b"", 7])
def test_next_packet_accepts_only_packets_as_a_buffer(file_of, buf):
    with PcapSource(file_of(numbered(1))) as source:
        with pytest.raises(TypeError):
            source.next_packet(buf)
        assert rest_of(source) == [0]


def test_next_packet_in_a_packet_view_is_refused_or_safe(file_of):
    """A PacketView has no memory of its own, so that nothing can be written to it."""
    path = file_of(numbered(3))
    view = read(path)[2]
    with PcapSource(path) as source:
        try:
            source.next_packet(view)
        except (TypeError, ValueError, BufferError):
            assert rest_of(source) == [0, 1, 2]
            return
        payload = view.payload
        del view
        others = list(PcapSource(io.BytesIO(pcap_header() + numbered(100, 100))))
        assert number_of(payload) == 0
        assert len(others) == 100


def test_a_reused_packet_shows_the_new_packet_in_its_old_views(file_of):
    with PcapSource(file_of(numbered(3))) as source:
        buf = source.new_packet()
        view = source.next_packet(buf).payload
        source.next_packet(buf)
        assert number_of(view) == 1  # as documented: it shows the packet that was read last
        del buf
        assert number_of(view) == 1


def test_a_given_buffer_is_held_until_another_is_given_or_the_source_closed(file_of):
    first, second = bytearray(100), bytearray(100)
    with PcapSource(file_of(numbered(3))) as source:
        source.next_payload(first)
        with pytest.raises(BufferError):
            first.extend(b"more")
        source.next_payload(second)
        first.extend(b"more")
        with pytest.raises(BufferError):
            second.extend(b"more")
    second.extend(b"more")


def test_views_of_a_given_buffer_keep_it(file_of):
    with PcapSource(file_of(numbered(1))) as source:
        view, _, _ = source.next_payload(bytearray(100))
    del source
    gc.collect()
    assert bytes(view) == FRAME + b"\0"


@pytest.mark.parametrize(
    ("max_packets", "error"), [(0, ValueError), (-1, ValueError), ("x", TypeError), (1.5, TypeError)]
)
def test_max_packets_out_of_range_raises(file_of, max_packets, error):
    with PcapSource(file_of(numbered(3))) as source:
        with pytest.raises(error):
            source.next_batch(max_packets)
        with pytest.raises(error):
            next(source.batches(max_packets))
        assert rest_of(source) == [0, 1, 2]


@pytest.mark.parametrize("snaplen", [1, 148, 149, 1000])
def test_new_packet_has_the_capacity_of_the_longest_packet(sample_of, snaplen):
    with PcapSource(sample_of("mixed.pcap").path, snaplen=snaplen) as source:
        assert source.new_packet().capacity >= snaplen
    with PcapSource(
        sample_of("oversnap.pcap").path
    ) as source:  # whose header says less than its packets have
        assert source.new_packet().capacity == 262144


def resized_array(buf):
    buf.resize(1 << 22, refcheck=False)
    buf[:] = 0xFF


def resized_ctypes_array(buf):
    ctypes.resize(buf, 1 << 22)


@pytest.mark.parametrize(
    ("make", "resize"),
    [
        (lambda: np.zeros(4096, "u1"), resized_array),
        (lambda: (ctypes.c_char * 4096)(), resized_ctypes_array),
    ],
    ids=["numpy", "ctypes"],
)
@pytest.mark.parametrize("method", ["next_payload", "next_ip_packet"])
def test_a_buffer_that_was_resized_between_two_reads_is_written_where_it_is(file_of, make, resize, method):
    """These two do not notice that the source has a buffer of them."""
    with PcapSource(file_of(numbered(40))) as source:
        for _ in range(20):
            buf = make()
            getattr(source, method)(buf)
            resize(buf)
            payload = bytes(getattr(source, method)(buf)[0])
            assert bytes(memoryview(buf).cast("B")[: len(payload)]) == payload
            assert payload.startswith(FRAME[14:] if method == "next_ip_packet" else FRAME)


@pytest.mark.parametrize("resize", [lambda buf: buf.extend(bytes(9)), lambda buf: buf.clear()])
def test_a_bytearray_cannot_be_resized_while_the_source_has_it(file_of, resize):
    with PcapSource(file_of(numbered(2))) as source:
        buf = bytearray(4096)
        source.next_payload(buf)
        with pytest.raises(BufferError):
            resize(buf)
        source.next_payload(bytearray(4096))
        resize(buf)
