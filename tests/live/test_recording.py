"""`slimcap capture -w` with a template: files that are complete, removed, processed, and survive a crash."""

from __future__ import annotations

import functools
import json
import os
import pwd
import re
import resource
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import slimcap
from slimcap.cli.recording.file_journal import RecordedFile
from slimcap.cli.recording.leftovers import finish
from support.builders.pcapng import STATISTICS
from support.capture_command import StartCapture, numbered_frames, payloads_in, totals
from support.cli import PATIENCE, NeedTool
from support.netns import Veth
from support.pcapng_dump import blocks_of
from support.samples import DATA
from support.threads import wait_until


def visible(folder: Path) -> list[str]:
    """Return the names of the complete files in a folder."""
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def partials(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*.part"))


def has_partial(folder: Path, size: int) -> bool:
    return any(path.stat().st_size >= size for path in partials(folder))


def has_files(folder: Path, count: int) -> bool:
    return len(visible(folder)) >= count


# ---- files


def test_files_of_a_number_of_packets_have_counters_that_sum_up(
    veth: Veth, capture: StartCapture, tmp_path: Path, need_tool: NeedTool
) -> None:
    running = capture("left", "-n", "20", "-w", tmp_path / "{index}.pcapng", "--split-packets", "8")
    sent = numbered_frames(veth, 10)
    veth.send(sent)
    code, _, _ = running.end()
    assert (code, visible(tmp_path)) == (0, ["0.pcapng", "1.pcapng", "2.pcapng"])
    received = {"left": 0, "right": 0}
    for name in visible(tmp_path):
        path = tmp_path / name
        assert len([b for b in blocks_of(path.read_bytes()) if b.type == STATISTICS]) == 2
        with slimcap.open_file(path) as source:
            list(source.batches())
            for info in source.interfaces:
                assert (info.os_dropped, info.received is not None) == (0, True)
                assert 0 < (info.start or 0) <= (info.end or 0)
                received[info.link.name] += info.received or 0
    assert received == {"left": 10, "right": 10}
    shown = subprocess.run(
        [need_tool("capinfos"), "-c", "-M", *(tmp_path / name for name in visible(tmp_path))],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert [int(n) for n in re.findall(r"Number of packets: +(\d+)", shown.stdout)] == [8, 8, 4]


def test_file_is_complete_by_the_clock_without_packets(
    veth: Veth, capture: StartCapture, tmp_path: Path
) -> None:
    running = capture("-w", tmp_path / "{time:%Y%m%d-%H%M%S}.pcapng.gz", "--split-seconds", "1")
    veth.send(numbered_frames(veth, 3))
    wait_until(functools.partial(has_files, tmp_path, 1), PATIENCE)
    assert running.process.poll() is None
    assert partials(tmp_path) == []
    running.interrupt()
    assert running.end() == (0, b"", totals(3))
    (name,) = visible(tmp_path)
    assert re.fullmatch(r"\d{8}-\d{6}\.pcapng\.gz", name)
    assert len(slimcap.read(tmp_path / name)) == 3


def test_files_of_the_same_second_are_numbered(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    running = capture("-n", "3", "-w", tmp_path / "{time:%Y}.pcap", "--split-packets", "1")
    sent = numbered_frames(veth, 3)
    veth.send(sent)
    assert running.end()[0] == 0
    year = time.strftime("%Y", time.gmtime())
    names = [f"{year}.pcap", f"{year}-1.pcap", f"{year}-2.pcap"]
    assert [payloads_in(tmp_path / name) for name in names] == [[frame] for frame in sent]


def test_hangup_starts_a_new_file(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    running = capture("-w", tmp_path / "{index}.pcap")
    sent = numbered_frames(veth, 4)
    veth.send(sent[:2])
    wait_until(functools.partial(has_partial, tmp_path, 24 + 2 * 70), PATIENCE)
    running.interrupt(signal.SIGHUP)
    wait_until(functools.partial(has_files, tmp_path, 1), PATIENCE)
    running.interrupt(signal.SIGUSR1)
    assert running.stderr.readline() == b"2 packets captured\n"
    veth.send(sent[2:])
    wait_until(functools.partial(has_partial, tmp_path, 24 + 2 * 70), PATIENCE)
    running.interrupt(signal.SIGTERM)
    assert running.end()[0] == 0
    assert [payloads_in(tmp_path / name) for name in ("0.pcap", "1.pcap")] == [sent[:2], sent[2:]]


# ---- quotas


def test_oldest_files_are_removed_also_those_of_an_earlier_run(
    veth: Veth, capture: StartCapture, tmp_path: Path
) -> None:
    foreign = tmp_path / "1.pcap"
    for run in range(2):
        if run:  # another file of that name is not of the recording
            names = visible(tmp_path)
            assert names == ["3.pcap", "4.pcap", "5.pcap"]
            (tmp_path / "3.pcap").rename(tmp_path / "moved")
            (tmp_path / "3.pcap").write_bytes(b"precious")
            foreign.write_bytes(b"precious")
        running = capture("-n", "6", "-w", tmp_path / "{index}.pcap", "--split-packets", "1", "--files", "3")
        veth.send(numbered_frames(veth, 6))
        assert running.end() == (0, b"", totals(6))
    assert visible(tmp_path) == ["1.pcap", "10.pcap", "11.pcap", "3.pcap", "9.pcap", "moved"]
    assert foreign.read_bytes() == (tmp_path / "3.pcap").read_bytes() == b"precious"


def test_total_size_is_kept(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    limit = 10_000
    running = capture(
        *("-n", "100", "-w", tmp_path / "{index:03}.pcap"),
        *("--split-bytes", "2000", "--keep", str(limit)),
    )
    veth.send(numbered_frames(veth, 100, size=500))
    assert running.end()[0] == 0
    sizes = [(tmp_path / name).stat().st_size for name in visible(tmp_path)]
    assert limit - 2000 < sum(sizes) <= limit
    assert visible(tmp_path)[-1] == "033.pcap"


def test_second_recording_of_a_template_is_refused(capture: StartCapture, tmp_path: Path) -> None:
    capture("-w", tmp_path / "{index}.pcap")
    second = capture("-w", tmp_path / "{index}.pcap")
    assert "another process is recording with this template" in second.first
    assert second.end()[0] == 1


# ---- commands


def test_command_runs_for_each_complete_file(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\nsleep 0.1\necho "$1 $2" >> {log}\n')
    script.chmod(0o755)
    folder = tmp_path / "files"
    folder.mkdir()
    running = capture(
        *("-n", "5", "-w", folder / "a b{index}.pcap", "--split-packets", "1"),
        *("--post-rotate", f"{script} 'one word'"),
    )
    veth.send(numbered_frames(veth, 5))
    assert running.end() == (0, b"", totals(5))
    assert sorted(log.read_text().splitlines()) == [f"one word {folder}/a b{n}.pcap" for n in range(5)]


def test_failures_of_the_command_are_reported_once(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    running = capture(
        *("-n", "3", "-w", tmp_path / "{index}.pcap", "--split-packets", "1"),
        *("--post-rotate", "false"),
    )
    veth.send(numbered_frames(veth, 3))
    code, _, errors = running.end()
    assert code == 0
    assert errors.count("exit status 1") == 1
    assert "failed for 3 files" in errors


# ---- crashes and full disks


@pytest.mark.parametrize("suffix", ["pcap", "pcapng", "pcapng.gz"])
def test_file_of_a_killed_recording_is_completed(
    suffix: str, veth: Veth, capture: StartCapture, tmp_path: Path
) -> None:
    template = tmp_path / ("{index}." + suffix)
    running = capture("-w", template)
    sent = numbered_frames(veth, 50)
    veth.send(sent)
    wait_until(functools.partial(has_partial, tmp_path, 200 if suffix.endswith("gz") else 4000), PATIENCE)
    if not suffix.endswith("gz"):
        wait_until(lambda: len(slimcap.read(partials(tmp_path)[0])) == 50, PATIENCE)
    else:
        time.sleep(1.2)  # it is flushed every second
    running.process.kill()
    running.process.wait()
    (partial,) = partials(tmp_path)
    if not suffix.endswith("gz"):
        os.truncate(partial, partial.stat().st_size - 3)
    again = capture("-n", "1", "-w", template)
    veth.send(sent[:1])
    code, _, errors = again.end()
    assert code == 0
    assert f"0.{suffix}: completed a file that was not closed" in errors
    assert visible(tmp_path) == [f"0.{suffix}", f"1.{suffix}"]
    assert partials(tmp_path) == []
    expected = sent if suffix.endswith("gz") else sent[:-1]
    assert payloads_in(tmp_path / f"0.{suffix}") == expected


def test_name_of_a_leftover_is_not_used_for_another_file(
    veth: Veth, capture: StartCapture, tmp_path: Path
) -> None:
    sent = numbered_frames(veth, 6)
    for frames in (sent[:3], sent[3:]):
        running = capture("-w", tmp_path / "{time:%Y}.pcap")
        veth.send(frames)
        wait_until(functools.partial(has_partial, tmp_path, 24 + 3 * 70), PATIENCE)
        if frames[0] == sent[0]:
            running.process.kill()
            running.process.wait()
    running.interrupt()
    assert running.end()[0] == 0
    year = time.strftime("%Y", time.gmtime())
    assert [payloads_in(tmp_path / name) for name in (f"{year}.pcap", f"{year}-1.pcap")] == [
        sent[:3],
        sent[3:],
    ]


def test_leftovers_without_packets_are_removed_and_damaged_ones_stay(tmp_path: Path) -> None:
    packets = slimcap.read(DATA / "mixed.pcap")
    slimcap.write(packets, tmp_path / "whole.pcap.gz")
    data = (tmp_path / "whole.pcap.gz").read_bytes()
    damaged = data[:2000] + bytes(100) + data[2100:]
    for name, content in (("0", data[:15]), ("1", damaged), ("2", data[:-100])):
        partial = tmp_path / f".{name}.pcap.gz.part"
        partial.write_bytes(content)
        path = tmp_path / f"{name}.pcap.gz"
        found = finish(RecordedFile(str(path), partial.stat().st_ino, 0), str(partial))
        assert (found.complete, path.exists(), partial.exists()) == {
            "0": (False, False, False),
            "1": (False, False, True),
            "2": (True, True, False),
        }[name]
        assert str(tmp_path) in found.message
    assert 0 < len(slimcap.read(tmp_path / "2.pcap.gz")) <= len(packets)


def test_failed_write_leaves_all_complete_packets(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    """A maximum of the file size stands for a full disk."""
    limit = (50_000, 50_000)
    running = capture(
        *("-w", tmp_path / "{index}.pcapng", "--split-packets", "40"),
        preexec_fn=functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, limit),
    )
    small, large = numbered_frames(veth, 40), numbered_frames(veth, 40, size=1400)
    veth.send(small)
    wait_until(functools.partial(has_partial, tmp_path, 4000), PATIENCE)
    veth.send(large)
    code, _, errors = running.end()
    assert code == 1
    assert "File too large" in errors
    assert "an incomplete packet" in errors
    assert visible(tmp_path) == ["0.pcapng", "1.pcapng"]
    assert partials(tmp_path) == []
    assert payloads_in(tmp_path / "0.pcapng") == small
    found = payloads_in(tmp_path / "1.pcapng")
    assert len(found) > 30
    assert found == large[: len(found)]


# ---- other users


def test_files_and_commands_are_those_of_the_user(veth: Veth, capture: StartCapture) -> None:
    """The folder is one that another user can enter, which those of pytest are not."""
    entry = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        running = capture(
            *("-n", "2", "-w", folder / "{index}.pcap", "--split-packets", "1", "--user", "nobody"),
            *("--post-rotate", "sh -c 'id -un; id -Gn' sh"),
        )
        ids = Path(f"/proc/{running.process.pid}/status").read_text()
        veth.send(numbered_frames(veth, 2))
        code, _, errors = running.end()
        assert (code, visible(folder)) == (0, ["0.pcap", "1.pcap"])
        assert {path.stat().st_uid for path in folder.iterdir()} == {entry.pw_uid}
        assert errors.splitlines().count("nobody") == 2
    assert f"Uid:\t{entry.pw_uid}\t{entry.pw_uid}\t{entry.pw_uid}" in ids
    assert "CapPrm:\t0000000000000000" in ids


def test_user_requires_one_interface(capture: StartCapture) -> None:
    running = capture("left", "--user", "nobody")
    assert "--user requires one interface" in running.first + running.end()[2]


# ---- arguments


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split-packets", "3"], "requires -w and a path"),
        (["-w", "-", "--split-packets", "3"], "requires -w and a path"),
        (["-w", "a.pcap", "--files", "3"], "--files requires several files"),
        (["--user", "of no system"], "there is no user 'of no system'"),
        (["-w", "{index}.pcap", "--keep", "3G"], "--keep requires --split-bytes"),
        (["-w", "{index}.pcap", "--post-rotate", "'a"], "--post-rotate: No closing quotation"),
    ],
)
def test_arguments_that_do_not_go_together(words: list[str], message: str, capture: StartCapture) -> None:
    running = capture(*words)
    code, _, errors = running.end()
    assert code == 2
    assert message in running.first + errors


def test_journal_is_text(veth: Veth, capture: StartCapture, tmp_path: Path) -> None:
    running = capture("-n", "1", "-w", tmp_path / "{index}.pcap")
    veth.send(numbered_frames(veth, 1))
    assert running.end()[0] == 0
    (journal,) = tmp_path.glob(".slimcap-recording-*")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    inode = (tmp_path / "0.pcap").stat().st_ino
    assert lines == [{"template": "{index}.pcap"}, {"name": "0.pcap", "inode": inode, "number": 0}]
