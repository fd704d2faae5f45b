"""Fuzz the decompressors: whatever a stream is, they end, give little at a time, and give the same however
the compressed bytes come in."""

from __future__ import annotations

import io
from collections.abc import Iterator

from slimcap.source.compression import SNIFF_LEN, decompressor
from slimcap.source.stream import StreamError

MOST_PIECE = 1 << 22  # the largest block that there is: of lz4
ENOUGH = 1 << 25  # of a bomb


def check(data: bytes, step: int = 7) -> tuple[bytes, StreamError | None]:
    """Decompress to the end, or to the damage; gives what came, and what was wrong then."""
    whole, error = _drained(data, len(data) + 1)
    stepped, stepped_error = _drained(data, step)
    assert (error is None) == (stepped_error is None)
    if error is None or error.cut:
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


def test_one_input(data: bytes) -> None:
    """What atheris calls: the first byte picks the step."""
    check(data[1:], 1 + (data[0] if data else 0))
