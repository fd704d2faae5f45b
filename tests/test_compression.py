"""gzip, told by content: whole, in members, cut, broken, and in every way of reading."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import sys
import zlib

import make_samples
import pytest
from support.files import Trickle
from make_samples import gzip_member, pcap_file, pcap_header, pcap_record

from slimcap import FileFormatError, PcapSource, TruncatedFileError, read
from slimcap.source import deflate

FRAME = make_samples.ethernet(make_samples.packet4())
PACKETS = make_samples.mixed()[:12]
PLAIN = pcap_file(PACKETS)
FACTS = [(packet.time // 1000 * 1000, len(packet.data), packet.data) for packet in PACKETS]


@pytest.fixture(params=["zlib-ng", "zlib"], autouse=True)
def zlib_kind(request, monkeypatch):
    """All of it with the fast library, and without it."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "zlib_ng", None)
    else:
        pytest.importorskip("zlib_ng", exc_type=ImportError)
    module, _ = deflate.fastest_zlib()
    assert (module is zlib) == (request.param == "zlib")
    return request.param


def whole_packets(plain):
    """How many packets lie wholly in the first bytes of a capture file."""
    count, at = 0, 24
    while at + 16 <= len(plain) and at + 16 + int.from_bytes(plain[at + 8 : at + 12], "little") <= len(plain):
        at += 16 + int.from_bytes(plain[at + 8 : at + 12], "little")
        count += 1
    return count


def outcome(data, drain, **options):
    """(facts of the packets, error) of a file of these bytes."""
    try:
        source = PcapSource(io.BytesIO(data) if isinstance(data, bytes) else data, **options)
    except FileFormatError as error:
        return [], error
    with source:
        drained = drain(source)
    return drained.facts, drained.error


def assert_cut(facts, error, plain):
    """Everything in `plain` was given out, then the stream was said to be cut where it was."""
    count = whole_packets(plain)
    assert len(facts) == count
    assert type(error) is TruncatedFileError
    assert (error.packet_index, error.offset) == (count, len(plain))


# ---- whole files


@pytest.mark.parametrize("name", ["mixed.pcap.gz", "mixed_members.pcap.gz", "max_caplen.pcap.gz"])
def test_path(sample_of, drain, name):
    sample = sample_of(name)
    with PcapSource(sample.path) as source:
        assert drain(source).facts == sample.facts
        size = sample.path.stat().st_size
        assert source.progress == (size, size)


@pytest.mark.parametrize("name", ["plain", "capture.pcap", "capture.txt.pcap"])
def test_content_tells_not_the_name(tmp_path, drain, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(PLAIN))
    with PcapSource(path) as source:
        assert drain(source).facts == FACTS
    path = tmp_path / f"{name}.gz"
    path.write_bytes(PLAIN)
    with PcapSource(path) as source:
        assert drain(source).facts == FACTS


@pytest.mark.parametrize("name", ["mixed.pcap.gz", "mixed_members.pcap.gz"])
def test_file_object(sample_of, drain, name):
    sample = sample_of(name)
    data = sample.path.read_bytes()
    with PcapSource(io.BytesIO(data)) as source:
        assert drain(source).facts == sample.facts
        assert source.progress == (len(data), None)


def test_fifo_gives_packets_as_they_come(fifo):
    """What the compressor flushed is given out while the stream is open."""
    deflate = zlib.compressobj(wbits=31)

    def send(data):
        fifo.write(deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH))

    send(pcap_header())
    with PcapSource(fifo.path) as source:
        for number in range(5):
            with pytest.raises(TimeoutError):
                source.next_packet(timeout=0)
            frame = FRAME + bytes([number])
            send(pcap_record(frame))
            assert source.next_payload(timeout=5)[0] == frame
        fifo.write(deflate.flush())
        fifo.close_soon()
        with pytest.raises(EOFError):
            source.next_packet(timeout=10)


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("block_size", [64, 65, 100, 1000, 1 << 20])
def test_levels_and_blocks(drain, level, block_size):
    assert outcome(gzip_member(PLAIN, level), drain, block_size=block_size) == (FACTS, None)


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("name", ["mixed.pcap.gz", "mixed_members.pcap.gz"])
def test_read_in_pieces_of_any_size(sample_of, drain, step, name):
    sample = sample_of(name)
    with PcapSource(Trickle(sample.path.read_bytes(), step)) as source:
        assert drain(source).facts == sample.facts


def test_large_steps_out(drain):
    """More than one call of the decompressor may give: 3 MB of zeros."""
    plain = pcap_header() + pcap_record(bytes(200_000)) * 15
    facts, error = outcome(gzip_member(plain), drain)
    assert [data for _, _, data in facts] == [bytes(200_000)] * 15
    assert error is None


def test_gzip_in_gzip_is_unpacked_once():
    with pytest.raises(FileFormatError, match="magic"):
        PcapSource(io.BytesIO(gzip.compress(gzip.compress(PLAIN))))


# ---- members


@pytest.mark.parametrize("at", [0, 1, 3, 4, 5, 23, 24, 25, 30, 40, len(PLAIN) - 1, len(PLAIN)])
def test_two_members_parted_anywhere(drain, at):
    data = gzip_member(PLAIN[:at]) + gzip_member(PLAIN[at:])
    for step in (1, 7, 1 << 16):
        assert outcome(Trickle(data, step), drain) == (FACTS, None)


def test_a_member_each_byte(drain):
    data = b"".join(gzip_member(PLAIN[at : at + 1]) for at in range(300)) + gzip_member(PLAIN[300:])
    assert outcome(data, drain) == (FACTS, None)


def test_empty_members_all_over(drain):
    empty = gzip_member(b"")
    data = empty * 3 + gzip_member(PLAIN[:100]) + empty * 50 + gzip_member(PLAIN[100:]) + empty * 3
    for step in (1, 1 << 16):
        assert outcome(Trickle(data, step), drain) == (FACTS, None)


def test_nothing_but_empty_members(drain):
    facts, error = outcome(gzip_member(b"") * 5, drain)
    assert facts == []
    assert type(error) is TruncatedFileError
    assert "empty" in error.reason


@pytest.mark.parametrize("flags", [1, 2, 4, 8, 16, 31])
def test_header_fields(drain, flags):
    fields = b""
    if flags & 4:
        fields += b"\x06\0ab\x02\0xy"
    if flags & 8:
        fields += b"name\0"
    if flags & 16:
        fields += b"comment\0"
    data = gzip_member(PLAIN, flags=flags, fields=fields)
    for step in (1, 1 << 16):
        assert outcome(Trickle(data, step), drain) == (FACTS, None)


# ---- what is behind


@pytest.mark.parametrize(
    "behind",
    [b"\0", b"\0" * 512, b"garbage", b"\x1f", b"\x1e\x8b", b"\x1f\x8c", b"\xff" * 70_000],
    ids=["zero", "zeros", "text", "half a magic", "almost", "nearly", "much"],
)
def test_what_is_behind_and_no_member_is_ignored(drain, behind):
    for step in (1, 1000, 1 << 17):
        if step == 1 and len(behind) > 1000:
            continue
        with PcapSource(Trickle(gzip_member(PLAIN) + behind, step)) as source:
            assert drain(source).facts == FACTS
            for _ in range(2):
                with pytest.raises(EOFError):
                    source.next_packet()


def test_a_broken_member_behind(drain):
    """It says that it is gzip: then it must be."""
    facts, error = outcome(gzip_member(PLAIN) + b"\x1f\x8bgarbage", drain)
    assert facts == FACTS
    assert type(error) is FileFormatError
    assert error.offset == len(PLAIN)


@pytest.mark.parametrize("size", [2, 9, 12, 17])
def test_a_cut_member_behind(drain, size):
    facts, error = outcome(gzip_member(PLAIN) + gzip_member(b"")[:size], drain)
    assert facts == FACTS
    assert type(error) is TruncatedFileError


# ---- cut


@pytest.mark.parametrize("level", [0, 9])
def test_cut_at_every_byte(drain, level):
    """All packets whose bytes came before the cut are given out, then the stream is said to be cut."""
    data = gzip_member(PLAIN, level)
    for cut in range(2, len(data)):
        facts, error = outcome(data[:cut], drain)
        plain = zlib.decompressobj(31).decompress(data[:cut])
        assert_cut(facts, error, plain)
        assert facts == FACTS[: len(facts)], cut


@pytest.mark.parametrize("block_size", [64, 100, 1000, 4096, 1 << 18, 1 << 20])
def test_cut_where_little_holds_much(drain, block_size):
    """Bytes that the decompressor has taken in but not yet given out are not lost at a cut."""
    plain = pcap_header() + pcap_record(bytes(1000)) * (300 if block_size > 4096 else 40)
    data = gzip_member(plain)
    for cut in range(20, len(data)):
        facts, error = outcome(data[:cut], drain, block_size=block_size)
        assert_cut(facts, error, zlib.decompressobj(31).decompress(data[:cut]))


def test_what_the_decompressor_holds_back_is_given_out_while_a_fifo_waits(fifo):
    """As above: a packet that is there is not kept waiting for the next bytes of the stream."""
    plain = pcap_header() + pcap_record(bytes(1000)) * 20
    data = gzip_member(plain)
    for cut in range(40, len(data)):
        have = whole_packets(zlib.decompressobj(31).decompress(data[:cut]))
        if have > whole_packets(zlib.decompressobj(31).decompress(data[: cut - 1])):
            break
    fifo.write(data[:cut])
    with PcapSource(fifo.path, block_size=1016) as source:
        for _ in range(have):
            assert source.next_payload(timeout=0.5)[0] == bytes(1000)
        with pytest.raises(TimeoutError):
            source.next_payload(timeout=0)


@pytest.mark.parametrize("size", [1, 2, 3, 9, 10, 11])
def test_cut_in_the_gzip_header(size):
    with pytest.raises(TruncatedFileError) as raised:
        PcapSource(io.BytesIO(gzip_member(PLAIN)[:size]))
    assert raised.value.packet_index == 0


@pytest.mark.parametrize("size", range(1, 9))
def test_cut_in_the_trailer(drain, size):
    facts, error = outcome(gzip_member(PLAIN)[:-size], drain)
    assert facts == FACTS
    assert_cut(facts, error, PLAIN)


def test_whole_stream_of_a_cut_file(drain):
    """The compression is sound, the capture in it cut: that is the capture's error, with its place."""
    facts, error = outcome(gzip_member(PLAIN[:-3]), drain)
    assert facts == FACTS[:-1]
    assert type(error) is TruncatedFileError
    assert (error.packet_index, error.offset) == (11, len(PLAIN) - 16 - len(FACTS[-1][2]))


# ---- broken


@pytest.mark.parametrize("which", ["CRC", "length"])
@pytest.mark.parametrize("step", [1, 1 << 16])
def test_wrong_trailer(drain, which, step):
    data = gzip_member(PLAIN)
    crc, length = struct.unpack("<II", data[-8:])
    trailer = struct.pack("<II", crc ^ (which == "CRC"), length ^ (which == "length"))
    facts, error = outcome(Trickle(data[:-8] + trailer, step), drain)
    assert facts == FACTS
    assert type(error) is FileFormatError
    assert (error.packet_index, error.offset) == (len(FACTS), len(PLAIN))


@pytest.mark.parametrize("level", [1, 9])
@pytest.mark.parametrize("block_size", [100, 1 << 20])
def test_broken_in_the_middle(sample_of, drain, level, block_size):
    """Packets before the broken place are given out, right; the error names the file and is no end of it."""
    sample = sample_of("mixed.pcap")
    data = gzip_member(sample.data, level)
    kinds = set()
    for at in range(1000, len(data) - 8, len(data) // 9):
        broken = data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 16]) + data[at + 16 :]
        plain = make_samples.inflated(broken)
        facts, error = outcome(broken, drain, block_size=block_size)
        kinds.add(type(error))
        assert isinstance(error, FileFormatError)
        assert error.packet_index == len(facts)
        if "gzip" in error.reason:
            assert error.offset == len(plain)
            assert len(facts) == whole_packets(plain)
        before = whole_packets(zlib.decompressobj(31).decompress(data[:at]))
        assert len(facts) >= before > 0
        assert facts[:before] == sample.facts[:before]
    assert FileFormatError in kinds


def test_broken_at_every_byte(drain):
    """Whichever byte is wrong: packets before it are right, and an error follows or nothing was lost."""
    data = gzip_member(PLAIN)
    failed = 0
    for at in range(len(data)):
        broken = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
        facts, error = outcome(broken, drain)
        before = whole_packets(zlib.decompressobj(31).decompress(data[:at]))
        assert facts[:before] == FACTS[:before], at
        if error is None:
            assert facts == FACTS, at  # a byte of the gzip header that means nothing
        else:
            assert isinstance(error, FileFormatError), at
            failed += 1
    assert failed > len(data) - 10


@pytest.mark.parametrize("method", [0, 7, 9])
def test_unknown_method(method):
    data = bytearray(gzip_member(PLAIN))
    data[2] = method
    with pytest.raises(FileFormatError, match="gzip") as raised:
        PcapSource(io.BytesIO(bytes(data)))
    assert not isinstance(raised.value, TruncatedFileError)
    assert raised.value.offset == 0


# ---- bombs


BOMB = """if True:
    import io, resource, sys, slimcap
    if sys.argv[1] == "zlib":
        sys.modules["zlib_ng"] = None
    data = sys.stdin.buffer.read()
    def used():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with slimcap.PcapSource(io.BytesIO(data)) as source:
        source.next_batch()
        before = used()
        count = 1
        for batch in source.batches():
            assert (batch["cap_len"] == 0).all()
            count += len(batch)
    print(source.total_stats.packets_received, used() - before)
"""


def test_a_bomb_takes_no_memory(zlib_kind):
    """64 MiB of packets without content in some ten kilobytes: read to the end in a few."""
    deflate = zlib.compressobj(9, wbits=31)
    data = deflate.compress(pcap_header())
    for _ in range(64):
        data += deflate.compress(pcap_record(b"", orig_len=60) * (1 << 16))
    data += deflate.flush()
    assert len(data) < 1 << 18
    done = subprocess.run(
        [sys.executable, "-c", BOMB, zlib_kind], input=data, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    count, kilobytes = map(int, done.stdout.split())
    assert count == 64 << 16
    assert kilobytes < 16 << 10


def test_a_bomb_that_is_one_record():
    """A length field that claims more than there may be ends it at once."""
    data = gzip_member(pcap_header() + pcap_record(b"", cap_len=1 << 30) + bytes(20 << 20))
    with PcapSource(io.BytesIO(data)) as source:
        with pytest.raises(FileFormatError, match=str(1 << 30)):
            source.next_batch()
        assert source.progress[0] <= len(data)


def test_read_of_a_whole_compressed_file(sample_of):
    plain, packed = read(sample_of("mixed.pcap").path), read(sample_of("mixed.pcap.gz").path)
    assert packed.data.tobytes() == plain.data.tobytes()
    assert packed.records.tolist() == plain.records.tolist()
