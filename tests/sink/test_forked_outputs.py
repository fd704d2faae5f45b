"""An output belongs to the process that opened it: a forked process can neither write to it nor end it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slimcap import PcapNgWriter, PcapWriter, read
from slimcap.io.atomic_file import PartialFile
from slimcap.sink.rotate import RotatingWriter
from slimcap.sink.table_file import TableFile
from support.threads import Background, in_child

# Writes a file for each way in which a child may end, and one without a child; each must be the same.
SCRIPT = """
import gc, os, signal, sys
import slimcap
from slimcap import PcapNgWriter, PcapWriter
from slimcap.sink.capture_file import CaptureFile
from slimcap.sink.rotate import RotatingWriter
from slimcap.sink.table_file import TableFile

KINDS = {
    "pcap": lambda folder: PcapWriter(f"{folder}/out.pcap"),
    "pcapng": lambda folder: PcapNgWriter(f"{folder}/out.pcapng"),
    "atomic": lambda folder: PcapNgWriter(f"{folder}/out.pcapng", atomic=True),
    "gzip": lambda folder: PcapWriter(f"{folder}/out.pcap.gz"),
    "xz": lambda folder: PcapWriter(f"{folder}/out.pcap.xz", atomic=True),
    "file object": lambda folder: PcapWriter(open(f"{folder}/out.pcap", "wb", buffering=0)),
    "rotating": lambda folder: RotatingWriter(f"{folder}/out.pcap", max_packets=20),
    "capture": lambda folder: CaptureFile(f"{folder}/out.pcapng"),
    "parquet": lambda folder: TableFile(f"{folder}/out.parquet"),
    "arrow": lambda folder: TableFile(f"{folder}/out.arrow"),
    "csv": lambda folder: TableFile(f"{folder}/out.csv"),
}

def put(output):
    if isinstance(output, (TableFile, CaptureFile)):
        output.add(batch)
        if isinstance(output, TableFile):
            output._write_group()
    else:
        for packet in packets:
            output.write_packet(packet)

def use(output):
    for call in (lambda: put(output), getattr(output, "flush", lambda: put(output))):
        try:
            call()
            os._exit(1)
        except RuntimeError as error:
            if f"was opened by process {os.getppid()}: open it again in this process" not in str(error):
                os._exit(2)

def end_child(way):
    global output
    signal.alarm(20)
    if way == "_exit":
        os._exit(0)
    if way in ("close", "discard"):
        getattr(output, way)()
    if way == "use":
        use(output)
    if way == "leave":
        with output:
            pass
    if way == "raise":
        with output:
            sys.exit()
    if way == "collect":
        del output
        gc.collect()
    sys.exit()

def write(folder, way):
    global output
    os.mkdir(folder)
    output = KINDS[kind](folder)
    put(output)
    child = os.fork() if way else None
    if child == 0:
        end_child(way)
    if child and os.waitpid(child, 0)[1]:
        sys.exit(f"{way}: the child has failed")
    put(output)
    output.close()

data, folder, kind = sys.argv[1:]
batch = slimcap.read(data)
packets = list(batch)[:9]
if kind == "write":
    def fork(count):
        child = os.fork() if way else None
        if child == 0:
            signal.alarm(20)
            sys.exit()
        if child and os.waitpid(child, 0)[1]:
            sys.exit("the child has failed")
    for way in ("", "exit"):
        os.mkdir(f"{folder}/{way or 'reference'}")
        with slimcap.open_file(data) as source:
            slimcap.write(source, f"{folder}/{way or 'reference'}/out.pcapng.gz", progress=fork)
else:
    for way in ("", "_exit", "exit", "raise", "leave", "close", "discard", "use", "collect"):
        write(f"{folder}/{way or 'reference'}", way)
"""
# Forks while threads of pyarrow run: a warning from Python 3.12 on.
QUIET = ("-W", "ignore::DeprecationWarning")
KINDS = (
    *("pcap", "pcapng", "atomic", "gzip", "xz", "file object", "rotating", "capture", "write"),
    *("parquet", "arrow", "csv"),
)


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_children_leave_the_output_alone_however_they_end(kind: str, data_path: Path, tmp_path: Path) -> None:
    if kind in ("parquet", "arrow", "csv"):
        pytest.importorskip("pyarrow")
    done = subprocess.run(
        [sys.executable, *QUIET, "-c", SCRIPT, str(data_path / "mixed.pcap"), str(tmp_path), kind],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    wanted = contents_of(tmp_path / "reference")
    assert wanted
    ways = sorted(path.name for path in tmp_path.iterdir())
    assert len(ways) == (2 if kind == "write" else 9)
    for way in ways:
        assert contents_of(tmp_path / way) == wanted, way


@pytest.mark.parametrize("output", [PcapWriter, PcapNgWriter, RotatingWriter])
def test_uses_of_a_forked_process_are_refused(output: Any, data_path: Path, tmp_path: Path) -> None:
    batch = read(data_path / "mixed.pcap")
    uses = [
        lambda: writer.write_batch(batch),
        lambda: writer.write_packet(batch[0]),
        lambda: writer.flush(),
    ]
    if output is RotatingWriter:
        uses.append(lambda: writer.end_interval())
    if output is not PcapWriter:
        uses.append(lambda: writer.add_interface(batch.links[0]))
    wanted = f"this writer was opened by process {os.getpid()}: open it again in this process"
    with output(tmp_path / "out.pcap") as writer:
        writer.write_batch(batch)

        def child() -> int:
            for use in uses:
                with pytest.raises(RuntimeError) as caught:
                    use()
                assert str(caught.value) == wanted
            writer.close()
            return len(uses)

        assert in_child(child) == str(len(uses))
    (path,) = tmp_path.iterdir()
    assert len(read(path)) == len(batch)


@pytest.mark.parametrize("end", ["close", "discard", "__exit__", "__del__"])
@pytest.mark.parametrize("name", ["out.pcap", "out.pcap.gz"])
@pytest.mark.parametrize("atomic", [False, True])
def test_the_buffer_is_written_once(
    end: str, name: str, atomic: bool, data_path: Path, tmp_path: Path
) -> None:
    batch = read(data_path / "mixed.pcap")
    with PcapWriter(tmp_path / name, atomic=atomic) as writer:
        for packet in batch:
            writer.write_packet(packet)
        arguments = (None, None, None) if end == "__exit__" else ()
        assert in_child(lambda: getattr(writer, end)(*arguments)) == "None"
        assert writer.packets_written == len(batch)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(read(tmp_path / name)) == len(batch)


def test_a_copy_of_a_writer_that_another_thread_uses_can_be_closed(data_path: Path, tmp_path: Path) -> None:
    batch = read(data_path / "mixed.pcap")
    read_end, write_end = os.pipe()
    with (
        open(read_end, "rb", buffering=0) as reading,
        open(write_end, "wb", buffering=0) as pipe,
        PcapWriter(pipe) as writer,
    ):

        def write() -> None:
            for _ in range(10):
                writer.write_batch(batch)

        writing = Background(write)
        writing.wait_until_blocked()
        assert in_child(writer.close) == "None"
        got = b""
        os.set_blocking(read_end, False)  # the thread may have written all, and not ended yet
        while len(got) < writer.bytes_written or writing.is_alive():
            got += reading.read(1 << 20) or b""
        writing.result()
    (tmp_path / "copy").write_bytes(got)
    assert len(read(tmp_path / "copy")) == 10 * len(batch)


def test_a_table_is_refused(data_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    batch = read(data_path / "mixed.pcap")
    path = tmp_path / "out.parquet"
    with TableFile(path) as table:
        wanted = f"{path} was opened by process {os.getpid()}: open it again in this process"

        def child() -> bool:
            with pytest.raises(RuntimeError) as caught:
                table.add(batch)
            table.close()
            return str(caught.value) == wanted

        assert in_child(child) == "True"
        table.add(batch)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.parquet"]


def test_an_atomic_file_is_neither_removed_nor_renamed(tmp_path: Path) -> None:
    file = PartialFile(tmp_path / "out")
    Path(file.target).write_bytes(b"new")

    def child() -> bool:
        with pytest.raises(RuntimeError, match="was opened by process"):
            file.finish()
        file.discard()
        return True

    assert in_child(child) == "True"
    file.finish()
    assert contents_of(tmp_path) == {"out": b"new"}
