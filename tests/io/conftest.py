"""Fixtures of the input tests: a sample, files with and without read-ahead, standard input."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from support.samples import Sample


@pytest.fixture
def sample(sample_of: Callable[[str], Sample]) -> Sample:
    """mixed.pcap: 195 packets."""
    return sample_of("mixed.pcap")


@pytest.fixture(params=["a path", "a file object"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], Path | BinaryIO]:
    """Gives a file of some bytes: with a thread that reads ahead, and without."""

    def make(data: bytes) -> Path | BinaryIO:
        if request.param == "a file object":
            return io.BytesIO(data)
        path = tmp_path / "compressed"
        path.write_bytes(data)
        return path

    return make


@pytest.fixture
def stdin_from() -> Iterator[Callable[[int], None]]:
    """`stdin_from(fd)` makes a file, pipe or socket the standard input until the test ends."""
    before = os.dup(0)

    def use(fd: int) -> None:
        os.dup2(fd, 0)

    yield use
    os.dup2(before, 0)
    os.close(before)
