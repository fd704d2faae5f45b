"""Files of PcapWriter, read by tshark and tcpdump."""

from __future__ import annotations

import re

import pytest

from slimcap import PcapWriter, read
from support.peers import run_peer
from support.writing import SECOND


@pytest.fixture
def mixed_out(data_path, tmp_path):
    path = tmp_path / "out.pcap"
    with PcapWriter(path) as writer:
        writer.write_batch(read(data_path / "mixed_ns.pcap"))
    return path


def test_tshark_reads_the_same(mixed_out, need_tool):
    batch = read(mixed_out)
    fields = ("-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len")
    lines = (
        run_peer(need_tool("tshark"), "-n", "-r", str(mixed_out), "-T", "fields", *fields)
        .stdout.decode()
        .splitlines()
    )
    assert len(batch) == len(lines) > 0
    for line, (time, _, total, captured, *_) in zip(lines, batch.records.tolist(), strict=True):
        seconds, fraction, *lengths = re.split(r"[.\t]", line)
        assert int(seconds) * SECOND + int(fraction.ljust(9, "0")) == time
        assert list(map(int, lengths)) == [total, captured]


def test_tcpdump_reads_the_same_times(mixed_out, need_tool):
    batch = read(mixed_out)
    options = ("-n", "-tt", "--nano", "-e", "-r", str(mixed_out))
    times = re.findall(r"^(\d+)\.(\d{9}) ", run_peer(need_tool("tcpdump"), *options).stdout.decode(), re.M)
    assert [int(seconds) * SECOND + int(fraction) for seconds, fraction in times] == batch[
        "timestamp"
    ].tolist()
    assert len(times) > 0


def test_libpcap_writes_the_same_bytes(mixed_out, tmp_path, need_tool):
    """tcpdump copies the file through libpcap, byte for byte."""
    copy = tmp_path / "copy.pcap"
    run_peer(need_tool("tcpdump"), "-n", "--nano", "-r", str(mixed_out), "-w", str(copy))
    assert copy.read_bytes() == mixed_out.read_bytes()
