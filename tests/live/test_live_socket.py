"""SocketSource: batches and buffers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from slimcap import FilterError, SocketSource, Stats
from support.netns import Veth
from support.traffic import assert_silent, collect, ethernet, frames_of, payloads, udp

OpenSocket: TypeAlias = Callable[..., SocketSource]


@pytest.fixture
def opened(veth: Veth) -> Iterator[OpenSocket]:
    """Opens a SocketSource at the right end of the veth pair."""
    sources: list[SocketSource] = []

    def open_socket(**options: Any) -> SocketSource:
        with veth.namespace.inside():
            sources.append(SocketSource("right", **options))
        return sources[-1]

    yield open_socket
    for source in sources:
        source.close()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 63, 64, 1024])
def test_batches_have_the_batch_size(veth: Veth, opened: OpenSocket, batch_size: int) -> None:
    source = opened(batch_size=batch_size)
    frames = frames_of(200)
    veth.send(frames)
    sizes: list[int] = []
    got: list[bytes] = []
    while len(got) < 200:
        batch = source.next_batch(timeout=10)
        sizes.append(len(batch))
        got += [bytes(packet.payload) for packet in batch]
    assert got == frames
    assert sizes == [batch_size] * (200 // batch_size) + [200 % batch_size] * bool(200 % batch_size)
    assert_silent(source)


def test_kept_batches_own_their_memory(veth: Veth, opened: OpenSocket) -> None:
    """Each of 50 batches keeps its own memory."""
    source = opened(batch_size=4)
    frames = frames_of(200)
    veth.send(frames)
    kept = [source.next_batch(timeout=10) for _ in range(50)]
    source.close()
    assert [bytes(packet.payload) for batch in kept for packet in batch] == frames


def test_memory_of_dropped_batches_is_reused(veth: Veth, opened: OpenSocket) -> None:
    source = opened(snaplen=64)
    addresses = set()
    for i in range(50):
        veth.send([ethernet(udp(i))])
        batch = source.next_batch(timeout=10)
        addresses.add(batch.data.ctypes.data)
        del batch
    assert len(addresses) <= 2


def test_longest_packets_arrive_whole(veth: Veth, opened: OpenSocket) -> None:
    for end in ("left", "right"):
        veth.namespace.ip(f"link set {end} mtu 65535")
    source = opened(batch_size=3)
    frames = [ethernet(udp(i, 65_000)) for i in range(8)]
    veth.send(frames)
    assert payloads(collect(source, 8)) == frames


def test_drops_are_counted(veth: Veth, opened: OpenSocket) -> None:
    source = opened(buffer_size=1)  # the kernel's least
    sent = veth.send(frames_of(500))
    source.stop()
    got = [bytes(packet.payload) for packet in source]
    assert 0 < len(got) < sent
    assert got == frames_of(500)[: len(got)]
    assert source.total_stats == Stats(sent, sent - len(got), 0)


def test_default_buffer_holds_thousands_of_packets(veth: Veth, opened: OpenSocket) -> None:
    """The kernel counts 832 bytes for a packet of 64, and holds twice 4 MiB of that."""
    source = opened()
    frames = [ethernet(udp(size=18))] * 9000
    veth.send(frames)
    assert len(collect(source, 9000)) == 9000
    assert source.total_stats == Stats(9000, 0, 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": 1025}, ValueError, "batch_size"),
        ({"batch_size": 1.5}, TypeError, None),
        ({"buffer_size": 0}, ValueError, "buffer_size"),
        ({"buffer_size": 1 << 30}, ValueError, "buffer_size"),
        ({"buffer_size": "x"}, TypeError, None),
        ({"snaplen": 0}, FilterError, "snaplen"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"link_down": "x"}, ValueError, "link_down"),
        ({"block_size": 1 << 20}, TypeError, "block_size"),
    ],
    ids=str,
)
def test_invalid_options_leave_nothing_open(
    opened: OpenSocket, options: dict[str, Any], error: type[Exception], message: str | None
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error, match=message):
        opened(**options)
    assert len(os.listdir("/proc/self/fd")) == before
