"""RotatingWriter: names of files, which of them stay, and what each of them has."""

from __future__ import annotations

import contextlib
import os
import re
import threading

import pytest

from slimcap import Packet, PacketType, open_file, read
from slimcap.sink.rotate import RotatingWriter
from support.batches import numbered_comments
from support.rotation import LINKS, SECOND, names_of, paced_batch, packets_in, packets_of, rotated, sizes_of

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
def test_files_are_named_by_the_template(template, names, tmp_path):
    files = rotated(tmp_path / template, paced_batch(2), max_packets=1)
    assert names_of(files) == sorted(os.listdir(tmp_path)) == names
    assert sizes_of(files) == [1, 1]


@pytest.mark.parametrize(
    "template", ["{", "{0}", "{}", "{host}.pcap", "{index:%Y}", "{time.nothing}", "{index"]
)
def test_bad_templates_raise(template):
    with pytest.raises(
        ValueError, match=r"is not a valid template: .*; the fields are \{index\} and \{time\}"
    ):
        RotatingWriter(template)


@pytest.mark.parametrize("limit", ["max_bytes", "max_seconds", "max_packets", "max_files"])
def test_limits_below_1_raise(limit):
    for value in (0, -1):
        with pytest.raises(ValueError, match=f"{limit} must be at least 1, not {value}"):
            RotatingWriter("a", **{limit: value})


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"snaplen": 0}, "snaplen must be 1 to 2147483647, not 0"),
        ({"compression": "zip"}, "compression must be one of"),
        ({"level": 3}, "level 3 was given, but no compression"),
        ({"format": "erf"}, 'format must be "pcap" or "pcapng", not \'erf\''),
    ],
)
def test_options_are_checked_before_there_is_a_packet(options, error):
    with pytest.raises(ValueError, match=error):
        RotatingWriter("a.pcap", **options)


def test_unknown_options_raise():
    with pytest.raises(TypeError, match="'max_size' is not an option"):
        RotatingWriter("a.pcap", max_size=9)
    with pytest.raises(TypeError, match="'atomic' is not an option"):
        RotatingWriter("a.pcap", atomic=False)


# ---- packets, interfaces and comments


def test_each_file_has_the_interfaces_it_needs(tmp_path):
    batch = paced_batch(6, interface=[0, 0, 1, 1, 2, 0])
    files = rotated(tmp_path / "a.pcapng", batch, max_packets=2)
    assert [[link.name for link in read(file).links] for file in files] == [
        ["eth0"],
        ["tun0"],
        ["eth1", "eth0"],
    ]


def test_packets_keep_type_length_and_comment(tmp_path):
    frame = bytes(12) + b"\x08\0" + b"E" + bytes(59)
    packet = Packet.from_payload(frame, PacketType.OUTGOING, 1000, 14, 5 * SECOND + 1)
    with RotatingWriter(tmp_path / "a.pcapng", link_type=1) as writer:
        writer.write_packet(packet, comment="here")
        with pytest.raises(ValueError, match="a line of 65536 bytes"):
            writer.write_packet(packet, comment="x" * 65536)
    with open_file(writer.files[0]) as source:
        (got,) = source
    assert comments_in(writer.files[0]) == {0: "here"}
    reported = ["timestamp", "total_len", "cap_len", "type", "ip_layer_offset"]
    assert [getattr(got, name) for name in reported] == [getattr(packet, name) for name in reported]
    assert bytes(got.payload) == bytes(packet.payload)


def comments_in(file):
    with open_file(file) as source:
        return numbered_comments(source)


def test_comments_are_in_the_files_of_their_packets(tmp_path):
    comments = {0: "first", 6: "lines\nof it", 7: "next", 19: "last"}
    with RotatingWriter(tmp_path / "a.pcapng", max_packets=7) as writer:
        writer.write_batch(paced_batch(20).with_comments(comments))
    assert [comments_in(file) for file in writer.files] == [
        {0: "first", 6: "lines\nof it"},
        {0: "next"},
        {5: "last"},
    ]


def test_comments_count_as_bytes(tmp_path):
    batch = paced_batch(50)
    with RotatingWriter(tmp_path / "a.pcapng", max_bytes=5000) as writer:
        writer.write_batch(batch.with_comments(dict.fromkeys(range(0, 50, 2), "x" * 1000)))
    sizes = [os.path.getsize(file) for file in writer.files]
    assert max(sizes) <= 5000
    assert min(sizes[:-1]) > 5000 - 1200
    assert packets_in(writer.files) == packets_of(batch)
    assert sum([len(comments_in(file)) for file in writer.files]) == 25


def test_added_interfaces_are_in_every_file(tmp_path):
    with RotatingWriter(tmp_path / "a.pcapng", max_packets=1) as writer:
        writer.add_interface(LINKS[2], comment="spare")
        writer.write_batch(paced_batch(1, interface=1))
        writer.add_interface(LINKS[2])
        writer.add_interface(LINKS[0], filter="tcp", snaplen=9)
        for reported in ({"comment": "more"}, {"filter": "udp"}):
            with pytest.raises(ValueError, match="is described already"):
                writer.add_interface(LINKS[0], **reported)
        writer.write_batch(paced_batch(1, interface=1))
    found = []
    for file in writer.files:
        with open_file(file) as source:
            assert len(source.next_batch()) == 1
            found.append([(info.link.name, info.comment, info.filter) for info in source.interfaces])
    assert found == [
        [("eth1", "spare", ""), ("tun0", "", ""), ("eth0", "", "tcp")],
        [("eth1", "spare", ""), ("eth0", "", "tcp"), ("tun0", "", "")],
    ]


def test_interface_with_a_too_long_comment_raises_and_leaves_no_file(tmp_path):
    with RotatingWriter(tmp_path / "a.pcapng") as writer:
        writer.add_interface(LINKS[0], comment="x" * 65536)
        with pytest.raises(ValueError, match="comment has a line of 65536 bytes"):
            writer.write_batch(paced_batch(1))
        assert writer.path is None
    assert os.listdir(tmp_path) == []


def test_pcap_files_have_no_comments_interfaces_and_counters(tmp_path):
    for template, options in [("a.pcap", {}), ("b.pcap", {"comment": "x"})]:
        with RotatingWriter(tmp_path / template) as writer:
            writer.add_interface(LINKS[0], **options)
            writer.write_batch(paced_batch(1).with_comments({0: "x"}))
            writer.write_statistics(0, received=1)
        assert sizes_of(writer.files) == [1]
        assert comments_in(writer.files[0]) == {}


# ---- which files stay


def test_max_files_removes_the_oldest(tmp_path):
    reported = []
    files = rotated(tmp_path / "a.pcap", paced_batch(10), max_packets=1, max_files=3, on_file=reported.append)
    assert names_of(files) == sorted(os.listdir(tmp_path)) == [f"a-0000{n}.pcap" for n in (7, 8, 9)]
    assert names_of(reported) == [f"a-0000{n}.pcap" for n in range(10)]


def test_on_file_may_remove_the_file(tmp_path):
    rotated(tmp_path / "a.pcap", paced_batch(10), max_packets=1, max_files=2, on_file=os.unlink)
    assert os.listdir(tmp_path) == []


def test_files_get_their_names_when_complete(tmp_path):
    with RotatingWriter(tmp_path / "a.pcap", max_packets=2) as writer:
        writer.write_batch(paced_batch(3))
        assert names_of(writer.files) == ["a-00000.pcap"]
        assert names_of([writer.path]) == ["a-00001.pcap"]
        assert not (tmp_path / "a-00001.pcap").exists()
        writer.flush()
        (hidden,) = set(os.listdir(tmp_path)) - {"a-00000.pcap"}
        assert re.fullmatch(r"\.a-00001\.pcap\.\w+\.part", hidden)
        assert len(read(tmp_path / hidden)) == 1
    assert sorted(os.listdir(tmp_path)) == ["a-00000.pcap", "a-00001.pcap"]
    assert writer.path is None


def test_exception_leaves_complete_files_only(tmp_path):
    writer = RotatingWriter(tmp_path / "a.pcap", max_packets=2)
    with contextlib.suppress(KeyError), writer:
        writer.write_batch(paced_batch(3))
        raise KeyError
    assert os.listdir(tmp_path) == ["a-00000.pcap"]
    assert writer.closed


def test_files_of_others_are_replaced_only_with_overwrite(tmp_path):
    (tmp_path / "02.pcap").write_bytes(b"precious")
    writer = RotatingWriter(tmp_path / "{time:%S}.pcap", max_packets=2)
    with pytest.raises(FileExistsError, match=r"02\.pcap"):
        writer.write_batch(paced_batch(5))
    assert writer.packets_written == 2
    writer.close()
    assert (tmp_path / "02.pcap").read_bytes() == b"precious"
    files = rotated(tmp_path / "{time:%S}.pcap", paced_batch(5), max_packets=2, overwrite=True)
    assert sizes_of(files) == [2, 2, 1]


def test_files_of_the_same_writer_are_never_replaced(tmp_path):
    with pytest.raises(FileExistsError, match="00"):
        rotated(tmp_path / "{time:%S}", paced_batch(2, [0, 0]), max_packets=1, overwrite=True)


# ---- threads and closing


def test_second_thread_raises(tmp_path, background):
    inside, go_on = threading.Event(), threading.Event()

    def wait(file):
        inside.set()
        assert go_on.wait(10)

    writer = RotatingWriter(tmp_path / "a.pcapng", max_packets=1, on_file=wait)
    writing = background(lambda: writer.write_batch(paced_batch(2)))
    assert inside.wait(10)
    for call in (
        lambda: writer.write_batch(paced_batch(1)),
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


def test_closed_writer_raises(tmp_path):
    writer = RotatingWriter(tmp_path / "a.pcap")
    writer.close()
    writer.close()
    writer.discard()
    for call in (lambda: writer.write_batch(paced_batch(1)), writer.flush):
        with pytest.raises(ValueError, match="closed"):
            call()
