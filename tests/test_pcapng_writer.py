"""PcapNgWriter: what it writes, as this reader and others read it."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import threading
import time

import numpy as np
import pytest
from support.peers import peer_environment

from slimcap import (
    RECORD_DTYPE,
    Batch,
    Link,
    Packet,
    PcapNgWriter,
    PcapSource,
    RecordFlag,
    concat,
    open_file,
    read,
)

SECOND = 10**9
ETHERNET, TUNNEL = Link("eth0", 0, 1, description="the first"), Link("tun0", 1, 101)
PAYLOADS = [b"", b"a", b"ab", b"abc", b"abcd", bytes(range(61))]


def batch_of(payloads, links=(ETHERNET,), **columns):
    records = np.zeros(len(payloads), RECORD_DTYPE)
    lengths = [len(payload) for payload in payloads]
    records["cap_len"] = records["total_len"] = lengths
    records["offset"] = np.cumsum([0, *lengths])[:-1]
    records["timestamp"] = np.arange(len(payloads)) * 1_234_567_891
    records["pkt_type"] = 255
    for name, values in columns.items():
        records[name] = values
    return Batch(records, b"".join(payloads), links)


def payloads_of(batch):
    return [bytes(batch.payload(index)) for index in range(len(batch))]


def values(batch, *without):
    """Records without where the bytes are."""
    return batch.records[[n for n in RECORD_DTYPE.names if n not in ("offset", *without)]].tolist()


def told_of(batch):
    """Each packet's link, without the name of a file that stands in where an interface has none."""
    links = [(link.name if link.named else None, link.type, link.description) for link in batch.links]
    return [links[number] for number in batch["interface"].tolist()]


def written(*batches, **options):
    file = io.BytesIO()
    with PcapNgWriter(file, **options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    assert writer.packets_written == sum(map(len, batches))
    assert writer.bytes_written == len(file.getvalue())
    assert writer.bytes_written % 4 == 0
    return file.getvalue()


def again(data, **options):
    return read(io.BytesIO(data), **options)


def output_of(*command):
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=peer_environment())
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def comments_of(path):
    with open_file(path) as source:
        found = {}
        for _ in source.batches():
            found |= source.comments
        return found


# ---- what is written


def test_every_sample(data_path, tmp_path):
    """Through pcapng and back: the same packets, and from then on the same bytes."""
    names = [*data_path.glob("*.pcap"), *data_path.glob("*.pcapng"), *data_path.glob("*.pcap.gz")]
    assert len(names) > 30
    for name in names:
        before = read(name)
        data = written(before)
        after = again(data)
        assert values(after, "interface") == values(before, "interface"), name
        assert payloads_of(after) == payloads_of(before), name
        assert told_of(after) == told_of(before), name
        assert written(after) == data


def test_a_file_name_is_no_interface_name(data_path):
    (one,) = again(written(read(data_path / "mixed.pcap"))).links
    assert (one.named, one.name, one.description) == (False, "<BytesIO>", "")


def test_packet_types():
    types = [0, 1, 2, 3, 4, 5, 6, 7, 254, 255]
    batch = batch_of([bytes(n) for n in range(10)], pkt_type=types)
    assert again(written(batch))["pkt_type"].tolist() == [0, 1, 2, 3, 4, 255, 255, 255, 255, 255]


def test_cooked_packets_say_their_type(data_path):
    """So they carry no flags, but where the header says something else."""
    for name in ("sll.pcap", "sll2.pcap"):
        batch = read(data_path / name)
        assert set(batch["pkt_type"].tolist()) - {255}
        plain = batch.records.copy()
        plain["pkt_type"] = 255
        assert written(batch) == written(Batch(plain, batch.data, batch.links))
        plain["pkt_type"] = 3
        other = again(written(Batch(plain, batch.data, batch.links)))
        assert set(other["pkt_type"].tolist()) == {3}


def test_times():
    times = [0, 1, 2**32, 2**63 - 1]
    assert again(written(batch_of([b"x"] * 4, timestamp=times)))["timestamp"].tolist() == times


@pytest.mark.parametrize("at", [0, 2])
def test_no_times_before_1970(at):
    times = [1, 2, 3]
    times[at] = -1
    batch = batch_of([b"x"] * 3, timestamp=times)
    file = io.BytesIO()
    with PcapNgWriter(file) as writer:
        size = len(file.getvalue())
        with pytest.raises(ValueError, match=rf"^packet {at} has the time -1 ns"):
            writer.write_batch(batch)
        with pytest.raises(ValueError, match="the packet has the time -1 ns"):
            writer.write_packet(batch[at])
    assert len(file.getvalue()) == size


def test_snaplen():
    batch = batch_of(PAYLOADS)
    after = again(written(batch, snaplen=2))
    assert payloads_of(after) == [payload[:2] for payload in PAYLOADS]
    assert after["total_len"].tolist() == batch["total_len"].tolist()
    with PcapSource(io.BytesIO(written(batch, snaplen=2))) as source:
        source.next_batch()
        assert source.interfaces[0].snaplen == 2


def test_many_pieces(data_path):
    batch = read(data_path / "mixed.pcap")
    many = concat([batch] * (3_000_000 // len(batch.data) + 1))
    after = again(written(many, many))
    assert values(after) == values(many) * 2
    assert payloads_of(after) == payloads_of(many) * 2


@pytest.mark.parametrize("size", [(1 << 20) - 40, 1 << 20, 5 << 20])
def test_packets_larger_than_the_buffer(size):
    payloads = [b"abc", bytes(size), b"x", np.random.default_rng(1).bytes(size)]
    file = io.BytesIO()
    with PcapNgWriter(file, snaplen=1 << 30) as writer:
        writer.write_batch(batch_of(payloads), comments={1: "large", 2: "small"})
        for packet in batch_of(payloads):
            writer.write_packet(packet, comment="x" * 65535)
    data = file.getvalue()
    assert all(data.count(payload) >= 2 for payload in payloads)
    assert data.count(b"x" * 65535) == 4


def test_vlan_tags_are_put_back():
    frame = bytes(range(12)) + b"\x08\x00" + bytes(46)
    stripped = int(RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED)
    columns = {"flags": stripped, "vlan_tci": 0x6123, "vlan_tpid": 0x88A8}
    payloads = [frame, frame[:12], frame[:11], frame]
    batch = batch_of(payloads, (ETHERNET, TUNNEL), interface=[0, 0, 0, 1], **columns)
    after = again(written(batch))
    tagged = frame[:12] + b"\x88\xa8\x61\x23" + frame[12:]
    assert payloads_of(after) == [tagged, tagged[:16], frame[:11], frame]
    assert after["total_len"].tolist() == [64, 16, 11, 60]
    assert after["vlan_tci"].tolist()[0] == 0x6123
    for snaplen in range(1, 64):
        cut = again(written(batch, snaplen=snaplen))
        assert payloads_of(cut)[0] == tagged[:snaplen]
        assert cut["total_len"].tolist()[0] == 64


# ---- interfaces


def test_interfaces_are_described_before_their_first_packet():
    batch = batch_of(PAYLOADS, (ETHERNET, TUNNEL), interface=[1, 1, 0, 1, 0, 0])
    data = written(batch)
    with PcapSource(io.BytesIO(data)) as source:
        after = concat(source.batches())
    assert [(link.name, link.type, link.description) for link in after.links] == [
        ("tun0", 101, ""),
        ("eth0", 1, "the first"),
    ]
    assert after["interface"].tolist() == [0, 0, 1, 0, 1, 1]
    assert {one.ticks_per_second for one in source.interfaces} == {SECOND}


def test_links_that_are_equal_are_one_interface():
    other = Link("eth0", 7, 1, description="the first")
    twin = Link("eth0", 0, 1, description="the first")
    file = io.BytesIO()
    with PcapNgWriter(file) as writer:
        for link in (ETHERNET, twin, other, ETHERNET):
            writer.write_batch(batch_of([b"x"], (link,)))
        assert writer.interfaces == (ETHERNET, other)
    assert again(file.getvalue())["interface"].tolist() == [0, 0, 1, 0]


def test_packets_without_a_link():
    for links, interface in (((), 0), ((ETHERNET,), 9), ((), 65535)):
        batch = batch_of([b"x"] * 3, links, interface=interface)
        file = io.BytesIO()
        with PcapNgWriter(file, 101) as writer:
            writer.write_batch(batch)
            writer.write_batch(batch)
            assert writer.interfaces == (None,)
        after = again(file.getvalue())
        assert after.links[0].type == 101
        assert payloads_of(after) == [b"x"] * 6


def test_interfaces_that_are_added():
    file = io.BytesIO()
    with PcapNgWriter(file) as writer:
        assert writer.add_interface(TUNNEL, comment="lines\nof text", filter="tcp port 80") == 0
        assert writer.add_interface(ETHERNET) == 1
        assert writer.add_interface(TUNNEL) == 0
        with pytest.raises(ValueError, match="'tun0' is described already: interface 0"):
            writer.add_interface(TUNNEL, comment="more")
        writer.write_packet(Packet.from_payload(b"x", timestamp=1), interface=1)
        writer.write_batch(batch_of([b"y"], (TUNNEL,)))
        writer.write_packet(Packet.from_payload(b"z", timestamp=1))
        for number in (2, -1):
            with pytest.raises(ValueError, match=f"interface {number}, where the file has 2"):
                writer.write_packet(Packet.from_payload(b"x"), interface=number)
    with PcapSource(io.BytesIO(file.getvalue())) as source:
        batch = concat(source.batches())
    assert batch["interface"].tolist() == [1, 0, 0]
    assert (source.interfaces[0].comment, source.interfaces[0].filter) == ("lines\nof text", "tcp port 80")


def test_what_is_said_of_an_interface(tmp_path, need_tool):
    path = tmp_path / "out.pcapng"
    told = {"snaplen": 96, "comment": "a\nb", "filter": "udp", "hardware": "a card", "os": "Linux"}
    with PcapNgWriter(path) as writer:
        writer.add_interface(ETHERNET, **told)
        writer.add_interface(TUNNEL, snaplen=0)
        for name, value in told.items():
            with pytest.raises(ValueError, match="described already"):
                writer.add_interface(ETHERNET, **{name: value})
        for wrong in (-1, 1 << 32):
            with pytest.raises(ValueError, match="snaplen is a number of bytes from 0 to 4294967295"):
                writer.add_interface(Link("other", 9, 1), snaplen=wrong)
        writer.write_batch(batch_of([b"x" * 200]))
    with PcapSource(path) as source:
        assert source.next_batch()["cap_len"].tolist() == [200]
        assert {name: getattr(source.interfaces[0], name) for name in told} == told
        assert source.interfaces[1].snaplen == 0
    capinfos = output_of(need_tool("capinfos"), "-I", path)
    for line in ("Hardware = a card", "Operating system = Linux", "Capture length = 96", "Comment = a"):
        assert line in capinfos


def test_a_section_that_says_something():
    options = {"comment": "one\ntwo", "hardware": "a machine", "os": "Linux", "application": "a test"}
    with PcapSource(io.BytesIO(written(batch_of(PAYLOADS), **options))) as source:
        source.next_batch()
        assert {name: getattr(source.sections[0], name) for name in options} == options
    with PcapSource(io.BytesIO(written(batch_of(PAYLOADS)))) as source:
        source.next_batch()
        assert source.sections[0].application.startswith("slimcap ")
        assert source.sections[0].comment == ""


def test_statistics():
    file = io.BytesIO()
    with PcapNgWriter(file) as writer:
        writer.write_batch(batch_of(PAYLOADS))
        writer.write_statistics(
            received=100, dropped=7, interface_dropped=3, filter_accepted=90, start=1, end=2**40
        )
        with pytest.raises(ValueError, match="interface 1, where the file has 1"):
            writer.write_statistics(1)
        for wrong in (-1, 2**64):
            with pytest.raises(ValueError, match="64 bits"):
                writer.write_statistics(dropped=wrong)
    with PcapSource(io.BytesIO(file.getvalue())) as source:
        assert len(concat(source.batches())) == len(PAYLOADS)
        assert source.stats().packets_dropped == 10
        told = source.interfaces[0]
    assert (told.received, told.interface_dropped, told.os_dropped) == (100, 3, 7)
    assert (told.start, told.end) == (1, 2**40)


def test_when_statistics_were_taken():
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
        with pytest.raises(ValueError, match="64 bits"):
            block_of(at=wrong)


# ---- comments


def test_comments(tmp_path):
    path = tmp_path / "out.pcapng"
    texts = {0: "on nothing", 3: "two\nlines", 5: "größer"}
    with PcapNgWriter(path) as writer:
        writer.write_batch(batch_of(PAYLOADS, pkt_type=[0, 1, 255, 3, 255, 4]), comments=texts)
        writer.write_packet(Packet.from_payload(b"x"), comment="the last")
        writer.write_packet(Packet.from_payload(b"y"))
    assert comments_of(path) == {**texts, 6: "the last"}
    after = read(path)
    assert payloads_of(after) == [*PAYLOADS, b"x", b"y"]
    assert after["pkt_type"].tolist()[:6] == [0, 1, 255, 3, 255, 4]


def test_comments_that_do_not_fit():
    file = io.BytesIO()
    batch = batch_of(PAYLOADS)
    with PcapNgWriter(file) as writer:
        size = len(file.getvalue())
        for wrong in (-1, len(PAYLOADS), 2**70):
            with pytest.raises(ValueError, match="a comment on packet"):
                writer.write_batch(batch, {wrong: "x"})
        with pytest.raises(ValueError, match="a comment of 65536 bytes"):
            writer.write_batch(batch, {0: "x" * 65536})
        with pytest.raises(TypeError, match="a comment is a text"):
            writer.write_batch(batch, {0: b"x"})
        assert writer.packets_written == 0
        assert len(file.getvalue()) == size
        writer.write_batch(batch)
    assert payloads_of(again(file.getvalue())) == PAYLOADS


@pytest.mark.parametrize("sizes", [[65535, 1], [65535] * 3, [0, 65535, 0, 70, 65464, 65535], [1] * 100_000])
def test_comments_that_take_several_options(sizes, tmp_path, need_tool):
    path = tmp_path / "out.pcapng"
    text = "\n".join("x" * size for size in sizes)
    with PcapNgWriter(path, comment=text) as writer:
        writer.add_interface(ETHERNET, comment=text)
        writer.write_batch(batch_of([b"abc"] * 3, (ETHERNET,)), comments={1: text})
        assert writer.bytes_written > 3 * len(text)
    with PcapSource(path) as source:
        assert len(concat(source.batches())) == 3
        assert source.comments == {1: text}
        assert source.sections[0].comment == source.interfaces[0].comment == text
    output_of(need_tool("tshark"), "-r", path)


def test_lines_of_comments_that_do_not_fit():
    with PcapNgWriter(io.BytesIO()) as writer:
        for text in ("a\n" + "x" * 65536, "x" * 65536 + "\nb", "a\n" + "x" * 70000 + "\nb"):
            with pytest.raises(
                ValueError, match=r"a comment of (65536|70000) bytes, where there can be 65535"
            ):
                writer.write_batch(batch_of(PAYLOADS), {0: text})
        with pytest.raises(
            ValueError, match="a comment of 134217729 bytes, where there can be 134217728 in all"
        ):
            writer.write_batch(batch_of(PAYLOADS), {0: "\n" * (1 + (128 << 20))})
        assert writer.packets_written == 0


# ---- as others read it


def test_tshark_reads_it(data_path, tmp_path, need_tool):
    path = tmp_path / "out.pcapng"
    batch = read(data_path / "mixed_ns.pcap")
    with PcapNgWriter(path) as writer:
        named = Batch(batch.records, batch.data, (ETHERNET,))
        writer.write_batch(named, comments={0: "first", 5: "a\nb"})
    names = ("frame.time_epoch", "frame.len", "frame.cap_len", "frame.interface_name", "frame.comment")
    fields = [part for name in names for part in ("-e", name)]
    lines = output_of(need_tool("tshark"), "-n", "-r", str(path), "-T", "json", *fields)
    found = [packet["_source"]["layers"] for packet in json.loads(lines)]
    assert len(found) == len(batch) > 0
    for layers, row in zip(found, batch.records, strict=True):
        seconds, fraction = layers["frame.time_epoch"][0].split(".")
        assert int(seconds) * SECOND + int(fraction.ljust(9, "0")) == row["timestamp"]
        assert int(layers["frame.len"][0]) == row["total_len"]
        assert int(layers["frame.cap_len"][0]) == row["cap_len"]
        assert layers["frame.interface_name"] == ["eth0"]
    comments = {
        number: layers["frame.comment"] for number, layers in enumerate(found) if "frame.comment" in layers
    }
    assert comments == {0: ["first"], 5: ["a\nb"]}


def test_tcpdump_reads_it(data_path, tmp_path, need_tool):
    """libpcap gives the packets that it gets from the classic file."""
    path, copy, wanted = tmp_path / "out.pcapng", tmp_path / "copy.pcap", tmp_path / "wanted.pcap"
    with PcapNgWriter(path) as writer:
        writer.write_batch(read(data_path / "mixed_ns.pcap"))
    for source, to in ((path, copy), (data_path / "mixed_ns.pcap", wanted)):
        output_of(need_tool("tcpdump"), "-n", "--nano", "-r", str(source), "-w", str(to))
    assert copy.read_bytes() == wanted.read_bytes()


def test_editcap_and_capinfos_take_it(data_path, tmp_path, need_tool):
    path, copy = tmp_path / "out.pcapng", tmp_path / "copy.pcapng"
    with PcapNgWriter(path, comment="all of it") as writer:
        writer.write_batch(read(data_path / "interfaces.pcapng"))
        writer.write_statistics(dropped=4, received=9)
    output_of(need_tool("editcap"), str(path), str(copy))
    assert values(read(copy)) == values(read(path))
    text = output_of(need_tool("capinfos"), "-A", str(path))
    assert "all of it" in text
    assert "Number of packets dropped" not in text or "4" in text


# ---- writes that fail


class Limited:
    """Takes up to `limit` bytes, 13 at most at a time, then says that the disk is full."""

    def __init__(self, limit):
        self.content, self.limit = bytearray(), limit

    def write(self, data):
        part = bytes(data[: min(13, self.limit - len(self.content))])
        if not part:
            raise OSError(errno.ENOSPC, "full")
        self.content += part
        return len(part)


def test_a_write_that_fails_is_made_up_for():
    batch = batch_of(PAYLOADS, (ETHERNET, TUNNEL), interface=[0, 1] * 3, pkt_type=[0, 255] * 3)
    wanted = written(batch, batch)
    header = len(written())
    for limit in range(header, len(wanted) // 2 + 40):
        file = Limited(limit)
        writer = PcapNgWriter(file)
        try:
            writer.write_batch(batch)
            writer.write_batch(batch)
        except OSError:
            failed = writer.packets_written
            assert failed in (6, 12)
        else:
            pytest.fail("there was room")
        file.limit = 1 << 30
        if failed == 6:
            writer.write_batch(batch)
        writer.close()
        assert bytes(file.content) == wanted


def test_closed(tmp_path):
    writer = PcapNgWriter(tmp_path / "out.pcapng")
    writer.close()
    writer.close()
    batch = batch_of(PAYLOADS)
    calls = (
        lambda: writer.write_batch(batch),
        lambda: writer.write_packet(batch[0]),
        lambda: writer.add_interface(ETHERNET),
        writer.write_statistics,
        writer.flush,
    )
    for call in calls:
        with pytest.raises(ValueError, match="the writer is closed"):
            call()
    never = PcapNgWriter.__new__(PcapNgWriter)
    assert never.interfaces == ()
    with pytest.raises(ValueError, match="closed"):
        never.write_batch(batch)


def test_one_thread_at_a_time(background):
    inside, go_on = threading.Event(), threading.Event()
    batch = batch_of(PAYLOADS)

    class Waits(io.BytesIO):
        def write(self, data):
            if self.tell():
                inside.set()
                assert go_on.wait(10)
            return super().write(data)

    writer = PcapNgWriter(Waits())
    writing = background(lambda: writer.write_batch(batch))
    assert inside.wait(10)
    for call in (lambda: writer.write_batch(batch), lambda: writer.add_interface(TUNNEL), writer.close):
        with pytest.raises(RuntimeError, match="one at a time"):
            call()
    go_on.set()
    writing.result()
    writer.close()
