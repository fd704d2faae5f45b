"""Decoders, walkers and boundary finders that two threads use at once: the second gets RuntimeError.

In another process, which would crash: their state is not locked.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

SETUP = """
import os, resource, sys, tempfile, threading, time
import numpy as np
from make_samples import pcap_header, pcap_record
from slimcap import Link, PcapNgWriter, PcapSource, RECORD_DTYPE
from slimcap.capfile.boundaries import BlockBoundaries, RecordBoundaries
from slimcap.capfile.pcap_decoder import PcapDecoder
from slimcap.capfile.pcapng_decoder import PcapngDecoder
from slimcap.source.live.block_walker import BlockWalker

if "libasan" not in os.environ.get("LD_PRELOAD", ""):  # which reserves terabytes of addresses
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.setswitchinterval(1e-5)
header = pcap_header()
small, large = header + pcap_record(b"x" * 60) * 10, header + pcap_record(b"y" * 60) * 100_000
file = tempfile.TemporaryFile()
file.write(large)
file.flush()
rows = [np.zeros(100_100, RECORD_DTYPE) for _ in range(2)]
"""
END = """
refused, wrong, end = [], [], time.monotonic() + 1.5

def use(number):
    while time.monotonic() < end and not wrong:
        try:
            found = one(number)
        except RuntimeError as error:
            refused.append(str(error))
        except BaseException as error:
            wrong.append(repr(error))
        else:
            if found not in valid[number]:
                wrong.append(found)

threads = [threading.Thread(target=use, args=(number,)) for number in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not wrong, wrong
assert refused and all("one at a time" in text for text in refused)
"""
USES = {
    "pcap": """
decoder = PcapDecoder(header)
one = lambda number: decoder.decode([small, large][number], rows[number], len(header))
valid = [10], [100_000]
""",
    "pcapng": """
import io
texts = []
for source in (small, large):
    memory = io.BytesIO()
    with PcapNgWriter(memory) as writer, PcapSource(io.BytesIO(source)) as packets:
        for batch in packets.batches():
            writer.write_batch(batch)
    texts.append(memory.getvalue())
decoder = PcapngDecoder()
starts = []
for text in texts:
    decoder.decode(text, rows[0][:0])
    starts.append(decoder.position)
one = lambda number: decoder.decode(texts[number], rows[number], starts[number])
valid = [10], [100_000]
""",
    "walker": """
from support.blocks import Sent, block_of
block = block_of([Sent()] * 100_000, 1 << 24)
walker = BlockWalker(1)
def one(number):
    walker.start(block)
    return walker.walk(block, rows[number])
valid = [[0, 100_000]] * 2  # none if the other thread was faster
""",
    "boundaries": """
finder = RecordBoundaries(file.fileno(), len(large), "x", PcapDecoder(header))
one = lambda number: finder.find(len(header), [1000, len(large) - 1000][number], True)
valid = [[len(header) + 76 * number] for number in (13, 99_987)]
""",
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_second_thread_is_refused(use):
    paths = os.pathsep.join([str(TESTS), str(TESTS / "data")])
    subprocess.run(
        [sys.executable, "-c", SETUP + use + END],
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": paths},
    )
