"""Export to Arrow: types, columns, any structured array, header columns."""

from __future__ import annotations

import ipaddress
import random
from typing import Any

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, Batch, open_file, read
from slimcap.sink.arrow import ArrowColumns, ArrowStream
from support.batches import payloads_of
from support.tables import RECORD_COLUMNS, by_pyarrow, expected_columns, uneven_batch

pa = pytest.importorskip("pyarrow")


# ---- batches


def test_columns_have_these_arrow_types(mixed: Batch) -> None:
    types = {
        "timestamp": pa.timestamp("ns", "UTC"),
        **dict.fromkeys(["total_len", "cap_len"], pa.int64()),
        **dict.fromkeys(["interface", "flags"], pa.uint32()),
        **dict.fromkeys(["ip_offset", "vlan_tci", "vlan_tpid"], pa.uint16()),
        "pkt_type": pa.uint8(),
        "interface_name": pa.large_string(),
        "payload": pa.binary_view(),
    }
    schema = pa.schema(mixed)
    assert {field.name: field.type for field in schema} == types
    assert [field.name for field in schema if field.nullable] == ["interface_name"]
    assert pa.record_batch(mixed).schema == schema == pa.schema(ArrowStream([]))
    assert mixed.to_arrow().schema.field("payload").type == pa.large_binary()


def test_every_sample_is_exported_unchanged(good: Any) -> None:
    whole = read(good.path)
    for payload in ("binary_view", "large_binary"):
        with open_file(good.path, block_size=512) as source:
            assert by_pyarrow(ArrowStream(source.batches(), payload=payload)) == expected_columns(whole)  # type: ignore[arg-type]


def test_payload_type_of_a_requested_schema_is_followed(mixed: Batch) -> None:
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


# ---- which columns


def test_columns_and_payload_types_can_be_chosen() -> None:
    batch = uneven_batch()
    table = batch.to_arrow(["payload", "offset", "cap_len"])
    assert table.column_names == ["payload", "offset", "cap_len"]
    assert table["offset"].to_pylist() == batch["offset"].tolist()
    assert batch.to_arrow(payload=False).column_names == RECORD_COLUMNS
    assert batch.to_arrow(["payload"], payload=False)["payload"].to_pylist() == payloads_of(batch)
    assert batch.to_arrow(iter(["flags"])).column_names == ["flags"]
    assert batch.to_arrow([]).column_names == []
    hexadecimal = batch.to_arrow(payload="hex")["payload"]
    assert hexadecimal.type == pa.large_string()
    assert hexadecimal.to_pylist() == [payload.hex() for payload in payloads_of(batch)]
    assert batch.to_arrow(payload="binary_view")["payload"].type == pa.binary_view()


def test_unknown_columns_are_refused() -> None:
    batch = uneven_batch()
    with pytest.raises(ValueError, match=r"column 'x': use any of .*timestamp, offset, .*payload"):
        batch.to_arrow(["x"])
    with pytest.raises(ValueError, match="duplicate columns: flags"):
        batch.to_arrow(["flags", "payload", "flags"])
    with pytest.raises(ValueError, match="binary_view, large_binary, hex"):
        batch.to_arrow(payload="utf8")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a list of names"):
        batch.to_arrow("flags")
    with pytest.raises(ValueError, match="unknown column 'payload'"):
        ArrowColumns(batch.records, ["payload"])


def test_header_columns_can_be_exported(mixed: Batch) -> None:
    names = ["dst_port", "more_fragments"]
    headers = mixed.headers(names)
    table = mixed.to_arrow(["timestamp", *names, "payload"])
    assert table["dst_port"].to_pylist() == headers["dst_port"].tolist()
    assert table["more_fragments"].to_pylist() == headers["more_fragments"].tolist()
    with pytest.raises(ValueError, match="'x'"):
        mixed.to_arrow(["src", "x"])


# ---- any structured array


def test_any_structured_array_can_be_exported() -> None:
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


def test_columns_of_an_array_can_be_chosen() -> None:
    batch = uneven_batch()
    assert pa.table(ArrowColumns(batch.records, ["cap_len", "flags"])).column_names == ["cap_len", "flags"]
    assert pa.record_batch(ArrowColumns(batch.records)).num_rows == len(batch)
    assert "cap_len" in repr(ArrowColumns(batch.records, ["cap_len"]))


ADDRESSES = ["::", "::1", "2001:db8::8:800:200c:417a", "fe80::1", "ff02::fb", "1:2:3:4:5:6:7:8", "::2:3:4"]
IPV4 = ["192.0.2.1", "0.0.0.0", "255.255.255.255", "10.20.30.40"]


def test_addresses_can_be_exported_as_text() -> None:
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


def test_byte_strings_can_be_exported_as_text() -> None:
    rows = np.zeros(5, [("id", "S6"), ("n", "u2")])
    rows["id"] = [b"", b"a", b"abcdef", b"x\xff\x80y", b"a\0b"]
    table = pa.table(ArrowColumns(rows, text=["id"]))
    table.validate(full=True)
    assert table["id"].to_pylist() == ["", "a", "abcdef", "x??y", "a"]


@pytest.mark.parametrize(
    "kind", [">u4", "c8", "O", "U3", "m8[s]", "M8[D]", "f2", "V0", ("c8", 3), ("u2", (3, 2)), [("x", "u1")]]
)
def test_types_without_an_arrow_type_are_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"field 'a' of type .* has no Arrow type"):
        ArrowColumns(np.zeros(2, np.dtype({"names": ["a"], "formats": [kind]})))


def test_arrays_without_columns_are_refused() -> None:
    with pytest.raises(TypeError, match="structured"):
        ArrowColumns(np.zeros(2))
    with pytest.raises(ValueError, match="one dimension"):
        ArrowColumns(np.zeros((2, 2), RECORD_DTYPE))
    array = np.zeros(4, RECORD_DTYPE)
    exported = ArrowColumns(array)
    array.resize((2, 2), refcheck=False)  # after ArrowColumns has checked it
    with pytest.raises(ValueError, match=r"must have .* rows of .*, not \(2, 2\)"):
        exported.__arrow_c_array__()
