"""Fixtures of the source tests: capture files and a FIFO of numbered packets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from make_samples import pcap_header
from slimcap import PcapSource
from support.files import Fifo


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[bytes], Path]:
    """Gives the path of a pcap file with these records."""

    def write(records: bytes) -> Path:
        path = tmp_path / "some.pcap"
        path.write_bytes(pcap_header() + records)
        return path

    return write


@pytest.fixture
def fifo_source(fifo: Fifo) -> Iterator[PcapSource]:
    """A source that waits for the records that are written to `fifo`."""
    fifo.write(pcap_header())
    with PcapSource(fifo.path) as source:
        yield source


@pytest.fixture
def open_descriptors() -> Callable[[], int]:
    """Gives the number of open file descriptors."""
    return lambda: len(os.listdir("/proc/self/fd"))
