"""Zeros or another file after the last packet of a pcap file, and the FCS length in its header."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import slimcap
from slimcap import FileFormatError, PcapSource, PcapWriter
from slimcap.cli.main import main
from support.builders.pcap import MICRO, NANO, pcap_header, pcap_record
from support.builders.pcapng import Ng
from support.peers import run_peer

FRAME = bytes(range(60))
ZEROS = 1024


def read(
    data: bytes, **options: object
) -> tuple[list[bytes], FileFormatError | None, tuple[slimcap.Link, ...]]:
    """Return the payloads of a file, the error that ends it, and its interfaces."""
    found: list[bytes] = []
    with PcapSource(io.BytesIO(data), **options) as source:  # type: ignore[arg-type]
        try:
            for batch in source.batches():
                found += [bytes(packet.payload) for packet in batch]
        except FileFormatError as error:
            return found, error, source.links
        return found, None, source.links


def file_of(*payloads: bytes, big_endian: bool = False, magic: int = MICRO, linktype: int = 1) -> bytes:
    header = pcap_header(big_endian=big_endian, magic=magic, linktype=linktype)
    return header + b"".join(pcap_record(payload, big_endian=big_endian) for payload in payloads)


# ---- zeros


@pytest.mark.parametrize("block_size", [64, 1000, 1 << 20])
@pytest.mark.parametrize("zeros", [16, 32, 100, ZEROS - 1, ZEROS, 5000, 100_000])
def test_zeros_up_to_the_end_are_an_error_at_their_offset(zeros: int, block_size: int) -> None:
    data = file_of(FRAME, FRAME)
    found, error, _ = read(data + bytes(zeros), block_size=block_size)
    assert found == [FRAME, FRAME]
    assert type(error) is FileFormatError
    assert "zeros" in error.reason
    assert (error.offset, error.packet_index) == (len(data), 2)


@pytest.mark.parametrize("count", [1, 2, ZEROS // 16 - 1])
def test_packets_without_bytes_at_the_start_of_1970_are_read_within_a_file(count: int) -> None:
    empty = pcap_record(b"", 0, 0)
    assert empty == bytes(16)
    data = file_of() + empty * count + pcap_record(FRAME)
    for block_size in (64, 1 << 20):
        found, error, _ = read(data, block_size=block_size)
        assert error is None
        assert found == [b""] * count + [FRAME]


def test_empty_packet_of_another_time_or_length_is_not_taken_for_zeros() -> None:
    for record in (pcap_record(b"", 1, 0), pcap_record(b"", 0, 1), pcap_record(b"", 0, 0, orig_len=60)):
        assert read(file_of() + record) == ([b""], None, read(file_of())[2])


def test_zeros_cost_no_memory(tmp_path: Path) -> None:
    """A file whose last gigabyte was allocated but not written."""
    path = tmp_path / "sparse"
    path.write_bytes(file_of(FRAME))
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    with PcapSource(path) as source:
        assert len(source.next_batch()) == 1
        with pytest.raises(FileFormatError, match="zeros"):
            source.next_batch()
        assert source.progress[0] <= 2 << 20


# ---- another file

ANOTHER: dict[str, Callable[[], bytes]] = {
    "same": lambda: file_of(FRAME),
    "nanoseconds": lambda: file_of(FRAME, magic=NANO),
    "other byte order": lambda: file_of(FRAME, big_endian=True),
    "no packets": file_of,
    "pcapng": lambda: Ng().section() + Ng().interface() + Ng().packet(FRAME),
    "big-endian pcapng": lambda: Ng(big_endian=True).section(),
}


@pytest.mark.parametrize("block_size", [64, 1 << 20])
@pytest.mark.parametrize("name", ANOTHER)
def test_header_of_another_file_is_an_error_at_its_offset(name: str, block_size: int) -> None:
    first = file_of(FRAME, FRAME)
    found, error, _ = read(first + ANOTHER[name](), block_size=block_size)
    assert found == [FRAME, FRAME]
    assert error is not None
    assert "another capture file begins" in error.reason
    assert "concatenated" in error.reason
    assert (error.offset, error.packet_index) == (len(first), 2)


def test_pcap_after_pcapng_is_named_too() -> None:
    first = Ng().section() + Ng().interface() + Ng().packet(FRAME)
    for second in (file_of(FRAME), file_of(FRAME, big_endian=True)):
        found, error, _ = read(first + second)
        assert found == [FRAME]
        assert error is not None
        assert "another capture file begins" in error.reason
        assert error.offset == len(first)


def test_packet_at_the_time_of_a_magic_number_is_read() -> None:
    """0xa1b2c3d4 seconds are in 2055."""
    for fraction, payload in ((0x40002, FRAME), (0x40002, b"x"), (0, b""), (0x50002, b"")):
        assert read(file_of() + pcap_record(payload, MICRO, fraction))[0] == [payload]


@pytest.mark.parametrize("block_size", [64, 70, 1 << 20])
def test_files_that_were_joined_are_read_on_request(block_size: int) -> None:
    parts = [
        file_of(FRAME),
        file_of(FRAME[1:]),
        file_of(FRAME[2:], magic=NANO),
        file_of(FRAME[3:], big_endian=True, linktype=101),
        file_of(),
        file_of(FRAME[4:]),
    ]
    with PcapSource(io.BytesIO(b"".join(parts)), concatenated=True, block_size=block_size) as source:
        batch = slimcap.concat(source.batches())
        assert [bytes(packet.payload) for packet in batch] == [FRAME[start:] for start in range(5)]
        assert batch["interface"].tolist() == [0, 0, 1, 2, 0]
        assert [link.type for link in source.links] == [1, 1, 101]
        assert [info.ticks_per_second for info in source.interfaces] == [10**6, 10**9, 10**6]
        assert [section.byte_order for section in source.sections] == ["little"] * 3 + ["big"] + [
            "little"
        ] * 2
    single = [int(slimcap.read(io.BytesIO(part))["timestamp"][0]) for part in parts if len(part) > 24]
    assert batch["timestamp"].tolist() == single


def test_joined_file_that_ends_in_its_second_header_is_truncated() -> None:
    data = file_of(FRAME) + file_of()
    for cut in (1, 4, 7):
        found, error, _ = read(data[:-cut], concatenated=True)
        assert found == [FRAME]
        assert isinstance(error, slimcap.TruncatedFileError)
        assert error.offset == len(file_of(FRAME))


def test_part_of_a_joined_file_is_not_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "joined"
    path.write_bytes(file_of(*[FRAME] * 100) + file_of(FRAME))
    (whole,) = slimcap.plan(path)
    assert len(whole.read(concatenated=True)) == 101
    parts = slimcap.plan(path, chunk_bytes=1000)
    assert len(parts) > 1
    with pytest.raises(ValueError, match="concatenated"):
        parts[0].open(concatenated=True)


# ---- FCS length


def with_fcs(data: bytes, length: int) -> bytes:
    """Return a little-endian file whose header tells the length of the FCS."""
    (linktype,) = struct.unpack_from("<I", data, 20)
    return data[:20] + struct.pack("<I", linktype | 1 << 26 | length // 2 << 28) + data[24:]


def fcs_of(path: Path) -> int | None:
    """Return the FCS length that a file tells of its first interface."""
    with PcapSource(path) as source:
        options = dict(source.interfaces[0].options or ())
    return options[13][0] if 13 in options else None


@pytest.mark.parametrize("length", [0, 4, 30])
def test_fcs_length_is_kept_in_both_formats(length: int, tmp_path: Path) -> None:
    first = tmp_path / "first.pcap"
    first.write_bytes(with_fcs(file_of(FRAME), length))
    for source, target in (("first.pcap", "a.pcap"), ("a.pcap", "b.pcapng"), ("b.pcapng", "c.pcap")):
        assert main(["convert", str(tmp_path / source), str(tmp_path / target)]) == 0
        assert fcs_of(tmp_path / target) == length
        assert len(slimcap.read(tmp_path / target)) == 1
    assert (tmp_path / "a.pcap").read_bytes() == (tmp_path / "c.pcap").read_bytes()


def test_header_without_fcs_length_gets_none(tmp_path: Path) -> None:
    (tmp_path / "in.pcap").write_bytes(file_of(FRAME))
    for name in ("a.pcap", "b.pcapng"):
        assert main(["convert", str(tmp_path / "in.pcap"), str(tmp_path / name)]) == 0
        assert fcs_of(tmp_path / name) is None


def test_fcs_lengths_that_pcap_cannot_tell_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ng = Ng()
    for options in ([(13, b"\5")], [(13, b"\x20")]):
        (tmp_path / "in.pcapng").write_bytes(ng.section() + ng.interface(options=options) + ng.packet(FRAME))
        assert main(["convert", str(tmp_path / "in.pcapng"), str(tmp_path / "out.pcap")]) == 0
        assert "frame check" in capsys.readouterr().err
        assert fcs_of(tmp_path / "out.pcap") is None


def test_writer_stores_an_fcs_length(tmp_path: Path) -> None:
    with PcapSource(io.BytesIO(file_of(FRAME))) as source:
        (batch,) = source.batches()
    for name in ("out.pcap", "out.pcapng"):
        with slimcap.open_writer(tmp_path / name, fcs_len=4) as writer:
            writer.write_batch(slimcap.Batch(batch.records, batch.data, batch.links))
        assert fcs_of(tmp_path / name) == 4
    for wrong in (3, -2, 32):
        with pytest.raises(ValueError, match="fcs_len"):
            PcapWriter(io.BytesIO(), fcs_len=wrong)


def test_tcpdump_reads_a_file_with_fcs_length(need_tool: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "fcs.pcap"
    with PcapWriter(path, fcs_len=4) as writer:
        writer.write_batch(slimcap.read(io.BytesIO(file_of(FRAME, FRAME))))
    assert run_peer(need_tool("tcpdump"), "-nn", "-r", path).stdout.count(b"ethertype") == 2


def test_thousands_of_joined_files_with_headers_of_their_own() -> None:
    """Each has another snaplen, and so another interface."""
    count = 20_000
    data = b"".join(pcap_header(snaplen=100 + number) + pcap_record(b"x") for number in range(count))
    with PcapSource(io.BytesIO(data), concatenated=True) as source:
        interfaces = [batch["interface"].tolist() for batch in source.batches()]
        assert [number for numbers in interfaces for number in numbers] == list(range(count))
        assert [info.snaplen for info in source.interfaces] == list(range(100, 100 + count))
