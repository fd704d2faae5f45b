"""Live sources: waiting, and what ends it: timeouts, unblock, stop, close, signals."""

from __future__ import annotations

import contextlib
import functools
import signal
import time
from typing import NoReturn

import pytest

from slimcap import (
    CaptureStopped,
    CaptureUnblocked,
    View,
)
from support.netns import Veth
from support.threads import Background
from support.traffic import (
    LiveSource,
    OpenSource,
    collect,
    ethernet,
    frames_of,
    payloads,
    udp,
)


@pytest.mark.parametrize("held", [False, True])
def test_close_ends_a_wait(veth: Veth, opened: OpenSource, background: type[Background], held: bool) -> None:
    source = opened()
    if held:
        veth.send(frames_of(1))
        batch = source.next_batch(timeout=10)
    waiting = background(lambda: source.next_batch(timeout=30))
    waiting.wait_until_blocked()
    source.close()
    with pytest.raises(CaptureStopped):
        waiting.result(within=2)
    if held:
        assert bytes(batch.payload(0)) == frames_of(1)[0]


def test_unblock_ends_a_wait(veth: Veth, opened: OpenSource, background: type[Background]) -> None:
    source = opened()
    waiting = background(lambda: source.next_packet(timeout=30))
    waiting.wait_until_blocked()
    source.unblock()
    with pytest.raises(CaptureUnblocked):
        waiting.result(within=2)
    veth.send(frames_of(2))
    assert payloads(collect(source, 2)) == frames_of(2)
    source.unblock()
    with pytest.raises(CaptureUnblocked):
        source.next_packet(timeout=10)


def test_unblock_wakes_the_reader_at_once(opened: OpenSource, background: type[Background]) -> None:
    """It takes less than 5 ms; more on a busy machine."""
    source = opened()
    took = []
    for _ in range(15):
        woken: list[float] = []

        def wait(woken: list[float] = woken) -> None:
            with pytest.raises(CaptureUnblocked):
                source.next_packet(timeout=30)
            woken.append(time.monotonic())

        waiting = background(wait)
        waiting.wait_until_blocked()
        began = time.monotonic()
        source.unblock()
        waiting.result(within=5)
        took.append(woken[0] - began)
    assert sorted(took)[7] < 0.05


def test_second_reader_is_refused(opened: OpenSource, background: type[Background]) -> None:
    source = opened()
    waiting = background(lambda: source.next_batch(timeout=30))
    waiting.wait_until_blocked()
    with pytest.raises(RuntimeError, match="another thread"):
        source.next_packet(timeout=1)
    source.close()
    with pytest.raises(CaptureStopped):
        waiting.result(within=2)


def test_timeouts_lose_nothing(veth: Veth, opened: OpenSource) -> None:
    source = opened(timeout=0.005)
    frames = frames_of(60)
    got: list[bytes] = []
    timeouts = 0
    end = time.monotonic() + 10
    while len(got) < 60 and time.monotonic() < end:
        if timeouts % 3 == 0 and frames:
            veth.send(frames[:1])
            del frames[0]
        try:
            got.append(bytes(source.next_packet().payload))
        except TimeoutError:
            timeouts += 1
            if frames:
                veth.send(frames[:1])
                del frames[0]
    assert got == frames_of(60)


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_timeout_is_kept(opened: OpenSource, timeout: float) -> None:
    source = opened(timeout=None if timeout == 0 else timeout)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="no packet"):
        source.next_packet(timeout=0) if timeout == 0 else source.next_packet()
    assert timeout <= time.monotonic() - began < 2


def test_exception_of_a_signal_handler_ends_a_wait(opened: OpenSource) -> None:
    source = opened()

    def handler(*_: object) -> NoReturn:
        raise InterruptedError("by the handler")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(InterruptedError, match="by the handler"):
            source.next_batch(timeout=10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- stopping


def test_stop_delivers_what_was_captured(veth: Veth, opened: OpenSource) -> None:
    """This includes the block that the kernel was filling."""
    source = opened()
    for count in (1, 500):
        veth.send(frames_of(count))
    source.stop()
    veth.send([ethernet(udp(999))] * 3)  # one of them may get in before the reader sees the stop
    began = time.monotonic()
    got = [bytes(packet.payload) for packet in source]
    assert time.monotonic() - began < 3
    assert got[:501] == frames_of(1) + frames_of(500)
    assert len(got) <= 504
    for again in (source.next_packet, source.next_batch):
        with pytest.raises(EOFError):
            again()
    assert not source.closed


def test_stop_ends_a_wait(veth: Veth, opened: OpenSource, background: type[Background]) -> None:
    source = opened()
    waiting = background(lambda: list(source.batches()))
    waiting.wait_until_blocked()
    began = time.monotonic()
    source.stop()
    assert waiting.result(within=3) == []
    assert time.monotonic() - began < 0.5
    veth.send(frames_of(3))
    with pytest.raises(EOFError):
        source.next_packet(timeout=0.1)


def test_stop_during_traffic_delivers_what_was_sent_before(
    veth: Veth, opened: OpenSource, background: type[Background]
) -> None:
    source = opened()
    reading = background(lambda: sum(len(batch) for batch in source.batches()))
    sent = veth.send(frames_of(3000))
    source.stop()
    veth.send(frames_of(3000))
    received = reading.result(within=10)
    stats = source.total_stats
    assert sent <= received + stats.packets_dropped
    assert received == stats.packets_received - stats.packets_dropped


def test_close_after_stop(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    veth.send(frames_of(3))
    source.stop()
    source.close()
    with pytest.raises(CaptureStopped):
        source.next_packet()


# ---- closing from another thread


@pytest.mark.parametrize("way", ["batches", "packets", "views"])
def test_close_during_traffic(veth: Veth, opened: OpenSource, background: type[Background], way: str) -> None:
    """Closes at 25 different moments: what was read is complete, and its views stay valid."""
    frame = ethernet(udp(7, 200))

    def read(source: LiveSource, kept: list[View]) -> None:
        with contextlib.suppress(CaptureStopped):
            if way == "batches":
                for batch in source.batches():
                    kept[:] = [*kept[-2:], batch.payload(len(batch) - 1)]
            elif way == "packets":
                for packet in source:
                    kept[:] = [*kept[-2:], packet.payload]
            else:
                while True:
                    kept[:] = [*kept[-2:], source.next_payload_zero_copy()[0]]

    stop = False

    def send() -> None:
        while not stop:
            veth.send([frame] * 200)

    sending = background(send)
    try:
        for i in range(25):
            source = opened()
            kept: list[View] = []
            reading = background(functools.partial(read, source, kept))
            time.sleep(0.004 * (i % 7))
            if i % 3 == 0:
                source.unblock()
            source.close()
            with contextlib.suppress(CaptureUnblocked):
                reading.result(within=5)
            assert {bytes(payload) for payload in kept} <= {frame}
    finally:
        stop = True
        sending.result(within=10)
