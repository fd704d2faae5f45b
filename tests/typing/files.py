"""The types of writers and plans. Read by mypy, and run by tests/package/test_typing.py."""

import io
import tempfile
from pathlib import Path
from typing import Literal, assert_type

import slimcap
from slimcap import (
    Batch,
    InterfaceInfo,
    Link,
    Packet,
    PcapNgWriter,
    PcapSource,
    PcapWriter,
    ReadTask,
)
from slimcap.filter import HeaderFilter
from slimcap.packet.interface import SectionInfo
from slimcap.sink.rotate import RotatingWriter


def check_writing_pcap(batch: Batch, packet: Packet) -> None:
    with PcapWriter(io.BytesIO(), 1, snaplen=96, compression="gzip", level=1) as writer:
        assert_type(writer, PcapWriter)
        assert_type(writer.write_batch(batch), None)
        assert_type(writer.write_packet(packet), None)
        assert_type(writer.flush(), None)
        assert_type(writer.name, str)
        assert_type(writer.closed, bool)
        assert_type(writer.packets_written, int)
        assert_type(writer.bytes_written, int)
        assert_type(writer.partial_path, str | None)
    writer.close()
    writer.discard()


def check_writing_pcapng(batch: Batch, packet: Packet, link: Link) -> None:
    texts = {"comment": "a", "hardware": "b", "os": "c"}
    with PcapNgWriter(io.BytesIO(), comment="a", hardware="b", os="c", application="d") as writer:
        assert_type(writer.add_interface(link, snaplen=0, filter="udp", **texts), int)
        assert_type(writer.write_batch(batch.with_comments({0: "first"})), None)
        assert_type(writer.write_packet(packet, interface=0, comment=None), None)
        assert_type(writer.write_statistics(0, received=1, dropped=2, start=3, end=4, at=5), None)
        assert_type(writer.interfaces, tuple[Link | None, ...])


def check_write(batch: Batch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.pcapng.gz"
        assert_type(slimcap.write(batch, path, snaplen=96, progress=print), int)
        assert_type(slimcap.write([batch], str(path), format="pcap"), int)


def check_open_writer(batch: Batch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.pcapng.gz"
        with slimcap.open_writer(path, atomic=True) as writer:
            assert_type(writer, PcapWriter | PcapNgWriter)
            writer.write_batch(batch)
        with slimcap.open_writer(str(path), 1, format="pcap") as writer:
            assert_type(writer, PcapWriter | PcapNgWriter)


def check_rotating(batch: Batch, packet: Packet, link: Link) -> None:
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "{index}.pcapng"
        with RotatingWriter(template, max_packets=9, max_files=2, on_file=print, snaplen=96) as writer:
            assert_type(writer, RotatingWriter)
            assert_type(writer.end_interval(0), bool)
            assert_type(writer.end_file(), bool)
            assert_type(writer.protect(["in.pcap"]), None)
            assert_type(writer.add_interface(link, comment="a"), None)
            assert_type(writer.write_batch(batch), None)
            assert_type(writer.write_packet(packet, interface=link, comment="third"), None)
            assert_type(writer.flush(), None)
            assert_type(writer.path, str | None)
            assert_type(writer.packets_written, int)
        assert_type(writer.files, tuple[str, ...])
        assert_type(writer.closed, bool)
        writer.close()
        writer.discard()


def check_what_files_say(source: PcapSource) -> None:
    for interface in source.interfaces:
        assert_type(interface, InterfaceInfo)
        assert_type(interface.link, Link)
        for text in (interface.filter, interface.os, interface.hardware, interface.comment):
            assert_type(text, str)
        for number in (interface.snaplen, interface.ticks_per_second, interface.time_offset):
            assert_type(number, int)
        for told in (interface.received, interface.interface_dropped, interface.os_dropped):
            assert_type(told, int | None)
        for time in (interface.start, interface.end):
            assert_type(time, int | None)
        assert_type(interface.options, tuple[tuple[int, bytes], ...] | None)
        assert_type(interface.file_name, str)
    for section in source.sections:
        assert_type(section, SectionInfo)
        for text in (section.application, section.hardware, section.os, section.comment):
            assert_type(text, str)
        assert_type(section.byte_order, Literal["little", "big"])
        assert_type(section.version, tuple[int, int])
        assert_type(section.first_interface, int)
        assert_type(section.options, tuple[tuple[int, bytes], ...] | None)


def check_conditions(path: str) -> None:
    web = HeaderFilter(net="192.0.2.0/24", port=[80, "8000-8100"], inner=True, tunnel_ports={"vxlan": [8472]})
    assert_type(slimcap.read(path, where=web), Batch)
    assert_type(slimcap.read(path, where={"host": ["::1", b"\0" * 16], "protocol": "tcp"}), Batch)
    assert_type(slimcap.read(path).filter(where={"flow": ("::1", 1, "::2", 2, 6)}), Batch)


def check_plans(path: str) -> None:
    tasks = slimcap.plan([path, Path(path)], chunk_bytes=10_000, exact=True)
    assert_type(tasks, list[ReadTask])
    for task in tasks:
        assert_type(task.path, str)
        assert_type(task.start, int)
        assert_type(task.preamble, bytes)
        assert_type(task.identity.size, int)
        assert_type(task.where, HeaderFilter | None)
        assert_type(task.read(snaplen=64), Batch)
        for batch in task.batches():
            assert_type(batch, Batch)
        with task.open() as source:
            assert_type(source, PcapSource)
