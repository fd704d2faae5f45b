"""Snaplens of pcapng files: libpcap reads no packet beyond them, and no file with different ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from slimcap import (
    Batch,
    InterfaceInfo,
    Link,
    PcapNgWriter,
    PcapWriter,
    RecordFlag,
    open_file,
    open_files,
    read,
    write,
)
from support.batches import batch_of
from support.builders.pcap import pcap_header, pcap_record
from support.peers import run_peer

FRAME = bytes(12) + b"\x88\xb5" + bytes(46)


def capture(snaplen: int, *sizes: int) -> bytes:
    data: bytes = pcap_header(snaplen=snaplen) + b"".join(pcap_record(FRAME[:size]) for size in sizes)
    return data


def snaplens_of(path: Path) -> list[int]:
    with open_file(path) as source:
        for _ in source.batches():
            pass
        return [info.snaplen for info in source.interfaces]


def count_by_tcpdump(need_tool: Any, path: Path) -> int:
    lines = run_peer(need_tool("tcpdump"), "-ttnr", path).stdout.splitlines()
    return sum(line[:1].isdigit() for line in lines)  # the others are bytes of packets


def test_packets_beyond_the_snaplen_are_read_by_tcpdump(tmp_path: Path, need_tool: Any) -> None:
    path = tmp_path / "out.pcapng"
    with open_file(io.BytesIO(capture(40, 20, 60, 40))) as source:
        assert write(source, path) == 3
    assert snaplens_of(path) == [0]
    assert count_by_tcpdump(need_tool, path) == 3


def test_snaplen_of_shorter_packets_is_kept(tmp_path: Path) -> None:
    with open_file(io.BytesIO(capture(40, 20, 40))) as source:
        write(source, tmp_path / "out.pcapng")
    assert snaplens_of(tmp_path / "out.pcapng") == [40]


def test_writer_alone_adapts_the_snaplen(tmp_path: Path) -> None:
    infos = [InterfaceInfo(Link(name, index, 1), 40, 10**9) for index, name in enumerate("abc")]
    batch = batch_of([FRAME[:40], FRAME[:41], FRAME[:38]], interface=[0, 1, 2])
    flags = [0, 0, int(RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED)]  # four bytes more in a file
    records = batch.records.copy()
    records["flags"] = flags
    with PcapNgWriter(tmp_path / "out.pcapng") as writer:
        writer.write_batch(Batch(records, batch.data, interfaces=infos))
    assert snaplens_of(tmp_path / "out.pcapng") == [40, 262144, 262144]  # the limit of the writer


@pytest.mark.parametrize(
    ("limits", "common"), [((40, 96), [96, 96]), ((0, 96), [0, 0]), ((40, 40), [40, 40])]
)
def test_merged_files_of_different_snaplens_are_read_by_tcpdump(
    limits: tuple[int, int], common: list[int], tmp_path: Path, need_tool: Any
) -> None:
    paths = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
    for path, limit in zip(paths, limits, strict=True):
        path.write_bytes(capture(limit, 20, 30))
    with open_files(paths) as source:
        assert write(source, tmp_path / "out.pcapng") == 4
    assert snaplens_of(tmp_path / "out.pcapng") == common
    assert count_by_tcpdump(need_tool, tmp_path / "out.pcapng") == 4


def test_merged_files_with_packets_beyond_one_snaplen_are_read_by_tcpdump(
    tmp_path: Path, need_tool: Any
) -> None:
    paths = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
    for path, size in zip(paths, (60, 20), strict=True):
        path.write_bytes(capture(40, size))
    with open_files(paths) as source:
        write(source, tmp_path / "out.pcapng")
    assert count_by_tcpdump(need_tool, tmp_path / "out.pcapng") == 2


def test_errors_number_packets_of_the_file() -> None:
    good, bad = batch_of([FRAME] * 7), batch_of([FRAME] * 3, timestamp=[1, 2, -5])
    with PcapNgWriter(io.BytesIO()) as writer:
        writer.write_batch(good)
        with pytest.raises(ValueError, match="packet 9 has the time -5 ns"):
            writer.write_batch(bad)
    with PcapWriter(io.BytesIO()) as writer:
        writer.write_batch(good)
        with pytest.raises(ValueError, match="packet 9 has the time -5 ns"):
            writer.write_batch(bad)
        other = batch_of([FRAME], links=[Link("tun0", 0, 101)])
        with pytest.raises(ValueError, match="packet 7 is of 'tun0'"):
            writer.write_batch(other)


def test_corpus_case_of_a_pcap_whose_writer_ignored_its_snaplen(data_path: Path, tmp_path: Path) -> None:
    with open_file(data_path / "oversnap.pcap") as source:
        write(source, tmp_path / "out.pcapng")
    assert read(tmp_path / "out.pcapng")["cap_len"].max() > 0
    assert snaplens_of(tmp_path / "out.pcapng") == [0]
