"""pcapng files as tshark and tcpdump read them."""

from __future__ import annotations

import io

import pytest

import slimcap
from slimcap import PcapSource, read
from support.batches import payloads_of, rows_of
from support.capfiles import PCAPNG_FILES, PCAPNG_TWINS, blocks_of
from support.dissections import pcapng_samples
from support.peers import run_peer


@pytest.mark.parametrize("name", [name for name in PCAPNG_FILES if name != "resolutions.pcapng"])
def test_tshark_reads_the_same_packets(name, data_path, need_tool):
    seen = pcapng_samples(need_tool("tshark"))[name]
    with PcapSource(data_path / name) as source:
        batch = slimcap.concat(source.batches())
    assert len(batch) == len(seen) == sum(block.is_packet for block in blocks_of(PCAPNG_FILES[name]))
    assert payloads_of(batch) == [packet.data for packet in seen]
    assert batch["timestamp"].tolist() == [packet.time for packet in seen]
    assert batch["total_len"].tolist() == [packet.total_len for packet in seen]
    assert batch["cap_len"].tolist() == [packet.cap_len for packet in seen]
    theirs = {i: packet.comments.replace("\x1f", "\n") for i, packet in enumerate(seen) if packet.comments}
    assert batch.comments == theirs
    # tshark counts interfaces from 0 in each section.
    met = dict.fromkeys(packet.interface for packet in seen)
    ours = dict(zip(met, dict.fromkeys(batch["interface"].tolist()), strict=True))
    assert batch["interface"].tolist() == [ours[packet.interface] for packet in seen]


def test_tshark_reads_the_same_times(data_path, need_tool):
    """Its arithmetic is not exact for all resolutions: most must agree."""
    seen = pcapng_samples(need_tool("tshark"))["resolutions.pcapng"]
    ours = read(data_path / "resolutions.pcapng")["timestamp"].tolist()
    assert len(seen) == len(ours) > 200
    assert sum(packet.time == time for packet, time in zip(seen, ours, strict=True)) > 150


@pytest.mark.parametrize("name", [*PCAPNG_TWINS, "simple.pcapng"])
def test_libpcap_reads_the_same(name, data_path, need_tool):
    path = data_path / name
    done = run_peer(need_tool("tcpdump"), "--time-stamp-precision=nano", "-r", path, "-w", "-", reads=[path])
    theirs, ours = read(io.BytesIO(done.stdout)), read(path)
    assert payloads_of(theirs) == payloads_of(ours)
    assert rows_of(theirs) == rows_of(ours)


@pytest.mark.parametrize("name", [*PCAPNG_TWINS, "simple.pcapng", "empty.pcapng"])
def test_filters_match_what_those_of_tcpdump_match(name, data_path, need_tool):
    tcpdump = need_tool("tcpdump")
    path, matched = data_path / name, 0
    for expression in ("udp", "tcp or icmp", "ip6", "vlan", "not ip", "greater 100", "ip and not udp"):
        if name == "empty.pcapng":  # tcpdump reads no file without an interface
            theirs = []
        else:
            done = run_peer(tcpdump, "-r", path, "-w-", expression, reads=[path])
            theirs = payloads_of(read(io.BytesIO(done.stdout)))
        ours = payloads_of(read(path, filter=expression))
        assert ours == theirs
        matched += bool(ours)
    assert matched >= {"simple.pcapng": 2, "empty.pcapng": 0}.get(name, 7)
