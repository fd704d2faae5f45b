"""The samples as Wireshark and libpcap read them: the peers are the oracle; where we differ is listed."""

from __future__ import annotations

import functools
import io
import re
import subprocess

import make_samples
import pytest

from slimcap import NO_IP, FileFormatError, PcapSource, read

GOOD = [name for name in make_samples.SAMPLES if not name.startswith("bad/")]
BAD = [name for name in make_samples.SAMPLES if name.startswith("bad/")]
# Where tshark 4.0 and we differ: it shows a wire length below the captured one;
TSHARK_OTHER_LENGTHS = {"odd_lengths.pcap"}
# its PDML takes seconds from 2^31 on for negative ones; its time_epoch does not, but for too large fractions.
TSHARK_OTHER_TIMES = {"odd_times.pcap"}
# Where libpcap 1.10 and we differ: it cuts to the snaplen of the file's header, and knows 14 on OpenBSD only.
LIBPCAP_CUTS = {"oversnap.pcap": 60}
LIBPCAP_REFUSES = {"raw14.pcap"}

GENINFO = re.compile(
    r'<field name="len" pos="0" show="(?P<len>\d+)".*?'
    r'<field name="caplen" pos="0" show="(?P<caplen>\d+)".*?'
    r'<field name="timestamp" pos="0" .*?value="(?P<seconds>-?\d+)\.(?P<fraction>-?\d+)"',
    re.S,
)
IP = re.compile(r'<proto name="ip(?:v6)?" [^>]*pos="(?P<pos>\d+)"')


def run(*command, data=None):
    return subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)


@functools.cache
def dissected(tshark, path):
    """What tshark says of each packet: (ns, length, captured length, offset of the outermost IP header)."""
    done = run(tshark, "-n", "-r", path, "-T", "pdml")
    assert done.returncode == 0, done.stderr
    packets = []
    for packet in done.stdout.decode().split("<packet>")[1:]:
        info, ip = GENINFO.search(packet), IP.search(packet)
        assert info is not None, packet[:500]
        time = int(info["seconds"]) * 10**9 + int(info["fraction"])
        captured = int(info["caplen"])
        at = int(ip["pos"]) if ip else NO_IP
        packets.append((time, int(info["len"]), captured, at if at < captured else NO_IP))
    return packets


@pytest.mark.parametrize("name", GOOD)
def test_tshark_sees_the_same_packets(name, sample_of, need_tool):
    path = sample_of(name).path
    packets = dissected(need_tool("tshark"), path)
    batch = read(path)
    totals = batch["total_len"].tolist()
    if name in TSHARK_OTHER_LENGTHS:
        packets = [(time, max(total, captured), captured, at) for time, total, captured, at in packets]
    assert totals == [total for _, total, _, _ in packets]
    assert batch["cap_len"].tolist() == [captured for _, _, captured, _ in packets]
    if name not in TSHARK_OTHER_TIMES:
        assert batch["timestamp"].tolist() == [time for time, _, _, _ in packets]


@pytest.mark.parametrize("name", GOOD)
def test_tshark_sees_the_same_outermost_ip(name, sample_of, need_tool):
    path = sample_of(name).path
    packets = dissected(need_tool("tshark"), path)
    assert read(path)["ip_offset"].tolist() == [at for _, _, _, at in packets]


@pytest.mark.parametrize("name", sorted(TSHARK_OTHER_TIMES))
def test_tshark_sees_the_same_odd_times(name, sample_of, need_tool):
    path = sample_of(name).path
    done = run(need_tool("tshark"), "-n", "-r", path, "-T", "fields", "-e", "frame.time_epoch")
    seen = [line.split(".") for line in done.stdout.decode().split()]
    ours = read(path)["timestamp"].tolist()
    assert len(seen) == len(ours) == 8
    compared = 0
    for time, (seconds, fraction) in zip(ours, seen, strict=True):
        if not seconds.startswith("-"):  # as the packet with 2^32 - 1 microseconds does
            assert time == int(seconds) * 10**9 + int(fraction)
            compared += 1
    assert compared == 7


def rewritten(tcpdump, data, precision="micro"):
    """The file that libpcap makes of one, and whether it read it to its end."""
    done = run(tcpdump, f"--time-stamp-precision={precision}", "-r", "-", "-w", "-", data=data)
    return done.stdout, done.returncode == 0


@pytest.mark.parametrize("name", [name for name in GOOD if name not in LIBPCAP_REFUSES])
def test_libpcap_reads_the_same(name, sample_of, need_tool):
    sample = sample_of(name)
    precision = "nano" if sample.magic == make_samples.NANO else "micro"
    out, whole = rewritten(need_tool("tcpdump"), sample.data, precision)
    assert whole
    theirs, ours = read(io.BytesIO(out)), read(sample.path, snaplen=LIBPCAP_CUTS.get(name))
    assert len(theirs) == len(ours) == len(sample.rows)
    assert [bytes(theirs.payload(i)) for i in range(len(theirs))] == [
        bytes(ours.payload(i)) for i in range(len(ours))
    ]
    for column in ("timestamp", "total_len", "cap_len", "ip_offset"):
        assert theirs[column].tolist() == ours[column].tolist(), column


@pytest.mark.parametrize("name", BAD)
def test_libpcap_reads_as_many_before_the_damage(name, data_path, need_tool, drain):
    data = (data_path / name).read_bytes()
    out, whole = rewritten(
        need_tool("tcpdump"), make_samples.inflated(data) if name.endswith(".gz") else data
    )
    theirs = len(read(io.BytesIO(out))) if out else 0
    try:
        with PcapSource(data_path / name) as source:
            drained = drain(source)
        ours, error = len(drained.payloads), drained.error
    except FileFormatError as raised:
        ours, error = 0, raised
    assert ours == theirs
    if not name.endswith(".gz"):  # tcpdump sees nothing of what is wrong with the compression
        assert whole == (error is None)
