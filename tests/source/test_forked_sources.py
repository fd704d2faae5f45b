"""A source belongs to the process that opened it: a forked process can neither read it nor affect it."""

from __future__ import annotations

import gzip
import io
import lzma
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from make_samples import pcap_header
from slimcap import CaptureStopped, PcapSource, Source, Stats, open_files, plan, read, write
from support.files import Fifo
from support.numbered import number_of, numbered, rest_of
from support.readers import ALL_READERS
from support.threads import Background, in_child

COUNT = 200
NUMBERS = list(range(COUNT))
CAPTURE = pcap_header() + numbered(COUNT)
WHERE = "was opened by process {}: open it again in this process"


def _path(folder: Path, data: bytes = CAPTURE) -> Path:
    path = folder / "cap"
    path.write_bytes(data)
    return path


def _stopped(source: Source) -> Source:
    source.stop()  # type: ignore[attr-defined]
    return source


def _long(folder: Path) -> Source:
    """Open a compressed file that fills the queue of its read-ahead thread."""
    records = numbered(COUNT) * 400
    return PcapSource(_path(folder, gzip.compress(pcap_header() + records, 1)), timeout=10)


SMALL = {"block_size": 4096}
KINDS: dict[str, Callable[[Path], Source]] = {
    "path": lambda folder: PcapSource(_path(folder), **SMALL),
    "file object": lambda folder: PcapSource(io.BytesIO(CAPTURE), **SMALL),
    "followed": lambda folder: _stopped(PcapSource(_path(folder), follow=True, **SMALL)),
    "gzip": lambda folder: PcapSource(_path(folder, gzip.compress(CAPTURE)), **SMALL),
    "xz": lambda folder: PcapSource(_path(folder, lzma.compress(CAPTURE)), **SMALL),
    "compressed file object": lambda folder: PcapSource(io.BytesIO(gzip.compress(CAPTURE)), **SMALL),
    "merged": lambda folder: open_files([_path(folder)], **SMALL),
    "merged gzip": lambda folder: open_files([_path(folder, gzip.compress(CAPTURE))], **SMALL),
    "followed files": lambda folder: _stopped(open_files([_path(folder)], follow=True, **SMALL)),
    "part of a file": lambda folder: plan(_path(folder))[0].open(**SMALL),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def refusal(source: Source) -> str:
    return f"this source {WHERE.format(os.getpid())}"


def _errors_of_all_reads(source: Source, folder: Path) -> list[str]:
    """Read in every way; return the messages of the exceptions."""
    errors = []
    uses: list[Callable[[], object]] = [partial(reader, source) for reader in ALL_READERS.values()]
    uses += [
        lambda: list(source.batches()),
        lambda: write(source, folder / "copy.pcap"),
        lambda: write(source, folder / "copy.pcapng"),
    ]
    for use in uses:
        with pytest.raises(RuntimeError) as caught:
            use()
        errors.append(str(caught.value))
    return errors


@every_kind
@pytest.mark.parametrize("before", [0, 1, 50])
def test_reads_of_a_forked_process_are_refused(
    kind: Callable[[Path], Source], before: int, tmp_path: Path
) -> None:
    with kind(tmp_path) as source:
        seen = [number_of(source.next_packet().payload) for _ in range(before)]
        wanted = refusal(source)

        def child() -> object:
            return set(_errors_of_all_reads(source, tmp_path)) == {wanted}

        assert in_child(child) == "True"
        assert seen + rest_of(source) == NUMBERS
        assert source.total_stats == Stats(COUNT, 0, 0)


@every_kind
@pytest.mark.parametrize(
    "use",
    ["unblock", "close", "stop", "stats", "__exit__", "__iter__"],
)
def test_a_forked_process_cannot_affect_the_source(
    kind: Callable[[Path], Source], use: str, tmp_path: Path
) -> None:
    with kind(tmp_path) as source:
        assert number_of(source.next_packet().payload) == 0
        began = time.monotonic()
        assert in_child(lambda: getattr(source, use)() and None) == "None"
        assert time.monotonic() - began < 5
        assert not source.closed
        assert rest_of(source) == NUMBERS[1:]
        assert source.stats() == Stats(COUNT, 0, 0)


@every_kind
def test_a_closed_copy_is_refused_as_well(kind: Callable[[Path], Source], tmp_path: Path) -> None:
    with kind(tmp_path) as source:

        def child() -> bool:
            source.close()
            with pytest.raises((RuntimeError, CaptureStopped)):
                source.next_packet()
            return source.closed

        assert in_child(child) == "True"
        assert rest_of(source) == NUMBERS


def test_a_forked_process_does_not_take_the_wakeup_of_a_read_ahead_thread(tmp_path: Path) -> None:
    with _long(tmp_path) as source:
        for _ in range(5):
            source.next_batch()

            def child() -> str:
                with pytest.raises(RuntimeError):
                    source.next_batch()
                source.close()
                return "refused"

            assert in_child(child) == "refused"
        count = source.total_stats.packets_received + sum(map(len, source.batches()))
        assert count >= 400 * COUNT


def test_a_copy_of_a_source_that_another_thread_reads_closes_at_once(fifo: Fifo) -> None:
    fifo.write(pcap_header())
    with PcapSource(fifo.path, timeout=10) as source:
        reading = Background(source.next_packet)
        reading.wait_until_blocked()
        wanted = refusal(source)

        def child() -> bool:
            began = time.monotonic()
            with pytest.raises(RuntimeError) as caught:
                source.next_packet()
            source.close()
            return str(caught.value) == wanted and time.monotonic() - began < 0.09

        assert in_child(child) == "True"
        fifo.write(numbered(1, 7))
        assert number_of(reading.result().payload) == 7


def test_a_forked_process_opens_the_file_again(tmp_path: Path) -> None:
    path = _path(tmp_path)
    with PcapSource(path, block_size=4096) as source:
        source.next_packet()

        def child() -> bool:
            with PcapSource(path) as other:
                return rest_of(other) == NUMBERS

        assert in_child(child) == "True"
        assert in_child(lambda: in_child(child)) == "True"
        assert rest_of(source) == NUMBERS[1:]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_parts_of_a_file_are_read_in_all_kinds_of_processes(method: str, tmp_path: Path) -> None:
    path = _path(tmp_path)
    tasks = plan(path, chunk_bytes=1000)
    assert len(tasks) > 5
    with PcapSource(path, block_size=4096) as source, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        source.next_packet()
        with multiprocessing.get_context(method).Pool(2) as pool:
            batches = pool.map(type(tasks[0]).read, tasks)
        assert rest_of(source) == NUMBERS[1:]
    assert sum(map(len, batches)) == len(read(path)) == COUNT
