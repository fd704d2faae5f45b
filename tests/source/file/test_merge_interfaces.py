"""Interfaces, comments, counters and filters of several files that are merged."""

from __future__ import annotations

import struct

import pytest

import slimcap
from slimcap import (
    FileFormatError,
    FilterError,
    open_file,
    open_files,
)
from support.merging import (
    BLOCK_SIZES,
    FRAME,
    facts,
    facts_of,
    merged,
    payloads,
    write,
)


@pytest.fixture(scope="module")
def readable(data_path):
    """All samples that can be read to their end."""
    names = [
        path
        for path in sorted(data_path.iterdir())
        if path.is_file() and path.name.removesuffix(".gz").endswith((".pcap", ".pcapng"))
    ]
    assert len(names) > 40
    return names


def test_interfaces_are_renumbered_from_zero(readable):
    with open_files(readable) as source:
        facts(source)
        assert [link.index for link in source.links] == list(range(len(source.links)))
        assert [info.link for info in source.interfaces] == list(source.links)


def test_packets_of_files_with_different_link_types_keep_theirs(tmp_path):
    files = [write(tmp_path / "a", [0, 2, 4], 0), write(tmp_path / "b", [1, 3, 5], 1, 101)]
    with open_files(files) as source:
        batch = slimcap.concat(source.batches())
        links = source.links
    assert [batch.links[index].type for index in batch["interface"]] == [1, 101] * 3
    assert {link.type for link in links} == {1, 101}


def test_each_packet_keeps_its_interface(data_path):
    names = ["interfaces.pcapng", "mixed.pcap", "interfaces.pcapng"]

    def interfaces(source):
        """(time, name of the interface, link type) of all packets."""
        return [
            (int(row["timestamp"]), link.name, link.type)
            for batch in source.batches()
            for row in batch.records
            for link in [batch.links[row["interface"]]]
        ]

    alone = []
    for name in names:
        with open_file(data_path / name) as source:
            alone.append(interfaces(source))
    with open_files([data_path / name for name in names]) as source:
        together = interfaces(source)
    assert together == merged(alone)
    assert len(together) > 10


def test_equal_interfaces_of_several_files_are_merged(tmp_path, data_path):
    data = (data_path / "interfaces.pcapng").read_bytes()
    for name in "ab":
        (tmp_path / f"{name}.pcapng").write_bytes(data)
    with open_file(tmp_path / "a.pcapng") as source:
        facts(source)
        once = source.interfaces
        lost = source.total_stats.packets_dropped
    with open_files([tmp_path / "a.pcapng", tmp_path / "b.pcapng"]) as source:
        facts(source)
        twice = source.interfaces
        assert source.total_stats.packets_dropped == 2 * lost > 0
    named = [info for info in once if info.link.name != str(tmp_path / "a.pcapng")]
    assert named
    assert len(twice) == len(named) + 2 * (len(once) - len(named))
    for one in named:
        [two] = [info for info in twice if (info.link.name, info.link.type) == (one.link.name, one.link.type)]
        assert two.received == (None if one.received is None else 2 * one.received)


@pytest.mark.slow
def test_more_interfaces_than_a_record_can_number_are_an_error(tmp_path):
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    packet = struct.pack("<IIIIIIII", 6, 32, 0, 0, 0, 0, 0, 32)
    for name, first in (("a", 1), ("b", 140_001)):
        interfaces = [struct.pack("<IIHHII", 1, 20, 1, 0, first + n, 20) for n in range(140_000)]
        (tmp_path / name).write_bytes(section + b"".join(interfaces) + packet)
    files = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(FileFormatError, match=r"262,144 interfaces") as raised, open_files(files) as source:
        facts(source)
    assert raised.value.path == str(tmp_path / "b")


# ---- comments and filters


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_comments_keep_their_packets(data_path, block_size):
    names = ["mixed.pcap", "sections.pcapng", "simple.pcapng", "interfaces.pcapng", "mixed_ns.pcapng"]
    paths = [data_path / name for name in [*names, "sections.pcapng"]]

    def commented(source):
        return [
            (int(batch["timestamp"][row]), bytes(batch.payload(row)), text)
            for batch in source.batches()
            for row, text in batch.comments.items()
        ]

    alone = []
    for path in paths:
        with open_file(path) as source:
            alone += commented(source)
    assert len({text for _, _, text in alone}) > 3
    with open_files(paths, block_size=block_size) as source:
        assert sorted(commented(source)) == sorted(alone)


def test_filter_and_snaplen_apply_to_all_files(data_path):
    files = [data_path / name for name in ("mixed.pcap", "mixed.pcapng", "mixed.pcap.gz")]
    every = sum(len(facts_of(path)) for path in files)
    wanted = merged([facts_of(path, filter="udp", snaplen=60) for path in files])
    with open_files(files, filter="udp", snaplen=60) as source:
        assert facts(source) == wanted
        assert source.total_stats.packets_received == source.stats().packets_received == every
    assert max(len(data) for data in payloads(wanted)) == 60
    with open_files(files, filter="tcp port 1") as source:
        assert list(source) == []
        assert source.total_stats.packets_received == every
    with pytest.raises(FilterError):
        open_files(files, filter="no such thing")


def test_snaplen_applies_to_packets_of_one_length(tmp_path):
    files = [write(tmp_path / "a", [0, 2, 4]), write(tmp_path / "b", [1, 3, 5], 1)]
    with open_files(files, filter="less 1000", snaplen=20) as source:
        assert [(packet.timestamp, packet.payload) for packet in source] == [
            (n, FRAME[:20]) for n in range(6)
        ]
