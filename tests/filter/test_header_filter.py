"""Conditions on headers: the packets that `Batch.headers` says, and tshark."""

from __future__ import annotations

import ipaddress
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slimcap
from slimcap import Batch, HeaderStatus, Link, LinkType, RecordFlag, in_network, ip_from_str, ip_to_str, read
from slimcap.filter import HeaderFilter
from slimcap.filter.where_options import WhereOptions
from slimcap.mock import build_packet
from support.batches import batch_of
from support.cli import NeedTool
from support.peers import run_peer
from support.samples import GOOD

WITH_PORTS = (6, 17, 33, 132, 136)
VXLAN = bytes.fromhex("0800000000000100")
COLUMNS = [*(slimcap.HEADER_DTYPE.names or ()), "flow_hash_symmetric", "community_id"]
TUNNELS = ("tunnels.pcap", "ethernet_vlan.pcap", "ethernet_mpls.pcap", "ethernet_pppoe.pcap", "mixed.pcap")


@pytest.fixture(params=[name for name in GOOD if name.endswith(".pcap")])
def sample(request: pytest.FixtureRequest, data_path: Path) -> Batch:
    return read(data_path / request.param)


def known(batch: Batch, headers: np.ndarray) -> np.ndarray:
    """Return the rows whose addresses are in the packet."""
    mapped = in_network(headers["dst"], "0.0.0.0/0")
    arp = headers["status"] == HeaderStatus.ARP
    long = batch["cap_len"].astype(int) - batch["ip_offset"] >= 40
    return (mapped & ((headers["ip_version"] == 4) | arp)) | (
        (headers["ip_version"] == 6) & (long | (headers["tunnels"] > 0))
    )


def ported(batch: Batch, headers: np.ndarray) -> np.ndarray:
    captured = (headers["l4_offset"] > 0) & (headers["l4_offset"] + 4 <= batch["cap_len"])
    return np.isin(headers["protocol"], WITH_PORTS) & captured


def having(headers: np.ndarray, value: object, *names: str) -> np.ndarray:
    """Return the rows that have a value in one of two columns."""
    return np.asarray((headers[names[0]] == value) | (headers[names[1]] == value))


def tunnelled(port: int) -> Batch:
    """Return a packet to 198.51.100.7 in a VXLAN tunnel over a UDP port."""
    inside = bytes(build_packet("198.51.100.6", "198.51.100.7"))
    frame = bytes(build_packet("192.0.2.1", "192.0.2.2", 1, port, payload=VXLAN + inside))
    return batch_of([frame], links=[Link("test", 0, LinkType.ETHERNET)], ip_offset=14)


def times(batch: Batch) -> list[int]:
    return [int(time) for time in batch["timestamp"]]


def check(batch: Batch, mask: np.ndarray, **conditions: Any) -> None:
    """Check that conditions find the rows of a mask."""
    found = batch.filter(where=conditions)
    assert times(found) == times(batch[mask]), conditions
    assert found.data.ctypes.data == batch.data.ctypes.data


# ---- what headers() says


@pytest.mark.parametrize("inner", [False, True])
def test_every_value_finds_the_rows_that_have_it(sample: Batch, inner: bool) -> None:
    headers = sample.headers(COLUMNS, inner=inner)
    has, ports = known(sample, headers), ported(sample, headers)
    for address in np.unique(headers["dst"])[:20]:
        mask = has & having(headers, address, "src", "dst")
        check(sample, mask, host=address, inner=inner)
        check(sample, mask, host=str(ip_to_str(np.array([address]))[0]), inner=inner)
    for net in ("0.0.0.0/0", "::/0", "10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"):
        mask = has & (in_network(headers["src"], net) | in_network(headers["dst"], net))
        check(sample, mask, net=net, inner=inner)
    for port in {*headers["src_port"].tolist()[:10], 0, 53, 443}:
        mask = ports & having(headers, port, "src_port", "dst_port")
        check(sample, mask, port=port, inner=inner)
    for protocol in {*headers["protocol"].tolist(), 0, 6}:
        mask = (headers["protocol"] == protocol) & (headers["ip_version"] > 0)
        check(sample, mask, protocol=protocol, inner=inner)
    for vlan in {*headers["vlan_id"].tolist(), *headers["inner_vlan_id"].tolist()} - {0}:
        mask = having(headers, vlan, "vlan_id", "inner_vlan_id")
        check(sample, mask, vlan=vlan, inner=inner)
    for community_id in {*headers["community_id"].tolist()[:20]} - {b""}:
        check(sample, headers["community_id"] == community_id, community_id=community_id, inner=inner)


def test_a_flow_has_the_packets_of_both_directions(sample: Batch) -> None:
    headers = sample.headers(COLUMNS)
    has = known(sample, headers) & (headers["ip_version"] > 0)
    for row in np.flatnonzero(has)[:20]:
        mask = has & (headers["flow_hash_symmetric"] == headers["flow_hash_symmetric"][row])
        src, dst = ip_to_str(np.array([headers["src"][row], headers["dst"][row]])).tolist()
        source, destination, protocol = (
            int(headers[name][row]) for name in ("src_port", "dst_port", "protocol")
        )
        check(sample, mask, flow=(src, source, dst, destination, protocol))
        check(sample, mask, flow=(dst, destination, src, source, protocol))
        check(sample, mask, flow=f"{src}:{source} => {dst}:{destination} (proto: {protocol})")
        if sample["flags"][row] & RecordFlag.TRUNCATED == 0 and mask.sum() == 1:
            assert str(sample.ip_layer(int(row))).endswith(f"(proto: {protocol})")


def test_flows_as_packets_print_them(data_path: Path) -> None:
    batch = read(data_path / "mixed.pcap", where={"protocol": ["tcp", "udp"]})
    for row in range(0, len(batch), 10):
        assert int(batch["timestamp"][row]) in times(batch.filter(where={"flow": str(batch.ip_layer(row))}))


# ---- what tshark says


def rows_with(batch: Batch, address: str, *, inner: bool) -> set[int]:
    """Return the frame numbers of the packets of a host."""
    found = batch.filter(where={"host": address, "inner": inner})
    return {int(row) + 1 for row in np.flatnonzero(np.isin(batch["timestamp"], found["timestamp"]))}


@pytest.mark.parametrize("name", TUNNELS)
def test_a_host_is_found_where_tshark_finds_it(name: str, data_path: Path, need_tool: NeedTool) -> None:
    path = data_path / name
    tshark = need_tool("tshark")
    fields = ("-T", "fields", "-e", "frame.number", "-e", "ip.addr", "-e", "ipv6.addr")
    lines = (
        run_peer(tshark, "-r", path, *fields, "-Y", "ip or ipv6", reads=[path]).stdout.decode().splitlines()
    )
    frames: dict[str, set[int]] = {}
    for line in lines:
        number, *addresses = line.split("\t")
        for address in ",".join(addresses).split(","):
            frames.setdefault(address, set()).add(int(number))
    batch = read(path)
    tunnels = batch.headers(["tunnels"], inner=True)["tunnels"]
    assert frames
    for address, numbers in frames.items():
        if not address or ipaddress.ip_address(address).is_unspecified:
            continue
        found = rows_with(batch, address, inner=False) | rows_with(batch, address, inner=True)
        # Between the outermost and the innermost header there may be others, which are not looked at.
        assert {number for number in numbers - found if tunnels[number - 1] < 2} == set(), address


def test_expressions_do_not_see_what_conditions_see(data_path: Path) -> None:
    for name in ("ethernet_vlan.pcap", "ethernet_mpls.pcap", "ethernet_pppoe.pcap"):
        batch = read(data_path / name)
        addresses = ip_to_str(batch.headers(["src"])["src"])
        address = next(str(text) for text in addresses if text != "::")
        conditions, expression = batch.filter(where={"host": address}), batch.filter(f"host {address}")
        assert len(conditions) > len(expression)
        assert len(batch.filter(f"host {address}", where={"host": address})) == len(expression)


def test_tunnels_on_other_ports_are_entered(data_path: Path) -> None:
    frame = tunnelled(8472)
    assert frame.headers(["tunnels"], inner=True, tunnel_ports={"vxlan": [8472]})["tunnels"].tolist() == [1]
    conditions: WhereOptions = {"host": "198.51.100.7", "inner": True}
    assert len(frame.filter(where=conditions)) == 0
    assert len(frame.filter(where={**conditions, "tunnel_ports": {"vxlan": [8472]}})) == 1
    assert len(frame.filter(where={**conditions, "tunnel_ports": {"vxlan": [4789]}})) == 0
    assert len(tunnelled(4789).filter(where=conditions)) == 1
    with pytest.raises(ValueError, match="did you mean 'vxlan'"):
        frame.filter(where={**conditions, "tunnel_ports": {"vxlam": [8472]}})
    other = HeaderFilter(**conditions)
    assert other != HeaderFilter(**conditions, tunnel_ports={"vxlan": [8472]})


# ---- values


def test_several_values_are_alternatives_and_several_conditions_hold_together(data_path: Path) -> None:
    batch = read(data_path / "mixed.pcap")
    one, other = (set(times(batch.filter(where={"port": port}))) for port in (53, 80))
    assert one
    assert other
    assert set(times(batch.filter(where={"port": [53, 80]}))) == one | other
    assert set(times(batch.filter(where={"port": ("53", range(80, 81))[:1]}))) == one
    assert set(times(batch.filter(where={"port": ["53-80"]}))) >= one | other
    udp = set(times(batch.filter(where={"protocol": "udp"})))
    assert set(times(batch.filter(where={"port": 53, "protocol": "UDP"}))) == one & udp
    assert len(batch.filter(where={"host": []})) == 0
    assert len(batch.filter(where={"flow": [], "protocol": "udp"})) == 0


def test_large_sets_find_the_same_as_small_ones(data_path: Path) -> None:
    batch = read(data_path / "mixed.pcap")
    address = ip_to_str(batch.headers(["src"])["src"])[0]
    wanted = times(batch.filter(where={"host": str(address)}))
    others = [f"203.0.{number >> 8}.{number & 255}" for number in range(5000)]
    assert times(batch.filter(where={"host": [*others, address]})) == wanted
    assert (
        times(batch.filter(where={"net": [f"{other}/32" for other in others] + [f"{address}/32"]})) == wanted
    )
    overlapping = ["203.0.0.0/16", "203.0.1.0/24", "203.0.0.0/8", f"{address}/31", f"{address}/32"]
    strict = [str(ipaddress.ip_network(net, strict=False)) for net in overlapping]
    assert set(wanted) <= set(times(batch.filter(where={"net": strict})))


def test_ipv6_networks_contain_no_ipv4(data_path: Path) -> None:
    batch = read(data_path / "mixed.pcap")
    for net in ("::/0", "::/80", "::ffff:0:0/96"):
        found = batch.filter(where={"net": net}).headers(["ip_version"])["ip_version"]
        assert set(found.tolist()) <= {6}
    assert len(batch.filter(where={"net": "::/0"})) > 0
    mapped = ip_from_str(["::ffff:192.0.2.1"])[0]
    assert times(batch.filter(where={"host": mapped})) == times(batch.filter(where={"host": "192.0.2.1"}))


def test_addresses_that_were_not_captured_match_nothing(data_path: Path) -> None:
    whole = read(data_path / "ipv6_229.pcap")
    source = str(ip_to_str(whole.headers(["src"])["src"])[0])
    for snaplen in (39, 40):
        cut = read(data_path / "ipv6_229.pcap", snaplen=snaplen)
        for net in ("::/0", "::/128", f"{source}/128"):
            found = cut.filter(where={"net": net})
            assert len(found) == (0 if snaplen == 39 else len(whole.filter(where={"net": net})))


def test_ports_that_were_not_captured_match_nothing(data_path: Path) -> None:
    whole = read(data_path / "ipv6_229.pcap")
    offsets = whole.headers(["l4_offset"])["l4_offset"]
    assert len(whole.filter(where={"port": "0-65535"})) > 0
    cut = read(data_path / "ipv6_229.pcap", snaplen=int(offsets[offsets > 0].min()) + 1)
    assert len(cut.filter(where={"port": "0-65535"})) == 0


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"host": "example.org"}, "host must be an IPv4 or IPv6 address, not 'example.org'"),
        ({"host": "fe80::1%eth0"}, "without a zone"),
        ({"host": ["192.0.2.1", "192.0.2.256"]}, "not '192.0.2.256'"),
        ({"net": "192.0.2.1/24"}, "has host bits set"),
        ({"port": 65536}, "port must be 0 to 65535"),
        ({"port": "90-80"}, "smaller port first"),
        ({"port": "http"}, "must be a port, or a range"),
        ({"protocol": "tpc"}, "must be a number, or one of icmp, .*, not 'tpc'"),
        ({"protocol": 256}, "protocol must be 0 to 255"),
        ({"flow": "192.0.2.1 => 192.0.2.2"}, "flow must be such as"),
        ({"community_id": ""}, "must be a Community ID of version 1, .*, not ''"),
        ({"community_id": [b""]}, "must be a Community ID of version 1, .*, not b''"),
        ({"community_id": "2:LQU9qZlK+B5F3KDmev6m5PMibrg="}, "version 1"),
        ({"community_id": "1:LQU9qZlK+B5F3KDmev6m5PMibr"}, "28 characters"),
        ({"vlan": 0}, "vlan must be 1 to 4095"),
        ({}, "has to have a condition"),
        ({"inner": True}, "has to have a condition"),
    ],
)
def test_values_that_are_not_valid(conditions: WhereOptions, message: str, data_path: Path) -> None:
    for call in (
        lambda: HeaderFilter(**conditions),
        lambda: read(data_path / "mixed.pcap", where=conditions),
        lambda: read(data_path / "mixed.pcap").filter(where=conditions),
    ):
        with pytest.raises(ValueError, match=message.replace("(", r"\(")):
            call()


@pytest.mark.parametrize(
    "conditions",
    [
        {"host": 7},
        {"net": b"\0" * 4},
        {"port": 1.5},
        {"port": b"80"},
        {"vlan": b"5"},
        {"protocol": b"tcp"},
        {"vlan": "x"},
        {"flow": ("192.0.2.1", 1)},
        {"flow": 7},
        {"community_id": 7},
        {"hosts": "192.0.2.1"},
    ],
)
def test_types_that_are_not_accepted(conditions: Any) -> None:
    with pytest.raises(TypeError):
        HeaderFilter(**conditions)


def test_a_filter_is_made_once_and_used_often(data_path: Path) -> None:
    web = HeaderFilter(port=[80, 443], inner=True)
    assert repr(web) == "HeaderFilter(port=(80, 443), inner=True)"
    again = pickle.loads(pickle.dumps(web))
    assert again == web == HeaderFilter(port=[443, 80], inner=True) != HeaderFilter(port=[443, 80])
    assert hash(again) == hash(web)
    assert web != HeaderFilter(vlan=[443, 80], inner=True)
    wanted = times(read(data_path / "mixed.pcap").filter(where=web))
    assert wanted
    for where in (web, again):
        assert times(read(data_path / "mixed.pcap", where=where)) == wanted
    with pytest.raises(TypeError, match="again"):
        web.__init__(port=1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="where must be a HeaderFilter or a mapping"):
        read(data_path / "mixed.pcap", where="port 80")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="requires a filter, or conditions"):
        read(data_path / "mixed.pcap").filter()


# ---- files


@pytest.mark.parametrize("block_size", [64, 1000, 1 << 20])
def test_files_are_read_as_batches_are_filtered(block_size: int, data_path: Path) -> None:
    for name in ("mixed.pcap", "mixed.pcapng", "interfaces.pcapng"):
        whole = read(data_path / name)
        for conditions in ({"protocol": "udp"}, {"protocol": "tcp", "inner": True}, {"net": "0.0.0.0/0"}):
            wanted = whole.filter(where=conditions)
            with slimcap.open_file(data_path / name, where=conditions, block_size=block_size) as source:
                found = slimcap.concat(source.batches())
                assert source.total_stats.packets_received == len(whole)
            assert times(found) == times(wanted)
            assert found.comments == wanted.comments
            merged = slimcap.open_files([data_path / name], where=conditions, block_size=block_size)
            with merged:
                assert times(slimcap.concat(merged.batches())) == times(wanted)


def test_values_are_those_at_the_start(data_path: Path) -> None:
    hosts = ["192.0.2.10"]
    made = HeaderFilter(host=iter(hosts), tunnel_ports={"vxlan": iter([8472])})
    again = pickle.loads(pickle.dumps(made))
    batch = read(data_path / "mixed.pcap")
    assert again == made == HeaderFilter(host="192.0.2.10", tunnel_ports={"vxlan": [8472]})
    assert (
        times(batch.filter(where=again))
        == times(batch.filter(where=made))
        == times(batch.filter(where={"host": hosts}))
    )
    from_list = HeaderFilter(host=hosts)
    hosts.append("192.0.2.11")
    assert pickle.loads(pickle.dumps(from_list)) == from_list


def test_a_source_port_is_enough() -> None:
    frame = bytes(build_packet("192.0.2.1", "192.0.2.2", 443, 5000, 6))
    for captured, found in ((35, 0), (36, 1), (37, 1), (38, 1)):
        links = [Link("test", 0, LinkType.ETHERNET)]
        batch = batch_of([frame[:captured]], links=links, ip_offset=14, total_len=len(frame))
        assert len(batch.filter(where={"port": 443})) == found
        assert len(batch.filter(where={"port": 5000})) == (captured == 38)


def test_tasks_have_conditions(data_path: Path) -> None:
    wanted = times(read(data_path / "mixed.pcap", where={"protocol": "udp"}))
    for where in ({"protocol": "udp"}, HeaderFilter(protocol=17)):
        tasks = slimcap.plan(data_path / "mixed.pcap", where=where, chunk_bytes=10_000)
        assert len(tasks) > 1
        assert pickle.loads(pickle.dumps(tasks)) == tasks
        assert [time for task in tasks for time in times(task.read())] == wanted
    everything = slimcap.plan(data_path / "mixed.pcap", chunk_bytes=10_000)[0]
    assert times(tasks[0].read(where=None)) == times(everything.read())


def test_an_expression_and_conditions_hold_together(data_path: Path) -> None:
    whole = read(data_path / "mixed.pcapng")
    wanted = times(whole.filter("ip6").filter(where={"protocol": "udp"}))
    assert wanted
    assert times(read(data_path / "mixed.pcapng", filter="ip6", where={"protocol": "udp"})) == wanted
    assert times(whole.filter("ip6", where={"protocol": "udp"})) == wanted
