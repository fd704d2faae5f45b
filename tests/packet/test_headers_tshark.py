"""Columns of headers as Wireshark dissects them, field by field; where both differ is listed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from slimcap import HEADER_DTYPE, Batch, HeaderStatus, read
from support.builders.pcap import Packet, pcap_file
from support.dissections import Dissected, Protocol, dissect, dissect_samples
from support.samples import GOOD, sample_of

ZEROS = np.zeros((), HEADER_DTYPE)
# Twins of mixed.pcap, which hold the same packets.
TWINS = {name for name in GOOD if name.startswith("mixed") and name != "mixed.pcap"}
# tshark takes the length on the wire as the file says it, even where that is less than was captured.
OWN_LENGTHS = {"odd_lengths.pcap"}
NAMES = [name for name in GOOD if name not in TWINS | OWN_LENGTHS | {"odd_headers.pcap"}]
TRANSPORTS = {
    "tcp": ("tcp.srcport", "tcp.dstport"),
    "udp": ("udp.srcport", "udp.dstport"),
    "udplite": ("udp.srcport", "udp.dstport"),
    "sctp": ("sctp.srcport", "sctp.dstport"),
    "dccp": ("dccp.srcport", "dccp.dstport"),
    "icmp": (),
    "icmpv6": (),
}
ETHERTYPES = ("eth.type", "vlan.etype", "sll.etype", "llc.type", "chdlc.protocol")
NEXT_HEADERS = (
    "ipv6.nxt",
    "ipv6.hopopts.nxt",
    "ipv6.dstopts.nxt",
    "ipv6.routing.nxt",
    "ipv6.fraghdr.nxt",
    "ah.next_header",
)
# Lengths of the link-layer headers of samples that are cut at every byte.
LINK_HEADERS = {"transports.pcap": 14, "ethernet_vlan.pcap": 14, "sll2.pcap": 20}
# Pseudowires, in which tshark sees no IP.
PSEUDOWIRES = {"ethernet_mpls.pcap": (9, 10)}
# What tshark does not show, or shows only of other versions.
NOT_COMPARED = {"status", "tunnels"}


def mapped(address: bytes) -> bytes:
    return bytes(10) + b"\xff\xff" + address if len(address) == 4 else address


def of_link(protos: list[Protocol]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    tags = []
    for proto in protos:
        found.setdefault("src_mac", proto.raw("eth.src") or proto.raw("sll.src.eth"))
        found.setdefault("dst_mac", proto.raw("eth.dst"))
        found["ethertype"] = proto.last(ETHERTYPES) or found.get("ethertype", 0)
        if proto.name == "ieee8021ad":
            found["ethertype"] = None  # tshark does not show what follows the tag
        tags += [int(show) for name, show, _ in proto.fields if name in {"vlan.id", "ieee8021ad.id"}]
        if proto.name == "arp" and proto.raw("arp.dst.proto_ipv4"):
            found["src"] = mapped(proto.raw("arp.src.proto_ipv4"))
            found["dst"] = mapped(proto.raw("arp.dst.proto_ipv4"))
    found["vlan_id"], found["inner_vlan_id"] = [*tags, 0, 0][:2]
    return found


def of_ip(proto: Protocol) -> dict[str, Any]:
    number = proto.number
    if proto.name == "ip":
        return {
            "ip_version": number("ip.version"),
            "src": mapped(proto.raw("ip.src")),
            "dst": mapped(proto.raw("ip.dst")),
            "protocol": number("ip.proto"),
            "ttl": number("ip.ttl"),
            "tos": number("ip.dsfield"),
            "ip_len": int.from_bytes(proto.raw("ip.len"), "big"),
            "ip_id": number("ip.id"),
            "frag_offset": number("ip.frag_offset") * 8,
            "more_fragments": bool(number("ip.flags.mf")),
        }
    return {
        "ip_version": number("ipv6.version"),
        "src": proto.raw("ipv6.src"),
        "dst": proto.raw("ipv6.dst"),
        "protocol": proto.last(NEXT_HEADERS),
        "ttl": number("ipv6.hlim"),
        "tos": number("ipv6.tclass"),
        "flow_label": number("ipv6.flow"),
        "ip_len": 40 + (number("ipv6.plen") or number("ipv6.opt.jumbo")),
        "ip_id": number("ipv6.fraghdr.ident"),
        "frag_offset": number("ipv6.fraghdr.offset") * 8,
        "more_fragments": bool(number("ipv6.fraghdr.more")),
    }


def of_transport(proto: Protocol, ip_end: int) -> dict[str, Any]:
    number = proto.number
    found: dict[str, Any] = {"l4_offset": proto.offset}
    own = {"tcp": number("tcp.hdr_len"), "sctp": 12, "dccp": number("dccp.data_offset") * 4}.get(
        proto.name or "", 8
    )
    ports = TRANSPORTS[proto.name or ""]
    if ports:
        found["src_port"], found["dst_port"] = map(number, ports)
    if proto.name == "tcp":
        found["tcp_seq"], found["tcp_ack"] = number("tcp.seq_raw"), number("tcp.ack_raw")
        found["tcp_flags"], found["tcp_window"] = number("tcp.flags"), number("tcp.window_size_value")
    if proto.name in {"icmp", "icmpv6"}:
        found["icmp_type"] = number(f"{proto.name}.type")
        found["icmp_code"] = number(f"{proto.name}.code")
    found["l7_offset"] = proto.offset + own
    found["l7_len"] = ip_end - proto.offset - own
    if proto.name == "tcp" and "tcp.len" in proto.first:
        assert found["l7_len"] == number("tcp.len")
    if proto.name == "udp" and number("udp.length"):
        found["l7_len"] = min(number("udp.length") - 8, found["l7_len"])
    return found


def expected_of(packet: Dissected, *, inner: bool) -> dict[str, Any]:
    """Return the columns of one packet, as tshark dissects it; without those that it does not show."""
    protos = packet.protocols
    places = [at for at, proto in enumerate(protos) if proto.name in {"ip", "ipv6"}]
    found = of_link(protos[: places[0]] if places else protos)
    if not places:
        return found
    whole = [at for at in places if protos[at].raw("ip.dst") or protos[at].raw("ipv6.dst")]
    at = whole[-1] if inner and whole else places[0]
    found |= of_ip(protos[at])
    total = packet.total_len
    end = min(protos[at].offset + found["ip_len"], total) if found["ip_len"] else total
    if at + 1 < len(protos) and protos[at + 1].name in TRANSPORTS:
        found |= of_transport(protos[at + 1], end)
    return found


def same(name: str, ours: Any, theirs: Any) -> bool:
    if HEADER_DTYPE[name].kind == "V":
        return bool(bytes(ours) == (theirs or bytes(HEADER_DTYPE[name].itemsize)))
    return bool(ours == theirs)


def differences(row: np.void, theirs: dict[str, Any], columns: set[str]) -> Iterator[str]:
    for name in HEADER_DTYPE.names or ():
        if name in columns and not same(name, row[name], theirs.get(name, ZEROS[name])):
            yield f"{name}: {row[name]!r}, not {theirs.get(name)!r}"


LINK = {"src_mac", "dst_mac", "ethertype", "vlan_id", "inner_vlan_id"}
TRANSPORT = {
    name for name in HEADER_DTYPE.names or () if name.startswith(("src_p", "dst_p", "tcp_", "icmp_"))
}
NO_ADDRESS = ZEROS["dst"]


def compared(row: np.void, theirs: dict[str, Any]) -> set[str]:
    """The columns that have to agree: the place of an upper layer only if tshark knows it."""
    columns = set(HEADER_DTYPE.names or ()) - NOT_COMPARED
    if theirs.get("ethertype", 0) is None:
        columns -= {"ethertype"}
    if "l4_offset" not in theirs:
        columns -= {"l4_offset"}
    if row["status"] in {HeaderStatus.TRUNCATED, HeaderStatus.MALFORMED}:
        columns -= {"l4_offset", "l7_offset", "l7_len"}
        if row["dst"] == NO_ADDRESS:  # the IP header itself is cut
            columns &= LINK
        if row["status"] == HeaderStatus.TRUNCATED:  # tshark shows some fields only with those after them
            columns -= {name for name in TRANSPORT if not theirs.get(name)}
        if row["l4_offset"] == 0:  # and some of an extension header that is cut
            columns -= {"protocol", "ip_id", "frag_offset", "more_fragments"}
    return columns


def assert_same(batch: Batch, packets: list[Dissected], *, inner: bool, skip: int = 0) -> np.ndarray:
    """Assert that all columns agree with tshark; return them.

    Packets cut to less than `skip` bytes are not compared: of a cut link-layer header tshark shows nothing.
    """
    rows = batch.headers(inner=inner)
    wrong = []
    for number, (row, packet) in enumerate(zip(rows, packets, strict=True), 1):
        if row["tunnels"] == 8 or packet.cap_len < skip:  # more tunnels than are followed
            continue
        theirs = expected_of(packet, inner=inner)
        columns = compared(row, theirs)
        if skip and row["status"] == HeaderStatus.NO_IP:
            columns = {"src_mac", "dst_mac"}  # tshark takes half of a VLAN tag for one
        found = [*differences(row, theirs, columns)]
        if found:
            wrong.append((number, HeaderStatus(row["status"]).name, found))
    assert not wrong
    return rows


@pytest.mark.parametrize("inner", [False, True], ids=["outer", "inner"])
@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_that_of_tshark(name, inner, need_tool):
    packets = dissect_samples(need_tool("tshark"), need_tool("mergecap"))[name]
    batch = read(sample_of(name).path)
    kept = [number for number in range(len(batch)) if number not in PSEUDOWIRES.get(name, ())]
    rows = assert_same(batch[kept], [packets[number] for number in kept], inner=inner)
    assert len(rows) > 0 or name == "empty.pcap"


def cut_sample(name):
    """Return a pcap file with every other packet of a sample, cut to every length below 110."""
    sample = sample_of(name)
    cuts = [(row.data, length) for row in sample.rows[::2] for length in range(min(len(row.data), 110))]
    packets = [Packet(data[:length], orig_len=len(data)) for data, length in cuts]
    return pcap_file(packets, linktype=sample.linktype)


@pytest.fixture(scope="module")
def cut_samples(need_tool, tmp_path_factory):
    """The cut samples and their packets as tshark dissects them; one process for all of them."""
    folder = tmp_path_factory.mktemp("cut")
    paths = [folder / name for name in LINK_HEADERS]
    for path in paths:
        path.write_bytes(cut_sample(path.name))
    dissected = dissect(need_tool("tshark"), need_tool("mergecap"), paths, folder)
    return {path.name: (read(path), dissected[path.name]) for path in paths}


@pytest.mark.parametrize(("name", "header"), LINK_HEADERS.items())
def test_every_field_of_packets_cut_at_every_byte_is_that_of_tshark(name, header, cut_samples):
    batch, dissected = cut_samples[name]
    rows = assert_same(batch, dissected, inner=False, skip=header)
    assert len(rows) > 500
    statuses = {HeaderStatus(status) for status in rows["status"]}
    assert statuses >= {HeaderStatus.OK, HeaderStatus.NO_IP, HeaderStatus.TRUNCATED}
