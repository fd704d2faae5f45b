"""A program may end while a daemon thread of it converts batches to tables."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

# A thread that asks for the GIL while the interpreter ends must not unwind the frames of Rust or C++.
SCRIPT = """
import sys, threading, time
import slimcap
from slimcap.mock import MockRingSource
from slimcap.sink.arrow import ArrowColumns, ArrowStream

library, data, name = sys.argv[1:]
if library == "polars":
    from polars import DataFrame as convert
elif library == "pyarrow":
    from pyarrow import table as convert
else:
    import duckdb
    convert = lambda stream: duckdb.sql("from stream").fetchall()
batch = slimcap.read(data)
packets = MockRingSource()
exports = {
    "batch": lambda: batch,
    "headers": lambda: ArrowColumns(batch.headers(["src", "dst"]), text=["src", "dst"]),
    "stream": lambda: ArrowStream([batch] * 20, ["src", "total_len", "payload"], payload="large_binary"),
    "file": lambda: slimcap.open_file(data, block_size=4096).batches(),
    "waiting": packets.batches,
}
started = threading.Event()

def work():
    while True:
        started.set()
        convert(exports[name]())
        if name == "waiting":
            break

threading.Thread(target=work, daemon=True).start()
started.wait()
time.sleep(1 if name == "waiting" else 0.05)  # so that it waits
sys.setswitchinterval(1e-6)
"""
RUNS = 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "export"),
    [
        *itertools.product(("polars", "pyarrow"), ("batch", "headers", "stream", "file", "waiting")),
        ("duckdb", "waiting"),  # the others abort as with pyarrow's data, or none: DuckDB waits for the GIL
    ],
)
def test_the_interpreter_ends_while_a_thread_converts(library: str, export: str, data_path: Path) -> None:
    pytest.importorskip(library)
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, library, str(data_path / "mixed.pcap"), export],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        # An error in the thread may be reported.
        assert (done.returncode, "FATAL" in done.stderr) == (0, False), done.stderr
