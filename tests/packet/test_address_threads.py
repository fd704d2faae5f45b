"""Addresses that another thread writes while they are converted to text."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import threading, time
import numpy as np
from slimcap import ip_to_str

COUNT = 200_000
short = np.frombuffer(b"\\0" * 10 + b"\\xff\\xff" + bytes([1, 2, 3, 4]), "u1")
kinds = [np.tile(short, (COUNT, 1)), np.full((COUNT, 16), 0xfd, "u1")]
column = kinds[0].copy()
done, texts = threading.Event(), set()

def write():
    while not done.is_set():
        for kind in kinds:
            np.copyto(column, kind)
            time.sleep(0.001)

writer = threading.Thread(target=write)
writer.start()
end = time.monotonic() + 2
while time.monotonic() < end:
    found = ip_to_str(column)
    texts |= set(found[::97].tolist()) | set(found[-3:].tolist())
done.set()
writer.join()
whole = {"1.2.3.4", "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd"}
assert texts == whole, texts
"""


def test_texts_are_never_longer_than_measured():
    """In another process, whose heap would be damaged."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
