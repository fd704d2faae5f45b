"""Flows in tunnels: with and without the tunnel in the key, whose columns show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

import slimcap
from slimcap import Batch, FlowBatch, FlowTable, ip_to_str
from support.builders.layers import UDP, geneve, gre, ip, ipv4_fragments, udp, vxlan
from support.builders.links import ethernet
from support.flow_traffic import START, A, B
from support.packets import decoded_batch

GRE = 47
INNER = ("10.0.0.1", "10.0.0.2")  # the same in all tunnels
KEY = ("vlan", "tunnel")


def inner_packet(*, back: bool = False) -> bytes:
    ends, ports = (INNER[::-1], (53, 40000)) if back else (INNER, (40000, 53))
    return ip(udp(b"data", *ends, *ports), UDP, *ends)


def in_vxlan(number: int, src: str = A, dst: str = B, *, back: bool = False) -> bytes:
    data = vxlan(ethernet(inner_packet(back=back)), number)
    return ethernet(ip(udp(data, src, dst, 1000 + back, 4789), UDP, src, dst))


def in_geneve(number: int, src: str = A, dst: str = B, *, back: bool = False) -> bytes:
    data = geneve(ethernet(inner_packet(back=back)), 0x6558, number, bytes(8))
    return ethernet(ip(udp(data, src, dst, 1000 + back, 6081), UDP, src, dst))


def in_gre(number: int, src: str = A, dst: str = B, *, back: bool = False) -> bytes:
    return ethernet(ip(gre(inner_packet(back=back), 0x0800, key=number), GRE, src, dst))


def batch_of_frames(frames: Iterable[bytes]) -> Batch:
    payloads = list(frames)
    return decoded_batch(payloads, timestamp=[START + index for index in range(len(payloads))])


def flows_of(batch: Batch, **options: Any) -> FlowBatch:
    return FlowBatch.concat(slimcap.flows(batch, inner=True, **options))


@pytest.mark.parametrize("build", [in_vxlan, in_geneve, in_gre])
def test_flows_in_different_tunnels_differ_if_the_tunnel_is_in_the_key(build: Callable[..., bytes]) -> None:
    frames = []
    for number, far in ((5, B), (6, B), (5, "203.0.113.9")):
        frames += [build(number, A, far), build(number, far, A, back=True), build(number, A, far)]
    batch = batch_of_frames([*frames, ethernet(inner_packet())])
    (together,) = flows_of(batch)
    assert (together["src_packets"], together["dst_packets"]) == (7, 3)
    flows = flows_of(batch, key=KEY)
    assert flows["src_packets"].tolist() == [2, 2, 2, 1]
    assert flows["dst_packets"].tolist() == [1, 1, 1, 0]
    assert flows["tunnel_id"].tolist() == [5, 6, 5, 0]
    assert ip_to_str(flows["outer_src"]).tolist()[:3] == [A] * 3
    assert ip_to_str(flows["outer_dst"]).tolist()[:3] == [B, B, "203.0.113.9"]
    assert bytes(flows[3]["outer_src"]) + bytes(flows[3]["outer_dst"]) == bytes(32)
    assert len(set(flows["flow_id"].tolist())) == 4
    assert flows.to_arrow()["outer_src"].to_pylist() == [A, A, A, None]


def test_outer_addresses_are_on_the_side_of_the_initiator() -> None:
    """The first packet is an answer: its outer source is on the side of the flow's `dst`."""
    (flow,) = flows_of(batch_of_frames([in_vxlan(5, B, A, back=True)]), key=KEY)
    assert (flow["initiator"], flow["dst_packets"]) == (slimcap.flow.FlowInitiator.PORT, 1)
    assert ip_to_str([flow["src"], flow["outer_src"], flow["outer_dst"]]).tolist() == [INNER[0], A, B]


def test_many_flows_in_tunnels_end_and_are_found_again() -> None:
    """The hash of a flow that ends is that of its packets: its slot is found."""
    table = FlowTable(inner=True, key=KEY, max_flows=100)
    frames = [in_vxlan(number % 150, back=number % 2 == 1) for number in range(2000)]
    flows = FlowBatch.concat([table.update(batch_of_frames(frames)), table.flush()])
    assert int((flows["src_packets"] + flows["dst_packets"]).sum()) == 2000
    assert len(table) == 0
    assert table.stats.started == len(flows)


def test_fragments_belong_to_the_flow_in_their_tunnel() -> None:
    whole = udp(bytes(100), *INNER, 40000, 53)
    frames = []
    for part in zip(*(list(ipv4_fragments(whole, UDP, *INNER, 40)) for _ in range(2)), strict=True):
        for number, fragment in enumerate(part):
            data = vxlan(ethernet(fragment), number)
            frames.append(ethernet(ip(udp(data, A, B, 1000, 4789), UDP, A, B)))
    flows = flows_of(batch_of_frames(frames), key=KEY)
    assert flows["dst_port"].tolist() == [53, 53]
    assert flows["src_packets"].tolist() == [len(frames) // 2] * 2


def test_a_tunnel_in_the_key_requires_inner() -> None:
    with pytest.raises(ValueError, match="key has 'tunnel', which requires inner=True"):
        FlowTable(key=KEY)
    assert "tunnel_id" in (FlowTable(key=KEY, inner=True).dtype.names or ())


def test_truncated_tunnels_are_bounded() -> None:
    """Cut anywhere, a packet counts once, in the innermost flow whose header was captured."""
    for build in (in_vxlan, in_geneve, in_gre):
        frame = build(7)
        batch = batch_of_frames(frame[:size] for size in range(len(frame) + 1))
        table = FlowTable(inner=True, key=KEY)
        flows = FlowBatch.concat([table.update(batch), table.flush()])
        packets = int((flows["src_packets"] + flows["dst_packets"]).sum())
        assert packets + table.stats.other_packets == len(batch)
        assert {0, 7} == set(flows["tunnel_id"].tolist())
