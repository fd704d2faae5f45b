"""Files of PcapNgWriter, read by tshark, tcpdump, editcap and capinfos."""

from __future__ import annotations

import io
import json

from slimcap import Batch, PcapNgWriter, read
from support.batches import rows_of
from support.peers import run_peer
from support.writing import ETHERNET, SECOND, linked


def test_tshark_reads_the_same(data_path, tmp_path, need_tool):
    path = tmp_path / "out.pcapng"
    batch = read(data_path / "mixed_ns.pcap")
    with PcapNgWriter(path) as writer:
        named = Batch(batch.records, batch.data, (ETHERNET,))
        writer.write_batch(named.with_comments({0: "first", 5: "a\nb"}))
    names = ("frame.time_epoch", "frame.len", "frame.cap_len", "frame.interface_name", "frame.comment")
    fields = [part for name in names for part in ("-e", name)]
    done = run_peer(need_tool("tshark"), "-n", "-r", path, "-T", "json", *fields, reads=[path])
    found = [packet["_source"]["layers"] for packet in json.loads(done.stdout)]
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


def test_libpcap_reads_what_it_reads_from_pcap(data_path, tmp_path, need_tool):
    """tcpdump makes the same file of the pcapng file and of its classic twin."""
    path, twin = tmp_path / "out.pcapng", data_path / "mixed_ns.pcap"
    with PcapNgWriter(path) as writer:
        writer.write_batch(read(twin))
    copy, wanted = (
        run_peer(need_tool("tcpdump"), "-n", "--nano", "-r", file, "-w", "-", reads=[file]).stdout
        for file in (path, twin)
    )
    assert copy == wanted


def test_capinfos_reads_interface_options(tmp_path, need_tool):
    path = tmp_path / "out.pcapng"
    with PcapNgWriter(path) as writer:
        writer.add_interface(
            ETHERNET, snaplen=96, comment="a\nb", filter="udp", hardware="a card", os="Linux"
        )
        writer.write_batch(linked([b"x" * 200]))
    capinfos = run_peer(need_tool("capinfos"), "-I", path, reads=[path]).stdout.decode()
    for line in ("Hardware = a card", "Operating system = Linux", "Capture length = 96", "Comment = a"):
        assert line in capinfos


def test_tshark_reads_comments_in_several_options(tmp_path, need_tool):
    path, text = tmp_path / "out.pcapng", "\n".join("x" * size for size in (0, 65535, 0, 70, 65464, 65535))
    with PcapNgWriter(path, comment=text) as writer:
        writer.add_interface(ETHERNET, comment=text)
        writer.write_batch(linked([b"abc"] * 3).with_comments({1: text}))
    run_peer(need_tool("tshark"), "-r", path, reads=[path])


def test_editcap_and_capinfos_read_the_file(data_path, tmp_path, need_tool):
    path = tmp_path / "out.pcapng"
    with PcapNgWriter(path, comment="all of it") as writer:
        batch = read(data_path / "interfaces.pcapng")
        # In nanoseconds: editcap rounds times in binary fractions down twice.
        writer.write_batch(Batch(batch.records, batch.data, batch.links, comments=batch.comments))
        writer.write_statistics(dropped=4, received=9)
    copy = run_peer(need_tool("editcap"), path, "-", reads=[path]).stdout
    assert rows_of(read(io.BytesIO(copy))) == rows_of(read(path))
    text = run_peer(need_tool("capinfos"), "-A", path, reads=[path]).stdout.decode()
    assert "all of it" in text
    assert "Number of packets dropped" not in text or "4" in text
