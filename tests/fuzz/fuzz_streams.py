"""Fuzz the decompressors: they end, return bounded pieces, and do not depend on how their input is split."""

from __future__ import annotations

import io
from collections.abc import Iterator

from corpus import compressed_captures
from slimcap.io.compression.detect import SNIFF_LEN, decompressor
from slimcap.io.compression.stream_reader import StreamError

MOST_PIECE = 1 << 22  # bytes: the largest block of any format, of lz4
ENOUGH = 1 << 25  # bytes: stop in a decompression bomb


def check(data: bytes, step: int = 7) -> tuple[bytes, StreamError | None]:
    """Decompress to the end or to the damage; return the bytes and the error."""
    whole, error = _drained(data, len(data) + 1)
    stepped, stepped_error = _drained(data, step)
    assert (error is None) == (stepped_error is None)
    if error is None or error.truncated:
        assert stepped == whole
    else:  # of xz and bzip2 some bytes before the damage are lost, more or less of them
        size = min(len(whole), len(stepped))
        assert whole[:size] == stepped[:size]
    return whole, error


def _drained(data: bytes, step: int) -> tuple[bytes, StreamError | None]:
    made = bytearray()
    try:
        for piece in _pieces(data, step):
            assert 0 < len(piece) <= MOST_PIECE
            made += piece
            if len(made) > ENOUGH:
                break
    except StreamError as error:
        assert error.reason
        return bytes(made), error
    return bytes(made), None


def _pieces(data: bytes, step: int) -> Iterator[bytes | memoryview]:
    file = io.BytesIO(data)

    def read(size: int) -> bytes:
        assert 0 < size < 1 << 23
        return file.read(min(size, step))

    reader = decompressor(file.read(SNIFF_LEN), read)
    while reader is not None and (piece := reader.read()):
        yield piece


def seeds() -> list[bytes]:
    """Return inputs to mutate: streams of each format."""
    return [b"\x40" + stream for stream in compressed_captures()]


def test_one_input(data: bytes) -> None:
    """Decompress a stream; the first byte selects the step."""
    check(data[1:], 1 + (data[0] if data else 0))
