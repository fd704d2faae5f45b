"""Times before 1677 and after 2262, which 64 bits do not hold: flagged, and kept from pcapng to pcapng."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest

from slimcap import Batch, PcapNgWriter, RecordFlag, concat, open_files, read, write
from slimcap.cli.main import main
from support.builders.pcap import START
from support.builders.pcapng import Ng
from support.peers import run_peer

LATE, LATER = 1 << 55, (1 << 55) + 1  # in microseconds: 3111
FRAME = bytes(range(60))
LAST = (1 << 63) - 1


def capture(
    *ticks: int, big_endian: bool = False, resolution: int = 6, offset: int = 0, **options: Any
) -> bytes:
    ng = Ng(big_endian=big_endian)
    data: bytes = ng.section() + ng.interface(resolution=resolution, offset=offset)
    return data + b"".join(ng.packet(FRAME, tick, **options) for tick in ticks)


def ticks_of(data: bytes) -> list[int]:
    """Return the times of the packet blocks of a little-endian file."""
    found, at = [], 0
    while at < len(data):
        kind, length = (int.from_bytes(data[at + n : at + n + 4], "little") for n in (0, 4))
        if kind == 6:
            high, low = (int.from_bytes(data[at + n : at + n + 4], "little") for n in (12, 16))
            found.append(high << 32 | low)
        at += length
    return found


def written(*batches: Batch) -> bytes:
    out = io.BytesIO()
    with PcapNgWriter(out) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return out.getvalue()


@pytest.mark.parametrize("big_endian", [False, True])
def test_clamped_times_are_flagged_and_written_as_they_were(big_endian: bool) -> None:
    ticks = [START // 1000, LATE, LATER, (1 << 64) - 1, START // 1000 + 1]
    batch = read(io.BytesIO(capture(*ticks, big_endian=big_endian)))
    clamped = batch["flags"] & RecordFlag.TIME_CLAMPED != 0
    assert clamped.tolist() == [False, True, True, True, False]
    assert batch["timestamp"][clamped].tolist() == [LAST] * 3
    assert ticks_of(written(batch)) == ticks
    assert len(read(io.BytesIO(written(batch))).interfaces) == 1


def test_times_before_1677_are_flagged_too() -> None:
    batch = read(io.BytesIO(capture(0, 5, 11 * 10**15, offset=-(10**10))))
    assert (batch["flags"] & RecordFlag.TIME_CLAMPED != 0).tolist() == [True, True, False]
    assert ticks_of(written(batch)) == [0, 5, 11 * 10**15]


def test_times_follow_rows_and_other_options() -> None:
    batch = read(io.BytesIO(capture(LATE, LATER, 1, LATE, options=[(1, b"a note")])))
    assert batch.comments == dict.fromkeys(range(4), "a note")
    for other in (batch.copy(), pickle.loads(pickle.dumps(batch)), concat([batch[:2], batch[2:]])):
        assert ticks_of(written(other)) == [LATE, LATER, 1, LATE]
    assert ticks_of(written(batch[[3, 2, 1]])) == [LATE, 1, LATER]
    changed = batch.with_comments({1: "changed"})
    assert ticks_of(written(changed)) == [LATE, LATER, 1, LATE]
    again = read(io.BytesIO(written(changed)))
    assert again.comments == {1: "changed"}
    assert written(again) == written(changed)  # nothing of our own is in the file
    assert b"\xff\xff\x28\0" not in written(batch)


def test_other_clocks_get_the_nearest_time() -> None:
    batch = read(io.BytesIO(capture(LATE)))
    plain = Batch(batch.records, batch.data, batch.links)
    assert ticks_of(written(plain)) == [LAST]
    assert read(io.BytesIO(written(plain)))["timestamp"].tolist() == [LAST]


def test_merged_files_keep_them(tmp_path: Path) -> None:
    paths = [tmp_path / "a.pcapng", tmp_path / "b.pcapng"]
    paths[0].write_bytes(capture(7, LATE))
    paths[1].write_bytes(capture(8, LATER))
    with open_files(paths) as source:
        write(source, tmp_path / "out.pcapng")
    assert sorted(ticks_of((tmp_path / "out.pcapng").read_bytes())) == [7, 8, LATE, LATER]


def test_convert_keeps_times_apart_as_editcap_does(tmp_path: Path, need_tool: Any) -> None:
    path, ours, theirs = (tmp_path / f"{name}.pcapng" for name in ("in", "ours", "theirs"))
    path.write_bytes(capture(START // 1000, LATE, LATER))
    assert main(["convert", str(path), str(ours)]) == 0
    run_peer(need_tool("editcap"), path, theirs)
    assert ticks_of(ours.read_bytes()) == ticks_of(theirs.read_bytes()) == [START // 1000, LATE, LATER]


def test_commands_count_them_and_do_not_show_a_wrong_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.pcapng"
    path.write_bytes(capture(START // 1000, LATE, LATER))
    assert main(["read", str(path)]) == 0
    assert capsys.readouterr().out.count("time out of range") == 2
    assert main(["read", "--json", str(path)]) == 0
    assert capsys.readouterr().out.count('"timestamp": null, "timestamp_ns": null') == 2
    for command in (["info"], ["read", "--summary"]):
        assert main([*command, "--json", str(path)]) == 0
        shown = capsys.readouterr().out
        assert '"times_out_of_range": 2' in shown
        assert f'"last_ns": {START // 1000 * 1000}' in shown
        assert main([*command, str(path)]) == 0
        assert "2 times before 1677 or after 2262" in capsys.readouterr().out
    path.write_bytes(capture(LATE))
    assert main(["info", str(path)]) == 0
    assert "first packet" not in capsys.readouterr().out


# ---- digits


@pytest.mark.parametrize(
    ("resolution", "tick", "digits"),
    [
        (3, 1, "001000"),
        (6, 1, "000001"),
        (7, 1234567, "1234567"),
        (8, 12345678, "12345678"),
        (9, 123456789, "123456789"),
        (12, 123456789123, "123456789"),
        (0x80 | 20, 1, "000000953"),
    ],
)
def test_times_have_the_digits_of_the_file(
    resolution: int, tick: int, digits: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.pcapng"
    path.write_bytes(capture(tick, resolution=resolution))
    assert main(["read", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"1970-01-01 00:00:00.{digits}  ")
    assert main(["read", "--json", str(path)]) == 0
    assert f'"1970-01-01T00:00:00.{digits}Z"' in capsys.readouterr().out


def test_ticks_of_another_clock_are_not_written() -> None:
    """A time in nanoseconds makes the interface a finer one, whose ticks are shorter."""
    batch = read(io.BytesIO(capture(1000, LATE)))
    records = batch.records.copy()
    records["timestamp"][0] = 1001
    fine = Batch(records[:1], batch.data, interfaces=batch.interfaces)
    assert ticks_of(written(fine, batch)) == [1001, 1_000_000, LAST]
