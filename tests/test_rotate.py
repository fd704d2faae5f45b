"""RotatingWriter: where files begin and end, what they are called, and what is left when something fails."""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading

import numpy as np
import pytest

from slimcap import (
    RECORD_DTYPE,
    Batch,
    Link,
    Packet,
    PacketType,
    RotatingWriter,
    open_file,
    open_writer,
    read,
)

SECOND = 10**9
FORMATS = ["pcap", "pcapng"]
LINKS = (Link("eth0", 0, 1), Link("tun0", 1, 101), Link("eth1", 2, 1))


def batch_of(count, seconds=None, size=60, interfaces=0, links=LINKS):
    records = np.zeros(count, RECORD_DTYPE)
    sizes = np.broadcast_to(size, count)
    records["cap_len"] = records["total_len"] = sizes
    records["offset"] = np.arange(count)
    records["timestamp"] = (np.arange(count) if seconds is None else np.array(seconds)) * SECOND
    records["interface"] = interfaces
    return Batch(records, np.random.default_rng(1).bytes(count + int(max(sizes, default=0))), links)


def packets_of(batch):
    return [(time, bytes(batch.payload(n))) for n, time in enumerate(batch["timestamp"].tolist())]


def sizes_of(files):
    return [len(read(file)) for file in files]


def names_of(files):
    return [os.path.basename(file) for file in files]


def rotated(template, *batches, **options):
    with RotatingWriter(template, **options) as writer:
        for batch in batches:
            writer.write_batch(batch)
        assert writer.packets_written == sum(map(len, batches))
    assert writer.closed
    return list(writer.files)


# ---- names


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("cap.pcap", ["cap-00000.pcap", "cap-00001.pcap"]),
        ("cap.pcapng.gz", ["cap-00000.pcapng.gz", "cap-00001.pcapng.gz"]),
        ("cap", ["cap-00000", "cap-00001"]),
        ("a.b.zst", ["a-00000.b.zst", "a-00001.b.zst"]),
        ("{index}.pcap", ["0.pcap", "1.pcap"]),
        ("{{x}}{index:02}.ntar", ["{x}00.ntar", "{x}01.ntar"]),
        ("{time:%Y%m%d-%H%M%S}.pcap", ["19700101-000000.pcap", "19700101-000001.pcap"]),
        ("{time.second}-{index}.pcap.xz", ["0-0.pcap.xz", "1-1.pcap.xz"]),
    ],
)
def test_names(template, names, tmp_path):
    files = rotated(tmp_path / template, batch_of(2), max_packets=1)
    assert names_of(files) == sorted(os.listdir(tmp_path)) == names
    assert sizes_of(files) == [1, 1]


@pytest.mark.parametrize(
    "template", ["{", "{0}", "{}", "{host}.pcap", "{index:%Y}", "{time.nothing}", "{index"]
)
def test_what_is_no_template(template):
    with pytest.raises(ValueError, match=r"is no template of \{index\} and \{time\}"):
        RotatingWriter(template)


@pytest.mark.parametrize("limit", ["max_bytes", "max_seconds", "max_packets", "max_files"])
def test_limits_that_are_none(limit):
    for value in (0, -1):
        with pytest.raises(ValueError, match=f"{limit} is at least 1, not {value}"):
            RotatingWriter("a", **{limit: value})


def test_without_limits_there_is_one_file(tmp_path):
    batch = batch_of(1000)
    (file,) = rotated(tmp_path / "a.pcap", batch, batch)
    assert packets_of(read(file)) == packets_of(batch) * 2


def test_without_packets_there_is_none(tmp_path):
    assert rotated(tmp_path / "a.pcap", batch_of(0)) == os.listdir(tmp_path) == []


# ---- where files end


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("most", [1, 2, 7, 99, 100, 101])
def test_packets(format, most, tmp_path):
    batch = batch_of(100)
    files = rotated(tmp_path / f"a.{format}", batch[:33], batch[33:34], batch[34:], max_packets=most)
    assert sizes_of(files) == [most] * (100 // most) + [100 % most] * (100 % most > 0)
    assert [one for file in files for one in packets_of(read(file))] == packets_of(batch)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("most", [1, 100, 2000, 2001, 2003, 5000, 100_000])
def test_bytes(format, most, tmp_path):
    """A file is as full as it can be: with one packet more it would be too large."""
    sizes = np.random.default_rng(most).integers(0, 1500, 200)
    batch = batch_of(200, size=sizes, interfaces=np.arange(200) % 5 % 3 if format == "pcapng" else 0)
    files = rotated(tmp_path / f"a.{format}", batch[:77], batch[77:], max_bytes=most)
    counts = sizes_of(files)
    assert sum(counts) == 200
    assert [one for file in files for one in packets_of(read(file))] == packets_of(batch)
    starts = np.cumsum([0, *counts])
    for file, start, stop in zip(files, starts, starts[1:], strict=False):
        size = os.path.getsize(file)
        assert size <= most or stop - start == 1
        more = io.BytesIO()
        with open_writer(more, format=format) as writer:
            writer.write_batch(batch[start : stop + 1])
        assert len(more.getvalue()) > most or stop == 200
        with open(file, "rb") as whole:
            assert more.getvalue().startswith(whole.read())


def test_bytes_are_counted_before_compression(tmp_path):
    batch = batch_of(1000)
    plain = rotated(tmp_path / "a.pcap", batch, max_bytes=10_000)
    packed = rotated(tmp_path / "a.pcap.gz", batch, max_bytes=10_000)
    assert sizes_of(plain) == sizes_of(packed)
    assert len(plain) > 5


def test_bytes_of_tags_that_are_put_back(tmp_path):
    records = batch_of(100).records.copy()
    records["flags"], records["vlan_tpid"] = 3, 0x8100
    files = rotated(tmp_path / "a.pcap", Batch(records, bytes(200), LINKS), max_bytes=24 + 10 * 80)
    assert sizes_of(files) == [10] * 10


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_seconds_are_aligned(pieces, tmp_path):
    batch = batch_of(100, np.arange(100) + 7)
    files = rotated(
        tmp_path / "a.pcap", *[batch[n : n + pieces] for n in range(0, 100, pieces)], max_seconds=10
    )
    times = [read(file)["timestamp"] // SECOND for file in files]
    assert [(part[0], part[-1]) for part in times] == [
        (7, 9), *[(n, n + 9) for n in range(10, 100, 10)], (100, 106)
    ]  # fmt: skip


def test_gaps_make_no_empty_files(tmp_path):
    files = rotated(tmp_path / "{time:%S}", batch_of(4, [9, 10, 35, 36]), max_seconds=10)
    assert names_of(files) == ["09", "10", "35"]


def test_who_is_late_ends_no_file(tmp_path):
    seconds = [11, 3, 12, 25, 11, 29, 30]
    for split in range(len(seconds)):
        batch = batch_of(len(seconds), seconds)
        files = rotated(tmp_path / f"{split}-.pcap", batch[:split], batch[split:], max_seconds=10)
        assert [(read(file)["timestamp"] // SECOND).tolist() for file in files] == [
            [11, 3, 12], [25, 11, 29], [30]
        ]  # fmt: skip


def test_the_first_limit_counts(tmp_path):
    batch = batch_of(30, np.arange(30) // 2)
    files = rotated(tmp_path / "a", batch, max_packets=7, max_seconds=5, max_bytes=24 + 5 * 76)
    assert sizes_of(files) == [5, 5] * 3


@pytest.mark.parametrize("limit", ["max_packets", "max_bytes", "max_seconds", "max_files"])
def test_limits_that_nothing_reaches(tmp_path, limit):
    files = rotated(tmp_path / "a.pcapng", batch_of(20), batch_of(20), **{limit: 10**30})
    assert sizes_of(files) == [40]


def test_the_last_time_there_is(tmp_path):
    batch = batch_of(3)
    records = batch.records.copy()
    records["timestamp"] = (1 << 63) - 1
    files = rotated(tmp_path / "a.pcapng", Batch(records, batch.data, LINKS), max_seconds=1)
    assert sum(sizes_of(files)) == 3


def test_each_file_has_the_interfaces_it_needs(tmp_path):
    batch = batch_of(6, interfaces=[0, 0, 1, 1, 2, 0])
    files = rotated(tmp_path / "a.pcapng", batch, max_packets=2)
    assert [[link.name for link in read(file).links] for file in files] == [
        ["eth0"],
        ["tun0"],
        ["eth1", "eth0"],
    ]


def test_a_batch_in_many_files(tmp_path):
    batch = batch_of(2000)
    files = rotated(tmp_path / "a.pcapng", batch, max_packets=2)
    assert sizes_of(files) == [2] * 1000


@pytest.mark.parametrize("format", FORMATS)
def test_one_by_one(format, tmp_path):
    batch = batch_of(100, size=np.arange(60, 160), seconds=np.arange(100) // 2)
    limits = {"format": format, "max_bytes": 3000, "max_seconds": 10}
    want = rotated(tmp_path / "batch", batch, **limits)
    with RotatingWriter(tmp_path / "packet", **limits) as writer:
        for number in range(50):
            writer.write_packet(batch[number], interface=LINKS[0])
        for number in range(50, 100):
            writer.write_packet(batch[number].copy(), interface=LINKS[0])
        assert writer.packets_written == 100
    assert len(want) > 3
    for ours, theirs in zip(writer.files, want, strict=True):
        with open(ours, "rb") as a, open(theirs, "rb") as b:
            assert a.read() == b.read()


def test_a_packet_keeps_what_is_known_of_it(tmp_path):
    frame = bytes(12) + b"\x08\0" + b"E" + bytes(59)
    packet = Packet.from_payload(frame, PacketType.OUTGOING, 1000, 14, 5 * SECOND + 1)
    with RotatingWriter(tmp_path / "a.pcapng", link_type=1) as writer:
        writer.write_packet(packet, comment="here")
        with pytest.raises(ValueError, match="a comment of 65536 bytes"):
            writer.write_packet(packet, comment="x" * 65536)
    with open_file(writer.files[0]) as source:
        (got,) = source
        assert source.comments == {0: "here"}
    told = ["timestamp", "total_len", "cap_len", "type", "ip_layer_offset"]
    assert [getattr(got, name) for name in told] == [getattr(packet, name) for name in told]
    assert bytes(got.payload) == bytes(packet.payload)


# ---- what is said besides packets


def comments_in(file):
    with open_file(file) as source:
        for _ in source.batches():
            pass
        return source.comments


def test_comments_go_where_their_packets_go(tmp_path):
    comments = {0: "first", 6: "lines\nof it", 7: "next", 19: "last"}
    with RotatingWriter(tmp_path / "a.pcapng", max_packets=7) as writer:
        writer.write_batch(batch_of(20), comments)
    assert [comments_in(file) for file in writer.files] == [
        {0: "first", 6: "lines\nof it"},
        {0: "next"},
        {5: "last"},
    ]


def test_comments_count_as_bytes(tmp_path):
    batch = batch_of(50)
    with RotatingWriter(tmp_path / "a.pcapng", max_bytes=5000) as writer:
        writer.write_batch(batch, dict.fromkeys(range(0, 50, 2), "x" * 1000))
    sizes = [os.path.getsize(file) for file in writer.files]
    assert max(sizes) <= 5000
    assert min(sizes[:-1]) > 5000 - 1200
    assert [packet for file in writer.files for packet in packets_of(read(file))] == packets_of(batch)
    assert sum([len(comments_in(file)) for file in writer.files]) == 25


def test_comments_on_no_packet(tmp_path):
    with RotatingWriter(tmp_path / "a.pcapng", max_packets=1) as writer:
        for wrong in (-1, 3, 2**70):
            with pytest.raises(ValueError, match="a comment on packet"):
                writer.write_batch(batch_of(3), {1: "x", wrong: "y"})
        assert writer.packets_written == 0
    assert writer.files == ()


def test_interfaces_that_are_added_are_in_every_file(tmp_path):
    with RotatingWriter(tmp_path / "a.pcapng", max_packets=1) as writer:
        writer.add_interface(LINKS[2], comment="spare")
        writer.write_batch(batch_of(1, interfaces=1))
        writer.add_interface(LINKS[2])
        writer.add_interface(LINKS[0], filter="tcp", snaplen=9)
        for told in ({"comment": "more"}, {"filter": "udp"}):
            with pytest.raises(ValueError, match="is described already"):
                writer.add_interface(LINKS[0], **told)
        writer.write_batch(batch_of(1, interfaces=1))
    found = []
    for file in writer.files:
        with open_file(file) as source:
            assert len(source.next_batch()) == 1
            found.append([(info.link.name, info.comment, info.filter) for info in source.interfaces])
    assert found == [
        [("eth1", "spare", ""), ("tun0", "", ""), ("eth0", "", "tcp")],
        [("eth1", "spare", ""), ("eth0", "", "tcp"), ("tun0", "", "")],
    ]


def test_an_interface_that_cannot_be_described_is_none(tmp_path):
    with RotatingWriter(tmp_path / "a.pcapng") as writer:
        writer.add_interface(LINKS[0], comment="x" * 65536)
        with pytest.raises(ValueError, match="comment of 65536 bytes"):
            writer.write_batch(batch_of(1))
        assert writer.path is None
    assert os.listdir(tmp_path) == []


def test_pcap_has_no_place_for_that(tmp_path):
    with RotatingWriter(tmp_path / "a.pcap") as writer:
        with pytest.raises(ValueError, match="pcap files have no comments: write pcapng"):
            writer.write_batch(batch_of(1), {0: "x"})
        with pytest.raises(ValueError, match="pcap files have no interfaces: write pcapng"):
            writer.add_interface(LINKS[0])
        writer.write_batch(batch_of(1), {})
    assert sizes_of(writer.files) == [1]


# ---- which files stay


def test_the_oldest_goes(tmp_path):
    told = []
    files = rotated(tmp_path / "a.pcap", batch_of(10), max_packets=1, max_files=3, on_file=told.append)
    assert names_of(files) == sorted(os.listdir(tmp_path)) == [f"a-0000{n}.pcap" for n in (7, 8, 9)]
    assert names_of(told) == [f"a-0000{n}.pcap" for n in range(10)]


def test_who_is_told_may_take_the_file_away(tmp_path):
    rotated(tmp_path / "a.pcap", batch_of(10), max_packets=1, max_files=2, on_file=os.unlink)
    assert os.listdir(tmp_path) == []


def test_files_have_another_name_until_they_are_whole(tmp_path):
    with RotatingWriter(tmp_path / "a.pcap", max_packets=2) as writer:
        writer.write_batch(batch_of(3))
        assert names_of(writer.files) == ["a-00000.pcap"]
        assert names_of([writer.path]) == ["a-00001.pcap"]
        assert not (tmp_path / "a-00001.pcap").exists()
        writer.flush()
        (hidden,) = set(os.listdir(tmp_path)) - {"a-00000.pcap"}
        assert re.fullmatch(r"\.a-00001\.pcap\.\w+\.part", hidden)
        assert len(read(tmp_path / hidden)) == 1
    assert sorted(os.listdir(tmp_path)) == ["a-00000.pcap", "a-00001.pcap"]
    assert writer.path is None


def test_an_exception_leaves_what_is_whole(tmp_path):
    writer = RotatingWriter(tmp_path / "a.pcap", max_packets=2)
    with contextlib.suppress(KeyError), writer:
        writer.write_batch(batch_of(3))
        raise KeyError
    assert os.listdir(tmp_path) == ["a-00000.pcap"]
    assert writer.closed


def test_other_files_stay(tmp_path):
    (tmp_path / "a-00001.pcap").write_bytes(b"precious")
    writer = RotatingWriter(tmp_path / "a.pcap", max_packets=2)
    with pytest.raises(FileExistsError, match=r"a-00001\.pcap"):
        writer.write_batch(batch_of(5))
    assert writer.packets_written == 2
    writer.close()
    assert (tmp_path / "a-00001.pcap").read_bytes() == b"precious"
    files = rotated(tmp_path / "a.pcap", batch_of(5), max_packets=2, overwrite=True)
    assert sizes_of(files) == [2, 2, 1]


def test_no_file_of_ours_is_replaced(tmp_path):
    with pytest.raises(FileExistsError, match="00"):
        rotated(tmp_path / "{time:%S}", batch_of(2, [0, 0]), max_packets=1, overwrite=True)


def test_one_thread_at_a_time(tmp_path, background):
    inside, go_on = threading.Event(), threading.Event()

    def wait(file):
        inside.set()
        assert go_on.wait(10)

    writer = RotatingWriter(tmp_path / "a.pcapng", max_packets=1, on_file=wait)
    writing = background(lambda: writer.write_batch(batch_of(2)))
    assert inside.wait(10)
    for call in (
        lambda: writer.write_batch(batch_of(1)),
        lambda: writer.add_interface(LINKS[0]),
        writer.flush,
        writer.close,
        writer.discard,
    ):
        with pytest.raises(RuntimeError, match="one at a time"):
            call()
    go_on.set()
    writing.result()
    writer.close()
    assert sizes_of(writer.files) == [1, 1]


def test_closed(tmp_path):
    writer = RotatingWriter(tmp_path / "a.pcap")
    writer.close()
    writer.close()
    writer.discard()
    for call in (lambda: writer.write_batch(batch_of(1)), writer.flush):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_times_that_do_not_fit(tmp_path):
    with RotatingWriter(tmp_path / "a.pcap", max_packets=2) as writer:
        with pytest.raises(ValueError, match="has the time"):
            writer.write_batch(batch_of(3, [0, 1, -1]))
        writer.write_batch(batch_of(1))
