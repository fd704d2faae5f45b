"""Reading and writing pcapng keeps what a file has besides packets: every block, every option."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slimcap
from slimcap import Batch, InterfaceInfo, PcapNgWriter, PcapSource
from slimcap.packet.interface import OtherBlock, Statistics
from support.batches import batch_of, payloads_of
from support.builders.everything import everything
from support.builders.pcap import START
from support.builders.pcapng import (
    CUSTOM,
    ENHANCED,
    INTERFACE,
    JOURNAL,
    NAMES,
    PRIVATE,
    SECRETS,
    SECTION,
    STATISTICS,
    Ng,
)
from support.pcapng_dump import Block, blocks_of
from support.peers import run_peer
from support.writing import written

SECOND = 10**9


def converted(data: bytes, **options: Any) -> bytes:
    """Return what `slimcap.write` makes of a file."""
    out = io.BytesIO()
    with PcapSource(io.BytesIO(data), **options) as source:
        slimcap.write(source, out, format="pcapng")
    return out.getvalue()


def is_packet(block: Block) -> bool:
    return block.type == ENHANCED


# ---- the whole file


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("block_size", [64, 1 << 20])
def test_every_block_and_option_is_kept(big_endian: bool, block_size: int) -> None:
    data = everything(big_endian=big_endian)
    wanted = blocks_of(data)
    assert {block.type for block in wanted} >= {
        SECTION,
        INTERFACE,
        ENHANCED,
        STATISTICS,
        NAMES,
        SECRETS,
        CUSTOM,
    }
    after = converted(data, block_size=block_size)
    assert blocks_of(after) == wanted
    assert converted(after) == after


@pytest.mark.parametrize(
    "name", ["interfaces", "mixed", "mixed_be", "mixed_ns", "sections", "simple", "empty"]
)
def test_samples_are_kept(data_path: Path, name: str) -> None:
    data = (data_path / f"{name}.pcapng").read_bytes()
    interfaces, wanted = 0, []
    for block in blocks_of(data):
        interfaces = 0 if block.type == SECTION else interfaces + (block.type == INTERFACE)
        if (
            block.type != STATISTICS or block.fields[0] < interfaces
        ):  # not of an interface that does not exist
            wanted.append(block)
    assert blocks_of(converted(data)) == wanted


def test_resolutions_are_kept(data_path: Path) -> None:
    """All units and offsets; times in units below 1 ns are rounded down to nanoseconds."""
    data = (data_path / "resolutions.pcapng").read_bytes()
    before, after = blocks_of(data), blocks_of(converted(data))
    assert [b for b in after if not is_packet(b)] == [b for b in before if not is_packet(b)]
    times = [slimcap.read(io.BytesIO(file))["timestamp"].tolist() for file in (data, converted(data))]
    assert times[0] == times[1]
    units = [dict(block.options).get(9, (6,))[0] for block in before if block.type == INTERFACE]
    coarse = [
        (one, other)
        for one, other in zip(filter(is_packet, before), filter(is_packet, after), strict=True)
        if units[one.fields[0]] <= 9 or 128 < units[one.fields[0]] < 128 + 30
    ]
    assert len(coarse) > 20
    assert all(one == other for one, other in coarse)


def for_wireshark() -> bytes:
    """Build a file of what editcap 4.0 writes without damage."""
    ng = Ng()
    return b"".join(
        [
            ng.section([(1, b"of the section"), (2, b"a lab"), (3, b"an OS"), (4, b"a program")]),
            ng.interface(
                1,
                96,
                "eth0",
                resolution=9,
                options=[(3, b"described"), ng.count(8, 10**9), (1, b"uplink"), (11, b"\0udp"), (13, b"\4")],
            ),
            ng.secrets(),
            ng.custom(),
            ng.packet(
                b"a" * 60,
                START,
                options=[
                    (1, b"one"),
                    (1, b"two"),
                    ng.flags(0x80000081),
                    ng.count(4, 2),
                    ng.count(5, 77),
                    (6, ng.number(3)),
                    ng.custom_option(2988, b"text"),
                ],
            ),
            ng.packet(b"b" * 60, START + 1, orig_len=90, options=[ng.flags(1)]),
            ng.block(JOURNAL, b"MESSAGE=link is up\nPRIORITY=6\n\n"),
            ng.packet(b"c" * 20, START + 2),
        ]
    )


@pytest.mark.parametrize("tool", ["editcap", "tshark"])
def test_tools_of_wireshark_keep_no_more(tool: str, tmp_path: Path, need_tool: Any) -> None:
    """Every block and option that they keep is in our file, too."""
    file, out = tmp_path / "in.pcapng", tmp_path / "out.pcapng"
    file.write_bytes(for_wireshark())
    arguments = [file, out] if tool == "editcap" else ["-r", file, "-w", out]
    run_peer(need_tool(tool), *arguments)
    ours, theirs = blocks_of(converted(file.read_bytes())), blocks_of(out.read_bytes())
    assert ours == blocks_of(file.read_bytes())
    assert {b.type for b in theirs} == {SECTION, INTERFACE, ENHANCED, SECRETS, CUSTOM, JOURNAL}
    for block in theirs:
        (same,) = [one for one in ours if (one.type, one.fields) == (block.type, block.fields)]
        assert [option for option in same.options if option in block.options] == list(block.options)


# ---- what is selected


def test_blocks_before_packets_that_do_not_match_are_kept() -> None:
    wanted = [
        block for block in blocks_of(everything()) if not is_packet(block) or block.fields[3][:1] == b"d"
    ]
    assert blocks_of(converted(everything(), filter="ip6[0] = 0x64 or ether[0] = 0x64")) == wanted


def test_private_blocks_and_options_are_not_copied() -> None:
    ng = Ng()
    data = ng.section([ng.custom_option(19372, b"x"), (1, b"kept")])
    data += ng.interface(1, options=[ng.custom_option(19373, b"x")]) + ng.custom(PRIVATE)
    data += ng.packet(b"x" * 60, options=[ng.custom_option(19372, b"x"), (1, b"kept")])
    after = converted(data)
    assert b"kept" in after
    assert not any(code in (19372, 19373) for block in blocks_of(after) for code, _ in block.options)
    assert PRIVATE not in [block.type for block in blocks_of(after)]
    with PcapSource(io.BytesIO(data)) as source:
        assert len(list(source)) == 1
        assert source.blocks_left_out == 1


def test_blocks_of_unknown_layout_are_not_copied_from_the_other_byte_order() -> None:
    for big_endian, count in ((False, 0), (True, 3)):
        ng = Ng(big_endian=big_endian)
        damaged = ng.block(NAMES, ng.number(1, 2) + ng.number(14, 2) + bytes(8)) + ng.block(SECRETS, bytes(4))
        data = ng.section() + ng.interface() + ng.unknown() + damaged + ng.packet(b"x" * 60)
        with PcapSource(io.BytesIO(data)) as source:
            (batch,) = source.batches()
            assert source.blocks_left_out == count
            assert len(batch.blocks) == 4 - count
        after = slimcap.read(io.BytesIO(converted(data)))
        assert payloads_of(after) == [b"x" * 60]
        assert after.blocks == batch.blocks


def test_file_without_packets_keeps_its_blocks() -> None:
    ng = Ng()
    data = (
        ng.section([(1, b"x")])
        + ng.interface()
        + ng.secrets()
        + ng.journal()
        + ng.statistics(0, [ng.count(4, 1)])
    )
    assert blocks_of(converted(data)) == blocks_of(data)


@pytest.mark.slow  # it reads 80 MB
def test_blocks_without_a_packet_between_them_have_a_limit() -> None:
    ng = Ng()
    block = ng.block(CUSTOM, bytes(1 << 20))
    data = ng.section() + ng.interface() + block * 80 + ng.packet(b"x" * 60)
    with PcapSource(io.BytesIO(data)) as source:
        batch = source.next_batch()
        assert source.blocks_left_out == 80 + 1 - len(batch.blocks)
        assert 60 <= len(batch.blocks) < 66


# ---- batches


@pytest.fixture
def batch() -> Batch:
    """All packets of the first section, and the blocks between them."""
    return slimcap.read(io.BytesIO(everything(sections=1)))


def kinds(batch: Batch) -> list[tuple[int, str]]:
    return [(row, type(block).__name__) for row, block in batch.blocks]


ALL = [
    (0, "int"),
    (0, "OtherBlock"),
    (1, "OtherBlock"),
    (2, "int"),
    (2, "Statistics"),
    (2, "OtherBlock"),
    (3, "OtherBlock"),
    (4, "Statistics"),
]


def test_blocks_have_their_rows(batch: Batch) -> None:
    assert kinds(batch) == ALL
    assert batch.blocks[0] == (0, 0)
    statistics = batch.blocks[4][1]
    assert isinstance(statistics, Statistics)
    assert statistics[:2] == (0, START + 7)
    assert dict(statistics.options)[2] == START
    assert kinds(batch.copy()) == kinds(pickle.loads(pickle.dumps(batch))) == ALL
    twice = slimcap.concat([batch, batch])
    assert kinds(twice) == ALL + [(row + 4, kind) for row, kind in ALL]


def test_blocks_follow_slices_masks_and_filters(batch: Batch) -> None:
    assert kinds(batch[1:3]) == [(row - 1, kind) for row, kind in ALL if 1 <= row < 3]
    assert kinds(batch[:2]) + [(row + 2, kind) for row, kind in kinds(batch[2:])] == ALL
    masked = [(0 if row == 0 else 1 if row <= 3 else 2, kind) for row, kind in ALL]
    assert kinds(batch[np.array([True, False, False, True])]) == masked
    assert kinds(batch[[0, 3]]) == masked
    assert kinds(batch[batch["cap_len"] < 0]) == [(0, kind) for _, kind in ALL]
    assert kinds(batch.filter("ether[0] = 0x61")) == [(min(row, 1), kind) for row, kind in ALL]
    assert len(batch[::-1].blocks) == len(ALL)


def test_options_follow_slices_and_orders(batch: Batch) -> None:
    flags = [
        next((v for code, v in block.options if code == 2), None)
        for block in blocks_of(everything(sections=1))
        if is_packet(block)
    ]
    for rows in ([3, 2, 1, 0], [1, 1, 0], [0], []):
        after = [b for b in blocks_of(written(PcapNgWriter, batch[rows])) if is_packet(b)]
        assert [next((v for code, v in b.options if code == 2), None) for b in after] == [
            flags[row] for row in rows
        ]
        assert payloads_of(batch[rows]) == [b.fields[3] for b in after]


def test_comments_replace_only_comments(batch: Batch) -> None:
    changed = batch.with_comments({1: "new"})
    assert changed.comments == {1: "new"}
    packets = [b for b in blocks_of(written(PcapNgWriter, changed)) if is_packet(b)]
    before = [b for b in blocks_of(everything(sections=1)) if is_packet(b)]
    assert packets[0].options == tuple(option for option in before[0].options if option[0] != 1)
    assert packets[1].options == ((1, b"new"), *before[1].options)
    assert kinds(changed) == ALL


def test_with_blocks(batch: Batch) -> None:
    note = OtherBlock(CUSTOM, struct.pack("=I", 32473) + b"note")
    changed = batch.with_blocks([(4, note), (0, 1), (0, 0)])
    assert changed.blocks == ((0, 1), (0, 0), (4, note))
    assert changed.comments == batch.comments
    after = blocks_of(written(PcapNgWriter, changed))
    assert [block.type for block in after] == [SECTION, INTERFACE, INTERFACE, *[ENHANCED] * 4, CUSTOM]
    assert after[1].fields[0] == 101  # interface 1 is described first


@pytest.mark.parametrize(
    ("blocks", "error", "message"),
    [
        (5, TypeError, "blocks must be an iterable"),
        ([5], TypeError, "each of blocks"),
        ([(0, "x")], TypeError, "each of blocks"),
        ([(5, 0)], ValueError, "a block before packet 5 of 4"),
        ([(-1, 0)], ValueError, "a block before packet -1 of 4"),
        ([("0", 0)], TypeError, "integer"),
    ],
)
def test_wrong_blocks_raise(batch: Batch, blocks: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        batch.with_blocks(blocks)


@pytest.mark.parametrize(
    ("block", "error", "message"),
    [
        (OtherBlock(CUSTOM, b"abc"), ValueError, "a block of 3 bytes: it is a multiple of 4"),
        (OtherBlock(ENHANCED, bytes(32)), ValueError, "type 6 is not one that a writer copies"),
        (OtherBlock(CUSTOM, "text"), TypeError, "the body of a block"),  # type: ignore[arg-type]
        (OtherBlock(1 << 32, b""), ValueError, "type 4294967296 is not one"),
        (2, ValueError, "a block of interface 2, where the batch has 2"),
        (Statistics(-1, 0, ()), ValueError, "a block of interface -1, where the batch has 2"),
    ],
)
def test_blocks_that_cannot_be_written_raise(
    batch: Batch, block: Any, error: type[Exception], message: str
) -> None:
    with PcapNgWriter(io.BytesIO()) as writer, pytest.raises(error, match=message):
        writer.write_batch(batch.with_blocks([(0, block)]))


def test_damaged_pickles_raise(batch: Batch) -> None:
    function, (records, data, links, interfaces, annotations) = batch.__reduce__()  # type: ignore[misc]
    restore, (runs, values, blocks) = annotations.__reduce__()
    assert len(runs) > 0
    with pytest.raises(ValueError, match="damaged annotations"):
        restore(runs, values[:-1], blocks)
    with pytest.raises(ValueError, match="size"):
        restore(runs[:-1], values, blocks)
    cut = restore(runs, values, blocks)
    assert function(records, data, links, interfaces, cut).comments == batch.comments


# ---- clocks


def test_finer_times_get_an_interface_in_nanoseconds() -> None:
    ng = Ng()
    coarse = slimcap.read(io.BytesIO(ng.section() + ng.interface(1, name="eth0") + ng.packet(b"x" * 60)))
    times = [START, START + 1, START + 1000]
    fine = Batch(batch_of([b"y"] * 3, timestamp=times).records, b"yyy", interfaces=coarse.interfaces)
    file = io.BytesIO()
    with PcapNgWriter(file) as writer:
        writer.write_batch(coarse)
        writer.write_batch(fine)
        assert len(writer.interfaces) == 2
    after = slimcap.read(io.BytesIO(file.getvalue()))
    assert after["timestamp"].tolist() == [START, *times]
    assert after["interface"].tolist() == [0, 0, 1, 1]
    assert [info.ticks_per_second for info in after.interfaces] == [10**6, SECOND]


def test_changed_fields_of_an_interface_replace_its_options() -> None:
    source = slimcap.read(io.BytesIO(everything(sections=1)))
    info = source.interfaces[0]._replace(filter="port 53", comment="", ticks_per_second=10**3)
    changed = Batch(source.records[:1], source.data, interfaces=[info])
    (interface,) = [b for b in blocks_of(written(PcapNgWriter, changed)) if b.type == INTERFACE]
    options = dict(interface.options)
    assert options[11] == b"\0port 53"
    assert 1 not in options
    assert options[9] == (9,)  # the milliseconds are not what the block said
    assert options[6] == b"\2\0\0\0\0\1"


def test_times_before_1970_are_kept_with_an_offset() -> None:
    ng = Ng()
    data = ng.section() + ng.interface(1, offset=-100) + ng.packet(b"x" * 60, 5) + ng.packet(b"y" * 60, 10**8)
    batch = slimcap.read(io.BytesIO(data))
    assert batch["timestamp"].tolist() == [-100 * SECOND + 5000, 0]
    assert blocks_of(converted(data)) == blocks_of(data)
    plain = Batch(batch.records, batch.data, batch.links)
    with (
        PcapNgWriter(io.BytesIO()) as writer,
        pytest.raises(ValueError, match="packet 0 has the time -99999995000 ns"),
    ):
        writer.write_batch(plain)


def test_statistics_are_in_the_clock_of_their_interface() -> None:
    ng = Ng()
    (info,) = slimcap.read(
        io.BytesIO(ng.section() + ng.interface(1, resolution=3) + ng.packet(b"x", 1))
    ).interfaces
    file = io.BytesIO()
    with PcapNgWriter(file) as writer:
        number = writer.add_interface(info)
        writer.write_statistics(number, start=START, end=START + 1_999_999, received=1)
    (block,) = [b for b in blocks_of(file.getvalue()) if b.type == STATISTICS]
    assert block.fields == (0, START // 10**6 + 1)
    assert dict(block.options)[2] == (START // 10**6 >> 32, START // 10**6 & 0xFFFFFFFF)


def test_interface_info_has_all_options() -> None:
    for big_endian in (False, True):
        batch = slimcap.read(io.BytesIO(everything(big_endian=big_endian, sections=1)))
        options = batch.interfaces[0].options
        assert options is not None
        assert (8, (10**9).to_bytes(8, "little")) in [(code, value) for code, value in options]
        assert [value for code, value in options if code == 4][1][:4] == bytes([192, 0, 2, 2])
    assert InterfaceInfo(slimcap.Link("eth0", 0, 1), 0, SECOND).options is None
