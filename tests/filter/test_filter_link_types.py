"""Expressions on every link type that libpcap knows, and on those that it does not."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest

import slimcap
from slimcap import FilterError, Link, LinkType, open_file, read
from slimcap.filter import Machine, check, compile_expression
from slimcap.filter import program as bpf
from support.bpf_oracles import LibpcapMachine, kernel_accepts, libpcap_matches
from support.builders.pcap import pcap_header, pcap_record
from support.cli import NeedTool
from support.peers import run_peer
from support.samples import DATA
from support.traffic import arp, ethernet, tagged, udp, udp6

LINK_TYPES = {*range(1, 10), *range(50, 52), *range(99, 300)} - {LinkType.ENC}
"""All without NULL and ENC, which slimcap matches in either byte order."""
EXPRESSIONS = """
ip
ip6
not ip
udp port 5000
host 192.0.2.1
net 2001:db8::/32
ip broadcast
tcp or arp
vlan
mpls
pppoes
geneve
geneve and udp
inbound
ether broadcast
wlan type mgt
wlan host 02:00:00:00:00:01
on eth0
ifindex 3
link[0] & 1 = 0
len > 60
greater 40 and less 80
""".strip().splitlines()
RADIOTAP, BLUETOOTH = 127, 201
COMMON = {
    1,
    9,
    12,
    50,
    101,
    104,
    105,
    107,
    108,
    113,
    117,
    127,
    147,
    187,
    189,
    190,
    192,
    201,
    227,
    228,
    229,
    239,
    276,
}


def frames() -> list[bytes]:
    """Return packets of Ethernet and raw IP, and such with a radiotap or cooked header before them."""
    frames = [
        ethernet(udp(1)),
        ethernet(udp6(2), 0x86DD),
        arp(3),
        tagged(ethernet(udp(4)), 7),
        udp(5),
        udp6(6),
    ]
    wlan = bytes.fromhex("08000000") + bytes(20) + bytes.fromhex("aaaa03000000") + b"\x08\x00"
    frames += [bytes.fromhex("0000080000000000") + wlan + udp(7), bytes([0x80]) + bytes(60)]
    frames += [bytes(14) + b"\x08\x00" + udp(8), b"\x08\x00" + bytes(18) + udp(9), b"\0\0\0\2" + udp(10)]
    return [*frames, *(frame[:cut] for frame in frames for cut in (1, 9, 30))]


def loads_unstored(program: slimcap.filter.Program) -> bool:
    """Return True if stores were prepended: libpcap's result is then that of uninitialised memory."""
    return program[0] == (bpf.LD | bpf.IMM, 0, 0, 0) and program[1][0] == bpf.ST


@pytest.mark.parametrize(
    "link_types",
    [pytest.param(COMMON, id="common"), pytest.param(LINK_TYPES, id="all", marks=pytest.mark.slow)],
)
def test_every_expression_on_every_link_type_matches_as_in_tcpdump(
    link_types: set[int], tmp_path: Path
) -> None:
    """libpcap stands for tcpdump, because there are thousands of pairs."""
    records = b"".join(
        pcap_record(frame, seconds=number, fraction=0) for number, frame in enumerate(frames())
    )
    outcomes: Counter[str] = Counter()
    for link_type in sorted(link_types):
        file = tmp_path / f"{link_type}.pcap"
        file.write_bytes(pcap_header(linktype=link_type) + records)
        for expression in EXPRESSIONS:
            theirs = libpcap_matches(file, expression)
            with open_file(file, filter=expression) as source:
                ours = [time // 10**9 for batch in source.batches() for time in batch["timestamp"].tolist()]
                refused = source.unfilterable
            if theirs is not None and loads_unstored(compile_expression(expression, link_type)):
                outcomes["loads unstored"] += 1
                continue
            outcomes["refused" if theirs is None else "matched" if theirs else "none"] += 1
            assert (ours, list(refused)) == (theirs or [], [link_type] if theirs is None else []), (
                link_type,
                expression,
            )
    assert min(outcomes.values()) > 5
    assert outcomes["matched"] > 100
    assert outcomes["refused"] > 100


def test_tcpdump_counts_the_same_packets(need_tool: NeedTool, tmp_path: Path) -> None:
    tcpdump = need_tool("tcpdump")
    records = b"".join(pcap_record(frame) for frame in frames())
    for link_type, expression in ((1, "ip broadcast"), (12, "host 192.0.2.1"), (113, "udp"), (229, "udp")):
        file = tmp_path / f"{link_type}.pcap"
        file.write_bytes(pcap_header(linktype=link_type) + records)
        lines = run_peer(tcpdump, "-nr", file, expression, reads=[file]).stdout.splitlines()
        counted = sum(not line.startswith((b"\t", b" ")) for line in lines)
        assert len(read(file, filter=expression)) == counted, (link_type, expression)


@pytest.mark.parametrize("expression", ["geneve", "pppoes", "pppoes and ip", "geneve and tcp port 80"])
@pytest.mark.parametrize("link_type", [RADIOTAP, 192, 119, 163])
def test_scratch_memory_that_a_program_does_not_store_is_zero(expression: str, link_type: int) -> None:
    program = compile_expression(expression, link_type)
    assert check(program) == program
    assert kernel_accepts(program)
    ours, theirs = Machine(program), LibpcapMachine(program)
    for frame in frames():
        assert ours.run(frame) == theirs.run(frame)


def test_zeros_are_stored_only_to_words_that_need_it() -> None:
    load = ((bpf.LD | bpf.MEM, 0, 0, 5), (bpf.RET | bpf.A, 0, 0, 0))
    with pytest.raises(FilterError, match="word 5 of scratch memory"):
        check(load)
    zeroed = bpf.zero_scratch(load)
    assert zeroed == ((bpf.LD | bpf.IMM, 0, 0, 0), (bpf.ST, 0, 0, 5), *load)
    assert Machine(zeroed).run(b"") == 0
    assert bpf.zero_scratch(zeroed) == zeroed
    # Stored on one path only: A = length, jump over the store if it is 0.
    partly = ((bpf.LD | bpf.LEN, 0, 0, 0), (bpf.JMP | bpf.JEQ, 1, 0, 0), (bpf.ST, 0, 0, 5), *load)
    assert [Machine(bpf.zero_scratch(partly)).run(bytes(n)) for n in (0, 9)] == [0, 9]
    # A loop that loads a word stored after it.
    loop = ((bpf.LD | bpf.MEM, 0, 0, 3), (bpf.JMP | bpf.JEQ, 2, 0, 7), (bpf.LD | bpf.IMM, 0, 0, 7))
    loop += ((bpf.JMP | bpf.JA, 0, 0, 0), (bpf.RET, 0, 0, 9))
    check(bpf.zero_scratch(loop), loops=True)


def test_batches_match_nothing_on_a_link_type_that_cannot_be_filtered() -> None:
    good, strange = read(DATA / "mixed.pcap"), read(DATA / "unknown.pcap")
    assert len(strange) > 0
    assert len(strange.filter("ip")) == 0
    assert len(strange.filter("greater 50")) == sum(strange["total_len"] >= 50) > 0
    links = (Link("bt", 0, BLUETOOTH), *good.links)
    records = good.records.copy()
    records["interface"] = 1
    records["interface"][::2] = 0
    mixed = slimcap.Batch(records, good.data, links)
    odd = good[1::2].filter("udp")
    assert mixed.filter("udp")["timestamp"].tolist() == odd["timestamp"].tolist()
    assert len(odd) > 0
    with pytest.raises(FilterError, match="syntax error"):
        strange.filter("ip and")


def test_link_types_beyond_those_of_files_match_nothing() -> None:
    batch = read(DATA / "mixed.pcap")
    other = slimcap.Batch(batch.records, batch.data, (Link("far", 0, 70_000),))
    assert len(other.filter("ip")) == 0


def test_raw_ip_of_the_other_version_does_not_match() -> None:
    """libpcap reports "expression rejects all packets"."""
    for linktype, frame, mine, other in (
        (LinkType.IPV6, udp6(1), "host 2001:db8::1", "host 192.0.2.1"),
        (LinkType.IPV4, udp(1), "host 192.0.2.1", "host 2001:db8::1"),
    ):
        data = pcap_header(linktype=linktype) + pcap_record(frame)
        assert len(read(io.BytesIO(data), filter=mine)) == 1
        assert len(read(io.BytesIO(data), filter=other)) == 0
        with open_file(io.BytesIO(data), filter=other) as source:
            assert list(source) == []
            assert source.unfilterable == {linktype: "expression rejects all packets"}
