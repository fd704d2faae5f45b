"""Pauses of the reader: the default ring holds what arrives meanwhile, and a held block is waited for."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from slimcap import Batch, RingSource
from slimcap.filter.program import MAX_SNAPLEN
from support.capture_command import StartCapture, payloads_in, totals
from support.netns import Veth
from support.threads import Background, wait_until
from support.traffic import PAGE, collect, ethernet, frames_of, payloads, udp

SOL_PACKET, PACKET_VNET_HDR = 263, 15
NEEDS_CSUM, GSO_TCPV6 = 1, 4

OpenRing: TypeAlias = Callable[..., RingSource]


@pytest.fixture
def opened(veth: Veth) -> Iterator[OpenRing]:
    """Opens a RingSource with the default ring at the right end of the veth pair."""
    with contextlib.ExitStack() as stack:

        def open_ring(**options: Any) -> RingSource:
            with veth.namespace.inside():
                return stack.enter_context(RingSource("right", **options))

        yield open_ring


def send_at(veth: Veth, frames: list[bytes], rate: int) -> float:
    """Send frames at a rate, a millisecond's at a time; return the seconds that it took."""
    began = time.monotonic()

    def paced() -> Iterator[bytes]:
        step = max(1, rate // 1000)
        for number, frame in enumerate(frames):
            if number % step == 0:
                time.sleep(max(0, began + number / rate - time.monotonic()))
            yield frame

    veth.send(paced())
    return time.monotonic() - began


# ---- pauses


@pytest.mark.parametrize(
    ("rate", "seconds", "sizes"),
    [(1000, 2.0, (20,)), (100_000, 1.0, (22, 540, 22, 22, 540, 22, 658, 22, 540, 658, 290, 290))],
    ids=["1,000 packets/s", "100,000 packets/s of 64 to 700 bytes"],
)
def test_default_ring_loses_nothing_in_a_pause(
    veth: Veth, opened: OpenRing, rate: int, seconds: float, sizes: tuple[int, ...]
) -> None:
    """The second: frames of 64 to 700 bytes, 344 on average."""
    frames = [ethernet(udp(n, size - 4)) for n, size in enumerate(sizes * 50)]
    count = round(rate * seconds)
    sent = (frames * (count // len(frames) + 1))[:count]
    for _ in range(4):  # a busy machine may send for longer than the pause
        source = opened()
        took = send_at(veth, sent, rate)
        if took < 1.1 * seconds:
            break
        source.close()
    assert 0.98 * seconds < took < 1.1 * seconds
    began = time.monotonic()
    got = 0
    while got < count:
        batch = source.next_batch(timeout=5)
        assert [bytes(batch.payload(at)) for at in (0, -1)] == [sent[got], sent[got + len(batch) - 1]]
        got += len(batch)
    assert got == count
    assert source.total_stats == (count, 0, 0)
    assert time.monotonic() - began < 2


def test_less_latency_uses_up_the_ring_sooner(veth: Veth, opened: OpenRing) -> None:
    """A period of 1 ms uses up a block, of which 1 MiB has 2: most of 300 ms are lost."""
    source = opened(buffer="1MiB", latency=0.001)
    send_at(veth, frames_of(300), 1000)
    source.stop()
    got = sum(map(len, source.batches()))
    received, dropped, freezes = source.total_stats
    assert received == 300
    assert got == received - dropped < 100
    assert freezes > 0


@pytest.mark.parametrize("latency", [0.001, 0.3])
def test_latency_is_the_maximum_delay(veth: Veth, opened: OpenRing, latency: float) -> None:
    source = opened(latency=latency)
    delays = []
    for _ in range(4):
        began = time.monotonic()
        veth.send(frames_of(1))
        source.next_packet(timeout=5)
        delays.append(time.monotonic() - began)
    assert min(delays) < latency + 0.02
    assert max(delays) > latency / 2  # the first one may come at any time of a period


def test_stopped_command_loses_nothing(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    running = capture("-w", path, "--buffer", "32MiB", "--latency", "0.02", "-c", "1001")
    first, frames = ethernet(udp(9999)), frames_of(1000)
    veth.send([first])
    wait_until(lambda: path.exists() and path.stat().st_size > 24)
    running.interrupt(signal.SIGSTOP)
    send_at(veth, frames, 1000)
    running.interrupt(signal.SIGCONT)
    assert running.end() == (0, b"", totals(1001))
    assert payloads_in(path) == [first, *frames]


def test_options_of_the_command_reach_the_ring(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    """With 2 blocks of 1 ms, a pause of 0.3 s at 1,000 packets/s loses packets."""
    path = tmp_path / "out.pcap"
    running = capture("-w", path, "--buffer", "1MiB", "--latency", "0.001")
    running.interrupt(signal.SIGSTOP)
    send_at(veth, frames_of(300), 1000)
    running.interrupt(signal.SIGCONT)
    running.interrupt(signal.SIGINT)
    code, _, err = running.end()
    captured = len(payloads_in(path))
    assert captured < 100
    assert (code, err) == (0, totals(captured, 300, 300 - captured))


# ---- large packets


def tcp6_jumbogram(size: int) -> bytes:
    """Build the frame of an IPv6 packet with 8 bytes of jumbo option, which the kernel takes out."""
    ip = struct.pack("!IHBB16s16s", 6 << 28, 0, 0, 64, b"\x20\x01", b"\x20\x01\0\1")
    jumbo = struct.pack("!BBBBI", 6, 0, 0xC2, 4, size - 14 - 40)
    tcp = struct.pack("!HHIIBBHHH", 1, 2, 0, 0, 0x50, 0x10, 1000, 0, 0)
    return ethernet((ip + jumbo + tcp + bytes(range(256)) * (size // 256 + 1))[: size - 14], 0x86DD)


def send_segments(veth: Veth, frame: bytes) -> None:
    """Send a frame as one packet of many TCP segments, as a network card with BIG TCP does."""
    head = struct.pack("=BBHHHH", NEEDS_CSUM, GSO_TCPV6, 14 + 48 + 20, 1400, 14 + 48, 16)
    with veth.namespace.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        out.bind((veth.left, 0))
        out.send(head + frame)


@pytest.mark.parametrize(
    ("options", "length"), [({}, MAX_SNAPLEN), ({"block_size": 1 << 18}, (1 << 18) - 130)], ids=str
)
def test_packet_of_the_maximum_snaplen_fits_in_a_default_block(
    veth: Veth, opened: OpenRing, options: dict[str, Any], length: int
) -> None:
    for end in ("left", "right"):
        veth.namespace.ip(f"link set {end} gso_max_size 524280 gso_max_segs 65535")
    source = opened(auto_filter=False, **options)
    frame = tcp6_jumbogram(MAX_SNAPLEN + 8)
    send_segments(veth, frame)
    packet = source.next_packet(timeout=5)
    assert (packet.total_len, packet.cap_len) == (MAX_SNAPLEN, length)
    assert packet.payload[100:] == frame[108 : length + 8]


# ---- blocks held by views


def test_read_waits_until_another_thread_releases_its_views(
    veth: Veth, opened: OpenRing, background: type[Background]
) -> None:
    source = opened(block_size=PAGE, num_blocks=4, block_timeout=0.001)
    held: list[Batch] = []
    for number in range(4):
        veth.send([ethernet(udp(number))])
        held.append(source.next_batch(timeout=10))
    veth.send([ethernet(udp(4))])  # dropped: there is no block for it
    reading = background(lambda: payloads(collect(source, 1)))
    reading.wait_until_blocked()
    held.clear()
    veth.send([ethernet(udp(5))])
    assert reading.result(within=2) == [ethernet(udp(5))]
    assert source.total_stats[:2] == (6, 1)
