"""build_packet: valid packets, compared with those of the samples' builders and with tshark."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from slimcap import HeaderStatus, PacketType, RecordFlag
from slimcap.mock import build_packet
from support.builders.layers import (
    ICMP,
    ICMPV6,
    SCTP,
    SYN,
    TCP,
    UDP,
    VLAN,
    checksum,
    filled,
    icmp,
    ipv4,
    ipv6,
    mac,
    tcp,
    udp,
)
from support.builders.links import ethernet
from support.builders.pcap import START, pcap_file
from support.builders.pcap import Packet as FilePacket
from support.packets import decoded_batch, properties_of
from support.peers import run_peer

A4, B4, A6, B6 = "192.0.2.1", "198.51.100.2", "2001:db8::1", "2001:db8:ffff::2"
PORTS = (1234, 50001)  # of no protocol that tshark knows
PAIRS = {4: (A4, B4), 6: (A6, B6)}
PROTOCOLS = (UDP, TCP, ICMP, ICMPV6, SCTP, 253)
WITH_CHECKSUM = [(4, UDP), (6, UDP), (4, TCP), (6, TCP), (4, ICMP), (6, ICMPV6)]
ECHO = struct.pack(">HH", 0, 0)  # identifier, sequence number


def segment_of(version, protocol, data):
    """Build the transport header and data with the builders of the samples."""
    src, dst = PAIRS[version]
    builders = {
        (version, UDP): lambda: udp(data, src, dst, *PORTS),
        (version, TCP): lambda: tcp(data, src, dst, *PORTS, flags=SYN),
        (4, ICMP): lambda: icmp(8, 0, ECHO + data),
        (6, ICMPV6): lambda: filled(struct.pack(">BBH", 128, 0, 0) + ECHO + data, 2, src, dst, ICMPV6),
    }
    return builders.get((version, protocol), lambda: data)()


def build(version, protocol, payload=b"", **options):
    ports = PORTS if protocol in {UDP, TCP} else (0, 0)
    return build_packet(*PAIRS[version], *ports, protocol, payload, **options)


# ---- valid packets


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("length", [0, 1, 2, 1400])
def test_the_bytes_are_those_of_the_builders(version, protocol, length):
    data = bytes(range(1, 8)) * 200
    segment = segment_of(version, protocol, data[:length])
    ip = ipv4(segment, protocol, A4, B4, ident=0) if version == 4 else ipv6(segment, protocol, A6, B6)
    ip = ip if version == 4 else ip[:1] + bytes(3) + ip[4:]  # no flow label
    for vlan, tags in ((None, []), (7, [(VLAN, 7)])):
        packet = build(version, protocol, data[:length], vlan=vlan, tcp_flags=SYN)
        assert bytes(packet) == ethernet(ip, src=mac(1), dst=mac(2), tags=tags)
        assert packet.ip_layer == ip
        (decoded,) = decoded_batch([bytes(packet)], timestamp=0, pkt_type=0)
        assert properties_of(packet) == properties_of(decoded)


def test_the_defaults_are_a_received_udp_packet():
    packet = build_packet(A4, B4)
    assert (packet.timestamp, packet.type, packet.ip_layer.protocol) == (0, PacketType.THIS_HOST, UDP)
    assert (packet.total_len, packet.ip_layer[8]) == (42, 64)


def test_the_header_columns_are_the_arguments():
    options = {"src_mac": "02:5e:00:00:00:0a", "dst_mac": "FF:FF:FF:FF:FF:FF", "tcp_flags": 0x1FF}
    packet = build(6, TCP, b"data", pkt_type=PacketType.BROADCAST, timestamp=START, vlan=4095, **options)
    (row,) = decoded_batch([bytes(packet)]).headers()
    assert (row["status"], row["ip_version"], row["protocol"]) == (HeaderStatus.OK, 6, TCP)
    assert (row["src_port"], row["dst_port"]) == PORTS
    assert bytes(row["src_mac"]) == bytes.fromhex("025e0000000a")
    assert bytes(row["dst_mac"]) == b"\xff" * 6
    assert (row["vlan_id"], row["tcp_flags"], row["l7_len"]) == (4095, 0x1FF, 4)
    assert (packet.type, packet.timestamp) == (PacketType.BROADCAST, START)


@pytest.mark.parametrize(("src", "dst"), [(ip_address(A4), B4), (f"::ffff:{A4}", ip_address(f"::ffff:{B4}"))])
def test_ipv4_mapped_addresses_and_objects_are_ipv4(src, dst):
    assert bytes(build_packet(src, dst, 1, 2)) == bytes(build_packet(A4, B4, 1, 2))


@pytest.mark.parametrize(("version", "protocol"), WITH_CHECKSUM)
def test_a_checksum_of_zero_is_sent_as_zero_except_for_udp(version, protocol):
    offset = {UDP: 6, TCP: 16}.get(protocol, 2)

    def segment_with(payload):
        return bytes(build(version, protocol, payload).ip_layer[20 if version == 4 else 40 :])

    complement = segment_with(b"\0\0")[offset : offset + 2]
    segment = segment_with(complement)
    assert segment[offset : offset + 2] == (b"\xff\xff" if protocol == UDP else b"\0\0")
    pseudo = b"".join(ip_address(address).packed for address in PAIRS[version])
    pseudo += struct.pack(">II", len(segment), protocol)
    assert checksum((b"" if protocol == ICMP else pseudo) + segment) == 0


STATUS = [f"{name}.checksum.status" for name in ("ip", "udp", "tcp", "icmp", "icmpv6")]
CHECKS = [f"{name}.check_checksum:TRUE" for name in ("ip", "udp", "tcp")]
GOOD = "1"


def test_tshark_finds_all_checksums_and_lengths_valid(tmp_path, need_tool):
    cases = [
        (version, protocol, payload, vlan)
        for version, protocol in WITH_CHECKSUM
        for payload in (b"", b"x", b"payload", bytes(range(256)))
        for vlan in (None, 7)
    ]
    packets = [build(version, protocol, payload, vlan=vlan) for version, protocol, payload, vlan in cases]
    path = tmp_path / "built.pcap"
    path.write_bytes(pcap_file([FilePacket(bytes(packet)) for packet in packets]))
    fields = [*STATUS, "_ws.malformed", "udp.length", "tcp.len", "frame.len"]
    command = [need_tool("tshark"), "-n", "-r", path, "-T", "fields", "-E", "separator=,"]
    command += [part for check in CHECKS for part in ("-o", check)]
    done = run_peer(*command, *(part for field in fields for part in ("-e", field)), reads=[path])
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(cases)
    for line, packet, (version, protocol, payload, _) in zip(lines, packets, cases, strict=True):
        found = dict(zip(fields, line.split(","), strict=True))
        transport = {UDP: "udp", TCP: "tcp", ICMP: "icmp", ICMPV6: "icmpv6"}[protocol]
        valid = {f"{transport}.checksum.status"} | ({"ip.checksum.status"} if version == 4 else set())
        assert {name: found[name] for name in STATUS if found[name]} == dict.fromkeys(valid, GOOD), line
        assert found["_ws.malformed"] == ""
        assert found["frame.len"] == str(len(packet))
        assert found["udp.length"] == (str(8 + len(payload)) if protocol == UDP else "")
        assert found["tcp.len"] == (str(len(payload)) if protocol == TCP else "")


# ---- lengths


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("missing", [1, 100, 1001])
def test_a_packet_captured_in_part_is_the_start_of_one_that_ends_in_zeros(version, protocol, missing):
    whole = build(version, protocol, b"odd" + bytes(missing))
    packet = build(version, protocol, b"odd", total_len=len(whole))
    assert (packet.total_len, packet.cap_len) == (len(whole), len(whole) - missing)
    assert bytes(packet) == bytes(whole)[:-missing]
    assert packet.flags == RecordFlag.TRUNCATED


@pytest.mark.parametrize(("version", "longest"), [(4, 14 + 65535), (6, 14 + 40 + 65535)])
@pytest.mark.parametrize("protocol", [UDP, TCP, SCTP])
def test_a_packet_may_be_as_long_as_ip_allows(version, longest, protocol):
    fitting = longest - len(build(version, protocol))
    assert build(version, protocol, bytes(fitting)).total_len == longest
    assert build(version, protocol, vlan=1, total_len=longest + 4).total_len == longest + 4
    with pytest.raises(ValueError, match=f"payload must have at most {fitting} bytes, not {fitting + 1}"):
        build(version, protocol, bytes(fitting + 1))
    with pytest.raises(ValueError, match=f"total_len must be .* to {longest}, not {longest + 1}"):
        build(version, protocol, total_len=longest + 1)


def test_a_packet_is_not_shorter_on_the_wire_than_captured():
    with pytest.raises(ValueError, match="total_len must be 43 to 65549, not 42"):
        build(4, UDP, b"x", total_len=42)


# ---- refused arguments


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"src": "no address"}),
        (ValueError, {"dst": "1.2.3"}),
        (ValueError, {"src": A6}),
        (ValueError, {"dst": A6}),
        (ValueError, {"src_port": 65536}),
        (ValueError, {"dst_port": -1}),
        (ValueError, {"protocol": 256}),
        (ValueError, {"protocol": ICMP, "src_port": 1}),
        (ValueError, {"protocol": SCTP, "dst_port": 1}),
        (ValueError, {"pkt_type": 256}),
        (ValueError, {"timestamp": 2**63}),
        (ValueError, {"vlan": 4096}),
        (ValueError, {"vlan": -1}),
        (ValueError, {"tcp_flags": 512}),
        (ValueError, {"src_mac": "02:00:00:00:00"}),
        (ValueError, {"dst_mac": "02:00:00:00:00:0g"}),
        (ValueError, {"dst_mac": "020000000001"}),
        (TypeError, {"src": 1}),
        (TypeError, {"dst": A4.encode()}),
        (TypeError, {"payload": "text"}),
        (TypeError, {"payload": 5}),
        (TypeError, {"pkt_type": "HOST"}),
        (TypeError, {"src_mac": bytes(6)}),
        (TypeError, {"vlan": "7"}),
        (TypeError, {"total_len": 60.0}),
    ],
    ids=str,
)
def test_build_packet_refuses_wrong_arguments(error, arguments):
    with pytest.raises(error, match="|".join(arguments)):
        build_packet(**{"src": A4, "dst": B4, **arguments})


def test_only_the_first_seven_arguments_are_positional():
    with pytest.raises(TypeError, match="positional"):
        build_packet(A4, B4, 1, 2, 17, b"", 0, 60)
