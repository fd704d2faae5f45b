"""`write`: one call for every format, and what it keeps of a source."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import slimcap
from slimcap import Batch, FileFormatError, InterfaceInfo, Link, Source
from slimcap.mock import MockRingSource
from support.batches import batch_of
from support.rotation import packets_of

ETHERNET = Link("eth0", 0, 1)
FORMATS = {
    "out.pcap": "pcap",
    "out.cap.gz": "pcap",
    "out.pcapng": "pcapng",
    "out.ntar.xz": "pcapng",
    "OUT.PCAPNG.BZ2": "pcapng",
}


@pytest.fixture
def mixed(data_path: Path) -> Batch:
    return slimcap.read(data_path / "mixed.pcap")


@pytest.mark.parametrize(("name", "format"), FORMATS.items())
def test_suffix_chooses_format_and_compression(tmp_path: Path, mixed: Batch, name: str, format: str) -> None:
    assert slimcap.write(mixed, tmp_path / name) == len(mixed)
    with slimcap.open_file(tmp_path / name) as source:
        assert source.format == format
        assert (source.compression is None) == (name.count(".") == 1)
        assert packets_of(slimcap.concat(source.batches())) == packets_of(mixed)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out.parquet", "out.arrow", "out.csv"])
def test_suffix_chooses_a_table(tmp_path: Path, mixed: Batch, name: str) -> None:
    pa = pytest.importorskip("pyarrow")
    assert slimcap.write(mixed, tmp_path / name, columns=["total_len", "src_port"]) == len(mixed)
    path = str(tmp_path / name)
    if name.endswith("parquet"):
        table = pytest.importorskip("pyarrow.parquet").read_table(path)
    elif name.endswith("arrow"):
        table = pytest.importorskip("pyarrow.ipc").open_file(pa.memory_map(path)).read_all()
    else:
        table = pytest.importorskip("pyarrow.csv").read_csv(path)
    assert table.column_names == ["total_len", "src_port"]
    assert table["total_len"].to_pylist() == mixed["total_len"].tolist()
    assert table["src_port"].to_pylist() == mixed.headers(["src_port"])["src_port"].tolist()


WAYS: dict[str, Callable[[Source], Source | Batch | Iterator[Batch] | list[Batch]]] = {
    "source": lambda source: source,
    "batches": lambda source: source.batches(),
    "a generator": lambda source: (batch for batch in source.batches(10)),
    "a list": lambda source: list(source.batches()),
    "one batch": lambda source: slimcap.concat(source.batches()),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_pcapng_keeps_interfaces_and_comments(
    tmp_path: Path, data_path: Path, way: Callable[[Any], Any]
) -> None:
    before = slimcap.read(data_path / "sections.pcapng")
    with slimcap.open_file(data_path / "sections.pcapng") as source:
        assert slimcap.write(way(source), tmp_path / "out.pcapng") == len(before)
    after = slimcap.read(tmp_path / "out.pcapng")
    assert packets_of(after) == packets_of(before)
    assert after.comments == before.comments != {}
    assert [described(info) for info in after.interfaces] == [described(info) for info in before.interfaces]


@pytest.mark.parametrize("name", ["out.pcap", "out.parquet"])
@pytest.mark.parametrize("way", ["batches", "a generator"])
def test_no_block_of_a_ring_is_held(tmp_path: Path, data_path: Path, way: str, name: str) -> None:
    """The packets need more blocks than the ring has."""
    pytest.importorskip("pyarrow")
    with (
        MockRingSource(block_size=4096, num_blocks=2, timeout=5, auto_filter=False) as mock,
        slimcap.open_file(data_path / "mixed.pcap") as file,
    ):
        replay = mock.pipe(file)
        assert slimcap.write(WAYS[way](mock), tmp_path / name) == 195 == replay.wait()


def described(info: InterfaceInfo) -> tuple[Any, ...]:
    link = info.link
    texts = info.filter, info.os, info.hardware, info.comment
    return (link.name if link.named else "", link.description, link.type, info.snaplen, *texts)


def test_interfaces_without_packets_and_counters_are_kept(tmp_path: Path) -> None:
    infos = [
        InterfaceInfo(Link("spare", 0, 1), 96, 10**9, received=7, os_dropped=2, start=5, end=6),
        InterfaceInfo(Link("used", 1, 101), 0, 10**9, filter="udp"),
    ]
    batch = batch_of([b"x"], interface=1)
    slimcap.write(Batch(batch.records, batch.data, interfaces=infos), tmp_path / "a.pcapng")
    with slimcap.open_file(tmp_path / "a.pcapng") as source:
        slimcap.write(source, tmp_path / "b.pcapng")
    for name in "a.pcapng", "b.pcapng":
        with slimcap.open_file(tmp_path / name) as source:
            assert slimcap.concat(source.batches())["interface"].tolist() == [1]
            spare, used = source.interfaces
        assert (spare.link.name, spare.snaplen, used.link.name, used.filter) == ("spare", 96, "used", "udp")
        assert (spare.received, spare.os_dropped, spare.start, spare.end) == (7, 2, 5, 6)


def test_snaplen_truncates_and_is_stated(tmp_path: Path, mixed: Batch) -> None:
    slimcap.write(mixed, tmp_path / "out.pcapng", snaplen=60)
    after = slimcap.read(tmp_path / "out.pcapng")
    assert after["cap_len"].tolist() == [min(60, length) for length in mixed["cap_len"].tolist()]
    assert after["total_len"].tolist() == mixed["total_len"].tolist()
    assert after.interfaces[0].snaplen == 60


def test_limits_split_the_packets_over_several_files(tmp_path: Path, mixed: Batch) -> None:
    files: list[str] = []
    count = slimcap.write(mixed, tmp_path / "part-{index}.pcap", max_packets=50, on_file=files.append)
    assert count == len(mixed)
    assert files == [str(tmp_path / f"part-{index}.pcap") for index in range(-(-len(mixed) // 50))]
    assert [packet for file in files for packet in packets_of(slimcap.read(file))] == packets_of(mixed)
    with pytest.raises(FileExistsError):
        slimcap.write(mixed, tmp_path / "part-{index}.pcap", max_packets=50)
    slimcap.write(mixed, tmp_path / "part-{index}.pcap", max_packets=len(mixed), overwrite=True)
    assert packets_of(slimcap.read(files[0])) == packets_of(mixed)


def test_file_object_is_written_and_stays_open(mixed: Batch) -> None:
    for format in ("pcap", "pcapng"):
        file = io.BytesIO()
        slimcap.write(mixed, file, format=format)
        assert packets_of(slimcap.read(io.BytesIO(file.getvalue()))) == packets_of(mixed)


def test_pcap_has_the_link_type_of_the_first_interface(tmp_path: Path) -> None:
    raw = batch_of([b"\x45" + bytes(19)], links=[Link("tun0", 0, 101)])
    slimcap.write(iter([raw]), tmp_path / "out.pcap")
    assert slimcap.read(tmp_path / "out.pcap").links[0].type == 101
    with pytest.raises(ValueError, match=r"one link type for all packets.*RAW where the first interface"):
        slimcap.write([batch_of([b"x"], links=[ETHERNET]), raw], tmp_path / "two.pcap")
    assert [path.name for path in tmp_path.iterdir()] == ["out.pcap"]


@pytest.mark.parametrize("name", ["out.pcap", "out.pcapng", "out.parquet"])
def test_error_of_the_source_completes_the_file_and_is_raised(
    tmp_path: Path, data_path: Path, name: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    damaged = (data_path / "mixed.pcap").read_bytes()[:-1]
    with slimcap.open_file(io.BytesIO(damaged)) as source, pytest.raises(FileFormatError):
        slimcap.write(source, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if not name.endswith("parquet"):
        assert len(slimcap.read(tmp_path / name)) == 194


@pytest.mark.parametrize("name", ["out.pcap", "out.pcapng"])
def test_error_of_writing_leaves_no_file(tmp_path: Path, mixed: Batch, name: str) -> None:
    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slimcap.write(mixed, tmp_path / name, progress=stop)
    with pytest.raises(ValueError, match="packet 0 has the time -1 ns"):
        slimcap.write(batch_of([b"x"], timestamp=-1), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_progress_gets_the_number_of_packets_so_far(tmp_path: Path, mixed: Batch) -> None:
    seen: list[int] = []
    slimcap.write([mixed, mixed], tmp_path / "out.pcap", progress=seen.append)
    assert seen == [len(mixed), 2 * len(mixed)]


def test_no_packets_make_an_empty_file(tmp_path: Path) -> None:
    assert slimcap.write([], tmp_path / "out.pcap") == 0
    assert len(slimcap.read(tmp_path / "out.pcap")) == 0


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "no suffix": ("out", {}, "ends in none of"),
    "unknown suffix": ("out.txt", {}, "ends in none of .pcap, .cap, "),
    "compressed table": ("out.csv.gz", {}, "ends in none of"),
    "columns in a capture file": ("out.pcap", {"columns": ["src"]}, "columns is not an option of pcap"),
    "snaplen in a table": ("out.csv", {"snaplen": 9}, "snaplen is not an option of csv"),
    "limits of a table": ("out.parquet", {"max_packets": 9}, "max_packets is not an option of parquet"),
    "max_files of one file": ("out.pcap", {"max_files": 9}, "max_files is not an option of a single file"),
    "overwrite of one file": ("out.pcap", {"overwrite": True}, "overwrite is not an option of a single file"),
    "compressed CSV": ("out.csv", {"compression": "gzip"}, "csv files are not compressed"),
    "unknown format": ("out.pcap", {"format": "erf"}, "format is one of"),
    "split standard output": ("-", {"max_packets": 9}, "'-' cannot be split"),
}


@pytest.mark.parametrize(("name", "options", "message"), BAD.values(), ids=BAD)
def test_options_that_do_not_fit_raise(
    tmp_path: Path, mixed: Batch, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        slimcap.write(mixed, name if name == "-" else tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_table_to_a_file_object_raises(mixed: Batch) -> None:
    with pytest.raises(ValueError, match="csv is written to a path, not to BytesIO"):
        slimcap.write(mixed, io.BytesIO(), format="csv")
