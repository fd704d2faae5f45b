"""Filters on files and on batches: what tcpdump takes, we take."""

from __future__ import annotations

import io
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import make_samples as made
import numpy as np
import pytest
from support.bpf_oracles import LibpcapMachine, libpcap_takes

from slimcap import (
    RECORD_DTYPE,
    Batch,
    FileFormatError,
    FilterError,
    Link,
    PcapSource,
    RecordFlag,
    TruncatedFileError,
    concat,
    open_file,
    read,
)
from slimcap.filter import DROP, Machine, accept, check, compile_expression
from slimcap.filter import program as bpf

CUT = {"oversnap.pcap": 60}  # libpcap cuts to the snaplen that the file states

EXPRESSIONS = """
ip
ip6
arp
tcp
udp
icmp
icmp6
sctp
ip or ip6
not ip
not (ip or ip6)
tcp port 80
tcp dst port 443
tcp src port 443
port 53
udp port 53 or udp port 123
src port 53
portrange 1-1023
tcp portrange 1024-65535
udp src portrange 1000-60000
host 10.0.0.1
src host 10.0.0.2
host 192.0.2.1 or host 198.51.100.7
net 10.0.0.0/8
src net 192.168.0.0/16
dst net 10.0.0.0 mask 255.255.255.0
ip6 host 2001:db8::1
ip6 net 2001:db8::/32
src net 2001:db8::/64
ip proto 17
ip proto 47 or ip proto 50
ip6 proto 6
ip6 proto 44
ip6 protochain 6
ip6 protochain 17
ip protochain 17
vlan
vlan 7
vlan 100 and ip
vlan and vlan
vlan and vlan and ip6
vlan and tcp port 80
not vlan
mpls
mpls and ip
mpls 100
mpls and mpls and ip
pppoed
pppoes
pppoes and ip
pppoes and ip6 and tcp
pppoes 1 and udp
len > 100
len <= 60
len = 0
less 64
greater 500
tcp[tcpflags] & (tcp-syn|tcp-fin) != 0
tcp[13] = 2
tcp[tcpflags] = tcp-ack
icmp[icmptype] = icmp-echo
icmp6[icmp6type] = icmp6-echo
ip[8] < 65
ip[6:2] & 0x1fff != 0
ip[6:2] & 0x3fff = 0
ip[0] & 0xf != 5
ip[2:2] - ((ip[0] & 0xf) << 2) > 20
ip[12:4] ^ ip[16:4] > 0x1000
ip[8] * 2 + ip[9] % 5 / 1 != 3
ip[8] >> 1 = 32
ip6[6] = 17
ip6[40] & 0x80 = 0
udp[4:2] > 20
udp[4:2] = len - 34
ether proto 0x88cc
ether proto 0x86dd
ether host 02:00:00:00:00:01
ether src 02:00:00:00:00:01
ether broadcast
ether multicast
ether[0] & 1 = 0
ether[12:2] > 1500
ether[len - 1] = 0
link[0] = 0
ip multicast
ip6 multicast
llc
stp
isis
inbound
outbound
wlan type mgt subtype beacon
ip and not tcp and not udp
tcp and (port 80 or port 443) and host 10.0.0.1
(ip or (vlan and ip)) and udp
""".strip().splitlines()

SAMPLES = sorted(name for name in made.SAMPLES if not name.startswith("bad/"))
RAW, RAW_OF_OPENBSD = bytes((101, 0, 0, 0)), bytes((14, 0, 0, 0))
RECORD = struct.Struct("=IIII")


def numbered(sample: Any) -> bytes:
    """The file, each packet with its number as its time in seconds.

    A length on the wire below that captured is no fact to us; libpcap takes it for one.
    """
    data = bytearray(sample.data)
    order = "<>"[sample.big_endian]
    for number, (start, row) in enumerate(zip(sample.starts[:-1], sample.rows, strict=True)):
        struct.pack_into(order + "II", data, start, number, 0)
        struct.pack_into(order + "I", data, start + 12, row.total_len)
    return bytes(data)


def known_to_libpcap(data: bytes) -> bytes:
    """The file, which says "raw IP" with the number that is not OpenBSD's alone."""
    return data[:20] + RAW + data[24:] if data[20:24] == RAW_OF_OPENBSD else data


def tcpdump_takes(tcpdump: str, data: bytes, expression: str) -> list[int] | None:
    """The seconds of the packets that it takes; None if it refuses the expression."""
    done = subprocess.run(
        [tcpdump, "-r-", "-w-", expression], input=known_to_libpcap(data), capture_output=True, timeout=60
    )
    if done.returncode:
        assert b"tcpdump: " in done.stderr
        return None
    times, at = [], 24
    while at < len(done.stdout):
        seconds, _, cap_len, _ = RECORD.unpack_from(done.stdout, at)
        times.append(seconds)
        at += RECORD.size + cap_len
    return times


def we_take(file: Any, expression: str, **options: Any) -> list[int] | None:
    try:
        batch = read(file, filter=expression, **options)
    except FilterError:
        return None
    return (batch["timestamp"] // 10**9).tolist()


def test_there_are_many_expressions_and_samples() -> None:
    assert len(set(EXPRESSIONS)) == len(EXPRESSIONS) >= 60
    assert len(SAMPLES) >= 30


@pytest.mark.parametrize("name", SAMPLES)
def test_what_tcpdump_takes(name: str, sample_of: Callable[[str], Any], tmp_path: Path) -> None:
    """What libpcap does in its place, since there are thousands of pairs."""
    data = numbered(sample_of(name))
    file = tmp_path / "numbered.pcap"
    file.write_bytes(known_to_libpcap(data))
    cut = CUT.get(name)
    whole = read(io.BytesIO(data), snaplen=cut)
    some = 0
    for expression in EXPRESSIONS:
        theirs = libpcap_takes(file, expression)
        assert we_take(io.BytesIO(data), expression, snaplen=cut) == theirs, expression
        if theirs is None:
            with pytest.raises(FilterError):
                whole.filter(expression)
        else:
            matched = whole.filter(expression)
            assert (matched["timestamp"] // 10**9).tolist() == theirs, expression
            some += 0 < len(theirs) < len(whole)
    assert some >= (5 if len(whole) > 6 and name != "unknown.pcap" else 0)


def test_tcpdump_itself(sample_of: Callable[[str], Any], need_tool: Callable[[str], str]) -> None:
    """Each expression on one sample or more, each sample with one expression or more."""
    tcpdump = need_tool("tcpdump")
    some = 0
    for number, expression in enumerate(EXPRESSIONS):
        for name in {SAMPLES[number % len(SAMPLES)], "mixed.pcap"}:
            data = numbered(sample_of(name))
            theirs = tcpdump_takes(tcpdump, data, expression)
            assert we_take(io.BytesIO(data), expression, snaplen=CUT.get(name)) == theirs, (name, expression)
            some += bool(theirs)
    assert some > 40


# ---- what the kernel took out


def ethernet_rows(frames: list[bytes], *, stripped: bool) -> Batch:
    """A batch of tagged frames as a file has them, or as a live capture gives them."""
    records = np.zeros(len(frames), RECORD_DTYPE)
    data = b""
    for row, frame in zip(records, frames, strict=True):
        tpid, tci = struct.unpack_from(">HH", frame, 12)
        payload = frame[:12] + frame[16:] if stripped else frame
        row["offset"], row["cap_len"], row["total_len"] = len(data), len(payload), len(payload)
        row["vlan_tpid"], row["vlan_tci"] = tpid, tci
        row["flags"] = RecordFlag.VLAN | (RecordFlag.VLAN_STRIPPED if stripped else 0)
        data += payload
    return Batch(records, data, (Link("eth", 0, 1),))


def tagged_frames() -> list[bytes]:
    """Of the sample, those whose first tag the kernel would take out; and a large one in between."""
    with PcapSource(Path(__file__).parent / "data" / "ethernet_vlan.pcap") as source:
        payloads = [bytes(payload) for packet in source for payload in [packet.payload]]
    frames = [frame for frame in payloads if len(frame) >= 16 and frame[12:14] in (b"\x81\x00", b"\x88\xa8")]
    return [*frames, frames[0] + bytes(100_000), *frames]


def test_a_tag_that_was_taken_out_is_seen_where_it_was() -> None:
    frames = tagged_frames()
    assert len(frames) > 10
    on_the_wire, captured = ethernet_rows(frames, stripped=False), ethernet_rows(frames, stripped=True)
    some = 0
    for expression in EXPRESSIONS:
        try:
            wanted = LibpcapMachine(compile_expression(expression, 1))
        except FilterError:
            continue
        takes = [index for index, frame in enumerate(frames) if wanted.run(frame)]
        for batch in (on_the_wire, captured):
            matched = batch.filter(expression)
            assert np.array_equal(matched.records, batch[takes].records), expression
        some += 0 < len(takes) < len(frames)
    assert some > 10


def test_a_tag_and_a_packet_too_short_to_have_had_one() -> None:
    records = np.zeros(14, RECORD_DTYPE)
    records["cap_len"] = range(14)
    records["total_len"] = 14
    records["flags"] = RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED
    records["vlan_tpid"], records["vlan_tci"] = 0x8100, 7
    batch = Batch(records, bytes(14), (Link("eth", 0, 1),))
    assert batch.filter("vlan 7")["cap_len"].tolist() == [12, 13]
    assert len(batch.filter("len = 18")) == 2
    records["total_len"] = 2**32 - 1
    assert len(Batch(records, bytes(14), batch.links).filter("greater 16")) == 14


# ---- batches


@pytest.fixture
def mixed(data_path: Path) -> Batch:
    return read(data_path / "mixed.pcap")


def test_rows_over_the_same_memory_which_stays_on_loan(mixed: Batch) -> None:
    udp = mixed.filter("udp")
    assert 0 < len(udp) < len(mixed)
    assert udp.data.ctypes.data == mixed.data.ctypes.data
    assert udp.links == mixed.links
    assert all(packet.ip_layer.protocol == 17 for packet in udp)
    with pytest.raises(BufferError):
        mixed.release()
    assert len(udp.filter("tcp")) == 0
    assert len(udp.filter("")) == len(udp)
    del udp
    mixed.release()
    with pytest.raises(ValueError, match="released"):
        mixed.filter("udp")


def test_programs_and_machines_need_no_links(mixed: Batch) -> None:
    bare = Batch(mixed.records, mixed.data)
    program = compile_expression("udp", 1)
    wanted = mixed.filter("udp").records
    for batch in (mixed, bare):
        for one in (program, list(program), Machine(program)):
            assert np.array_equal(batch.filter(one).records, wanted)
    assert len(bare.filter(DROP)) == 0
    assert len(bare.filter(accept(1))) == len(bare)
    with pytest.raises(FilterError, match="no links"):
        bare.filter("udp")
    with pytest.raises(FilterError, match="instruction 0"):
        bare.filter([(0xFF, 0, 0, 0)])
    for none in (None, 7):
        with pytest.raises(TypeError):
            bare.filter(none)


def test_each_interface_has_its_link_type(data_path: Path) -> None:
    first, second = read(data_path / "mixed.pcap"), read(data_path / "raw101.pcap")
    records = np.concatenate([first.records, second.records, second.records])
    records["offset"][len(first) :] += len(first.data)
    records["interface"][len(first) :] = 1
    records["interface"][len(first) + len(second) :] = 2  # which is none
    batch = Batch(records, first.data.tobytes() + second.data.tobytes(), first.links + second.links)
    udp = batch.filter("ip and udp")
    assert len(udp) == len(first.filter("ip and udp")) + len(second.filter("ip and udp"))
    assert set(udp["interface"].tolist()) == {0, 1}
    with pytest.raises(FilterError):
        batch.filter("ether[0] = 1 and vlan")  # which raw packets have not


def test_bsd_loopback_of_either_byte_order_in_one_batch(data_path: Path) -> None:
    one, other = read(data_path / "null.pcap"), read(data_path / "null_be.pcap")
    records = np.concatenate([one.records, other.records])
    records["offset"][len(one) :] += len(one.data)
    both = Batch(records, one.data.tobytes() + other.data.tobytes(), one.links)
    for expression in ("ip", "ip6", "udp", "ip6 and udp", "not ip"):
        matched = both.filter(expression)["timestamp"].tolist()
        wanted = one.filter(expression)["timestamp"].tolist()
        assert matched == wanted + wanted, expression
        assert 0 < len(wanted) < len(one)


def test_an_empty_batch(data_path: Path) -> None:
    assert len(read(data_path / "empty.pcap").filter("udp")) == 0
    assert len(Batch([], b"").filter(accept())) == 0


def test_records_are_copied_whole_and_once(mixed: Batch) -> None:
    before = mixed.records.tobytes()
    matched = mixed.filter("udp")
    assert mixed.records.tobytes() == before
    assert not matched.records.flags.writeable
    size = RECORD_DTYPE.itemsize
    rows = [before[at : at + size] for at in range(0, len(before), size)]
    found = matched.records.tobytes()
    assert {found[at : at + size] for at in range(0, len(found), size)} < set(rows)


# ---- files


@pytest.mark.parametrize("block_size", [64, 100, 1000, 1 << 20])
def test_every_block_size_gives_the_same(block_size: int, mixed: Batch, data_path: Path) -> None:
    wanted = mixed.filter("udp or vlan")
    with open_file(data_path / "mixed.pcap", filter="udp or vlan", block_size=block_size) as source:
        found = concat(source.batches())
        assert source.total_stats.packets_received == len(mixed)
        assert source.stats().packets_received == len(mixed)
        assert f"{len(mixed)} packets read" in repr(source)
    assert [bytes(found.payload(i)) for i in range(len(found))] == [
        bytes(wanted.payload(i)) for i in range(len(wanted))
    ]
    assert found["timestamp"].tolist() == wanted["timestamp"].tolist()


def test_packets_one_by_one(mixed: Batch, data_path: Path) -> None:
    wanted = mixed.filter("udp")["timestamp"].tolist()
    with open_file(data_path / "mixed.pcap", filter=compile_expression("udp", 1)) as source:
        assert [packet.timestamp for packet in source] == wanted


def test_many_records_that_no_row_block_holds_and_nobody_takes() -> None:
    """Records of 16 bytes: there are more in a block than rows; and then one that is taken."""
    empty = made.pcap_record(b"")
    file = made.pcap_header() + empty * 100_000 + made.pcap_record(b"x")
    taken = read(io.BytesIO(file), filter="len = 1")
    assert bytes(taken.payload(0)) == b"x"
    assert len(taken) == 1
    assert len(read(io.BytesIO(file), filter=DROP)) == 0


def test_what_is_before_the_damage_and_how_much_it_was(data_path: Path) -> None:
    for name in ("cut_data.pcap", "huge_caplen.pcap", "cut.pcap.gz"):
        errors = []
        for filter in (None, "udp", DROP):
            with open_file(data_path / "bad" / name, filter=filter) as source:
                with pytest.raises(FileFormatError) as caught:
                    list(source.batches())
                errors.append((type(caught.value), str(caught.value)))
        assert errors[0] == errors[1] == errors[2]
    assert errors[0][0] is TruncatedFileError


def test_a_sample_cut_at_every_byte(data_path: Path) -> None:
    data = (data_path / "ethernet_vlan.pcap").read_bytes()[:1500]
    for end in range(24, len(data)):
        found = []
        for filter in (None, "vlan and ip"):
            source = PcapSource(io.BytesIO(data[:end]), filter=filter)
            batches = []
            try:
                batches.extend(source.batches())
            except TruncatedFileError as error:
                found.append(str(error))
            whole = concat(batches)
            if filter is None:
                wanted = whole.filter("vlan and ip") if len(whole) else whole
        assert whole["timestamp"].tolist() == wanted["timestamp"].tolist()
        assert len(set(found)) <= 1


def test_a_program_sees_no_more_than_the_snaplen(data_path: Path) -> None:
    assert len(read(data_path / "mixed.pcap", filter="udp", snaplen=23)) == 0
    assert len(read(data_path / "mixed.pcap", filter="ip and udp", snaplen=24)) > 0
    assert len(read(data_path / "mixed.pcap", filter="greater 60", snaplen=1)) > 0


def test_a_filter_that_is_none_opens_nothing(data_path: Path) -> None:
    with pytest.raises(FilterError, match="syntax error"):
        PcapSource(data_path / "mixed.pcap", filter="udp and")
    with pytest.raises(FilterError, match="DLT 147"):
        PcapSource(data_path / "unknown.pcap", filter="udp")
    with pytest.raises(FilterError, match="1 to 4096"):
        PcapSource(data_path / "mixed.pcap", filter=[])


def test_a_program_may_return_what_it_computed(mixed: Batch) -> None:
    program = check(((bpf.LD | bpf.B | bpf.ABS, 0, 0, 23), (bpf.RET | bpf.A, 0, 0, 0)))
    wanted = [
        len(payload) > 23 and payload[23] > 0 for payload in map(bytes, map(mixed.payload, range(len(mixed))))
    ]
    assert mixed.filter(program)["timestamp"].tolist() == mixed["timestamp"][wanted].tolist()
