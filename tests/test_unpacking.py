"""zstd, lz4, xz and bzip2, told by content: what their programs wrote, in frames and streams, cut and broken.

gzip has test_compression.py.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import make_samples
import pytest
from support.files import Trickle
from make_samples import pcap_file, pcap_header, pcap_record

from slimcap import CaptureStopped, CaptureUnblocked, FileFormatError, PcapSource, TruncatedFileError, read
from slimcap.source import ahead
from slimcap.source.frames import FrameReader
from slimcap.source.stream import StreamError

zstandard = pytest.importorskip("zstandard")
lz4 = pytest.importorskip("lz4.frame")

PACKETS = make_samples.mixed()[:12]
PLAIN = pcap_file(PACKETS)
LARGE = make_samples.SAMPLES["mixed.pcap"]() + make_samples.SAMPLES["mixed.pcap"]()[24:] * 20
FACTS = [(packet.time // 1000 * 1000, len(packet.data), packet.data) for packet in PACKETS]


class Kind(NamedTuple):
    """A way to compress."""

    name: str
    pack: Callable[[bytes], bytes]
    program: list[str]  # standard input to standard output
    ignores_garbage: bool


def zstd(data):
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)


def lz4_frame(data, **options):
    given = {"content_checksum": True, "block_size": lz4.BLOCKSIZE_MAX64KB, **options}
    return lz4.compress(data, **given)


KINDS = [
    Kind("zstd", zstd, ["zstd", "-c"], False),
    Kind("lz4", lz4_frame, ["lz4", "-c"], False),
    Kind("xz", lzma.compress, ["xz", "-c"], False),
    Kind("bzip2", bz2.compress, ["bzip2", "-c"], True),
]
BY_NAME = {kind.name: kind for kind in KINDS}
FRAMED = [kind for kind in KINDS if kind.name in ("zstd", "lz4")]
SKIPPABLE = struct.pack("<II", 0x184D2A5A, 5) + b"other"


def named(kinds):
    return pytest.mark.parametrize("kind", kinds, ids=[kind.name for kind in kinds])


def outcome(data, drain, **options):
    """(facts of the packets, error) of a file, or of one of these bytes."""
    try:
        source = PcapSource(io.BytesIO(data) if isinstance(data, bytes) else data, **options)
    except FileFormatError as error:
        return [], error
    with source:
        drained = drain(source)
    return drained.facts, drained.error


@pytest.fixture(params=["a path", "a file object"])
def opened(request, tmp_path):
    """Gives the file of some bytes: with a thread that reads ahead, and without."""

    def make(data):
        if request.param == "a file object":
            return io.BytesIO(data)
        path = tmp_path / "compressed"
        path.write_bytes(data)
        return path

    return make


# ---- whole


@named(KINDS)
def test_what_the_program_wrote(kind, opened, need_tool, drain):
    need_tool(kind.program[0])
    done = subprocess.run(kind.program, input=LARGE, capture_output=True, timeout=60, check=True)
    facts, error = outcome(opened(done.stdout), drain)
    assert error is None
    assert facts == outcome(LARGE, drain)[0]
    assert len(facts) == 195 * 21


@named([*KINDS, Kind("gzip", gzip.compress, [], True)])
def test_the_source_says_what_it_is(kind, opened):
    with PcapSource(opened(kind.pack(make_samples.PCAPNG["empty.pcapng"]()))) as source:
        assert (source.format, source.compression) == ("pcapng", kind.name)
    with PcapSource(opened(PLAIN)) as source:
        assert (source.format, source.compression) == ("pcap", None)
    if kind in FRAMED:
        with PcapSource(opened(SKIPPABLE + kind.pack(PLAIN))) as source:
            assert source.compression == kind.name


@named(KINDS)
def test_pcapng_inside(kind, opened, drain):
    data = make_samples.PCAPNG["interfaces.pcapng"]()
    assert outcome(opened(kind.pack(data)), drain) == outcome(data, drain)
    assert len(outcome(data, drain)[0]) > 20


@named(KINDS)
@pytest.mark.parametrize("step", [1, 2, 7, 4096])
def test_in_pieces_of_any_size(kind, step, drain):
    assert outcome(Trickle(kind.pack(PLAIN), step), drain) == (FACTS, None)


@named(KINDS)
@pytest.mark.parametrize("block_size", [64, 65, 1000, 1 << 20])
def test_in_blocks_of_any_size(kind, opened, block_size, drain):
    assert outcome(opened(kind.pack(PLAIN)), drain, block_size=block_size) == (FACTS, None)


@named(KINDS)
def test_stdin(kind, need_tool):
    code = "import slimcap; print(len(slimcap.read('-')))"
    done = subprocess.run(
        [sys.executable, "-c", code], input=kind.pack(PLAIN), capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b"12\n"


@named(KINDS)
@pytest.mark.parametrize("at", [0, 1, 4, 24, 100, len(PLAIN)])
def test_two_streams_parted_anywhere(kind, at, opened, drain):
    data = kind.pack(PLAIN[:at]) + kind.pack(PLAIN[at:])
    assert outcome(opened(data), drain) == (FACTS, None)
    assert outcome(Trickle(data, 1), drain) == (FACTS, None)


@named(KINDS)
def test_empty_streams_all_over(kind, opened, drain):
    empty = kind.pack(b"")
    data = empty * 3 + kind.pack(PLAIN[:100]) + empty * 20 + kind.pack(PLAIN[100:]) + empty
    assert outcome(opened(data), drain) == (FACTS, None)
    facts, error = outcome(empty, drain)
    assert (facts, type(error), error.offset) == ([], TruncatedFileError, 0)


@named(FRAMED)
@pytest.mark.parametrize("step", [1, 1 << 16])
def test_skippable_frames_anywhere(kind, step, drain):
    data = SKIPPABLE + kind.pack(PLAIN[:50]) + SKIPPABLE * 3 + kind.pack(PLAIN[50:]) + SKIPPABLE
    assert outcome(Trickle(data, step), drain) == (FACTS, None)


def test_a_large_skippable_frame_takes_no_memory(drain):
    skippable = struct.pack("<II", 0x184D2A50, 3_000_000) + bytes(3_000_000)
    assert outcome(skippable + zstd(PLAIN) + skippable, drain) == (FACTS, None)


ZSTD_WAYS = {
    "no checksum": {"write_checksum": False},
    "no content size": {"write_content_size": False},
    "a checksum": {"write_checksum": True},
    "level 19": {"level": 19},
    "a negative level": {"level": -5},
}


@pytest.mark.parametrize("way", ZSTD_WAYS)
@pytest.mark.parametrize(
    "data", [PLAIN, LARGE, PLAIN + pcap_record(bytes(250_000)) * 4], ids=["small", "large", "runs"]
)
def test_zstd_frames(way, data, opened, drain):
    packed = zstandard.ZstdCompressor(**ZSTD_WAYS[way]).compress(data)
    assert outcome(opened(packed), drain) == outcome(data, drain)


def test_zstd_flushed_in_pieces(opened, drain):
    compressor = zstandard.ZstdCompressor().compressobj()
    packed = b"".join(
        compressor.compress(PLAIN[at : at + 50]) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for at in range(0, len(PLAIN), 50)
    )
    assert outcome(opened(packed + compressor.flush()), drain) == (FACTS, None)


LZ4_WAYS = {
    "checksums of blocks": {"block_checksum": True},
    "no checksum": {"content_checksum": False},
    "blocks on their own": {"block_linked": False},
    "4 MiB blocks": {"block_size": 7},
    "256 KiB blocks": {"block_size": 5},
    "the size in front": {"store_size": True},
    "no size": {"store_size": False},
}


@pytest.mark.parametrize("way", LZ4_WAYS)
@pytest.mark.parametrize(
    "data",
    [PLAIN, LARGE, pcap_header() + pcap_record(os.urandom(200_000)) * 3],
    ids=["small", "large", "raw"],
)
def test_lz4_frames(way, data, opened, drain):
    assert outcome(opened(lz4_frame(data, **LZ4_WAYS[way])), drain) == outcome(data, drain)


@pytest.mark.parametrize("check", [lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_SHA256])
@pytest.mark.parametrize("padding", [0, 4, 512])
def test_xz_streams(check, padding, opened, drain):
    packed = (
        lzma.compress(PLAIN[:99], check=check) + bytes(padding) + lzma.compress(PLAIN[99:]) + bytes(padding)
    )
    assert outcome(opened(packed), drain) == (FACTS, None)


@named(FRAMED)
def test_a_fifo_gives_packets_as_they_come(kind, fifo):
    """A block is given out as soon as it is there, while the frame is open."""
    if kind.name == "zstd":
        compressor = zstandard.ZstdCompressor().compressobj()

        def send(data):
            fifo.write(compressor.compress(data) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    else:
        frame = lz4.LZ4FrameCompressor(auto_flush=True)
        begun = [frame.begin()]

        def send(data):
            fifo.write((begun.pop() if begun else b"") + frame.compress(data))

    send(pcap_header())
    with PcapSource(fifo.path) as source:
        for number in range(4):
            with pytest.raises(TimeoutError):
                source.next_packet(timeout=0)
            data = bytes([number]) * 60
            send(pcap_record(data))
            assert source.next_payload(timeout=5)[0] == data


# ---- what is behind


@named(KINDS)
@pytest.mark.parametrize(
    "behind", [b"garbage behind it", b"\0" * 7 + b"x", b"\x28", b"\x1f\x8b\x08\0\0\0\0\0"]
)
def test_what_is_behind_and_no_stream(kind, behind, opened, drain):
    facts, error = outcome(opened(kind.pack(PLAIN) + behind), drain)
    assert facts == FACTS
    if kind.ignores_garbage:
        assert error is None
    else:
        assert isinstance(error, FileFormatError)
        assert (error.packet_index, error.offset) == (len(FACTS), len(PLAIN))


# ---- cut


def whole_packets(plain):
    """How many packets lie wholly in the first bytes of a capture file."""
    count, at = 0, 24
    while at + 16 <= len(plain) and at + 16 + int.from_bytes(plain[at + 8 : at + 12], "little") <= len(plain):
        at += 16 + int.from_bytes(plain[at + 8 : at + 12], "little")
        count += 1
    return count


def unpacked(kind, data):
    """What the library itself makes of a cut stream."""
    made = {
        "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
        "lz4": lz4.LZ4FrameDecompressor,
        "xz": lzma.LZMADecompressor,
        "bzip2": bz2.BZ2Decompressor,
    }[kind.name]()
    return made.decompress(data)


@named(KINDS)
def test_cut_at_every_byte(kind, drain):
    """All packets whose bytes the library gets out of it, then the stream is said to be cut."""
    data = kind.pack(PLAIN)
    least = 6 if kind.name == "xz" else 4
    for cut in range(least, len(data)):
        facts, error = outcome(data[:cut], drain)
        plain = unpacked(kind, data[:cut])
        assert len(facts) == whole_packets(plain), cut
        assert facts == FACTS[: len(facts)]
        assert type(error) is TruncatedFileError, cut
        assert (error.offset, error.packet_index) == (len(plain), len(facts)), cut


@named(KINDS)
def test_cut_of_many_blocks(kind, opened, drain):
    data = kind.pack(LARGE + LARGE[24:])
    whole, _ = outcome(LARGE, drain)
    whole *= 2
    for cut in range(100, len(data), len(data) // 7):
        facts, error = outcome(opened(data[:cut]), drain)
        assert type(error) is TruncatedFileError
        assert facts == whole[: len(facts)]
        assert len(facts) == whole_packets(unpacked(kind, data[:cut]))


def test_cut_in_a_stored_block(drain):
    """Blocks that are not compressed: what is there of one is given, too."""
    noise = (
        pcap_header()
        + pcap_record(make_samples.noise(10_000, "1"))
        + pcap_record(make_samples.noise(30_000, "2"))
    )
    for data in (lz4_frame(noise, store_size=False), zstd(noise)):
        assert len(data) > len(noise)
        facts, error = outcome(data[:20_000], drain)
        assert [len(payload) for _, _, payload in facts] == [10_000]
        assert type(error) is TruncatedFileError


@pytest.mark.parametrize("cut", range(4, len(SKIPPABLE)))
def test_cut_in_a_skippable_frame(cut, drain):
    facts, error = outcome(zstd(PLAIN) + SKIPPABLE[:cut], drain)
    assert facts == FACTS
    assert type(error) is TruncatedFileError


# ---- broken


@named(KINDS)
def test_broken_at_every_byte(kind, drain):
    """Whichever byte is wrong: an error follows, or the packets are right."""
    data = kind.pack(PLAIN)
    failed = 0
    for at in range(len(data)):
        broken = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
        facts, error = outcome(broken, drain)
        if error is None:
            assert facts == FACTS, at
        else:
            assert isinstance(error, FileFormatError), at
            failed += 1
    assert failed > len(data) - 20


@named(FRAMED)
def test_everything_before_a_broken_block_is_given(kind, opened, drain):
    plain = LARGE + LARGE[24:]
    pieces = [plain[at : at + 60_000] for at in range(0, len(plain), 60_000)]
    packed = [kind.pack(piece) for piece in pieces]
    whole, _ = outcome(plain[:600_000], drain)
    broken = bytearray(packed[5])
    broken[40:60] = b"\xff" * 20
    facts, error = outcome(opened(b"".join([*packed[:5], bytes(broken), *packed[6:]])), drain)
    assert type(error) is FileFormatError
    assert len(facts) >= whole_packets(plain[:300_000])
    before = whole_packets(plain[:300_000])
    assert facts[:before] == whole[:before]


@pytest.mark.parametrize("name", ["xz", "bzip2"])
def test_little_is_lost_before_a_broken_place(name, drain):
    """Their libraries keep to themselves what a failing call has made: 16 KiB at most."""
    kind, noise = BY_NAME[name], make_samples.noise(1000, "x")
    good = pcap_header() + b"".join(pcap_record(noise[i % 900 :]) for i in range(3000))
    packed = kind.pack(good)
    facts, error = outcome(packed + kind.pack(b"more")[:-12] + b"\xff" * 12, drain)
    assert isinstance(error, FileFormatError)
    assert len(facts) == 3000
    at = len(packed) * 3 // 4
    facts, error = outcome(packed[:at] + b"\xff" * 40 + packed[at + 40 :], drain)
    assert isinstance(error, FileFormatError)
    whole = whole_packets(unpacked(kind, packed[:at]))
    assert whole - len(facts) <= (1 << 14) // 116 + 1


@pytest.mark.parametrize("size", [70_000, 0x7FFFFFFF])
def test_an_lz4_block_that_claims_too_much(size, drain):
    packed = lz4_frame(PLAIN, store_size=False)
    facts, error = outcome(packed[:7] + struct.pack("<I", size) + bytes(100_000), drain)
    assert facts == []
    assert "most" in error.reason


# ---- memory


@named(KINDS)
def test_a_bomb_takes_no_memory(kind, tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(kind.pack(pcap_header() + pcap_record(b"", orig_len=60) * (4 << 20)))
    assert path.stat().st_size < 1 << 19
    code = """if True:
        import resource, sys, slimcap
        def used():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with slimcap.PcapSource(sys.argv[1]) as source:
            count = len(source.next_batch())
            before = used()
            count += sum(len(batch) for batch in source.batches())
        print(count, used() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, timeout=60, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    count, kilobytes = map(int, done.stdout.split())
    assert count == 4 << 20
    assert kilobytes < 32 << 10


# ---- what is not installed


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    with pytest.raises(ImportError, match=r"slimcap\[lz4\]"):
        PcapSource(io.BytesIO(lz4_frame(PLAIN)))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(ImportError, match=r"slimcap\[zstd\]"):
        PcapSource(io.BytesIO(zstd(PLAIN)))
    with pytest.raises(ImportError, match=r"slimcap\[zstd\]"):
        PcapSource(io.BytesIO(SKIPPABLE + zstd(PLAIN)))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the standard library has zstd from 3.14 on")
def test_zstd_of_the_standard_library(monkeypatch, drain):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert outcome(zstd(PLAIN), drain) == (FACTS, None)


# ---- the thread


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "slimcap decompressor"]


@pytest.fixture
def big(tmp_path):
    """A compressed file that is more than may lie ready."""
    path = tmp_path / "big.zst"
    path.write_bytes(zstd(pcap_header() + pcap_record(bytes(1000)) * 20_000))
    return path


def test_only_compressed_files_of_a_path_have_a_thread(big, tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(PLAIN)
    for file in (plain, io.BytesIO(PLAIN), io.BytesIO(zstd(PLAIN))):
        with PcapSource(file):
            assert threads() == []
    with PcapSource(big):
        assert len(threads()) == 1
    assert threads() == []


@pytest.mark.parametrize("packets", [0, 1, 20_000])
def test_the_thread_ends_with_the_source(big, packets):
    before = set(os.listdir("/proc/self/fd"))
    source = PcapSource(big)
    for _ in range(packets):
        source.next_packet()
    source.close()
    assert threads() == []
    del source
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_thread_ends_with_a_source_that_was_never_closed(big):
    before = set(os.listdir("/proc/self/fd"))
    source = PcapSource(big)
    source.next_packet()
    assert len(threads()) == 1
    del source
    for _ in range(200):
        if not threads():
            break
        time.sleep(0.01)
    assert threads() == []
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_header_that_is_bad_leaves_no_thread(tmp_path):
    path = tmp_path / "bad.zst"
    path.write_bytes(zstd(b"no capture file at all, but one that is compressed"))
    with pytest.raises(FileFormatError, match="magic"):
        PcapSource(path)
    assert threads() == []


def test_it_waits_when_enough_lies_ready(big):
    with PcapSource(big) as source:
        time.sleep(0.2)
        assert source.progress[0] <= big.stat().st_size
        pipe = source.next_packet() and threads()[0]
        assert pipe.is_alive()
        assert len(list(source)) == 19_999


class Slow:
    """A decompressor that takes as long as it is told to."""

    def __init__(self, *answers):
        self.go_on = threading.Event()
        self._answers = list(answers)

    def read(self):
        self.go_on.wait(10)
        answer = self._answers.pop(0) if self._answers else b""
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def slow(monkeypatch, tmp_path):
    """Gives the path of a file whose decompressor, a Slow, gives these answers after the header."""

    def make(*answers):
        reader = Slow(*answers)
        real = FrameReader.read
        first = [pcap_header()]
        monkeypatch.setattr(FrameReader, "read", lambda self: first.pop() if first else reader.read())
        assert real is not FrameReader.read
        path = tmp_path / "slow.zst"
        path.write_bytes(zstd(PLAIN))
        return path, reader

    return make


@pytest.mark.parametrize(("signal", "error"), [("close", CaptureStopped), ("unblock", CaptureUnblocked)])
def test_a_read_that_waits_is_woken(slow, background, signal, error):
    path, reader = slow()
    source = PcapSource(path)
    reading = background(source.next_packet)
    time.sleep(0.05)
    began = time.monotonic()
    getattr(source, signal)()
    with pytest.raises(error):
        reading.result(5)
    assert time.monotonic() - began < 2
    reader.go_on.set()
    source.close()


def test_a_read_that_waits_times_out_and_goes_on(slow):
    path, reader = slow(pcap_record(b"one"), pcap_record(b"two"))
    with PcapSource(path) as source:
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.02)
        reader.go_on.set()
        assert [bytes(packet.payload) for packet in source] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (StreamError("broken", cut=True), TruncatedFileError),
        (StreamError("broken"), FileFormatError),
        (OSError(5, "broken"), OSError),
        (MemoryError("broken"), MemoryError),
    ],
)
def test_errors_of_the_thread_come_through_in_their_place(slow, error, raised):
    path, reader = slow(pcap_record(b"one"), error)
    reader.go_on.set()
    with PcapSource(path) as source:
        assert bytes(source.next_packet().payload) == b"one"
        for _ in range(2):
            with pytest.raises(raised, match="broken") as caught:
                source.next_packet()
        if raised in (TruncatedFileError, FileFormatError):
            assert (caught.value.offset, caught.value.packet_index) == (24 + 16 + 3, 1)
    assert threads() == []


def test_ctrl_c_while_it_waits(tmp_path):
    path = tmp_path / "slow.zst"
    path.write_bytes(zstd(PLAIN))
    code = """if True:
        import signal, sys, threading, time, slimcap
        from slimcap.source.frames import FrameReader
        real = FrameReader.read
        def read(self):
            data = real(self)
            if not data:
                time.sleep(30)
            return data
        FrameReader.read = read
        source = slimcap.PcapSource(sys.argv[1])
        threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT)).start()
        count, began = 0, time.monotonic()
        try:
            for packet in source:
                count += 1
        except KeyboardInterrupt:
            print(count, time.monotonic() - began < 3)
    """
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, timeout=30, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("12 True\n", "", 0)


def test_closing_while_the_thread_reads_does_not_wait_long(slow):
    """Not even for a disk that hangs."""
    path, reader = slow()
    source = PcapSource(path)
    began = time.monotonic()
    source.close()
    assert time.monotonic() - began < 5
    reader.go_on.set()


def test_the_pipe_is_bounded():
    class Endless:
        count = 0

        def read(self):
            self.count += 1
            return bytes(100_000)

    reader, closed = Endless(), threading.Event()
    taker = ahead.Ahead(reader, closed.set)
    time.sleep(0.2)
    before = reader.count
    assert before <= ahead.MOST_AHEAD // 100_000 + 2
    taken = 0
    for _ in range(1000):
        piece = taker.take()
        taken += piece is not None
        if taken > 2 * before:
            break
        if piece is None:
            time.sleep(0.001)
    assert taken > 2 * before
    taker.close()
    assert closed.wait(5)


def test_many_sources_at_once(big):
    sources = [PcapSource(big) for _ in range(10)]
    assert [sum(len(batch) for batch in source.batches()) for source in sources] == [20_000] * 10
    for source in sources:
        source.close()
    assert threads() == []


def test_read_of_a_whole_file(big):
    assert len(read(big)) == 20_000
