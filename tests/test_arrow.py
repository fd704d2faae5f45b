"""Arrow: what polars, DuckDB, pandas and pyarrow make of a batch is what it has, for as long as they want."""

from __future__ import annotations

import ctypes
import gc
import io
import ipaddress
import mmap
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, ArrowColumns, ArrowStream, Batch, concat, ip_to_str, open_file, read

pa = pytest.importorskip("pyarrow")
DEFAULT = [name for name in RECORD_DTYPE.names or () if name != "offset"]
CONTENT = random.Random(2).randbytes(4096)
LENGTHS = (0, 1, 4, 11, 12, 13, 16, 60, 255, 1514)  # 12 is the longest that a view holds itself


@pytest.fixture
def mixed(data_path: Path) -> Batch:
    return read(data_path / "mixed.pcap")


def batch_of(lengths: Any = LENGTHS, data: Any = CONTENT, offsets: Any = None) -> Batch:
    records = np.zeros(len(lengths), RECORD_DTYPE)
    for column, name in enumerate(DEFAULT):
        records[name] = np.arange(len(lengths)) * 5 + column
    records["cap_len"] = lengths
    records["offset"] = np.cumsum([7, *lengths])[:-1] if offsets is None else offsets
    return Batch(records, data)


def payloads_of(batch: Batch) -> list[bytes]:
    return [bytes(batch.payload(index)) for index in range(len(batch))]


def expected(batch: Batch) -> dict[str, list[Any]]:
    """The columns that an export has, as Python values; times in nanoseconds."""
    columns: dict[str, list[Any]] = {name: batch[name].tolist() for name in DEFAULT}
    return columns | {"payload": payloads_of(batch)}


# ---- what each library makes of it


def by_pyarrow(exported: Any) -> dict[str, list[Any]]:
    table = pa.table(exported)
    table.validate(full=True)
    table = table.set_column(0, "timestamp", table["timestamp"].cast(pa.int64()))
    columns: dict[str, list[Any]] = table.to_pydict()
    return columns


def by_polars(exported: Any) -> dict[str, list[Any]]:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(exported)
    assert frame.schema["timestamp"] == polars.Datetime("ns", "UTC")
    columns: dict[str, list[Any]] = frame.with_columns(polars.col("timestamp").to_physical()).to_dict(
        as_series=False
    )
    return columns


def by_pandas(exported: Any) -> dict[str, list[Any]]:
    pandas = pytest.importorskip("pandas")
    if not hasattr(pandas.DataFrame, "from_arrow"):
        pytest.skip("pandas before 3 takes no Arrow streams")
    frame = pandas.DataFrame.from_arrow(exported)
    assert str(frame["timestamp"].dtype) == "datetime64[ns, UTC]"
    frame["timestamp"] = frame["timestamp"].astype("int64")
    columns: dict[str, list[Any]] = frame.to_dict("list")
    return columns


def by_duckdb(exported: Any) -> dict[str, list[Any]]:
    duckdb = pytest.importorskip("duckdb")
    if int(duckdb.__version__.split(".")[0]) < 2:
        pytest.skip("DuckDB before 2 has no nanoseconds where there is a time zone")
    with duckdb.connect() as connection:
        connection.register("packets", exported)
        found = connection.sql("select * replace (epoch_ns(timestamp) as timestamp) from packets")
        names, rows = found.columns, found.fetchall()
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


READERS = [by_pyarrow, by_polars, by_pandas, by_duckdb]


@pytest.mark.parametrize("by", READERS)
def test_a_batch_is_a_table(by: Callable[[Any], Any], mixed: Batch) -> None:
    assert len(mixed) > 100
    assert by(mixed) == expected(mixed)
    assert by(batch_of()) == expected(batch_of())


@pytest.mark.parametrize("by", READERS)
def test_a_source_is_a_stream(by: Callable[[Any], Any], data_path: Path, mixed: Batch) -> None:
    with open_file(data_path / "mixed.pcap", block_size=700) as source:
        assert by(source.batches()) == expected(mixed)
    with open_file(data_path / "mixed.pcap") as source:
        assert by(ArrowStream(source.batches(max_packets=3))) == expected(mixed)


@pytest.mark.parametrize("by", READERS)
def test_no_packets(by: Callable[[Any], Any], data_path: Path) -> None:
    nothing: dict[str, list[Any]] = {name: [] for name in (*DEFAULT, "payload")}
    assert by(Batch([], b"")) == nothing
    assert by(ArrowStream([])) == nothing
    assert by(ArrowStream([Batch([], b""), Batch([], b"")])) == nothing


def test_every_sample(good: Any) -> None:
    whole = read(good.path)
    for payload in ("binary_view", "large_binary"):
        with open_file(good.path, block_size=512) as source:
            assert by_pyarrow(ArrowStream(source.batches(), payload=payload)) == expected(whole)  # type: ignore[arg-type]


def test_types(mixed: Batch) -> None:
    types = {
        "timestamp": pa.timestamp("ns", "UTC"),
        **dict.fromkeys(["total_len", "cap_len", "flags"], pa.uint32()),
        **dict.fromkeys(["ip_offset", "interface", "vlan_tci", "vlan_tpid"], pa.uint16()),
        "pkt_type": pa.uint8(),
        "payload": pa.binary_view(),
    }
    schema = pa.schema(mixed)
    assert {field.name: field.type for field in schema} == types
    assert not any(field.nullable for field in schema)
    assert pa.record_batch(mixed).schema == schema == pa.schema(ArrowStream([]))
    assert mixed.to_arrow().schema.field("payload").type == pa.large_binary()


# ---- which columns


def test_columns_and_payloads() -> None:
    batch = batch_of()
    table = batch.to_arrow(["payload", "offset", "cap_len"])
    assert table.column_names == ["payload", "offset", "cap_len"]
    assert table["offset"].to_pylist() == batch["offset"].tolist()
    assert batch.to_arrow(payload=False).column_names == DEFAULT
    assert batch.to_arrow(["payload"], payload=False)["payload"].to_pylist() == payloads_of(batch)
    assert batch.to_arrow(iter(["flags"])).column_names == ["flags"]
    assert batch.to_arrow([]).column_names == []
    hexadecimal = batch.to_arrow(payload="hex")["payload"]
    assert hexadecimal.type == pa.large_string()
    assert hexadecimal.to_pylist() == [payload.hex() for payload in payloads_of(batch)]
    assert batch.to_arrow(payload="binary_view")["payload"].type == pa.binary_view()


def test_columns_that_are_not_there() -> None:
    batch = batch_of()
    with pytest.raises(ValueError, match=r"column 'x': there are .*timestamp, offset, .*payload"):
        batch.to_arrow(["x"])
    with pytest.raises(ValueError, match="given twice: flags"):
        batch.to_arrow(["flags", "payload", "flags"])
    with pytest.raises(ValueError, match="binary_view, large_binary, hex"):
        batch.to_arrow(payload="utf8")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a list of names"):
        batch.to_arrow("flags")
    with pytest.raises(ValueError, match="no column 'payload'"):
        ArrowColumns(batch.records, ["payload"])


def test_a_table_that_can_be_worked_with(mixed: Batch) -> None:
    """What pyarrow cannot do with a binary_view."""
    compute = pytest.importorskip("pyarrow.compute")
    table = mixed.to_arrow().sort_by([("total_len", "descending")])
    table = table.filter(compute.greater(table["cap_len"], 100)).take([0, 1])
    longest = sorted(mixed["total_len"].tolist())[:-3:-1]
    assert table["total_len"].to_pylist() == longest
    assert [len(payload) for payload in table["payload"].to_pylist()] == table["cap_len"].to_pylist()


def test_to_pandas(mixed: Batch) -> None:
    pandas = pytest.importorskip("pandas")
    frame = mixed.to_pandas()
    assert list(frame.columns) == [*DEFAULT, "payload"]
    assert (frame["timestamp"].to_numpy("M8[ns]") == mixed.timestamps).all()
    assert frame["payload"].tolist() == payloads_of(mixed)
    assert isinstance(frame["payload"].dtype, pandas.ArrowDtype)
    for name in DEFAULT[1:]:
        assert frame[name].dtype == mixed[name].dtype
        assert (frame[name] == mixed[name]).all()
    assert list(mixed.to_pandas(["flags"]).columns) == ["flags"]


def test_to_polars(mixed: Batch) -> None:
    polars = pytest.importorskip("polars")
    frame = mixed.to_polars()
    assert by_polars(frame) == expected(mixed)
    assert frame.filter(polars.col("total_len") > 100).height == (mixed["total_len"] > 100).sum()
    assert mixed.to_polars(["flags"], payload=False).columns == ["flags"]


def test_requested_schema(mixed: Batch) -> None:
    for wanted in (pa.large_binary(), pa.binary_view()):
        schema = pa.schema([pa.field("payload", wanted)])
        _, array = mixed.__arrow_c_array__(schema.__arrow_c_schema__())
        assert array is not None
        got = pa.RecordBatchReader._import_from_c_capsule(
            mixed.__arrow_c_stream__(schema.__arrow_c_schema__())
        )
        assert got.schema.field("payload").type == wanted
        assert got.read_all()["payload"].to_pylist() == payloads_of(mixed)
    other = pa.schema([pa.field("payload", pa.int8()), pa.field("x", pa.int8())])
    assert pa.RecordBatchReader._import_from_c_capsule(
        mixed.__arrow_c_stream__(other.__arrow_c_schema__())
    ).schema == pa.schema(mixed)
    with pytest.raises(ValueError, match="incorrect name"):
        mixed.__arrow_c_stream__(mixed.__arrow_c_stream__())


# ---- any structured array


def test_any_structured_array() -> None:
    dtype = np.dtype(
        [
            *((f"{kind}{size}", f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)),
            ("f4", "f4"),
            ("f8", "f8"),
            ("flag", "?"),
            ("mac", "u1", 6),
            ("address", "V16"),
            ("text", "S5"),
            ("when", "M8[us]"),
            ("timestamp", "i8"),
        ]
    )
    rows = np.frombuffer(random.Random(3).randbytes(dtype.itemsize * 5000), dtype).copy()
    rows["flag"] = rows["u1"] > 99
    rows["f4"], rows["f8"] = np.arange(5000) / 3, np.arange(5000) / 7
    for array in (rows, rows[::2], rows[::-3], rows[:1], rows[:0], rows[4:3]):
        table = pa.table(ArrowColumns(array))
        table.validate(full=True)
        assert table.num_rows == len(array) == len(ArrowColumns(array))
        for name in dtype.names or ():
            column = table[name]
            if name in ("mac", "address", "text"):
                assert column.type == pa.binary(dtype[name].itemsize)
                assert b"".join(column.to_pylist()) == array[name].tobytes()
            elif name in ("when", "timestamp"):
                assert column.type == pa.timestamp("us" if name == "when" else "ns", "UTC")
                assert column.cast(pa.int64()).to_pylist() == array[name].view("i8").tolist()
            else:
                assert column.type == pa.from_numpy_dtype(dtype[name])
                assert column.to_pylist() == array[name].tolist()


def test_some_columns_of_an_array() -> None:
    batch = batch_of()
    assert pa.table(ArrowColumns(batch.records, ["cap_len", "flags"])).column_names == ["cap_len", "flags"]
    assert pa.record_batch(ArrowColumns(batch.records)).num_rows == len(batch)
    assert "cap_len" in repr(ArrowColumns(batch.records, ["cap_len"]))


ADDRESSES = ["::", "::1", "2001:db8::8:800:200c:417a", "fe80::1", "ff02::fb", "1:2:3:4:5:6:7:8", "::2:3:4"]
IPV4 = ["192.0.2.1", "0.0.0.0", "255.255.255.255", "10.20.30.40"]


def test_addresses_as_text() -> None:
    rows = np.zeros(len(ADDRESSES) + len(IPV4), [("port", "u2"), ("src", "u1", 16), ("dst", "V16")])
    packed = [ipaddress.IPv6Address(text).packed for text in (*ADDRESSES, *(f"::ffff:{a}" for a in IPV4))]
    rows["src"] = np.frombuffer(b"".join(packed), "u1").reshape(-1, 16)
    rows["dst"] = np.frombuffer(b"".join(packed[::-1]), "V16")
    table = pa.table(ArrowColumns(rows, text={"src", "dst"}))
    assert table["src"].type == pa.large_string()
    assert table["src"].to_pylist() == [*ADDRESSES, *IPV4]
    assert table["dst"].to_pylist() == [*ADDRESSES, *IPV4][::-1]
    assert pa.table(ArrowColumns(rows, ["dst"]))["dst"].to_pylist() == packed[::-1]
    macs = np.frombuffer(bytes(range(242, 254)), [("mac", "V6")])
    assert pa.table(ArrowColumns(macs, text=["mac"])).to_pydict() == {
        "mac": ["f2:f3:f4:f5:f6:f7", "f8:f9:fa:fb:fc:fd"]
    }
    with pytest.raises(TypeError, match="16 or 6 bytes"):
        ArrowColumns(rows, text=["port"])


def test_ascii_as_text() -> None:
    rows = np.zeros(5, [("id", "S6"), ("n", "u2")])
    rows["id"] = [b"", b"a", b"abcdef", b"x\xff\x80y", b"a\0b"]
    table = pa.table(ArrowColumns(rows, text=["id"]))
    table.validate(full=True)
    assert table["id"].to_pylist() == ["", "a", "abcdef", "x??y", "a"]


@pytest.mark.parametrize(
    "kind", [">u4", "c8", "O", "U3", "m8[s]", "M8[D]", "f2", "V0", ("u2", 3), [("x", "u1")]]
)
def test_types_that_arrow_has_not(kind: Any) -> None:
    with pytest.raises(TypeError, match="the field 'a' is"):
        ArrowColumns(np.zeros(2, np.dtype({"names": ["a"], "formats": [kind]})))


def test_arrays_that_have_no_columns() -> None:
    with pytest.raises(TypeError, match="structured"):
        ArrowColumns(np.zeros(2))
    with pytest.raises(ValueError, match="one dimension"):
        ArrowColumns(np.zeros((2, 2), RECORD_DTYPE))
    array = np.zeros(4, RECORD_DTYPE)
    exported = ArrowColumns(array)
    array.shape = (2, 2)  # behind our back
    with pytest.raises(ValueError, match=r"rows of .* are needed, not \(2, 2\)"):
        exported.__arrow_c_array__()


# ---- how long it lives


def buffers_of(batch: Any) -> list[Any]:
    """The data buffers of the payload column."""
    column = pa.record_batch(batch).column("payload")
    buffers: list[Any] = column.buffers()
    return buffers[2:]


def test_payloads_are_where_they_were(mixed: Batch) -> None:
    (data,) = buffers_of(mixed)
    assert data.address == mixed.data.ctypes.data
    assert data.size == len(mixed.data)
    mask = mixed["cap_len"] > 100
    (data,) = buffers_of(mixed[mask])
    assert data.address == mixed.data.ctypes.data
    assert by_pyarrow(mixed[mask]) == expected(mixed[mask])


def test_a_table_keeps_the_bytes_on_loan(mixed: Batch) -> None:
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


def test_copies_keep_nothing(mixed: Batch) -> None:
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


def test_a_table_outlives_everything(data_path: Path) -> None:
    path = data_path / "mixed.pcap"
    want = expected(read(path))
    with open_file(path, block_size=700) as source:
        table = pa.table(source.batches())
    del source
    gc.collect()
    for _ in range(3):  # blocks of this size come from where those came from
        with open_file(data_path / "mixed_be.pcap", block_size=700) as other:
            assert concat(other.batches())
    assert by_pyarrow(table) == want


# The structs as a consumer in C sees them.


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


def test_release_from_another_thread() -> None:
    batch = batch_of()
    arrays = [moved(batch) for _ in range(50)]
    assert arrays[0].length == len(batch)
    assert arrays[0].n_children == len(DEFAULT) + 1
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


def test_children_that_are_taken_over_live_on() -> None:
    batch = batch_of()
    array = moved(batch)
    children = [take(array.children[index].contents) for index in (1, len(DEFAULT))]
    release(array)
    total_len, payload = children
    assert (ctypes.c_uint32 * len(batch)).from_address(total_len.buffers[1])[:] == batch["total_len"].tolist()
    with pytest.raises(BufferError):
        batch.release()
    release(total_len)
    release(payload)
    batch.release()


def test_capsules_that_nobody_takes() -> None:
    batch = batch_of()
    capsules = [batch.__arrow_c_array__(), batch.__arrow_c_stream__(), batch.__arrow_c_schema__()]
    with pytest.raises(BufferError):
        batch.release()
    capsules.clear()
    batch.release()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def test_nothing_leaks() -> None:
    batch = batch_of(np.full(2000, 1500), bytes(3_000_100))

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


# ---- memory larger than a view's offset


def test_data_of_more_than_two_gibibytes(tmp_path: Path) -> None:
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
        batch = batch_of(lengths, memory, offsets)
        table = pa.table(batch)
        assert len(buffers_of(batch)) == 5
        assert table["payload"].to_pylist() == payloads_of(batch)
        assert by_polars(batch)["payload"] == payloads_of(batch)
        del table, batch
        too_long = batch_of([1 << 31], memory, [0])
        with pytest.raises(ValueError, match="too long for binary_view: ask for large_binary"):
            too_long.__arrow_c_array__()
        del too_long
        gc.collect()


# ---- streams that fail


def rows_before_error(source_of: Callable[[], Any]) -> tuple[int, str]:
    """Rows that a consumer gets, and what it is told then."""
    reader = pa.RecordBatchReader.from_stream(source_of())
    rows = 0
    try:
        for batch in reader:
            rows += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        return rows, str(error)
    return rows, ""


def test_a_file_cut_at_every_byte(samples: Any) -> None:
    packets = [samples.pcap_record(bytes(length)) for length in (60, 0, 7)]
    data = samples.pcap_header() + b"".join(packets)
    found = set()
    for size in range(24, len(data) + 1):
        want, told = 0, ""
        try:
            for batch in open_file(io.BytesIO(data[:size]), block_size=64).batches():
                want += len(batch)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
        rows, message = rows_before_error(
            lambda size=size: open_file(io.BytesIO(data[:size]), block_size=64).batches()
        )
        assert rows == want
        assert told in message
        assert bool(told) == bool(message)
        found.add(rows)
    assert found == {0, 1, 2, 3}


def test_a_consumer_is_told_what_is_wrong(data_path: Path) -> None:
    bad = data_path / "bad" / "cut_data.pcap"
    with pytest.raises(
        pa.ArrowInvalid, match=r"TruncatedFileError: .*cut_data.pcap: the file ends in .*byte 245"
    ):
        pa.table(open_file(bad).batches())
    polars = pytest.importorskip("polars")
    with pytest.raises(BaseException, match=r"TruncatedFileError: .*byte 245"):
        polars.DataFrame(open_file(bad).batches())
    duckdb = pytest.importorskip("duckdb")
    batches = open_file(bad).batches()  # noqa: F841 (the query names it)
    with pytest.raises(duckdb.Error, match=r"TruncatedFileError: .*byte 245"):
        duckdb.sql("select sum(total_len) from batches").fetchall()


def test_a_timeout(fifo: Any, samples: Any) -> None:
    fifo.write(samples.pcap_header() + samples.pcap_record(bytes(60)))
    with open_file(fifo.path, timeout=0.05) as source:
        rows, message = rows_before_error(source.batches)
    assert rows == 1
    assert "TimeoutError" in message


def test_a_source_that_is_closed_ends(data_path: Path) -> None:
    source = open_file(data_path / "mixed.pcap", block_size=700)
    batches = source.batches()
    reader = pa.RecordBatchReader.from_stream(batches)
    rows = reader.read_next_batch().num_rows
    source.close()
    assert rows
    assert list(reader) == []
    assert pa.table(batches).num_rows == 0


def test_things_that_are_no_batches() -> None:
    array = np.zeros(3, [("a", "u1")])
    for thing, message in ((None, "not NoneType"), (array, "rows of"), (batch_of().records, "attribute")):
        with pytest.raises((OSError, pa.ArrowInvalid), match=message):
            pa.table(ArrowStream([thing]))  # type: ignore[list-item]
    with pytest.raises(TypeError):
        pa.table(ArrowStream(5))  # type: ignore[arg-type]


def test_errors_of_every_kind() -> None:
    class Unshown(Exception):
        def __str__(self) -> str:
            raise self

    def failing(error: BaseException) -> Iterator[Batch]:
        yield batch_of()
        raise error

    for error, kind, message in (
        (ValueError("a\0b \udc80 ä"), pa.ArrowInvalid, r"ValueError: a\?b \? ä"),
        (MemoryError("all of it"), MemoryError, "MemoryError: all of it"),
        (OSError(28, "full", "name"), OSError, "OSError: .*full: 'name'"),
        (OSError(-5, "negative"), OSError, "negative"),
        (TimeoutError("late"), OSError, "TimeoutError: late"),
        (RuntimeError("busy"), OSError, "RuntimeError: busy"),
        (SystemExit(3), OSError, "SystemExit: 3"),
        (Unshown(), OSError, None),
    ):
        with pytest.raises(kind, match=message):
            pa.table(ArrowStream(failing(error)))


def test_ctrl_c_stays_ctrl_c() -> None:
    def interrupted() -> Iterator[Batch]:
        yield batch_of()
        raise KeyboardInterrupt

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    told = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (it comes between two of Python's own steps)
        try:
            pa.table(ArrowStream(interrupted()))
        except OSError as error:
            told.append(str(error))
            for _ in range(1000):
                pass
    assert not told or "KeyboardInterrupt" in told[0]


def test_reading_in_a_thread_of_the_consumer(data_path: Path, mixed: Batch, background: Any) -> None:
    with open_file(data_path / "mixed.pcap", block_size=700) as source:
        reader = pa.RecordBatchReader.from_stream(source.batches())
        table = background(reader.read_all).result()
        background(lambda: reader.close()).result()
    assert by_pyarrow(table) == expected(mixed)


# ---- header columns


def test_header_columns(mixed: Batch) -> None:
    names = ["src", "dst_mac", "dst_port", "more_fragments", "community_id"]
    headers = mixed.headers(names)
    table = mixed.to_arrow(["timestamp", *names, "payload"])
    assert b"".join(table["src"].to_pylist()) == headers["src"].tobytes()
    assert table["dst_port"].to_pylist() == headers["dst_port"].tolist()
    assert table["more_fragments"].to_pylist() == headers["more_fragments"].tolist()
    assert table["community_id"].to_pylist() == [one.decode() for one in headers["community_id"].tolist()]
    texts = pa.table(ArrowStream(mixed, names, text=True))
    assert texts["src"].to_pylist() == ip_to_str(headers["src"]).tolist()
    assert texts["dst_mac"].to_pylist() == [one.tobytes().hex(":") for one in headers["dst_mac"]]
    with pytest.raises(ValueError, match="'x'"):
        mixed.to_arrow(["src", "x"])
