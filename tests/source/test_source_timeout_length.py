"""A read without packets ends when its timeout is over, and not much later."""

from __future__ import annotations

import time

import pytest

from slimcap import PcapSource
from support.builders.pcap import pcap_header

SECONDS = 0.05
TOO_LATE = 2.5  # on a busy machine, too; less than SECONDS as minutes


@pytest.mark.parametrize("given_to", ["source", "call"])
def test_read_times_out_after_the_seconds_that_were_given(fifo, given_to):
    fifo.write(pcap_header())
    timeouts = {"source": None, "call": None, given_to: SECONDS}
    with PcapSource(fifo.path, timeout=timeouts["source"]) as source:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            source.next_batch(timeout=timeouts["call"])
        assert SECONDS <= time.monotonic() - began < TOO_LATE
