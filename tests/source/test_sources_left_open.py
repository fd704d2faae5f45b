"""ResourceWarning for a source of files that is neither closed nor read to its end."""

from __future__ import annotations

import gzip
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slimcap import FileFormatError, open_file, open_files

SOURCES: dict[str, Callable[[Path, Path], Any]] = {
    "pcap": lambda data, tmp: open_file(data / "mixed.pcap"),
    "pcapng": lambda data, tmp: open_file(data / "mixed.pcapng"),
    "compressed": lambda data, tmp: open_file(packed(data, tmp)),
    "followed": lambda data, tmp: open_file(data / "mixed.pcap", follow=True),
    "merged": lambda data, tmp: open_files([data / "mixed.pcap", data / "mixed.pcapng"]),
}


def packed(data: Path, tmp: Path) -> Path:
    path = tmp / "mixed.pcap.gz"
    path.write_bytes(gzip.compress((data / "mixed.pcap").read_bytes()))
    return path


def warned(use: Callable[[], Any]) -> list[str]:
    """Return the texts of the ResourceWarnings of a call that keeps nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use()
    assert {warning.category for warning in caught} <= {ResourceWarning}
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("kind", sorted(SOURCES.keys() - {"compressed"}))
def test_source_that_was_left_open_warns(kind: str, data_path: Path, tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    (text,) = warned(lambda: SOURCES[kind](data_path, tmp_path).next_packet())
    assert text.startswith(("<PcapSource ", "<MergedSource "))
    assert text.endswith(" was not closed: use it as a context manager, or call close()")
    assert set(os.listdir("/proc/self/fd")) == before


def test_source_that_was_never_read_warns(data_path: Path) -> None:
    assert len(warned(lambda: open_file(data_path / "mixed.pcap"))) == 1


@pytest.mark.parametrize("kind", sorted(SOURCES.keys() - {"followed"}))
def test_source_that_was_closed_or_read_to_its_end_does_not_warn(
    kind: str, data_path: Path, tmp_path: Path
) -> None:
    assert warned(lambda: SOURCES[kind](data_path, tmp_path).close()) == []
    assert warned(lambda: list(SOURCES[kind](data_path, tmp_path))) == []
    assert warned(lambda: list(SOURCES[kind](data_path, tmp_path).batches())) == []


def test_source_that_ended_in_an_error_does_not_warn(data_path: Path) -> None:
    def use() -> None:
        with pytest.raises(FileFormatError):
            list(open_file(data_path / "bad" / "cut_data.pcap"))

    assert warned(use) == []


def test_source_that_could_not_be_opened_does_not_warn(data_path: Path) -> None:
    def use() -> None:
        with pytest.raises(FileFormatError):
            open_file(data_path / "bad" / "bad_magic.pcap")
        with pytest.raises(FileFormatError):
            open_files([data_path / "mixed.pcap", data_path / "bad" / "bad_magic.pcap"])
        with pytest.raises(FileNotFoundError):
            open_file(data_path / "no such file")

    assert warned(use) == []


def test_source_of_a_file_object_does_not_warn(data_path: Path) -> None:
    """It has nothing to close: the file object is the caller's."""
    data = (data_path / "mixed.pcap").read_bytes()
    assert warned(lambda: open_file(io.BytesIO(data)).next_packet()) == []
