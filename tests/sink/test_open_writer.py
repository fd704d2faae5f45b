"""open_writer: format and compression by name, and every sample through each of them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from slimcap import PcapNgWriter, PcapSource, PcapWriter, open_writer, read
from support.batches import payloads_of
from support.peers import run_peer

ENDINGS = {"": None, ".gz": "gzip", ".zst": "zstd", ".xz": "xz", ".lz4": "lz4", ".bz2": "bzip2"}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("name", "format"),
    [("a.pcap", "pcap"), ("a.pcapng", "pcapng"), ("a.NTAR", "pcapng"), ("a.cap", "pcap"), ("pcapng", "pcap")],
)
def test_name_chooses_format_and_compression(name, format, ending, tmp_path, data_path):
    batch = read(data_path / "mixed_ns.pcap")
    path = tmp_path / (name + ending)
    with open_writer(path) as writer:
        assert type(writer) is {"pcap": PcapWriter, "pcapng": PcapNgWriter}[format]
        writer.write_batch(batch)
    with PcapSource(path) as source:
        assert (source.format, source.compression) == (format, ENDINGS[ending])
    again = read(path)
    assert again["timestamp"].tolist() == batch["timestamp"].tolist()
    assert payloads_of(again) == payloads_of(batch)


def test_arguments_take_precedence_over_the_name(tmp_path):
    with open_writer(tmp_path / "a.pcapng.gz", 101, format="pcap", compression=None) as writer:
        assert isinstance(writer, PcapWriter)
    assert (tmp_path / "a.pcapng.gz").read_bytes()[20:24] == (101).to_bytes(4, "little")
    file = io.BytesIO()
    with open_writer(file, format="pcapng", compression="bzip2", level=1, comment="Hi") as writer:
        assert isinstance(writer, PcapNgWriter)
    assert file.getvalue().startswith(b"BZh1")
    file = io.BytesIO()
    with open_writer(file) as writer:
        assert isinstance(writer, PcapWriter)


def test_path_can_be_bytes(tmp_path):
    with open_writer(bytes(tmp_path / "a.pcapng.zst")) as writer:
        assert isinstance(writer, PcapNgWriter)
    assert (tmp_path / "a.pcapng.zst").read_bytes().startswith(b"\x28\xb5\x2f\xfd")


def test_unknown_formats_and_options_raise(tmp_path):
    with pytest.raises(ValueError, match="format is one of pcap, pcapng, not 'erf'"):
        open_writer(tmp_path / "a", format="erf")
    with pytest.raises(TypeError, match="comment"):
        open_writer(tmp_path / "a.pcap", comment="no place for it")
    with pytest.raises(ValueError, match="compression must be one of"):
        open_writer(tmp_path / "a.pcap", compression="zip")
    with pytest.raises(ValueError, match="level"):
        open_writer(tmp_path / "a.pcap", level=3)
    with pytest.raises(ValueError, match="level of gzip must be 0 to 9, not 10"):
        open_writer(tmp_path / "a.pcap.gz", level=10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ending", "tool"),
    [(".gz", "gzip"), (".zst", "zstd"), (".xz", "xz"), (".lz4", "lz4"), (".bz2", "bzip2")],
)
@pytest.mark.parametrize("flushes", [0, 1, 3])
def test_compression_programs_decompress_the_file(ending, tool, flushes, tmp_path, data_path, need_tool):
    """Decompressed, it is what is written without compression; also if it was flushed in between."""
    batch = read(data_path / "mixed_ns.pcap")
    paths = [tmp_path / name for name in ("a.pcapng", f"a.pcapng{ending}")]
    for path in paths:
        with open_writer(path) as writer:
            for _ in range(4):
                writer.write_batch(batch)
                for _ in range(flushes):
                    writer.flush()
    done = run_peer(need_tool(tool), "-dc", paths[1])
    assert done.stdout == paths[0].read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("format", ["pcap", "pcapng"])
def test_flushed_packets_can_be_read(format, ending, tmp_path, data_path):
    batch = read(data_path / "mixed_ns.pcap")
    path = tmp_path / f"a.{format}{ending}"
    with open_writer(path) as writer:
        for number in range(1, 4):
            writer.write_batch(batch)
            writer.flush()
            found = 0
            with PcapSource(path) as source:
                try:
                    for part in source.batches():
                        found += len(part)
                except ValueError:
                    assert ending in {".gz", ".zst"}  # the stream does not end yet
            assert found == number * len(batch)


@pytest.mark.parametrize("format", ["pcap", "pcapng"])
@pytest.mark.parametrize(
    "ending",
    [
        "",
        ".zst",
        *(pytest.param(ending, marks=pytest.mark.slow) for ending in (".gz", ".xz", ".lz4", ".bz2")),
    ],
)
def test_samples_are_read_back_unchanged(format, ending, tmp_path, data_path):
    """A file that is written, read and written again stays the same, with the packets of the sample."""
    found = 0
    for sample in sorted(Path(data_path).glob("*.pcap*")):
        batch = read(sample)
        if format == "pcap" and len({link.type for link in batch.links}) != 1:
            continue
        found += 1
        link_type = batch.links[0].type if batch.links else 1
        files = []
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
            path = tmp_path / folder / f"a.{format}{ending}"
            with open_writer(path, link_type) as writer:
                writer.write_batch(batch)
            again = read(path)
            for column in (
                set(batch.records.dtype.names)
                - {"offset", "interface"}
                - ({"pkt_type"} if format == "pcap" else set())
            ):
                assert again[column].tolist() == batch[column].tolist(), (sample.name, column)
            assert payloads_of(again) == payloads_of(batch)
            files.append(path.read_bytes())
            batch = again
        assert files[0] == files[1], sample.name
    assert found > 20
