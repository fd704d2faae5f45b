"""Rare tags before IP, and tunnels: found, cut anywhere, not valid, and as tshark sees them."""

from __future__ import annotations

import io
import itertools

import pytest

from slimcap import HEADER_DTYPE, NO_IP, HeaderStatus, ip_to_str, read
from support.builders.conversations import packet4, packet6
from support.builders.encapsulations import NOT_TAGS, NOT_TUNNELS, TAGS, TEREDO, TUNNELS, Builder, over_udp
from support.builders.layers import IPIP, IPV4, UDP, ipv4, ipv4_fragments, udp, vxlan
from support.builders.links import ethernet
from support.builders.pcap import Packet, pcap_file
from support.dissections import dissect
from support.packets import decoded_batch

PACKETS = (packet4(2), packet6(1))
CARRIED = [(name, build, packet) for name, build in TUNNELS.items() for packet in PACKETS]
CARRIED += [(name, build, packet6(1)) for name, build in TEREDO.items()]
TAGGED = [(name, build, packet) for name, build in TAGS.items() for packet in PACKETS]


def names(cases: list[tuple[str, Builder, bytes]]) -> list[str]:
    return [f"{name} ({'v4' if packet[0] >> 4 == 4 else 'v6'})" for name, _, packet in cases]


def columns_of(packet: bytes) -> dict[str, object]:
    """Return the columns of a packet by itself that do not depend on what comes before it."""
    row = decoded_batch([packet], linktype=101).headers()[0]
    left_out = {
        "ethertype",
        "vlan_id",
        "inner_vlan_id",
        "src_mac",
        "dst_mac",
        "tunnels",
        "l4_offset",
        "l7_offset",
    }
    return {name: row[name] for name in HEADER_DTYPE.names if name not in left_out}


@pytest.mark.parametrize(("name", "build", "packet"), TAGGED, ids=names(TAGGED))
def test_ip_is_found_after_a_rare_tag(name, build, packet):
    frame = build(packet)
    batch = decoded_batch([frame])
    assert batch["ip_offset"].tolist() == [frame.index(packet)]
    row = batch.headers()[0]
    assert {column: row[column] for column in columns_of(packet)} == columns_of(packet)
    assert row["status"] == HeaderStatus.OK
    if "pseudowire" not in name:  # whose frames have an EtherType of their own, too
        assert row["ethertype"] == (IPV4 if packet[0] >> 4 == 4 else 0x86DD) or "mpls" in name


@pytest.mark.parametrize(("name", "build", "packet"), CARRIED, ids=names(CARRIED))
def test_inner_packet_of_a_tunnel_is_found(name, build, packet):
    frame = build(packet)
    batch = decoded_batch([frame])
    row = batch.headers(inner=True)[0]
    assert row["tunnels"] == 1
    assert row["l4_offset"] == frame.index(packet) + (20 if packet[0] >> 4 == 4 else 40)
    assert {column: row[column] for column in columns_of(packet)} == columns_of(packet)
    outer = batch.headers()[0]
    assert (outer["status"], outer["tunnels"]) == (HeaderStatus.OK, 0)
    assert ip_to_str(outer["src"]) == "192.0.2.10"


@pytest.mark.parametrize("name", NOT_TAGS)
@pytest.mark.parametrize("packet", PACKETS, ids=["v4", "v6"])
def test_invalid_tags_do_not_lead_to_ip(name, packet):
    assert decoded_batch([NOT_TAGS[name](packet)])["ip_offset"].tolist() == [NO_IP]


@pytest.mark.parametrize("name", NOT_TUNNELS)
@pytest.mark.parametrize("packet", PACKETS, ids=["v4", "v6"])
def test_invalid_tunnels_are_not_entered(name, packet):
    row = decoded_batch([NOT_TUNNELS[name](packet)]).headers(inner=True)[0]
    assert (row["tunnels"], row["status"]) == (0, HeaderStatus.OK)


def test_pseudowire_requires_a_valid_ip_checksum():
    packet = packet4(2)
    wrong = packet[:10] + bytes([packet[10] ^ 1]) + packet[11:]
    assert decoded_batch([TAGS["pseudowire"](wrong)])["ip_offset"].tolist() == [NO_IP]


@pytest.mark.parametrize(
    ("name", "build", "packet"), TAGGED + CARRIED, ids=[f"{name}" for name in names(TAGGED + CARRIED)]
)
def test_cut_encapsulations_are_read_within_their_bytes(name, build, packet):
    """Bytes after the cut change nothing, and what is found is what the whole packet has, or nothing."""
    frame = build(packet)
    whole = decoded_batch([frame])
    ip_offset, offset = whole["ip_offset"][0], whole.headers(inner=True)["l4_offset"][0]
    cuts = [frame[:n] for n in range(len(frame) + 1)]
    found = []
    for after in (b"\0" * 80, b"\xff" * 80, (frame + bytes(80))[-80:]):
        batch = decoded_batch(cuts, total_len=len(frame), after=after)
        rows = batch.headers(inner=True)
        found.append((batch["ip_offset"].tobytes(), rows.tobytes()))
    assert found[0] == found[1] == found[2]
    assert set(batch["ip_offset"].tolist()) == {NO_IP, ip_offset}
    entered = rows[rows["tunnels"] == whole.headers(inner=True)["tunnels"][0]]
    assert set(entered["l4_offset"].tolist()) <= {0, offset, batch.headers()["l4_offset"][-1]}
    assert rows["status"][-1] == HeaderStatus.OK


def test_depth_of_tunnels_is_limited():
    packet = packet4(1)
    for _, build in zip(range(12), itertools.cycle([TUNNELS["etherip"], TUNNELS["pptp"]]), strict=False):
        packet = build(packet)[14:]
    row = decoded_batch([ethernet(packet)]).headers(inner=True)[0]
    assert (row["tunnels"], row["status"]) == (8, HeaderStatus.OK)


def test_thousands_of_tags_are_walked_to_the_end():
    many = b"\x89\x26" + b"\0\0\0\0\x89\x26" * 9000 + b"\0\0\0\0"
    frame = bytes(12) + many + b"\x08\0" + packet4(0)
    assert decoded_batch([frame])["ip_offset"].tolist() == [len(frame) - len(packet4(0))]
    beyond = bytes(12) + b"\x89\x26" + b"\0\0\0\0\x89\x26" * 12_000 + b"\0\0\0\0\x08\0" + packet4(0)
    assert decoded_batch([beyond])["ip_offset"].tolist() == [NO_IP]  # the column has 16 bits


def test_inner_packet_in_a_first_fragment_may_end_before_its_length():
    """The rest of it is in the outer packet's next fragment."""
    here, there = "192.0.2.10", "198.51.100.80"
    inner = ipv4(udp(bytes(200), here, there, 1, 2), UDP, here, there)
    frames = [ethernet(part) for part in ipv4_fragments(inner, IPIP, here, there, 104)]
    rows = decoded_batch(frames).headers(inner=True)
    assert rows["tunnels"].tolist() == [1, 0, 0]
    assert rows["status"].tolist() == [HeaderStatus.OK, HeaderStatus.FRAGMENT, HeaderStatus.FRAGMENT]
    assert (rows["dst_port"][0], rows["l7_len"][0]) == (2, 104 - 28)
    short = [ethernet(part) for part in ipv4_fragments(inner, IPIP, here, there, 24)]
    assert decoded_batch(short[:1]).headers(inner=True)["status"].tolist() == [HeaderStatus.TRUNCATED]


# ---- other ports


def statuses(frames, **options):
    return decoded_batch(frames).headers(["tunnels"], inner=True, **options)["tunnels"].tolist()


def test_ports_replace_the_default_of_their_tunnel_alone():
    frames = [over_udp(port)(vxlan(ethernet(packet4(0)), 7)) for port in (4789, 8472, 4000)]
    frames += [TUNNELS["gtp-u, answer"](packet4(0))]
    assert statuses(frames) == [1, 0, 0, 1]
    assert statuses(frames, tunnel_ports={"vxlan": [4789, 8472]}) == [1, 1, 0, 1]
    assert statuses(frames, tunnel_ports={"vxlan": [4000]}) == [0, 0, 1, 1]
    assert statuses(frames, tunnel_ports={"vxlan": ()}) == [0, 0, 0, 1]
    assert statuses(frames, tunnel_ports={"gtpu": iter([9]), "vxlan": {8472}}) == [0, 1, 0, 0]
    assert statuses(frames, tunnel_ports={}) == statuses(frames, tunnel_ports=None) == statuses(frames)


@pytest.mark.parametrize("tunnel", ["vxlan", "vxlan_gpe", "geneve", "gtpu", "teredo", "l2tp", "mpls"])
def test_every_tunnel_has_ports(tunnel):
    build = {**TUNNELS, **TEREDO, "vxlan": lambda packet: over_udp(4789)(vxlan(ethernet(packet), 7))}
    build["geneve"] = lambda packet: over_udp(6081)(b"\0\0\x86\xdd\0\0\x07\0" + packet)
    name = {"vxlan_gpe": "vxlan-gpe, frame", "gtpu": "gtp-u, answer", "mpls": "mpls in udp"}.get(
        tunnel, tunnel
    )
    frame = build[name](packet6(1))
    at = 34 if tunnel == "gtpu" else 36  # of the source or destination port
    moved = frame[:at] + (65535).to_bytes(2, "big") + frame[at + 2 :]
    assert statuses([frame, moved]) == [1, 0]
    assert statuses([frame, moved], tunnel_ports={tunnel: [65535]}) == [0, 1]
    assert statuses([frame, moved], tunnel_ports={tunnel: []}) == [0, 0]


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"vxlam": [1]}, ValueError, "'vxlam' is not a tunnel over UDP: did you mean 'vxlan'"),
        ({"?": [1]}, ValueError, "use any of vxlan, vxlan_gpe, geneve, gtpu, teredo, l2tp, mpls"),
        ({3: [1]}, ValueError, "3 is not a tunnel"),
        ({"vxlan": [0]}, ValueError, r"tunnel_ports\['vxlan'\] must be 1 to 65535, not 0"),
        ({"vxlan": [65536]}, ValueError, "1 to 65535"),
        ({"vxlan": [4790]}, ValueError, "4790 cannot be that of both 'vxlan' and 'vxlan_gpe'"),
        ({"vxlan": [7], "mpls": [7]}, ValueError, "port 7 cannot be that of both"),
        ({"vxlan": 8472}, TypeError, r"tunnel_ports\['vxlan'\] must be a list of ports"),
        ({"vxlan": "8472"}, TypeError, "must be a list of ports"),
        ({"vxlan": ["8472"]}, TypeError, "integer"),
        (["vxlan"], TypeError, "tunnel_ports must be a mapping"),
    ],
)
def test_wrong_ports_are_refused(given, error, match):
    with pytest.raises(error, match=match):
        decoded_batch([b""]).headers(tunnel_ports=given)


# ---- Wireshark


# tshark 4.0 does not enter L2TPv3 by default, always skips the header of WCCP version 2, and takes frames
# after a label stack for other protocols.
UNSEEN = ("l2tpv3", "wccp 1", "pseudowire")


def test_tshark_finds_the_same_ip_headers(need_tool, tmp_path):
    cases = [case for case in TAGGED + CARRIED if not case[0].startswith(UNSEEN)]
    frames = [build(packet) for _, build, packet in cases]
    path = tmp_path / "encapsulations.pcap"
    path.write_bytes(pcap_file(map(Packet, frames)))
    packets = dissect(need_tool("tshark"), need_tool("mergecap"), [path], tmp_path)[path.name]
    batch = read(io.BytesIO(path.read_bytes()))
    rows = batch.headers(inner=True)
    found, expected = [], []
    for (name, _, packet), row, offset, theirs in zip(cases, rows, batch["ip_offset"], packets, strict=True):
        inner = [proto for proto in theirs.protocols if proto.name in {"ip", "ipv6"}][-1].offset
        found.append((name, int(offset), int(row["l4_offset"]) - (20 if packet[0] >> 4 == 4 else 40)))
        expected.append((name, theirs.ip_offset, inner))
    assert found == expected
