"""Constructors that fail leave no descriptor and no object, without the help of the garbage collector.

In another process, in which a descriptor that is opened after `free` others fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SETUP = """
import gc, gzip, io, os, pathlib, resource, sys, time
import slimcap
from slimcap.mock import MockRingSource, MockSocketSource, build_packet
from slimcap.sink.rotate import RotatingWriter

folder = pathlib.Path(sys.argv[1])
pcap, packed, damaged = folder / "a.pcap", folder / "a.pcap.gz", folder / "b.pcap"
with slimcap.PcapWriter(pcap) as writer:
    for _ in range(1000):
        writer.write_packet(build_packet("192.0.2.1", "192.0.2.2", 1234, 53))
packed.write_bytes(gzip.compress(pcap.read_bytes()))
damaged.write_bytes(b"no capture file" * 10)

def rotate():
    with RotatingWriter(str(folder / "{index}.pcap"), max_packets=300) as writer:
        writer.write_batch(batch)

def read_all(file, **options):
    with slimcap.open_file(file, **options) as source:
        for _ in source.batches():
            pass

def replay(file):
    with slimcap.open_file(file) as source, MockRingSource(num_blocks=4, block_size=65536) as mock:
        mock.pipe(source).wait()

batch = slimcap.read(pcap)
cut = folder / "cut.pcap"
cut.write_bytes(pcap.read_bytes()[:-5])
(folder / "cut.pcap.gz").write_bytes(packed.read_bytes()[:-50])
(folder / "bad.pcap.gz").write_bytes(packed.read_bytes()[:-8] + bytes(8))

class Broken(io.BytesIO):
    def readinto1(self, buffer):
        raise OSError("broken")

    readinto = read = write = readinto1
"""
CALLS = {
    "file": "slimcap.open_file(pcap)",
    "gzip": "slimcap.open_file(packed)",
    "gzip file object": "slimcap.open_file(open(packed, 'rb'))",
    "followed": "slimcap.open_file(pcap, follow=True)",
    "merged": "slimcap.open_files([pcap, packed, pcap])",
    "folder": "slimcap.open_files(folder / '*.pcap.gz', follow=True)",
    "ring": "MockRingSource(num_blocks=4, block_size=4096)",
    "messages": "MockSocketSource()",
    "pcap writer": "slimcap.PcapWriter(folder / 'new.pcap')",
    "pcapng writer": "slimcap.PcapNgWriter(folder / 'new.pcapng', compression='gzip')",
    "atomic writer": "slimcap.PcapWriter(folder / 'new.pcap', atomic=True)",
    "rotation": "rotate()",
    "read": "slimcap.read(packed)",
    "plan": "slimcap.plan([pcap, packed], chunk_bytes=1000)",
    "table": "slimcap.write(slimcap.read(pcap), folder / 'new.csv')",
    "convert": "slimcap.write(slimcap.open_file(packed), folder / 'new.pcapng.gz')",
    "live": "slimcap.open_live('lo')",
    "live messages": "slimcap.SocketSource('lo')",
    "links": "slimcap.links()",
}
FAILURES = {
    "no file": "slimcap.open_file(folder / 'none')",
    "no capture file": "slimcap.open_file(damaged)",
    "broken file object": "slimcap.open_file(Broken())",
    "bad filter": "slimcap.open_file(pcap, filter='no such filter')",
    "bad filter of packed": "slimcap.open_file(packed, filter='no such filter')",
    "bad option": "slimcap.open_file(pcap, timeout=-1)",
    "one of several": "slimcap.open_files([pcap, packed, damaged])",
    "broken of several": "slimcap.open_files([pcap, Broken()])",
    "ring filter": "MockRingSource(filter='no such filter')",
    "messages filter": "MockSocketSource(filter=[(1, 2, 3)])",
    "when_full": "MockRingSource(when_full='never')",
    "writer folder": "slimcap.PcapWriter(folder)",
    "writer object": "slimcap.PcapWriter(Broken())",
    "writer name": "slimcap.PcapNgWriter(folder / 'none' / 'x')",
    "live": "slimcap.open_live('no-such-link')",
    "truncated": "read_all(cut)",
    "truncated gzip": "read_all(folder / 'cut.pcap.gz')",
    "damaged gzip": "read_all(folder / 'bad.pcap.gz')",
    "replay": "replay(cut)",
}
COUNT = """
def held():
    ours = [one for one in gc.get_objects() if str(type(one).__module__).startswith("slimcap")]
    return len(os.listdir("/proc/self/fd")), len(ours)

def check(more, *about):  # read-ahead threads may still be about to end
    end = time.monotonic() + 5
    while (now := held())[0] > before[0] or now[1] > before[1] + more:
        assert time.monotonic() < end, (before, now, *about)
        time.sleep(0.01)

def attempt():
    try:
        done = CALL
    except Exception as error:
        return type(error).__name__
    if hasattr(done, "close"):
        done.close()
    return None
"""
LIMITED = """
error = attempt()
attempt()
if error == "PermissionError":
    sys.exit(77)
gc.collect()
gc.disable()
before, failed = held(), 0
for free in range(12):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unused = [number for number in range(256) if not os.path.exists(f"/proc/self/fd/{number}")]
    resource.setrlimit(resource.RLIMIT_NOFILE, (unused[free], hard))
    error = attempt()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    failed += error is not None
    check(2, free, error)
assert failed and error is None, (failed, error)
"""
REPEATED = """
assert attempt() and attempt()
gc.collect()
gc.disable()
before = held()
for _ in range(300):
    assert attempt()
check(10)
"""


def run(code: str, folder: Path) -> int:
    return subprocess.run(
        [sys.executable, "-c", SETUP + code, str(folder)], timeout=60, env={**os.environ}
    ).returncode


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_descriptor_is_left_if_one_cannot_be_opened(tmp_path, call):
    status = run(COUNT.replace("CALL", call) + LIMITED, tmp_path)
    if status == 77:
        pytest.skip("requires CAP_NET_RAW")
    assert status == 0


@pytest.mark.parametrize("call", FAILURES.values(), ids=FAILURES)
def test_failures_leave_no_cycles_behind(tmp_path, call):
    assert run(COUNT.replace("CALL", call) + REPEATED, tmp_path) == 0
