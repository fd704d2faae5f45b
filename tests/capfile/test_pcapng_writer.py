"""PcapNgWriter: what it writes comes back, and what cannot be written raises."""

from __future__ import annotations

import errno
import io
import threading

import numpy as np
import pytest

from slimcap import Batch, PcapNgWriter, PcapSource, RecordFlag, concat, read
from support.batches import payloads_of, rows_of
from support.writing import ETHERNET, PAYLOADS, TUNNEL, linked, written


def read_back(data, **options):
    return read(io.BytesIO(data), **options)


def links_of(batch):
    """Return the link of each packet, without the name of the file that interfaces without a name have."""
    links = [(link.name if link.named else None, link.type, link.description) for link in batch.links]
    return [links[number] for number in batch["interface"].tolist()]


def test_samples_are_read_back_unchanged(data_path, tmp_path):
    """Packets that are written and read are the same, and written again they are the same bytes."""
    names = [*data_path.glob("*.pcap"), *data_path.glob("*.pcapng"), *data_path.glob("*.pcap.gz")]
    assert len(names) > 30
    for name in names:
        before = read(name)
        data = written(PcapNgWriter, before)
        after = read_back(data)
        assert rows_of(after, "interface") == rows_of(before, "interface"), name
        assert payloads_of(after) == payloads_of(before), name
        assert links_of(after) == links_of(before), name
        assert written(PcapNgWriter, after) == data


def test_file_name_is_not_written_as_interface_name(data_path):
    (one,) = read_back(written(PcapNgWriter, read(data_path / "mixed.pcap"))).links
    assert (one.named, one.name, one.description) == (False, "<BytesIO>", "")


def test_packet_types_are_kept():
    types = [0, 1, 2, 3, 4, 5, 6, 7, 254, 255]
    batch = linked([bytes(n) for n in range(10)], pkt_type=types)
    assert read_back(written(PcapNgWriter, batch))["pkt_type"].tolist() == [
        0,
        1,
        2,
        3,
        4,
        255,
        255,
        255,
        255,
        255,
    ]


def test_cooked_packets_have_no_flags_unless_their_type_differs(data_path):
    """The cooked header already has the packet type."""
    for name in ("sll.pcap", "sll2.pcap"):
        batch = read(data_path / name)
        assert set(batch["pkt_type"].tolist()) - {255}
        plain = batch.records.copy()
        plain["pkt_type"] = 255
        assert written(PcapNgWriter, batch) == written(PcapNgWriter, Batch(plain, batch.data, batch.links))
        plain["pkt_type"] = 3
        other = read_back(written(PcapNgWriter, Batch(plain, batch.data, batch.links)))
        assert set(other["pkt_type"].tolist()) == {3}


def test_times_up_to_the_maximum_are_kept():
    times = [0, 1, 2**32, 2**63 - 1]
    assert (
        read_back(written(PcapNgWriter, linked([b"x"] * 4, timestamp=times)))["timestamp"].tolist() == times
    )


@pytest.mark.parametrize("at", [0, 2])
def test_times_before_1970_raise(at):
    times = [1, 2, 3]
    times[at] = -1
    batch = linked([b"x"] * 3, timestamp=times)
    file = io.BytesIO()
    with PcapNgWriter(file) as writer:
        size = len(file.getvalue())
        with pytest.raises(ValueError, match=rf"^packet {at} has the time -1 ns"):
            writer.write_batch(batch)
        with pytest.raises(ValueError, match="the packet has the time -1 ns"):
            writer.write_packet(batch[at])
    assert len(file.getvalue()) == size


def test_packets_are_cut_to_the_snaplen():
    batch = linked(PAYLOADS)
    after = read_back(written(PcapNgWriter, batch, snaplen=2))
    assert payloads_of(after) == [payload[:2] for payload in PAYLOADS]
    assert after["total_len"].tolist() == batch["total_len"].tolist()
    with PcapSource(io.BytesIO(written(PcapNgWriter, batch, snaplen=2))) as source:
        source.next_batch()
        assert source.interfaces[0].snaplen == 2


def test_stripped_vlan_tags_are_restored():
    frame = bytes(range(12)) + b"\x08\x00" + bytes(46)
    stripped = int(RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED)
    columns = {"flags": stripped, "vlan_tci": 0x6123, "vlan_tpid": 0x88A8}
    payloads = [frame, frame[:12], frame[:11], frame]
    batch = linked(payloads, (ETHERNET, TUNNEL), interface=[0, 0, 0, 1], **columns)
    after = read_back(written(PcapNgWriter, batch))
    tagged = frame[:12] + b"\x88\xa8\x61\x23" + frame[12:]
    assert payloads_of(after) == [tagged, tagged[:16], frame[:11], frame]
    assert after["total_len"].tolist() == [64, 16, 11, 60]
    assert after["vlan_tci"].tolist()[0] == 0x6123
    for snaplen in range(1, 64):
        cut = read_back(written(PcapNgWriter, batch, snaplen=snaplen))
        assert payloads_of(cut)[0] == tagged[:snaplen]
        assert cut["total_len"].tolist()[0] == 64


# ---- buffering


def test_batches_larger_than_the_buffer_are_written_whole(data_path):
    batch = read(data_path / "mixed.pcap")
    many = concat([batch] * (3_000_000 // len(batch.data) + 1))
    after = read_back(written(PcapNgWriter, many, many))
    assert rows_of(after) == rows_of(many) * 2
    assert payloads_of(after) == payloads_of(many) * 2


@pytest.mark.parametrize("size", [(1 << 20) - 40, 1 << 20, 5 << 20])
def test_packets_larger_than_the_buffer_are_written_whole(size):
    payloads = [b"abc", bytes(size), b"x", np.random.default_rng(1).bytes(size)]
    file = io.BytesIO()
    with PcapNgWriter(file, snaplen=1 << 30) as writer:
        writer.write_batch(linked(payloads).with_comments({1: "large", 2: "small"}))
        for packet in linked(payloads):
            writer.write_packet(packet, comment="x" * 65535)
    data = file.getvalue()
    assert all(data.count(payload) >= 2 for payload in payloads)
    assert data.count(b"x" * 65535) == 4


# ---- failures


class Limited:
    """A file object that accepts at most 13 bytes a write, and `limit` in all; then its disk is full."""

    def __init__(self, limit):
        self.content, self.limit = bytearray(), limit

    def write(self, data):
        part = bytes(data[: min(13, self.limit - len(self.content))])
        if not part:
            raise OSError(errno.ENOSPC, "full")
        self.content += part
        return len(part)


def test_failed_write_is_completed_later():
    batch = linked(PAYLOADS, (ETHERNET, TUNNEL), interface=[0, 1] * 3, pkt_type=[0, 255] * 3)
    wanted = written(PcapNgWriter, batch, batch)
    header = len(written(PcapNgWriter))
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
            pytest.fail("the file was not full")
        file.limit = 1 << 30
        if failed == 6:
            writer.write_batch(batch)
        writer.close()
        assert bytes(file.content) == wanted


def test_closed_writer_raises(tmp_path):
    writer = PcapNgWriter(tmp_path / "out.pcapng")
    writer.close()
    writer.close()
    batch = linked(PAYLOADS)
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


def test_second_thread_raises(background):
    inside, go_on = threading.Event(), threading.Event()
    batch = linked(PAYLOADS)

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
