"""Signals during a wait: Ctrl-C interrupts it, other signals do not."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque

import pytest

from slimcap import PcapSource
from support.numbered import number_of, numbered


@pytest.fixture
def interrupted():
    """Starts a thread that sends SIGINT to this process after 50 ms; gives the list of times when it did."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    sent = []
    threads = []

    def interrupt():
        time.sleep(0.05)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    def start():
        threads.append(threading.Thread(target=interrupt, daemon=True))
        threads[-1].start()
        return sent

    yield start
    for thread in threads:
        thread.join(10)
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "wait",
    [
        lambda source: source.next_packet(timeout=20),
        lambda source: source.next_batch(timeout=20),
        lambda source: source.next_packet(),
        next,
        lambda source: next(source.batches()),
    ],
    ids=["next_packet with timeout", "next_batch with timeout", "next_packet", "iteration", "batches"],
)
def test_ctrl_c_ends_a_wait(fifo_source, fifo, interrupted, wait):
    sent = interrupted()
    with pytest.raises(KeyboardInterrupt):
        wait(fifo_source)
    assert time.monotonic() - sent[0] < 1
    fifo.write(numbered(1))
    assert number_of(fifo_source.next_packet().payload) == 0


@pytest.mark.parametrize("loop", [iter, PcapSource.batches], ids=["packets", "batches"])
def test_ctrl_c_ends_a_loop_that_never_waits(file_of, interrupted, loop):
    """A loop in C runs no bytecode, between which Python handles signals."""
    with PcapSource(file_of(numbered(200) * 2500), block_size=1 << 8) as source:
        sent = interrupted()
        with pytest.raises(KeyboardInterrupt):
            deque(loop(source), maxlen=0)
        assert time.monotonic() - sent[0] < 1
        assert source.total_stats.packets_received < 500_000


def test_ctrl_c_interrupts_opening(fifo, interrupted, open_descriptors):
    before = open_descriptors()
    sent = interrupted()
    with pytest.raises(KeyboardInterrupt):
        PcapSource(fifo.path)
    assert time.monotonic() - sent[0] < 1
    assert open_descriptors() == before


def test_a_signal_whose_handler_returns_does_not_end_a_wait(fifo_source, background, fifo):
    came = []
    before = signal.signal(signal.SIGALRM, lambda *args: came.append(args))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        with pytest.raises(TimeoutError):
            fifo_source.next_packet(timeout=0.2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(came) > 1
