"""PcapNgWriter: interfaces, sections, statistics and comments."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest

from slimcap import Link, Packet, PcapNgWriter, PcapSource, concat, open_file, read
from support.batches import numbered_comments, payloads_of
from support.writing import ETHERNET, PAYLOADS, SECOND, TUNNEL, linked, written


def read_back(data, **options):
    return read(io.BytesIO(data), **options)


# ---- interfaces


def test_interfaces_are_described_before_their_first_packet():
    batch = linked(PAYLOADS, (ETHERNET, TUNNEL), interface=[1, 1, 0, 1, 0, 0])
    data = written(PcapNgWriter, batch)
    with PcapSource(io.BytesIO(data)) as source:
        after = concat(source.batches())
    assert [(link.name, link.type, link.description) for link in after.links] == [
        ("tun0", 101, ""),
        ("eth0", 1, "the first"),
    ]
    assert after["interface"].tolist() == [0, 0, 1, 0, 1, 1]
    assert {one.ticks_per_second for one in source.interfaces} == {SECOND}


def test_equal_links_are_one_interface():
    other = Link("eth0", 7, 1, description="the first")
    twin = Link("eth0", 0, 1, description="the first")
    file = io.BytesIO()
    with PcapNgWriter(file) as writer:
        for link in (ETHERNET, twin, other, ETHERNET):
            writer.write_batch(linked([b"x"], (link,)))
        assert writer.interfaces == (ETHERNET, other)
    assert read_back(file.getvalue())["interface"].tolist() == [0, 0, 1, 0]


def test_packets_without_a_link_share_an_interface_without_a_name():
    for links, interface in (((), 0), ((ETHERNET,), 9), ((), 2**32 - 1)):
        batch = linked([b"x"] * 3, links, interface=interface)
        file = io.BytesIO()
        with PcapNgWriter(file, 101) as writer:
            writer.write_batch(batch)
            writer.write_batch(batch)
            assert writer.interfaces == (None,)
        after = read_back(file.getvalue())
        assert after.links[0].type == 101
        assert payloads_of(after) == [b"x"] * 6


def test_added_interfaces_are_numbered_in_order():
    file = io.BytesIO()
    with PcapNgWriter(file) as writer:
        assert writer.add_interface(TUNNEL, comment="lines\nof text", filter="tcp port 80") == 0
        assert writer.add_interface(ETHERNET) == 1
        assert writer.add_interface(TUNNEL) == 0
        with pytest.raises(ValueError, match="'tun0' is described already: interface 0"):
            writer.add_interface(TUNNEL, comment="more")
        writer.write_packet(Packet.from_payload(b"x", timestamp=1), interface=1)
        writer.write_batch(linked([b"y"], (TUNNEL,)))
        writer.write_packet(Packet.from_payload(b"z", timestamp=1))
        for number in (2, -1):
            with pytest.raises(ValueError, match=f"interface {number}, where the file has 2"):
                writer.write_packet(Packet.from_payload(b"x"), interface=number)
    with PcapSource(io.BytesIO(file.getvalue())) as source:
        batch = concat(source.batches())
    assert batch["interface"].tolist() == [1, 0, 0]
    assert (source.interfaces[0].comment, source.interfaces[0].filter) == ("lines\nof text", "tcp port 80")


def test_interface_options_are_read_back(tmp_path):
    path = tmp_path / "out.pcapng"
    info = {"snaplen": 96, "comment": "a\nb", "filter": "udp", "hardware": "a card", "os": "Linux"}
    with PcapNgWriter(path) as writer:
        writer.add_interface(ETHERNET, **info)
        writer.add_interface(TUNNEL, snaplen=0)
        for name, value in info.items():
            with pytest.raises(ValueError, match="described already"):
                writer.add_interface(ETHERNET, **{name: value})
        for wrong in (-1, 1 << 32):
            with pytest.raises(ValueError, match="snaplen must be 0 to 4294967295"):
                writer.add_interface(Link("other", 9, 1), snaplen=wrong)
        writer.write_batch(linked([b"x" * 200]))
    with PcapSource(path) as source:
        assert source.next_batch()["cap_len"].tolist() == [200]
        assert {name: getattr(source.interfaces[0], name) for name in info} == info
        assert source.interfaces[1].snaplen == 0


# ---- section and statistics


def test_section_options_are_read_back():
    options = {"comment": "one\ntwo", "hardware": "a machine", "os": "Linux", "application": "a test"}
    with PcapSource(io.BytesIO(written(PcapNgWriter, linked(PAYLOADS), **options))) as source:
        source.next_batch()
        assert {name: getattr(source.sections[0], name) for name in options} == options
    with PcapSource(io.BytesIO(written(PcapNgWriter, linked(PAYLOADS)))) as source:
        source.next_batch()
        assert source.sections[0].application.startswith("slimcap ")
        assert source.sections[0].comment == ""


def test_statistics_are_read_back():
    file = io.BytesIO()
    with PcapNgWriter(file) as writer:
        writer.write_batch(linked(PAYLOADS))
        writer.write_statistics(
            received=100, dropped=7, interface_dropped=3, filter_accepted=90, start=1, end=2**40
        )
        with pytest.raises(ValueError, match="interface 1, where the file has 1"):
            writer.write_statistics(1)
        for wrong in (-1, 2**64):
            with pytest.raises(ValueError, match="dropped must be 0 to 18446744073709551615"):
                writer.write_statistics(dropped=wrong)
    with PcapSource(io.BytesIO(file.getvalue())) as source:
        assert len(concat(source.batches())) == len(PAYLOADS)
        assert source.stats().packets_dropped == 10
        info = source.interfaces[0]
    assert (info.received, info.interface_dropped, info.os_dropped) == (100, 3, 7)
    assert (info.start, info.end) == (1, 2**40)


def test_statistics_have_the_given_or_the_current_time():
    def block_of(**times):
        file = io.BytesIO()
        with PcapNgWriter(file) as writer:
            before = writer.bytes_written
            writer.write_statistics(**times)
        data = file.getvalue()[-(len(file.getvalue()) - before) :]
        high, low = np.frombuffer(data[data.index(b"\5\0\0\0") + 12 :][:8], np.uint32).tolist()
        return high << 32 | low

    assert block_of(at=2**33 + 5) == 2**33 + 5
    assert block_of(end=7) == 7
    assert block_of(end=7, at=6) == 6
    now = time.time_ns()
    assert now <= block_of() <= time.time_ns()
    for wrong in (-1, 2**64):
        with pytest.raises(ValueError, match="at must be 0 to 18446744073709551615"):
            block_of(at=wrong)


# ---- comments


def comments_of(path):
    with open_file(path) as source:
        return numbered_comments(source)


def test_comments_are_read_back(tmp_path):
    path = tmp_path / "out.pcapng"
    texts = {0: "on nothing", 3: "two\nlines", 5: "größer"}
    with PcapNgWriter(path) as writer:
        writer.write_batch(linked(PAYLOADS, pkt_type=[0, 1, 255, 3, 255, 4]).with_comments(texts))
        writer.write_packet(Packet.from_payload(b"x"), comment="the last")
        writer.write_packet(Packet.from_payload(b"y"))
    assert comments_of(path) == {**texts, 6: "the last"}
    after = read(path)
    assert payloads_of(after) == [*PAYLOADS, b"x", b"y"]
    assert after["pkt_type"].tolist()[:6] == [0, 1, 255, 3, 255, 4]


def test_comment_that_is_too_long_raises_before_anything_is_written():
    file = io.BytesIO()
    batch = linked(PAYLOADS)
    with PcapNgWriter(file) as writer:
        size = len(file.getvalue())
        with pytest.raises(ValueError, match="the comment on packet 0 has a line of 65536 bytes"):
            writer.write_packet(batch[0], comment="x" * 65536)
        assert writer.packets_written == 0
        assert len(file.getvalue()) == size
        writer.write_batch(batch)
    assert payloads_of(read_back(file.getvalue())) == PAYLOADS


SIZES = {  # of the lines
    "one longer than an option": [65535, 1],
    "as long as options": [65535] * 3,
    "in several options": [0, 65535, 0, 70, 65464, 65535],
    "many": [1] * 100_000,
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_comments_longer_than_an_option_are_split_at_lines(sizes, tmp_path):
    path = tmp_path / "out.pcapng"
    text = "\n".join("x" * size for size in sizes)
    with PcapNgWriter(path, comment=text) as writer:
        writer.add_interface(ETHERNET, comment=text)
        writer.write_batch(linked([b"abc"] * 3, (ETHERNET,)).with_comments({1: text}))
        assert writer.bytes_written > 3 * len(text)
    with PcapSource(path) as source:
        batch = concat(source.batches())
        assert len(batch) == 3
        assert batch.comments == {1: text}
        assert source.sections[0].comment == source.interfaces[0].comment == text


def test_comments_with_too_long_lines_raise():
    message = r"packet 0 has a line of (65536|70000) bytes, where there can be 65535"
    for text in ("a\n" + "x" * 65536, "x" * 65536 + "\nb", "a\n" + "x" * 70000 + "\nb"):
        with pytest.raises(ValueError, match=message):
            linked(PAYLOADS).with_comments({0: text})


@pytest.mark.slow  # it takes 400 MB
def test_comment_of_more_than_128_mib_raises():
    with pytest.raises(ValueError, match="packet 0 of 134217729 bytes, where there can be 134217728 in all"):
        linked(PAYLOADS).with_comments({0: "\n" * (1 + (128 << 20))})
