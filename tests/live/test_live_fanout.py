"""`FanoutSource`: one interface, several workers: no packet twice, none lost, flows in one worker."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import slimcap
from slimcap import Batch, CaptureStopped, FanoutSource, LinkDown, LinkGone, RingSource
from support.netns import Veth
from support.traffic import arp, ethernet, frames_of

PATIENCE = 10.0
SMALL: dict[str, Any] = {"block_size": 1 << 16, "num_blocks": 32}

OpenShared = Callable[..., FanoutSource]


@pytest.fixture
def shared(veth: Veth) -> Iterator[OpenShared]:
    """Opens the right end of the veth pair with several workers."""
    with ExitStack() as stack:

        def open_source(workers: int = 2, **options: Any) -> FanoutSource:
            with veth.namespace.inside():
                source = slimcap.open_live("right", workers=workers, **SMALL | options)
            return stack.enter_context(source)

        yield open_source


def read_all(workers: tuple[RingSource, ...], stop: Callable[[], None]) -> list[list[Batch]]:
    """Read each worker in a thread of its own until all packets sent so far were read."""

    def copies_of(worker: RingSource) -> list[Batch]:
        return [batch.copy() for batch in worker.batches()]

    with ThreadPoolExecutor(len(workers)) as pool:
        reading = [pool.submit(copies_of, worker) for worker in workers]
        stop()
        return [one.result(PATIENCE) for one in reading]


def flow_frame(flow: int, reverse: bool, size: int = 30, more: int = 0, offset: int = 0) -> bytes:
    """Build a UDP packet of a flow, in one of its two directions."""
    ends = [(b"\x0a\0" + struct.pack("!H", flow), 1024 + flow), (b"\x0a\x63\0\1", 53)]
    if reverse:
        ends.reverse()
    (src, src_port), (dst, dst_port) = ends
    data = bytes(size)
    body = struct.pack("!HHHH", src_port, dst_port, 8 + size, 0) + data
    fragment = more << 13 | offset // 8
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), flow & 0xFFFF, fragment, 64, 17, 0) + src + dst
    return ethernet(head + body)


def test_each_packet_is_read_once(veth: Veth, shared: OpenShared) -> None:
    source = shared(3)
    frames = [flow_frame(flow, reverse=False, size=flow % 50) for flow in range(600)]
    veth.send(frames)
    batches = read_all(source.workers(), source.stop)
    counts = [sum(map(len, one)) for one in batches]
    payloads = [bytes(batch.payload(row)) for one in batches for batch in one for row in range(len(batch))]
    assert sorted(payloads) == sorted(frames)
    assert min(counts) > 100, "one of the workers got hardly anything"
    assert source.total_stats == (600, 0, 0)
    assert [worker.total_stats.packets_received for worker in source.workers()] == counts


def test_both_directions_of_a_flow_have_one_worker(veth: Veth, shared: OpenShared) -> None:
    source = shared(4)
    flows = 2000
    for start in range(0, flows, 500):
        numbers = range(start, start + 500)
        veth.send(flow_frame(flow, reverse) for flow in numbers for reverse in (False, True))
    workers_of: dict[int, set[int]] = {}
    for number, batches in enumerate(read_all(source.workers(), source.stop)):
        for batch in batches:
            headers = batch.headers()
            for ports in zip(headers["src_port"].tolist(), headers["dst_port"].tolist(), strict=True):
                workers_of.setdefault(max(ports), set()).add(number)
    assert len(workers_of) == flows
    assert all(len(numbers) == 1 for numbers in workers_of.values())


def test_all_workers_are_read_through_the_source(veth: Veth, shared: OpenShared) -> None:
    source = shared(2)
    veth.send(flow_frame(flow, reverse=False) for flow in range(100))
    found = 0
    while found < 100:
        found += len(source.next_batch(timeout=PATIENCE))
    with pytest.raises(RuntimeError, match="its workers cannot be"):
        source.workers()
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.05)


def test_the_source_is_not_read_once_its_workers_are(shared: OpenShared) -> None:
    source = shared(2)
    assert len(source.workers()) == 2
    with pytest.raises(RuntimeError, match="read from the workers"):
        source.next_batch(timeout=0)


def test_fragments_are_with_their_flow_if_they_are_reassembled(veth: Veth, shared: OpenShared) -> None:
    source = shared(4, defrag=True)
    frames = []
    for flow in range(200):
        whole = flow_frame(flow, reverse=False, size=120)
        head, body = whole[:34], whole[34:]
        frames.append(whole)
        for offset, part, more in ((0, body[:64], 1), (64, body[64:], 0)):
            length, fragment = struct.pack("!H", 20 + len(part)), struct.pack("!H", more << 13 | offset // 8)
            frames.append(fragmented(head, length, fragment) + part)
    veth.send(frames)
    workers_of: dict[int, list[int]] = {}
    for number, batches in enumerate(read_all(source.workers(), source.stop)):
        for batch in batches:
            for port, length in zip(
                batch.headers()["src_port"].tolist(), batch["total_len"].tolist(), strict=True
            ):
                assert length == 34 + 128
                workers_of.setdefault(port, []).append(number)
    assert len(workers_of) == 200
    assert all(len(numbers) == 2 and len(set(numbers)) == 1 for numbers in workers_of.values())


def fragmented(head: bytes, length: bytes, fragment: bytes) -> bytes:
    """Return an Ethernet and IPv4 header with another length and fragment offset, and its checksum."""
    ip = head[14:16] + length + head[18:20] + fragment + head[22:24] + b"\0\0" + head[26:34]
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return head[:14] + ip[:10] + struct.pack("!H", checksum) + ip[12:]


def test_a_program_chooses_the_worker(veth: Veth, shared: OpenShared) -> None:
    """The last byte of the source address, at 15 in the IPv4 header (SKF_NET_OFF is -0x100000)."""
    program = ((0x30, 0, 0, 0xFFF00000 + 15), (0x16, 0, 0, 0))
    source = shared(3, fanout="bpf", fanout_program=program)
    veth.send(flow_frame(flow, reverse=False) for flow in range(90))
    for number, batches in enumerate(read_all(source.workers(), source.stop)):
        addresses = [address[15] for batch in batches for address in batch.headers()["src"].tolist()]
        assert len(addresses) == 30
        assert {one % 3 for one in addresses} == {number}


@pytest.mark.parametrize("fanout", ["cpu", "qm", "rollover"])
def test_other_kinds_lose_nothing(veth: Veth, shared: OpenShared, fanout: str) -> None:
    source = shared(2, fanout=fanout)
    veth.send(frames_of(50))
    source.stop()
    assert sum(map(len, source.batches())) == 50


def test_a_full_ring_rolls_over(veth: Veth, shared: OpenShared) -> None:
    """One flow, so one worker; its ring has 4 blocks, and no thread reads meanwhile."""
    source = shared(2, rollover=True, block_size=1 << 12, num_blocks=4)
    veth.send(flow_frame(1, reverse=False) for _ in range(150))
    counts = [sum(map(len, one)) for one in read_all(source.workers(), source.stop)]
    assert all(counts)
    assert sum(counts) + source.total_stats.packets_dropped == 150


def test_nothing_comes_in_before_all_workers_have_joined(veth: Veth, shared: OpenShared) -> None:
    """Otherwise a packet would reach several of them."""
    stopping: list[int] = []
    with ThreadPoolExecutor(1) as pool:

        def send() -> int:
            sent = 0
            while not stopping:
                sent += veth.send(frames_of(10))
            return sent

        sending = pool.submit(send)
        try:
            source = shared(8)
            time.sleep(0.5)
        finally:
            stopping.append(1)
            sending.result(PATIENCE)
    source.stop()
    seen = Counter(
        (int(when), bytes(batch.payload(row)))
        for batch in source.batches()
        for row, when in enumerate(batch.timestamps)
    )
    assert len(seen) > 10
    assert set(seen.values()) == {1}


WORKER = """
import sys, slimcap
with slimcap.open_live("right", fanout_group=int(sys.argv[1]), defrag=True, num_blocks=32) as source:
    print("open", flush=True)
    sys.stdin.readline()
    source.stop()
    print(*sorted(port for batch in source.batches() for port in batch.headers()["src_port"].tolist()))
"""


def test_processes_share_an_interface(veth: Veth) -> None:
    with ExitStack() as stack, veth.namespace.inside():
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-P", "-c", WORKER, "4711"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(2)
        ]
        assert [one.stdout.readline() for one in workers if one.stdout] == ["open\n"] * 2
        veth.send(flow_frame(flow, reverse=False) for flow in range(300))
        found = [one.communicate("\n", timeout=PATIENCE)[0].split() for one in workers]
    assert min(map(len, found)) > 50
    assert sorted(int(port) for ports in found for port in ports) == [1024 + flow for flow in range(300)]


def test_rings_of_a_group_must_agree(veth: Veth) -> None:
    with veth.namespace.inside():
        with (
            slimcap.open_live("right", fanout_group=9, fanout="cpu", **SMALL),
            pytest.raises(ValueError, match="fanout_group 9 exists with another"),
        ):
            slimcap.open_live("right", fanout_group=9, **SMALL)
        with pytest.raises(ValueError, match="without workers"):
            slimcap.open_live("right", fanout_group=9, workers=2)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="fanout_group must be 1 to 65535"):
            slimcap.open_live("right", fanout_group=0)


def test_errors_tell_what_to_do(veth: Veth, shared: OpenShared) -> None:
    with pytest.raises(ValueError, match="require each other"):
        shared(2, fanout="bpf")
    with pytest.raises(ValueError, match="workers must be 1 to 256"):
        shared(0)
    with veth.namespace.inside():
        with pytest.raises(ValueError, match="workers is for one interface"):
            slimcap.open_live(["right"], workers=2)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="defrag requires workers or fanout_group"):
            slimcap.open_live("right", defrag=True)  # type: ignore[call-overload]


def test_an_interface_that_is_down_is_waited_for_or_reported(veth: Veth, shared: OpenShared) -> None:
    """Old kernels refuse to share it; new ones start with the packets that come once it is up."""
    veth.namespace.ip("link set right down")
    try:
        source = shared(2)
    except LinkDown:
        return
    veth.namespace.ip("link set right up")
    veth.namespace.wait_until_up("left", "right")
    frames = [flow_frame(flow, reverse=False) for flow in range(40)]
    veth.send(frames)
    source.stop()
    assert sorted(bytes(packet.payload) for packet in source) == sorted(frames)


def test_down_and_up_keeps_the_group(veth: Veth, shared: OpenShared) -> None:
    source = shared(2)
    veth.namespace.ip("link set right down")
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.2)
    veth.namespace.ip("link set right up")
    veth.namespace.wait_until_up("left", "right")
    veth.send(flow_frame(flow, reverse=False) for flow in range(40))
    source.stop()
    assert sum(map(len, source.batches())) == 40


def test_a_removed_interface_ends_it(veth: Veth, shared: OpenShared) -> None:
    source = shared(2)
    veth.send(frames_of(3))
    veth.namespace.ip("link del right")
    batches = source.batches(timeout=PATIENCE)
    found = 0
    while found < 3:
        found += len(next(batches))
    with pytest.raises(LinkGone):
        next(batches)


def test_closing_ends_the_workers(shared: OpenShared) -> None:
    source = shared(2)
    workers = source.workers()
    with ThreadPoolExecutor(2) as pool:
        reading = [pool.submit(list, one.batches()) for one in workers]
        time.sleep(0.1)
        source.close()
        assert [one.result(PATIENCE) for one in reading] == [[], []]
    assert all(worker.closed for worker in workers)
    with pytest.raises(CaptureStopped):
        source.workers()


def test_flow_tables_of_workers_have_the_flows_of_one(veth: Veth, shared: OpenShared) -> None:
    """The recipe: a FlowTable for each worker; together they have each flow once."""
    source = shared(2)
    veth.send(flow_frame(flow, reverse) for flow in range(300) for reverse in (False, True))

    def count(worker: RingSource) -> list[slimcap.FlowBatch]:
        return list(slimcap.flows(worker))

    with ThreadPoolExecutor(2) as pool:
        reading = [pool.submit(count, worker) for worker in source.workers()]
        source.stop()
        flows = slimcap.FlowBatch.concat(batch for one in reading for batch in one.result(PATIENCE))
    assert len(flows) == 300
    assert set((flows["src_packets"] + flows["dst_packets"]).tolist()) == {2}


def test_every_packet_is_accounted_for(veth: Veth, shared: OpenShared) -> None:
    source = shared(3, block_size=1 << 12, num_blocks=4)
    veth.send(flow_frame(flow, reverse=False) for flow in range(500))
    veth.send([arp()] * 7)
    account = source.account()
    assert account.link_packets == 507
    assert account.filtered == 7
    assert account.dropped > 0
    assert account.dropped + account.in_flight == 500
    source.stop()
    returned = sum(map(len, source.batches()))
    assert source.account() == (507, 0, 7, account.dropped, returned, 0)


def test_each_file_of_a_rotation_has_the_counters(veth: Veth, shared: OpenShared, tmp_path: Path) -> None:
    source = shared(2)
    veth.send(flow_frame(flow, reverse=False) for flow in range(30))
    source.stop()
    slimcap.write(source, tmp_path / "{index}.pcapng", max_packets=20)
    received = []
    for path in sorted(tmp_path.iterdir()):
        with slimcap.open_file(path) as file:
            assert sum(map(len, file.batches())) in (20, 10)
            received.append(file.interfaces[0].received)
    assert received == [30, 0]  # all had been received when the first file was complete
