"""Capture files given as paths, and paths that cannot be opened."""

from __future__ import annotations

import os
import pathlib
import socket

import pytest

from slimcap import FileFormatError, PcapSource, TruncatedFileError, open_file, read


@pytest.mark.parametrize("kind", [str, pathlib.Path, os.fsencode], ids=["str", "Path", "bytes"])
@pytest.mark.parametrize("name", ["plain.pcap", "späce und ümlaut.pcap", "-", "no.suffix.at.all"])
def test_path_can_be_str_bytes_or_path_object(tmp_path, sample, kind, name, drain):
    path = tmp_path / name
    path.write_bytes(sample.data)
    with PcapSource(kind(path)) as source:
        assert source.name == str(path)
        assert source.progress == (len(sample.data), len(sample.data))
        assert drain(source).facts == sample.facts
    assert len(read(kind(path))) == len(sample.rows)


def test_path_need_not_be_valid_utf_8(tmp_path, sample, drain):
    path = os.fsencode(tmp_path) + b"/\xff\xfe.pcap"
    with open(path, "wb") as file:
        file.write(sample.data)
    with PcapSource(path) as source:
        assert os.fsencode(source.name) == path
        assert drain(source).facts == sample.facts


def test_open_file_passes_its_options_on(sample):
    with open_file(sample.path, snaplen=20, block_size=64, timeout=1) as source:
        assert isinstance(source, PcapSource)
        assert len(source.next_payload()[0]) == 20


def test_relative_path_is_opened(sample, monkeypatch, drain):
    monkeypatch.chdir(sample.path.parent)
    with PcapSource(sample.path.name) as source:
        assert drain(source).facts == sample.facts


@pytest.mark.parametrize("path", ["no such file", "no/such/folder", ""])
def test_missing_file_raises_file_not_found_error(path):
    with pytest.raises(FileNotFoundError) as raised:
        PcapSource(path)
    assert raised.value.filename == path


def test_folder_raises_is_a_directory_error(tmp_path):
    with pytest.raises(IsADirectoryError) as raised:
        PcapSource(tmp_path)
    assert raised.value.filename == str(tmp_path)


def test_path_with_a_nul_byte_raises_value_error():
    with pytest.raises(ValueError, match="NUL bytes"):
        PcapSource("a\0b")


def test_read_error_names_the_file():
    with pytest.raises(OSError, match="read") as raised:
        PcapSource("/proc/self/mem")
    assert raised.value.filename == "/proc/self/mem"


@pytest.mark.parametrize(
    ("path", "kind"), [("/dev/null", TruncatedFileError), ("/dev/zero", FileFormatError)]
)
def test_devices_are_not_valid_capture_files(path, kind):
    with pytest.raises(FileFormatError) as raised:
        PcapSource(path)
    assert type(raised.value) is kind


def test_named_socket_cannot_be_opened(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="socket"):
            PcapSource(tmp_path / "socket")


@pytest.mark.parametrize("file", [None, 7, 1.5, object(), [], {}], ids=lambda file: type(file).__name__)
def test_other_types_raise_type_error(file):
    with pytest.raises(TypeError, match="path or a binary file object"):
        PcapSource(file)
