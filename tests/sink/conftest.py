"""Fixtures of tests of sinks."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcap import Batch, read


@pytest.fixture
def mixed(data_path: Path) -> Batch:
    """The packets of mixed.pcap."""
    return read(data_path / "mixed.pcap")
