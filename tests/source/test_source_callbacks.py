"""`next_packet_fn` and what the function may do."""

from __future__ import annotations

import pytest

from slimcap import CaptureStopped, CaptureUnblocked, PcapSource
from support.numbered import number_of, numbered, rest_of


def test_an_exception_of_the_callback_propagates_and_the_packet_is_counted(file_of):
    def fail(payload, *rest):
        raise KeyError(number_of(payload))

    with PcapSource(file_of(numbered(3))) as source:
        with pytest.raises(KeyError, match="0"):
            source.next_packet_fn(fail)
        assert source.total_stats.packets_received == 1
        assert rest_of(source) == [1, 2]


def test_the_callback_may_read_the_source(file_of):
    with PcapSource(file_of(numbered(5))) as source:

        def read_on(payload, *rest):
            return number_of(payload), number_of(source.next_packet().payload), len(source.next_batch(1))

        assert source.next_packet_fn(read_on) == (0, 1, 1)
        assert rest_of(source) == [3, 4]


def test_the_callback_may_close_the_source(file_of):
    with PcapSource(file_of(numbered(5))) as source:

        def close(payload, *rest):
            source.close()
            return payload

        assert number_of(source.next_packet_fn(close)) == 0
        with pytest.raises(CaptureStopped):
            source.next_packet_fn(close)


def test_the_callback_may_unblock_the_source(file_of):
    with PcapSource(file_of(numbered(3))) as source:
        source.next_packet_fn(lambda *args: source.unblock())
        with pytest.raises(CaptureUnblocked):
            source.next_packet()
        assert rest_of(source) == [1, 2]


@pytest.mark.parametrize("fn", [None, 7, lambda: None])
def test_a_callback_that_does_not_accept_four_arguments_raises_type_error(file_of, fn):
    with PcapSource(file_of(numbered(1))) as source, pytest.raises(TypeError):
        source.next_packet_fn(fn)
