"""The types of sources. Read by mypy, and run by tests/package/test_typing.py."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal, assert_type

import slimcap
from slimcap import (
    Account,
    Batch,
    FanoutSource,
    InterfaceInfo,
    InterfacesSource,
    IPLayer,
    Link,
    Packet,
    PacketType,
    PcapSource,
    RingSource,
    SocketSource,
    Source,
    Stats,
    View,
)
from slimcap.filter import Machine, accept
from slimcap.packet.interface import SectionInfo
from slimcap.source.base import ZeroCopySource
from slimcap.source.file.followed import RotatedSource
from slimcap.source.file.merged import MergedSource
from slimcap.source.live.rtnetlink import LinkDrops


def check_opening(path: str) -> None:
    with slimcap.open_file(path) as source:
        assert_type(source, PcapSource)
    with slimcap.open_file(Path(path), snaplen=64, block_size=1 << 16, timeout=1.5) as source:
        assert_type(source, PcapSource)
    with slimcap.open_file(path, filter="udp") as source:
        assert_type(source, PcapSource)
    with PcapSource(path, filter=[(6, 0, 0, 65535)]) as source:
        assert_type(source, PcapSource)
    assert_type(slimcap.read(path, filter=Machine(accept())), Batch)
    with PcapSource(path.encode(), snaplen=None, filter=None, timeout=None) as source:
        assert_type(source, PcapSource)
    with open(path, "rb") as file, slimcap.open_file(file) as source:
        assert_type(source, PcapSource)
    content = Path(path).read_bytes()
    assert_type(slimcap.read(io.BytesIO(content)), Batch)
    assert_type(slimcap.read(gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(content)))), Batch)


def check_opening_several(path: str) -> None:
    with slimcap.open_files([path, Path(path)], snaplen=64) as source:
        assert_type(source, MergedSource)
        assert_type(next(source.batches()), Batch)
        assert_type(source.interfaces, tuple[InterfaceInfo, ...])
        assert_type(source.progress, tuple[int, int | None])
    with slimcap.open_files(path, follow=True, timeout=1) as followed:
        assert_type(followed, RotatedSource)
        followed.stop()
    with slimcap.open_file(path, follow=True) as growing:
        assert_type(growing, PcapSource)
        growing.stop()


def check_one_by_one(source: PcapSource) -> None:
    packet = source.new_packet()
    assert_type(packet, Packet)
    assert_type(source.next_packet(), Packet)
    assert_type(source.next_packet(packet, timeout=1), Packet)
    assert_type(source.next_payload(), tuple[bytes, PacketType, int])
    assert_type(source.next_payload(timeout=None), tuple[bytes, PacketType, int])
    assert_type(source.next_payload(bytearray(2048)), tuple[View, PacketType, int])
    assert_type(source.next_payload(memoryview(bytearray(9)), timeout=1), tuple[View, PacketType, int])
    assert_type(source.next_ip_packet(), tuple[IPLayer, PacketType, int])
    assert_type(source.next_ip_packet(bytearray(2048), timeout=1), tuple[IPLayer, PacketType, int])
    assert_type(source.next_payload_zero_copy(timeout=1), tuple[View, PacketType, int])
    assert_type(source.next_ip_packet_zero_copy(timeout=1), tuple[IPLayer, PacketType, int])
    assert_type(iter(source), PcapSource)
    assert_type(next(source), Packet)
    for each in source:
        assert_type(each, Packet)


def check_callback(source: Source) -> None:
    def add_up(payload: View, total_len: int, pkt_type: PacketType, ip_layer_offset: int) -> float:
        assert_type(payload, View)
        assert_type(total_len, int)
        assert_type(pkt_type, PacketType)
        assert_type(ip_layer_offset, int)
        return len(payload) / total_len

    assert_type(source.next_packet_fn(add_up), float)
    assert_type(source.next_packet_fn(lambda payload, *_: bytes(payload), timeout=1), bytes)


def check_in_bulk(source: Source) -> None:
    assert_type(source.next_batch(5, 1.0), Batch)
    assert_type(source.next_batch(max_packets=5, timeout=None), Batch)
    assert_type(source.next_batch(), Batch)
    batches: Iterator[Batch] = source.batches()
    assert_type(list(batches), list[Batch])
    for batch in source.batches(max_packets=7, timeout=1):
        assert_type(batch, Batch)


def check_state(source: PcapSource) -> None:
    stats = source.stats()
    assert_type(stats, Stats)
    assert_type(stats.packets_received, int)
    assert_type(stats.packets_dropped, int)
    assert_type(stats.queue_freezes, int)
    assert_type(source.total_stats, Stats)
    assert_type(source.link, Link | None)
    assert_type(source.links, tuple[Link, ...])
    assert_type(source.name, str)
    assert_type(source.snaplen, int)
    assert_type(source.version, tuple[int, int])
    assert_type(source.byte_order, Literal["little", "big"])
    assert_type(source.format, Literal["pcap", "pcapng"])
    assert_type(source.compression, Literal["gzip", "bzip2", "xz", "zstd", "lz4"] | None)
    assert_type(source.interfaces, tuple[InterfaceInfo, ...])
    assert_type(source.sections, tuple[SectionInfo, ...])
    assert_type(source.resolution, int)
    assert_type(source.trailer, Batch)
    assert_type(source.blocks_left_out, int)
    assert_type(source.unfilterable, dict[int, str])
    assert_type(source.options_left_out, int)
    assert_type(source.errors, tuple[Exception, ...])
    assert_type(source.progress, tuple[int, int | None])
    source.unblock()
    source.close()
    assert_type(source.closed, bool)
    assert_type(source.timeout, float | None)


def live(ring: RingSource, sock: SocketSource) -> None:
    """Never run: requires privileges."""
    for source in (ring, sock):
        assert_type(source.link, Link)
        assert_type(source.link_drops, LinkDrops)
        assert_type(source.link_drops.rx_missed_errors, int)
        assert_type(source.account(), Account)
        account = source.account()
        assert_type((account.link_packets, account.link_drops), tuple[int | None, int | None])
        assert_type((account.filtered, account.dropped), tuple[int | None, int])
        assert_type((account.delivered, account.in_flight), tuple[int, int])
        assert_type(source.reinsert_vlan, bool)
        source.stop()
    assert_type(ring.block_size, int)
    assert_type(ring.num_blocks, int)
    assert_type(slimcap.open_live(ring.link, direction="in", smaller_ring=True, snaplen=96), RingSource)
    assert_type(slimcap.open_live("lo"), RingSource | InterfacesSource)
    assert_type(slimcap.open_live(["lo"], on_change=print), InterfacesSource)
    shared = slimcap.open_live("lo", workers=2, fanout="cpu")
    assert_type(shared, FanoutSource)
    assert_type(shared.workers(), tuple[RingSource, ...])
    slimcap.open_live("lo", direction="sideways")  # type: ignore[call-overload]
    slimcap.open_live("lo", buffer="32MiB", latency=0.1, ring_exhausted="raise")
    slimcap.open_live("lo", buffer=1 << 25, latency=1)
    slimcap.open_live("lo", ring_exhausted="hang")  # type: ignore[call-overload]
    assert_type(ring.latency, float)
    SocketSource("lo", buffer_size=1 << 20, batch_size=64, reinsert_vlan=True)
    SocketSource("lo", block_size=1 << 20)  # type: ignore[call-arg]


def check_any_source(source: Source) -> None:
    with source as same:
        assert_type(same, Source)
        assert_type(source.link, Link | None)
        if isinstance(source, ZeroCopySource):
            assert_type(source.next_payload_zero_copy(), tuple[View, PacketType, int])


def check_async(source: Source) -> None:
    async def read() -> None:
        assert_type(await source.anext_batch(10, timeout=0.5), Batch)
        task = asyncio.create_task(source.anext_batch(10))
        assert_type(await task, Batch)
        batches: AsyncIterator[Batch] = source.batches()
        async for batch in batches:
            assert_type(batch, Batch)
        assert_type([len(batch) async for batch in source.batches(10)], list[int])

    assert_type(source.fileno(), int)
    asyncio.run(read())


def check_link(link: Link) -> None:
    assert_type(link.name, str)
    assert_type(link.index, int)
    assert_type(link.type, int)
    assert_type(link.type_name, str)


def refused(source: Source) -> None:
    """Never run: each of these lines is an error that a type checker finds."""
    slimcap.open_file("x.pcap", snap_len=64)  # type: ignore[call-arg]
    slimcap.open_file(io.StringIO())  # type: ignore[arg-type]
    slimcap.open_file(3)  # type: ignore[arg-type]
    Source()  # type: ignore[call-arg]
    source.next_packet(bytearray(9))  # type: ignore[arg-type]
    source.next_payload("text")  # type: ignore[call-overload]
    source.next_packet(time_out=1.0)  # type: ignore[call-arg]
    source.next_payload_zero_copy()  # type: ignore[attr-defined]
    source.link = None  # type: ignore[misc]

    class Mine(PcapSource):  # type: ignore[misc]
        pass
