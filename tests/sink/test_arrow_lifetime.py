"""Arrow exports keep the buffer of their batch, without copies, until the consumer releases them."""

from __future__ import annotations

import ctypes
import gc
import mmap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimcap import Batch, concat, open_file, read
from slimcap.sink.arrow import ArrowStream
from support.batches import payloads_of
from support.tables import RECORD_COLUMNS, by_polars, by_pyarrow, expected_columns, uneven_batch

pa = pytest.importorskip("pyarrow")


# ---- tables


def buffers_of(batch: Any) -> list[Any]:
    """Return the data buffers of the payload column."""
    column = pa.record_batch(batch).column("payload")
    buffers: list[Any] = column.buffers()
    return buffers[2:]


def test_payloads_are_exported_without_a_copy(mixed: Batch) -> None:
    (data,) = buffers_of(mixed)
    assert data.address == mixed.data.ctypes.data
    assert data.size == len(mixed.data)
    mask = mixed["cap_len"] > 100
    (data,) = buffers_of(mixed[mask])
    assert data.address == mixed.data.ctypes.data
    assert by_pyarrow(mixed[mask]) == expected_columns(mixed[mask])


def test_a_table_keeps_the_buffer_of_its_batch(mixed: Batch) -> None:
    table, payloads = pa.table(mixed), payloads_of(mixed)
    gc.collect()
    with pytest.raises(BufferError, match="open views"):
        mixed.release()
    part = table["payload"].slice(3, 5)
    del table
    with pytest.raises(BufferError, match="open views"):
        mixed.release()
    assert part.to_pylist() == payloads[3:8]
    del part
    mixed.release()


def test_copies_do_not_keep_the_buffer_of_the_batch(mixed: Batch) -> None:
    table, payloads = mixed.to_arrow(), payloads_of(mixed)
    columns = mixed.to_polars(payload=False) if pytest.importorskip("polars") else None
    mixed.release()
    assert table["payload"].to_pylist() == payloads
    assert columns is not None
    for export in (pa.table, pa.record_batch, Batch.to_arrow, Batch.to_polars):
        with pytest.raises(BaseException, match="released"):  # polars before 2 panics
            export(mixed)
    with pytest.raises(ValueError, match="never made"):
        pa.table(Batch.__new__(Batch))


def test_a_table_outlives_batches_and_source(data_path: Path) -> None:
    path = data_path / "mixed.pcap"
    want = expected_columns(read(path))
    with open_file(path, block_size=700) as source:
        table = pa.table(source.batches())
    del source
    gc.collect()
    for _ in range(3):  # blocks of this size come from where those came from
        with open_file(data_path / "mixed_be.pcap", block_size=700) as other:
            assert concat(other.batches())
    assert by_pyarrow(table) == want


# ---- the C structs of the Arrow C data interface


class ArrowArray(ctypes.Structure):
    pass


Release = ctypes.CFUNCTYPE(None, ctypes.POINTER(ArrowArray))  # lets go of the GIL for the call
ArrowArray._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(ArrowArray))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]


def moved(batch: Batch) -> ArrowArray:
    """Take the array out of its capsule, as a consumer does."""
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    _, capsule = batch.__arrow_c_array__()
    there = ArrowArray.from_address(pointer_of(capsule, b"arrow_array"))
    return take(there)


def take(there: ArrowArray) -> ArrowArray:
    mine = ArrowArray()
    ctypes.memmove(ctypes.byref(mine), ctypes.byref(there), ctypes.sizeof(mine))
    there.release = None
    return mine


def release(array: ArrowArray) -> None:
    Release(array.release)(ctypes.byref(array))
    assert not array.release


def test_arrays_can_be_released_in_any_thread() -> None:
    batch = uneven_batch()
    arrays = [moved(batch) for _ in range(50)]
    assert arrays[0].length == len(batch)
    assert arrays[0].n_children == len(RECORD_COLUMNS) + 1
    with pytest.raises(BufferError):
        batch.release()
    threads = [
        threading.Thread(target=lambda part=part: [release(a) for a in part])
        for part in (arrays[::2], arrays[1::2])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batch.release()


def test_moved_children_outlive_their_parent() -> None:
    batch = uneven_batch()
    array = moved(batch)
    children = [take(array.children[index].contents) for index in (1, len(RECORD_COLUMNS))]
    release(array)
    total_len, payload = children
    assert (ctypes.c_int64 * len(batch)).from_address(total_len.buffers[1])[:] == batch["total_len"].tolist()
    with pytest.raises(BufferError):
        batch.release()
    release(total_len)
    release(payload)
    batch.release()


def test_capsules_without_a_consumer_release_the_batch() -> None:
    batch = uneven_batch()
    capsules = [batch.__arrow_c_array__(), batch.__arrow_c_stream__(), batch.__arrow_c_schema__()]
    with pytest.raises(BufferError):
        batch.release()
    capsules.clear()
    batch.release()


# ---- memory


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def test_exports_do_not_leak_memory() -> None:
    batch = uneven_batch(np.full(2000, 1500), bytes(3_000_100))

    def export() -> None:
        for payload in ("binary_view", "large_binary", "hex"):
            pa.table(ArrowStream([batch], payload=payload))  # type: ignore[arg-type]
        batch.__arrow_c_array__()
        batch.__arrow_c_stream__()

    export()
    before = resident()
    for _ in range(100):
        export()
    # It would be 900 MB. AddressSanitizer keeps the last 256 MB that were freed.
    assert resident() - before < 400 << 20


@pytest.mark.slow  # a sparse file of 5 GiB
def test_data_larger_than_a_view_offset_is_exported(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    size = 5 << 30
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(size)
        offsets = [
            0,
            100,
            (1 << 30) - 700,
            (1 << 30) - 13,
            1 << 30,
            (2 << 30) - 5,
            (4 << 30) + 3,
            size - 20,
            size,
        ]
        lengths = [50, 12, 1400, 1400, 13, 1000, 60, 20, 0]
        for number, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
            file.seek(offset)
            file.write(bytes([number + 1]) * length)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        batch = uneven_batch(lengths, memory, offsets)
        table = pa.table(batch)
        assert len(buffers_of(batch)) == 5
        assert table["payload"].to_pylist() == payloads_of(batch)
        assert by_polars(batch)["payload"] == payloads_of(batch)
        del table, batch
        too_long = uneven_batch([1 << 31], memory, [0])
        with pytest.raises(ValueError, match="too long for binary_view: use large_binary"):
            too_long.__arrow_c_array__()
        del too_long
        gc.collect()
