"""Fixtures of tests of packets and batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcap import Batch
from support.rows import CONTENT, rows


@pytest.fixture
def memory() -> bytearray:
    """Memory whose size is locked while a buffer of it is exported."""
    return bytearray(CONTENT)


@pytest.fixture
def batch(memory: bytearray) -> Batch:
    """A batch of `rows()` over `memory`."""
    return Batch(rows(), memory)


@pytest.fixture(scope="session")
def mixed_path(data_path: Path) -> Path:
    """The path of mixed.pcap."""
    return data_path / "mixed.pcap"
