"""Descriptions and blocks of a pcapng file are kept up to a limit, in bounded memory; the rest is counted."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from pathlib import Path

import pytest

import slimcap
from slimcap import PcapNgWriter, PcapSource, open_files
from support.builders.pcapng import Ng

LIMIT = 64 << 20
EMPTY_COMMENT = b"\1\0\0\0"
SECTION, INTERFACE, STATISTICS, CUSTOM = 0x0A0D0D0A, 1, 5, 0xBAD
FRAME = b"x" * 60

BOUNDED = """if True:
    import io, resource, sys, slimcap
    size = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1])
    limit = (size << 10) + (int(sys.argv[2]) << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""


def in_bounded_memory(script: str, path: Path, mebibytes: int) -> list[int]:
    """Run a script, which prints numbers, with so much address space more than at its start."""
    command = [sys.executable, "-c", BOUNDED + script, str(path), str(mebibytes)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


# ---- options of one block

READ = """
    with slimcap.PcapSource(sys.argv[1]) as source:
        batches = list(source.batches())
        print(sum(map(len, batches)), source.options_left_out, len(source.sections), len(source.links))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["section", "interface", "statistics"])
def test_block_of_empty_comments_takes_bounded_memory(kind: str, tmp_path: Path) -> None:
    ng = Ng()
    count = 8 << 20
    comments = EMPTY_COMMENT * count
    blocks = {
        "section": ng.block(SECTION, b"\x4d\x3c\x2b\x1a\1\0\0\0" + b"\xff" * 8 + comments) + ng.interface(),
        "interface": ng.section() + ng.block(INTERFACE, bytes([1, 0, 0, 0, 0, 0, 0, 0]) + comments),
        "statistics": ng.section() + ng.interface() + ng.block(STATISTICS, bytes(12) + comments),
    }
    path = tmp_path / "comments.pcapng.gz"
    path.write_bytes(gzip.compress(blocks[kind] + ng.packet(FRAME), 1))
    assert path.stat().st_size < 1 << 18
    packets, left_out, sections, links = in_bounded_memory(READ, path, 400)
    assert (packets, sections, links) == (1, 1, 1)
    assert count - LIMIT // 128 <= left_out < count


def test_clock_of_an_interface_is_read_after_any_number_of_other_options() -> None:
    ng = Ng()
    comments = EMPTY_COMMENT * (LIMIT // 128 + 10)
    clock = b"\x09\0\1\0\3\0\0\0" + b"\x0e\0\x08\0" + ng.number(5, 8)
    data = ng.section() + ng.block(INTERFACE, ng.number(1) + ng.number(0) + comments + clock)
    data += ng.packet(FRAME, 2345)
    out = io.BytesIO()
    with PcapSource(io.BytesIO(data)) as source, PcapNgWriter(out) as writer:
        (batch,) = source.batches()
        assert source.options_left_out == 12
        assert source.interfaces[0].ticks_per_second == 1000
        writer.write_batch(batch)
    assert batch.timestamps.tolist() == slimcap.read(io.BytesIO(out.getvalue())).timestamps.tolist()
    assert int(batch["timestamp"][0]) == 7_345_000_000


PACKET = """
    batch = slimcap.read(sys.argv[1])
    comments = batch.comments
    print(len(batch), len(comments[0]), comments[0].count(chr(10)), len(next(iter(batch)).comment or ""))
"""


@pytest.mark.slow
def test_packet_of_empty_comments_takes_bounded_memory(tmp_path: Path) -> None:
    ng = Ng()
    count = 8 << 20
    header = bytes(12) + ng.number(60) + ng.number(60)
    path = tmp_path / "packet.pcapng.gz"
    data = ng.section() + ng.interface() + ng.block(6, header + FRAME + EMPTY_COMMENT * count)
    path.write_bytes(gzip.compress(data, 1))
    script = PACKET.replace(', len(next(iter(batch)).comment or "")', "")
    assert in_bounded_memory(script, path, 400) == [1, count - 1, count - 1]


# ---- many blocks

SECTIONS = """
    class Sections(io.RawIOBase):
        count, rest = 12000, b""
        def readable(self):
            return True
        def readinto(self, buffer):
            if not self.rest and self.count:
                self.rest = open(sys.argv[1], "rb").read()
                self.count -= 1
            size = min(len(buffer), len(self.rest))
            buffer[:size], self.rest = self.rest[:size], self.rest[size:]
            return size
    with slimcap.PcapSource(Sections()) as source:
        batches = sum(len(batch) for batch in source.batches())
        print(batches, len(source.sections), source.options_left_out, source.blocks_left_out)
"""


@pytest.mark.slow
def test_texts_of_many_sections_take_bounded_memory(tmp_path: Path) -> None:
    ng = Ng()
    path = tmp_path / "section"
    path.write_bytes(ng.section([(4, b"t" * 60000)]))
    packets, sections, options, blocks = in_bounded_memory(SECTIONS, path, 400)
    assert (packets, sections) == (0, 12000)
    kept = 12000 - options
    assert LIMIT // 3 // 60128 <= kept <= LIMIT // 60128
    assert blocks == 0 or blocks < 12000


def test_small_blocks_within_one_large_read_have_a_limit() -> None:
    """After a block of 8 MiB as many bytes are read at once."""
    ng = Ng()
    small = ng.block(CUSTOM, ng.number(32473)) * (5 << 16)
    data = ng.section() + ng.interface() + ng.block(CUSTOM, bytes(8 << 20)) + small + ng.packet(FRAME)
    with PcapSource(io.BytesIO(data), block_size=1 << 24) as source:
        (batch,) = source.batches()
        assert len(batch.blocks) <= LIMIT // 256 + 1
        assert len(batch.blocks) + source.blocks_left_out == (5 << 16) + 2


@pytest.mark.slow
def test_blocks_at_the_ends_of_files_have_one_limit_for_all_files(tmp_path: Path) -> None:
    ng = Ng()
    count = 80_000
    end = ng.block(CUSTOM, ng.number(32473)) * count
    for number in range(5):
        (tmp_path / f"{number}.pcapng").write_bytes(ng.section() + ng.interface() + end)
    with open_files(str(tmp_path / "*.pcapng")) as source:
        assert list(source.batches()) == []
        kept = len(source.trailer.blocks)
        assert kept == LIMIT // 260
        assert source.blocks_left_out == 5 * count - kept


def test_texts_of_files_that_are_read_one_after_the_other_have_one_limit(tmp_path: Path) -> None:
    ng = Ng()
    for number in range(25):
        section = ng.section([(1, bytes([65 + number]) * 65532)] * 60)
        (tmp_path / f"{number}.pcapng").write_bytes(section + ng.interface() + ng.packet(FRAME, number))
    with open_files(str(tmp_path / "*.pcapng")) as source:
        assert sum(map(len, source.batches())) == 25
        full = [section for section in source.sections if section.comment]
        assert len(full) == LIMIT // (60 * (65532 + 128))
        assert source.options_left_out == (25 - len(full)) * 60
