"""Link types with a header that is fixed or states its length: IP found, cut anywhere, as tshark sees it."""

from __future__ import annotations

import io

import pytest

import slimcap
from slimcap import NO_IP, HeaderStatus, LinkType, read
from support.builders.conversations import packet4, packet6
from support.builders.link_layers import LINK_LAYERS, NOT_IP
from support.builders.pcap import Packet, pcap_file
from support.dissections import dissect
from support.packets import decoded_batch

PACKETS = (packet4(2), packet6(1))
# tshark 4.0 does not know these.
UNSEEN = {"enc, big-endian", "frame relay with direction", "ppp of pppd", "chdlc with direction", "mpls"}
# The byte that states the direction is not in the packet as tshark shows it.
DIRECTION = {"ppp with direction"}


@pytest.mark.parametrize("name", LINK_LAYERS)
@pytest.mark.parametrize("packet", PACKETS, ids=["v4", "v6"])
def test_ip_is_found(name, packet):
    link_type, build = LINK_LAYERS[name]
    payload = build(packet)
    batch = decoded_batch([payload], link_type)
    assert isinstance(batch.links[0].type, LinkType)
    assert batch["ip_offset"].tolist() == [payload.index(packet)]
    row = batch.headers()[0]
    assert row["status"] == HeaderStatus.OK
    assert row["l4_offset"] == payload.index(packet) + (20 if packet[0] >> 4 == 4 else 40)


@pytest.mark.parametrize("name", NOT_IP)
@pytest.mark.parametrize("packet", PACKETS, ids=["v4", "v6"])
def test_ip_is_not_searched_for_in_what_is_not_valid(name, packet):
    link_type, build = NOT_IP[name]
    batch = decoded_batch([build(packet)], link_type)
    assert batch["ip_offset"].tolist() == [NO_IP]
    assert batch.headers()["status"].tolist() == [HeaderStatus.NO_IP]


@pytest.mark.parametrize("name", LINK_LAYERS | NOT_IP)
@pytest.mark.parametrize("packet", PACKETS, ids=["v4", "v6"])
def test_cut_packets_are_read_within_their_bytes(name, packet):
    link_type, build = (LINK_LAYERS | NOT_IP)[name]
    payload = build(packet)
    cuts = [payload[:n] for n in range(len(payload) + 1)]
    whole = decoded_batch([payload], link_type)["ip_offset"][0]
    around = (b"\0" * 80, b"\xff" * 80, (payload + bytes(80))[:80])
    batches = [decoded_batch(cuts, link_type, total_len=len(payload), after=after) for after in around]
    assert len({batch["ip_offset"].tobytes() for batch in batches}) == 1
    assert len({batch.headers().tobytes() for batch in batches}) == 1
    assert [int(found) for found in batches[0]["ip_offset"]] == [
        whole if whole != NO_IP and n > whole else NO_IP for n in range(len(payload) + 1)
    ]


def test_every_link_type_has_a_packet():
    """Those that are walked in C and are not in test_link_type's samples are all here."""
    assert {number for number, _ in LINK_LAYERS.values()} == {
        *(105, 107, 109, 117, 119, 127, 163, 166, 192, 204, 205, 206, 219, 226, 239, 258)
    }


def test_tags_in_an_enclosed_frame_are_those_of_the_packet():
    link_type, build = LINK_LAYERS["ppi with ethernet"]
    batch = decoded_batch([build(packet4(0))], link_type)
    assert (batch["vlan_tci"][0], batch.headers()["ethertype"][0]) == (9, 0x0800)


def test_tshark_finds_the_same_ip_headers(need_tool, tmp_path):
    paths = {}
    for name, (link_type, build) in LINK_LAYERS.items():
        if name not in UNSEEN:
            paths[name] = tmp_path / f"{name}.pcap"
            paths[name].write_bytes(pcap_file(map(Packet, map(build, PACKETS)), linktype=link_type))
    dissected = dissect(need_tool("tshark"), need_tool("mergecap"), list(paths.values()), tmp_path)
    found, expected = {}, {}
    for name, path in paths.items():
        found[name] = read(io.BytesIO(path.read_bytes()))["ip_offset"].tolist()
        expected[name] = [packet.ip_offset + (name in DIRECTION) for packet in dissected[path.name]]
    assert found == expected
    assert len(found) > 30


def test_links_of_these_types_have_names():
    assert slimcap.Link("pf", 0, 117).type_name == "PFLOG"
