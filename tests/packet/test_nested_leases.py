"""Batches of batches of batches: they keep only the batch that owns the bytes, and are quick to free."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from slimcap import Batch
from slimcap.packet.lease import Hold
from support.batches import is_locked, payloads_of
from support.rows import rows

AGAIN = {
    "slice": "batch = batch[:]",
    "everything": "batch = batch[...]",
    "backwards": "batch = batch[::-1]",
    "mask": "batch = batch[np.ones(len(batch), bool)]",
    "numbers": "batch = batch[[0, 1]]",
    "filter": "batch = batch.filter([(6, 0, 0, 1)])",
    "conditions": "batch = batch.filter(where=SENT)",
    "comments": "batch = batch.with_comments({})",
    "blocks": "batch = batch.with_blocks(())",
    "array": "batch = Batch(batch.records, batch.data)",
    "memoryview": "batch = Batch(batch.records, memoryview(batch.data)[:])",
    "frombuffer": "batch = Batch(batch.records, np.frombuffer(memoryview(batch.data), 'u1'))",
    "lease": "batch = Batch(batch.records, Lease(batch.data))",
    "payload": "batch = Batch(batch.records[:1], batch.payload(0)[:])",
    "packet": "batch = Batch(batch.records[:1], batch[0])",
    "packet_memoryview": "batch = Batch(batch.records[:1], memoryview(batch[0]))",
    "leases": "lease = Lease(lease)",
    "pyarrow": "lease = Lease(__import__('pyarrow').py_buffer(lease))",
}
PROGRAM = """
import threading
import numpy as np
from slimcap import RECORD_DTYPE, Batch, Link
from slimcap.filter import HeaderFilter
from slimcap.mock import build_packet
from slimcap.packet.lease import Lease

def nest():
    data = bytes(build_packet("192.0.2.1", "192.0.2.2", 1234, 53))
    rows = np.zeros(2, RECORD_DTYPE)
    rows["cap_len"], rows["ip_offset"] = len(data), 14
    batch = Batch(rows, data, [Link("eth0", 1, 1)])
    lease = Lease(data)
    for _ in range(4000):
        {again}
    assert len(batch) and lease.nbytes == len(data)
    freed.append(True)

freed = []
SENT = HeaderFilter(host="192.0.2.1")
threading.stack_size(128 << 10)
thread = threading.Thread(target=nest)
thread.start()
thread.join()
assert freed
"""


@pytest.mark.parametrize("again", AGAIN.values(), ids=AGAIN)
def test_a_batch_of_a_batch_can_be_freed_at_any_depth(again):
    """In another process, on a small stack: one call for each level would overflow it."""
    if "pyarrow" in again:
        pytest.importorskip("pyarrow")
    subprocess.run([sys.executable, "-c", PROGRAM.replace("{again}", again)], check=True, timeout=60)


def holds() -> int:
    gc.collect()
    return sum(type(one) is Hold for one in gc.get_objects())


def test_batches_between_the_first_and_the_last_are_not_kept(memory):
    batch = Batch(rows(), memory)
    before = holds()
    for _ in range(100):
        batch = batch[::-1].filter([(6, 0, 0, 1)])
        batch = Batch(batch.records, memoryview(batch.data)[:])
    assert holds() <= before + 4
    assert payloads_of(batch) == payloads_of(Batch(rows(), memory))
    del batch
    assert not is_locked(memory)
