"""`slimcap convert` and `merge`: blocks of pcapng files that are not packets, and options of packets."""

from __future__ import annotations

from pathlib import Path

import pytest

import slimcap
from slimcap.cli.main import main
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
from support.cli import RunConvert
from support.pcapng_dump import Block, blocks_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "in.pcapng"
    found.write_bytes(everything())
    return found


def others_in(file: Path) -> list[Block]:
    """Return the blocks of a file that are copied as they are."""
    return [b for b in blocks_of(file.read_bytes()) if b.type in (NAMES, SECRETS, CUSTOM, JOURNAL)]


def test_convert_keeps_all(file: Path, convert: RunConvert) -> None:
    for out in ("out.pcapng", "out.pcapng.gz"):
        convert(file, out)
    unpacked = convert(file.with_name("out.pcapng.gz"), "again.pcapng")
    for out in (file.with_name("out.pcapng"), unpacked):
        assert blocks_of(out.read_bytes()) == blocks_of(file.read_bytes())


def test_selected_packets_keep_the_blocks_before_them(file: Path, convert: RunConvert) -> None:
    wanted = blocks_of(file.read_bytes())
    found = blocks_of(convert(file, "out.pcapng", "--filter", "ether[0] = 0x62").read_bytes())
    assert found == [b for b in wanted if b.type != ENHANCED or b.fields[3][:1] == b"b"]
    after = f"{START // 10**9}.{START % 10**9 + 1:09}"  # of the second packet
    late = blocks_of(convert(file, "out.pcapng", "--after", after, "-n", 1).read_bytes())
    assert [b.type for b in late[:5]] == [SECTION, INTERFACE, SECRETS, NAMES, ENHANCED]
    assert {b.type for b in late[5:]} == {INTERFACE, STATISTICS}  # of the whole file


def test_snaplen_changes_only_lengths(file: Path, convert: RunConvert) -> None:
    before, after = (
        blocks_of(one.read_bytes()) for one in (file, convert(file, "out.pcapng", "--snaplen", 9))
    )
    assert [b.options for b in after] == [b.options for b in before]
    assert [b.fields[3] for b in after if b.type == ENHANCED] == [
        b.fields[3][:9] for b in before if b.type == ENHANCED
    ]


def test_pcap_output_names_what_it_has_no_place_for(file: Path, convert: RunConvert) -> None:
    file.write_bytes(everything(sections=1, second_link_type=1))
    convert(
        file,
        "out.pcap",
        error="pcap has no place for 1 comments, 10 options of packets, 1 decryption secrets, "
        "1 name resolution blocks, 1 custom blocks, 1 journal entries, 2 packet counters, "
        "2 interface descriptions",
    )


def test_blocks_that_must_not_be_copied_are_counted(tmp_path: Path, convert: RunConvert) -> None:
    ng = Ng()
    source = tmp_path / "in.pcapng"
    source.write_bytes(ng.section() + ng.interface() + ng.custom(PRIVATE) + ng.packet(b"x" * 60))
    convert(
        source, "out.pcapng", error="out.pcapng: left out 1 blocks that must not be copied, or exceed 64 MiB"
    )


def test_split_files_have_the_secrets_and_names_of_the_files_before(file: Path, convert: RunConvert) -> None:
    convert(file, "part.pcapng", "--split-packets", 1)
    parts = [others_in(part) for part in sorted(file.parent.glob("part-*"))]
    assert len(parts) == 8
    kept = [b for b in others_in(file) if b.type in (NAMES, SECRETS)]
    for number, part in enumerate(parts):
        context = [b for b in part if b.type in (NAMES, SECRETS)]
        # Of each section the secrets precede its first packet, the names its second.
        assert context == kept[: 2 * (number // 4) + min(number % 4 + 1, 2)]
    assert [sum(b.type in (CUSTOM, JOURNAL) for b in part) for part in parts] == [0, 0, 1, 1] * 2
    for part in file.parent.glob("part-*"):
        assert [b.type for b in blocks_of(part.read_bytes())].count(SECTION) == 1


def test_split_by_bytes_counts_blocks(file: Path, convert: RunConvert) -> None:
    convert(file, "part.pcapng", "--split-bytes", 1500)
    sizes = [part.stat().st_size for part in sorted(file.parent.glob("part-*"))]
    assert max(sizes) <= 1500
    assert len(sizes) > 1


def timed(name: str, *times: int) -> bytes:
    """Build a file whose packets are at these microseconds, each after a journal entry and with an option."""
    ng = Ng()
    out = (
        ng.section([(2, b"one host"), (3, name.encode())])
        + ng.interface(1, name=name)
        + ng.secrets(name.encode())
    )
    for time in times:
        out += ng.block(JOURNAL, f"{name}{time:07}".encode())
        out += ng.packet(
            b"x" * 60, START // 1000 + time, options=[(5, ng.number(time, 8)), (1, name.encode())]
        )
    return out + ng.names() + ng.statistics(0, [ng.count(4, len(times))])


def test_merge_names_texts_that_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(timed(name, 1))
    out = tmp_path / "out.pcapng"
    assert main(["merge", "-w", str(out), str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "left out 1 texts of sections that differ" in capsys.readouterr().err


@pytest.mark.parametrize(
    "block_size", [128, 1 << 20]
)  # in small blocks, the last packets come without the rest
def test_merge_keeps_blocks_and_options_in_order_of_time(tmp_path: Path, block_size: int) -> None:
    for name, times in (("a", [1, 4, 5]), ("b", [2, 3, 6])):
        (tmp_path / name).write_bytes(timed(name, *times))
    out = tmp_path / "out.pcapng"
    with slimcap.open_files([tmp_path / "a", tmp_path / "b"], block_size=block_size) as source:
        slimcap.write(source, out)
    found = blocks_of(out.read_bytes())
    assert [b.fields[0] for b in found if b.type == JOURNAL] == [
        f"{name}{time:07}".encode() for time, name in enumerate("abbaab", 1)
    ]
    packets = [b for b in found if b.type == ENHANCED]
    assert [b.options for b in packets] == [
        ((5, (time,)), (1, b"abbaab"[time - 1 : time])) for time in range(1, 7)
    ]
    assert [b.fields[1] for b in found if b.type == SECRETS] == [b"a", b"b"]
    assert sum(b.type == NAMES for b in found) == 2
    assert [b.type for b in found].count(SECTION) == 1
    assert (2, b"one host") in found[0].options
    assert 3 not in dict(found[0].options)
    assert [dict(b.options)[4] for b in found if b.type == STATISTICS] == [(3,), (3,)]
    for index, block in enumerate(found):
        if block.type == JOURNAL:
            following = next(b for b in found[index:] if b.type == ENHANCED)
            assert block.fields[0][1:] == b"%07d" % dict(following.options)[5]


def test_long_runs_of_a_file_keep_theirs(tmp_path: Path) -> None:
    """Files that follow each other, whose rows are shown in place, not copied."""
    count = 3000
    for name, first in (("a", 0), ("b", count)):
        (tmp_path / name).write_bytes(timed(name, *range(first, first + count)))
    with slimcap.open_files([tmp_path / "a", tmp_path / "b"]) as source:
        slimcap.write(source, tmp_path / "out.pcapng")
    found = blocks_of((tmp_path / "out.pcapng").read_bytes())
    entries = [b.fields[0] for b in found if b.type == JOURNAL]
    assert entries == [f"{'ab'[n >= count]}{n:07}".encode() for n in range(2 * count)]
    assert [dict(b.options)[5] for b in found if b.type == ENHANCED] == [(n,) for n in range(2 * count)]
