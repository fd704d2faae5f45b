"""Addresses in tables: text that can be compared, nulls, names of interfaces and files, tunnels."""

from __future__ import annotations

import csv
import ipaddress
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slimcap import NO_IP, Batch, Link, LinkType, PcapNgWriter, ip_to_str, open_file, open_files, read, write
from slimcap.io.text import valid_text
from slimcap.sink.arrow import ArrowStream
from slimcap.sink.table_file import FORMATS, TableFile
from support.batches import batch_of
from support.tables import read_table

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
pytest.importorskip("polars")

MACS = bytes.fromhex("020000000002 020000000001")
IPV4 = [("192.0.2.1", "198.51.100.100"), ("0.0.0.0", "255.255.255.255"), ("10.9.99.101", "10.0.0.10")]
IPV6 = [
    ("2001:db8::1", "ff02::1:ff00:1"),
    ("::", "ff02::2"),  # duplicate address detection: the source is not known, but not absent
    ("2001:db8:0:1::1", "2001:db8:1:2:3:4:5:6"),
    ("fe80::", "1:0:0:2::3"),
]


def ethernet(source: str, destination: str) -> bytes:
    """Return a frame from one address to another, without an upper layer."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    if len(addresses) == 8:
        return MACS + b"\x08\0" + struct.pack("!BBHIBBH", 0x45, 0, 20, 0, 9, 59, 0) + addresses
    return MACS + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 0, 59, 9) + addresses


@pytest.fixture
def batch() -> Batch:
    frames = [ethernet(*pair) for pair in (*IPV4, *IPV6)]
    others = [MACS + b"\x88\xcc" + bytes(46), b"", frames[0][:20]]
    ip_offset = [14] * len(frames) + [NO_IP, NO_IP, 14]
    return batch_of([*frames, *others], links=[Link("eth0", 0, 1)], ip_offset=ip_offset)


SOURCES = [source for source, _ in (*IPV4, *IPV6)] + [None] * 3
TARGETS = [target for _, target in (*IPV4, *IPV6)] + [None] * 3


def by_parquet(batch: Batch, path: Path, **options: Any) -> dict[str, list[Any]]:
    write(batch, path / "x.parquet", **options)
    columns: dict[str, list[Any]] = read_table(path / "x.parquet").to_pydict()
    return columns


READERS: dict[str, Callable[..., dict[str, list[Any]]]] = {
    "stream": lambda batch, path, columns: pa.table(ArrowStream(batch, columns)).to_pydict(),
    "to_arrow": lambda batch, path, columns: batch.to_arrow(columns).to_pydict(),
    "to_polars": lambda batch, path, columns: batch.to_polars(columns).to_dict(as_series=False),
    "to_pandas": lambda batch, path, columns: {
        name: [None if value != value else value for value in values]  # NaN is what pandas has for null
        for name, values in batch.to_pandas(columns).to_dict("list").items()
    },
    "parquet": lambda batch, path, columns: by_parquet(batch, path, columns=columns),
}


@pytest.mark.parametrize("reader", READERS)
def test_addresses_are_text_and_null_without_ip(reader: str, batch: Batch, tmp_path: Path) -> None:
    table = READERS[reader](batch, tmp_path, ["src", "dst", "src_mac"])
    assert table["src"] == SOURCES
    assert table["dst"] == TARGETS
    assert table["src_mac"] == ["02:00:00:00:00:01"] * 8 + [None, "02:00:00:00:00:01"]


def test_one_address_column_alone_has_the_same_nulls(batch: Batch) -> None:
    assert batch.to_arrow(["src"])["src"].to_pylist() == SOURCES
    assert batch.to_arrow(["dst"]).column_names == ["dst"]


def test_text_is_that_of_ip_to_str(mixed: Batch) -> None:
    headers = mixed.headers(["src", "dst", "dst_mac"])
    table = mixed.to_arrow(["src", "dst_mac", "community_id"])
    table.validate(full=True)
    known = [text is not None for text in table["src"].to_pylist()]
    assert 0 < sum(known) < len(mixed)
    assert [text or "::" for text in table["src"].to_pylist()] == ip_to_str(headers["src"]).tolist()
    assert table["dst_mac"].to_pylist() == [mac.tobytes().hex(":") for mac in headers["dst_mac"]]
    ids = mixed.headers(["community_id"])["community_id"].tolist()
    assert table["community_id"].to_pylist() == [one.decode() or None for one in ids]


def test_a_query_finds_an_address_written_as_people_write_it(batch: Batch, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "x.parquet"
    write(batch, path, columns=["src", "dst", "total_len"])
    for source, target in (*IPV4, *IPV6):
        found = duckdb.sql(f"select dst from '{path}' where src = '{source}'").fetchall()
        assert found == [(target,)]
    assert duckdb.sql(f"select count(*) from '{path}' where src is null").fetchall() == [(3,)]


def test_csv_is_empty_where_there_is_no_address(batch: Batch, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write(batch, path, columns=["src", "dst_mac", "interface_name"])
    with path.open(newline="") as text:
        rows = list(csv.reader(text))
    assert rows[0] == ["src", "dst_mac", "interface_name"]
    assert [row[0] for row in rows[1:]] == [source or "" for source in SOURCES]
    assert {row[2] for row in rows[1:]} == {"eth0"}


def test_addresses_can_be_binary(batch: Batch, tmp_path: Path) -> None:
    columns = ["src", "dst_mac"]
    for table in (
        batch.to_arrow(columns, addresses="binary"),
        pa.table(ArrowStream(batch, columns, addresses="binary")),
        read_table_of(batch, tmp_path / "x.parquet", columns=columns, addresses="binary"),
    ):
        table.validate(full=True)
        assert table.schema.field("src").type == pa.binary(16)
        assert table["src"].to_pylist() == [packed(source) for source in SOURCES]
        assert table["dst_mac"].to_pylist()[0] == MACS[:6]
    with pytest.raises(ValueError, match="'text' or 'binary', not 'hex'"):
        batch.to_arrow(columns, addresses="hex")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not for CSV"):
        TableFile(tmp_path / "x.csv", addresses="binary")
    with pytest.raises(ValueError, match="addresses is not an option of pcap"):
        write(batch, tmp_path / "x.pcap", addresses="binary")


def packed(text: str | None) -> bytes | None:
    if text is None:
        return None
    address = ipaddress.ip_address(text).packed
    return address if len(address) == 16 else bytes(10) + b"\xff\xff" + address


def read_table_of(batch: Batch, path: Path, **options: Any) -> Any:
    write(batch, path, **options)
    return read_table(path)


# ---- tunnels


def test_inner_headers_can_be_exported_everywhere(data_path: Path, tmp_path: Path) -> None:
    batch, columns = read(data_path / "tunnels.pcap"), ["src", "dst_port", "tunnels"]
    inner = batch.headers(columns, inner=True)
    assert inner["tunnels"].any()
    want = [inner["dst_port"].tolist(), inner["tunnels"].tolist()]
    for table in (
        batch.to_arrow(columns, inner=True),
        pa.table(ArrowStream(batch, columns, inner=True)),
        batch.to_polars(columns, inner=True).to_arrow(),
        pa.table(batch.to_pandas(columns, inner=True)),
        *[read_table_of(batch, tmp_path / f"x.{kind}", columns=columns, inner=True) for kind in FORMATS[:2]],
    ):
        assert [table["dst_port"].to_pylist(), table["tunnels"].to_pylist()] == want
        assert [text or "::" for text in table["src"].to_pylist()] == ip_to_str(inner["src"]).tolist()
    assert batch.to_arrow(columns)["tunnels"].to_pylist() == [0] * len(batch)


def test_tunnels_on_other_ports_can_be_exported_everywhere(data_path: Path, tmp_path: Path) -> None:
    batch, columns = read(data_path / "tunnels.pcap"), ["tunnels"]
    ports = {"vxlan": [1], "gtpu": [4789]}
    want = batch.headers(columns, inner=True, tunnel_ports=ports)["tunnels"].tolist()
    assert want != batch.headers(columns, inner=True)["tunnels"].tolist()
    inner: dict[str, Any] = {"inner": True, "tunnel_ports": ports}
    once = {name: iter(numbers) for name, numbers in ports.items()}
    for table in (
        batch.to_arrow(columns, **inner),
        batch.to_polars(columns, **inner).to_arrow(),
        pa.table(batch.to_pandas(columns, **inner)),
        pa.table(ArrowStream([batch[:5], batch[5:]], columns, inner=True, tunnel_ports=once)),
        *[read_table_of(batch, tmp_path / f"x.{kind}", columns=columns, **inner) for kind in FORMATS[:2]],
    ):
        assert table["tunnels"].to_pylist() == want


def test_wrong_ports_of_tunnels_are_refused_before_a_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'vxlan'"):
        ArrowStream([], tunnel_ports={"vxlam": [1]})
    with pytest.raises(TypeError, match="tunnel_ports must be a mapping"):
        TableFile(tmp_path / "x.parquet", tunnel_ports=[1])  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


# ---- names


def test_each_packet_has_the_name_of_its_interface() -> None:
    links = [Link("eth0", 0, 1), Link("", 1, 1), Link("wlan\udcff", 2, LinkType.RAW)]
    batch = batch_of([b"a"] * 5, links=links, interface=[2, 0, 1, 3, 0])
    table = batch.to_arrow(["interface", "interface_name"])
    table.validate(full=True)
    assert table["interface_name"].to_pylist() == ["wlan\\xff", "eth0", None, None, "eth0"]
    assert batch.to_polars(["interface_name"])["interface_name"].to_list()[1:] == ["eth0", None, None, "eth0"]
    assert batch[1:2].to_arrow(["interface_name"])["interface_name"].to_pylist() == ["eth0"]


def test_names_follow_batches_with_other_interfaces() -> None:
    batches = [batch_of([b"a"], links=[Link(name, 0, 1)]) for name in ("one", "two", "two", "three")]
    table = pa.table(ArrowStream(iter(batches), ["interface_name"]))
    assert table["interface_name"].to_pylist() == ["one", "two", "two", "three"]


def test_each_packet_has_the_name_of_its_file(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{number}.pcapng") for number in range(3)]
    frames = batch_of([b"a", b"b"], links=[Link("eth0", 0, 1)])
    for path in paths:
        with PcapNgWriter(path) as writer:
            writer.write_batch(frames)
    with open_file(paths[1]) as source:
        assert (
            pa.table(ArrowStream(source.batches(), ["file_name"]))["file_name"].to_pylist() == [paths[1]] * 2
        )
    with open_files(paths, file_names=True) as source:
        assert write(source, tmp_path / "x.parquet", columns=["file_name", "interface_name"]) == 6
    table = read_table(tmp_path / "x.parquet")
    assert table["file_name"].to_pylist() == paths * 2
    assert set(table["interface_name"].to_pylist()) == {"eth0"}
    with open_files(paths) as source:  # their interfaces are one, which is of no single file
        assert len(source.links) == 1
        assert pa.table(ArrowStream(source.batches(), ["file_name"]))["file_name"].null_count == 6
    assert frames.to_arrow(["file_name"])["file_name"].null_count == 2


@pytest.mark.parametrize(
    ("text", "valid"),
    [("eth0", "eth0"), ("a\udc80\udcffz", "a\\x80\\xffz"), ("\ud800", "\\ud800"), ("ä€😀", "ä€😀")],
)
def test_text_without_lone_surrogates(text: str, valid: str) -> None:
    assert valid_text(text) == valid
    valid.encode()


# ---- names of columns


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("sport", "src_port"),
        ("caplen", "cap_len"),
        ("proto", "protocol"),
        ("interfacename", "interface_name"),
    ],
)
def test_errors_suggest_the_column_that_was_meant(wrong: str, right: str, batch: Batch) -> None:
    with pytest.raises(ValueError, match=rf"{wrong!r}.*, did you mean {right!r}\?: use any of"):
        batch.to_arrow([wrong])
