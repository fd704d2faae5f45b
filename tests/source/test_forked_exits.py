"""A forked process ends without waiting for threads that it does not have, and does not affect its parent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# A child ends in each way, while the parent is in the middle of a capture; the parent then reads the rest.
SCRIPT = """
import gc, gzip, io, os, signal, sys
import slimcap
from slimcap.mock import MockRingSource, MockSocketSource

data, folder, kind = sys.argv[1:]
with open(data, "rb") as file:
    capture = file.read()
with open(f"{folder}/long.gz", "wb") as file:
    file.write(gzip.compress(capture + capture[24:] * 1500, 1))
with open(f"{folder}/short", "wb") as file:
    file.write(capture)
batch = slimcap.read(data)

def mock(source):
    source.add_batch(batch)
    source.done()
    return source

def replayed(source):
    global replay
    replay = source.pipe(slimcap.open_file(f"{folder}/long.gz"))
    return source

KINDS = {
    "path": lambda: slimcap.open_file(data, block_size=4096),
    "gzip": lambda: slimcap.open_file(f"{folder}/long.gz"),
    "merged": lambda: slimcap.open_files([f"{folder}/long.gz", data]),
    "followed": lambda: slimcap.open_files([f"{folder}/short"], follow=True),
    "ring": lambda: mock(MockRingSource()),
    "socket": lambda: mock(MockSocketSource(batch_size=10)),
    "replay": lambda: replayed(MockRingSource()),
}

def end_child(way):
    global source
    signal.alarm(20)
    if way == "_exit":
        os._exit(0)
    if way == "close":
        source.close()
    if way == "replay" and kind == "replay":
        replay.stop()
        try:
            replay.wait()
            os._exit(1)
        except RuntimeError:
            pass
    if way == "read":
        try:
            source.next_packet()
            os._exit(2)
        except RuntimeError:
            pass
    if way == "raise":
        with source:
            sys.exit()
    if way == "collect":
        del source
        gc.collect()
    sys.exit()

def read(way):
    global source
    count = 0
    source = KINDS[kind]()
    with source:
        source.next_packet()
        child = os.fork() if way else None
        if child == 0:
            end_child(way)
        if child and os.waitpid(child, 0)[1]:
            sys.exit(f"{way}: the child has failed")
        if kind == "followed":
            source.stop()
        count = 1 + sum(map(len, source.batches(timeout=20)))
        received, dropped, _ = source.total_stats
    return count, received, dropped

wanted = read("")
assert wanted[0] == wanted[1] > 100, wanted
for way in ("_exit", "exit", "close", "read", "replay", "raise", "collect"):
    got = read(way)
    assert got == wanted, (way, got, wanted)
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["path", "gzip", "merged", "followed", "ring", "socket", "replay"])
def test_children_leave_the_source_alone_however_they_end(kind: str, data_path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(data_path / "mixed.pcap"), str(tmp_path), kind],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
