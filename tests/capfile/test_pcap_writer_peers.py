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
    done = run_peer(need_tool("tshark"), "-n", "-r", mixed_out, "-T", "fields", *fields, reads=[mixed_out])
    lines = done.stdout.decode().splitlines()
    assert len(batch) == len(lines) > 0
    for line, (time, _, total, captured, *_) in zip(lines, batch.records.tolist(), strict=True):
        seconds, fraction, *lengths = re.split(r"[.\t]", line)
        assert int(seconds) * SECOND + int(fraction.ljust(9, "0")) == time
        assert list(map(int, lengths)) == [total, captured]


def test_tcpdump_reads_the_same_times(mixed_out, need_tool):
    batch = read(mixed_out)
    done = run_peer(need_tool("tcpdump"), "-n", "-tt", "--nano", "-e", "-r", mixed_out, reads=[mixed_out])
    times = re.findall(r"^(\d+)\.(\d{9}) ", done.stdout.decode(), re.M)
    assert [int(seconds) * SECOND + int(fraction) for seconds, fraction in times] == batch[
        "timestamp"
    ].tolist()
    assert len(times) > 0


def test_libpcap_writes_the_same_bytes(mixed_out, need_tool):
    """tcpdump copies the file through libpcap, byte for byte."""
    done = run_peer(need_tool("tcpdump"), "-n", "--nano", "-r", mixed_out, "-w", "-", reads=[mixed_out])
    assert done.stdout == mixed_out.read_bytes()
