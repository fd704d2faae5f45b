"""Changing the filter of a capture, and a second filter."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from slimcap import CaptureStopped, FilterError, RingSource
from support.cli import PATIENCE
from support.netns import Veth
from support.traffic import LiveSource, OpenSource, arp, assert_silent, collect, ethernet, payloads, udp, udp6

SENDER = """
import select, socket, sys, time
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
out.bind(("left", 0))
head, tail, count = bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2]), 0
while not select.select([0], [], [], 0.001)[0]:  # until standard input is closed; at most 60,000 a second
    for _ in range(60):
        out.send(head + count.to_bytes(4, "big") + tail)
        count += 1
print(count)
"""


def test_no_packet_is_lost_while_filters_change(
    veth: Veth, opened: OpenSource, kind: type[LiveSource]
) -> None:
    """Each of 1,000 filters accepts all packets that are sent, and drops something else."""
    source = opened(**({"num_blocks": 1024} if kind is RingSource else {"buffer_size": 1 << 28}))
    frame = ethernet(udp(0, size=20))
    filters = ["udp port 5000", "udp and not port 6000"]
    failures: list[BaseException] = []

    def change(end: Callable[[], object]) -> None:
        try:
            for index in range(1000):
                source.set_filter(filters[index % 2])
        except BaseException as error:
            failures.append(error)
        end()

    with veth.namespace.inside():
        sender = subprocess.Popen(
            [sys.executable, "-Sc", SENDER, frame[:42].hex(), frame[46:].hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    inward, outward = sender.stdin, sender.stdout
    assert inward is not None
    assert outward is not None
    changer = threading.Thread(target=change, args=(inward.close,))
    changer.start()
    got: list[int] = []
    try:
        ended = threading.Thread(target=lambda: (sender.wait(PATIENCE), source.stop()))
        ended.start()
        for batch in source.batches():
            got += [int.from_bytes(bytes(batch.payload(row)[42:46]), "big") for row in range(len(batch))]
            del batch
    finally:
        sender.kill()
        changer.join()
        ended.join()
    with outward:
        count = int(outward.read())
    assert not failures
    assert source.total_stats.packets_dropped == 0
    assert count > 5000
    assert got == list(range(count))


def test_filter_is_replaced_and_options_stay(veth: Veth, opened: OpenSource) -> None:
    source = opened(filter="udp port 5000", snaplen=50, extra_filter="not dst port 7", direction="in")
    frames = [ethernet(udp(i, port=5000 + i)) for i in range(4)]
    source.set_filter("udp port 5002 or udp port 7")
    veth.send([*frames, ethernet(udp(9, port=7))])
    veth.namespace.send("right", [frames[2]])
    batch = source.next_batch(timeout=5)
    assert [bytes(batch.payload(row)) for row in range(len(batch))] == [frames[2][:50]]
    assert batch.interfaces == source.interfaces
    assert source.interfaces[0].filter == "(udp port 5002 or udp port 7) and (not dst port 7)"
    del batch
    with pytest.raises(FilterError):
        source.set_filter("no such thing")
    with pytest.raises(FilterError):
        source.set_filter([(0, 0, 0, 0)])
    veth.send(frames)
    assert payloads(collect(source, 1)) == [frames[2][:50]]
    source.set_filter([(0x28, 0, 0, 12), (0x15, 0, 1, 0x86DD), (6, 0, 0, 262144), (6, 0, 0, 0)])
    assert source.interfaces[0].filter == ""
    six = ethernet(udp6(1), 0x86DD)
    veth.send([arp(), *frames, six])
    assert payloads(collect(source, 1)) == [six[:50]]
    source.set_filter(None)  # IP packets only
    assert source.interfaces[0].filter == "not dst port 7"
    veth.send([arp(), frames[1], six])
    assert payloads(collect(source, 2)) == [frames[1][:50], six[:50]]
    assert_silent(source)


def test_packets_captured_before_are_returned(veth: Veth, opened: OpenSource) -> None:
    source = opened(filter="udp")
    frames = [ethernet(udp(i)) for i in range(5)]
    veth.send(frames)
    source.set_filter("tcp")
    veth.send(frames)
    assert payloads(collect(source, 5)) == frames
    assert_silent(source)


def test_set_filter_without_automatic_filter_captures_all(veth: Veth, opened: OpenSource) -> None:
    source = opened(filter="tcp", auto_filter=False)
    source.set_filter(None)
    veth.send([arp()])
    assert payloads(collect(source, 1)) == [arp()]


def test_stopped_source_captures_no_more(veth: Veth, opened: OpenSource) -> None:
    source = opened(filter="udp")
    frames = [ethernet(udp(i)) for i in range(3)]
    veth.send(frames)
    source.stop()
    with pytest.raises(CaptureStopped, match="was stopped"):
        source.set_filter("udp")
    got = [bytes(source.next_packet(timeout=5).payload)]  # begins to drain: the kernel drops all that come
    with pytest.raises(CaptureStopped, match="was stopped"):
        source.set_filter("udp")
    veth.send(frames)
    got += [bytes(packet.payload) for packet in source]
    assert got == frames
    source.close()
    with pytest.raises(CaptureStopped, match="closed"):
        source.set_filter("udp")


def test_filter_of_a_removed_interface_is_not_changed(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    veth.namespace.ip("link delete right")
    with pytest.raises(OSError, match="removed"):
        source.next_packet(timeout=5)
    with pytest.raises(CaptureStopped, match="interface removed"):
        source.set_filter("udp")


@pytest.mark.parametrize("options", [{}, {"filter": "udp"}, {"auto_filter": False}], ids=str)
def test_extra_filter_is_added_to_the_other_one(
    veth: Veth, opened: OpenSource, options: dict[str, object]
) -> None:
    source = opened(extra_filter="ether src 02:00:00:00:00:01 and not udp dst port 5001", **options)
    frames = [arp(), *[ethernet(udp(i, port=5000 + i)) for i in range(3)], ethernet(udp(7), src=b"\2" * 6)]
    veth.send(frames)
    wanted = [frames[1], frames[3]] if options.get("auto_filter", True) else [frames[0], frames[1], frames[3]]
    assert payloads(collect(source, len(wanted))) == wanted
    assert_silent(source)


def test_invalid_extra_filter_is_refused(veth: Veth, kind: type[LiveSource]) -> None:
    with veth.namespace.inside():
        for extra in ("no such thing", [(0x16, 0, 0, 0)]):
            with pytest.raises(FilterError):
                kind("right", extra_filter=extra)
