"""One way to flow records over one file, in a process of its own: `flow_readers.py NAME FILE PACKETS`.

What is timed is that of readers.py. Each returns the sum of the lengths on the wire over all records.
"""

import sys
from importlib import import_module
from typing import Any

import numpy as np
from readers import Reader, run

MAX_FLOWS = 1_000_000
ALL_FEATURES: dict[str, Any] = {"features": ("lengths", "iat", "flags", "payload"), "splt": 10}


def slimcap_flows(**options: Any) -> Reader:
    slimcap = import_module("slimcap")

    def read(path: str, _packets: int) -> int:
        total = 0
        for flows in slimcap.flows(path, max_flows=MAX_FLOWS, **options):
            total += int(flows["src_bytes"].sum() + flows["dst_bytes"].sum())
        return total

    return read


def slimcap_rows() -> Reader:
    slimcap = import_module("slimcap")

    def read(path: str, _packets: int) -> int:
        with slimcap.open_file(path) as source:
            return sum(batch.total_bytes for batch in source.batches())

    return read


def numpy_groups() -> Reader:
    """numpy on header columns: packets are grouped by the symmetric flow hash once they are all read."""
    slimcap = import_module("slimcap")

    def read(path: str, _packets: int) -> int:
        hashes, lengths, times = [], [], []
        with slimcap.open_file(path) as source:
            for batch in source.batches():
                hashes.append(batch.headers(["flow_hash_symmetric"])["flow_hash_symmetric"])
                lengths.append(np.array(batch["total_len"]))
                times.append(np.array(batch["timestamp"]))
        keys, first, rows, packets = np.unique(
            np.concatenate(hashes), return_index=True, return_inverse=True, return_counts=True
        )
        sums = np.bincount(rows, np.concatenate(lengths))
        last = np.zeros(len(keys), np.int64)
        np.maximum.at(last, rows, np.concatenate(times))
        if packets.sum() != len(rows) or len(first) != len(last):
            raise AssertionError("packets were lost")
        return int(sums.sum())

    return read


READERS = {
    "slimcap flows": slimcap_flows,
    "slimcap flows, all features": lambda: slimcap_flows(**ALL_FEATURES),
    "slimcap rows": slimcap_rows,
    "numpy on header columns": numpy_groups,
}

if __name__ == "__main__":
    run(READERS, sys.argv[1], sys.argv[2], int(sys.argv[3]))
