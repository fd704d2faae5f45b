"""The samples as Wireshark and libpcap read them; where they differ from us is listed."""

from __future__ import annotations

import io

import pytest

from slimcap import NO_IP, FileFormatError, PcapSource, read
from support.batches import payloads_of
from support.builders.captures import CAPTURES
from support.builders.compressed import inflated
from support.builders.pcap import NANO
from support.dissections import dissect_samples
from support.peers import run_peer
from support.samples import DATA, GOOD, drain, sample_of

BAD = [name for name in CAPTURES if name.startswith("bad/")]
# tshark 4.0 shows a length on the wire below the captured one as it is in the file.
TSHARK_OTHER_LENGTHS = {"odd_lengths.pcap"}
# Its PDML shows seconds from 2^31 on as negative; its time_epoch does so only if the fraction is too large.
TSHARK_OTHER_TIMES = {"odd_times.pcap"}
# Packets of Ethernet pseudowires, in which tshark sees no Ethernet frame.
IN_PSEUDOWIRES = {"ethernet_mpls.pcap": (9, 10)}
# libpcap 1.10 truncates packets to the snaplen of the file's header, and knows link type 14 on OpenBSD only.
LIBPCAP_CUTS = {"oversnap.pcap": 60}
LIBPCAP_REFUSES = {"raw14.pcap"}


# ---- tshark


@pytest.mark.parametrize("name", GOOD)
def test_tshark_reads_the_same_packets(name, need_tool):
    packets = dissect_samples(need_tool("tshark"), need_tool("mergecap"))[name]
    batch = read(sample_of(name).path)
    totals = [packet.total_len for packet in packets]
    if name in TSHARK_OTHER_LENGTHS:
        totals = [max(packet.total_len, packet.cap_len) for packet in packets]
    assert batch["total_len"].tolist() == totals
    assert batch["cap_len"].tolist() == [packet.cap_len for packet in packets]
    if name not in TSHARK_OTHER_TIMES:
        assert batch["timestamp"].tolist() == [packet.timestamp for packet in packets]


@pytest.mark.parametrize("name", GOOD)
def test_tshark_sees_the_outermost_ip_header_at_the_same_offset(name, need_tool):
    packets = dissect_samples(need_tool("tshark"), need_tool("mergecap"))[name]
    seen = [packet.ip_offset for packet in packets]
    for number in IN_PSEUDOWIRES.get(name, ()):
        assert seen[number] == NO_IP
        seen[number] = sample_of(name).ip_offsets[number]
    assert read(sample_of(name).path)["ip_offset"].tolist() == seen


@pytest.mark.parametrize("name", sorted(TSHARK_OTHER_TIMES))
def test_tshark_reads_the_same_odd_times(name, need_tool):
    path = sample_of(name).path
    done = run_peer(
        need_tool("tshark"), "-n", "-r", path, "-T", "fields", "-e", "frame.time_epoch", reads=[path]
    )
    seen = [line.split(".") for line in done.stdout.decode().split()]
    ours = read(path)["timestamp"].tolist()
    assert len(seen) == len(ours) == 8
    compared = 0
    for time, (seconds, fraction) in zip(ours, seen, strict=True):
        if not seconds.startswith("-"):  # as the packet with 2^32 - 1 microseconds does
            assert time == int(seconds) * 10**9 + int(fraction)
            compared += 1
    assert compared == 7


# ---- libpcap


def rewritten(tcpdump, data, precision="micro"):
    """Return the file that tcpdump writes of one, and whether it read that to its end."""
    command = [tcpdump, f"--time-stamp-precision={precision}", "-r", "-", "-w", "-"]
    done = run_peer(*command, reads=[], stdin=data, check=False)
    return done.stdout, done.returncode == 0


@pytest.mark.parametrize("name", [name for name in GOOD if name not in LIBPCAP_REFUSES])
def test_libpcap_reads_the_same_packets(name, need_tool):
    sample = sample_of(name)
    precision = "nano" if sample.magic == NANO else "micro"
    out, whole = rewritten(need_tool("tcpdump"), sample.data, precision)
    assert whole
    theirs, ours = read(io.BytesIO(out)), read(sample.path, snaplen=LIBPCAP_CUTS.get(name))
    assert len(theirs) == len(ours) == len(sample.rows)
    assert payloads_of(theirs) == payloads_of(ours)
    for column in ("timestamp", "total_len", "cap_len", "ip_offset"):
        assert theirs[column].tolist() == ours[column].tolist(), column


@pytest.mark.parametrize("name", BAD)
def test_libpcap_reads_as_many_packets_before_the_damage(name, need_tool):
    data = (DATA / name).read_bytes()
    out, whole = rewritten(need_tool("tcpdump"), inflated(data) if name.endswith(".gz") else data)
    theirs = len(read(io.BytesIO(out))) if out else 0
    try:
        with PcapSource(DATA / name) as source:
            drained = drain(source)
        ours, error = len(drained.payloads), drained.error
    except FileFormatError as raised:
        ours, error = 0, raised.with_traceback(None)
    assert ours == theirs
    if not name.endswith(".gz"):  # tcpdump does not read the compression
        assert whole == (error is None)
