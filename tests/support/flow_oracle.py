"""`FlowOracle`, a flow table of dictionaries, and random traffic to compare it with `FlowTable`."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

import numpy as np

from slimcap import FLOW_DTYPE, HEADER_DTYPE, RECORD_DTYPE, Batch, FlowBatch
from slimcap.flow import FlowEnd, FlowInitiator
from support.flow_features import Seen, Sequences, features_of

Flow = dict[str, Any]
NAMES = [name for name in FLOW_DTYPE.names or () if name != "flow_id"]
COUNTERS = [name for name in NAMES if name.endswith(("_packets", "bytes", "_flags"))]
FIN, SYN, RST, ACK = 1, 2, 4, 16
REQUESTS = {(1, 8), (1, 13), (1, 15), (1, 17), (58, 128), (58, 139)}  # protocol and type of ICMP
REPLIES = {(1, 0), (1, 14), (1, 16), (1, 18), (58, 129), (58, 140)}
LINGER = 2_000_000_000
MAX_FRAGMENTED = 512


class FlowOracle:
    """The rules of `FlowTable`, packet by packet. `ended` are its records, `flow_id` a tuple."""

    def __init__(
        self,
        *,
        idle_timeout: float = 15.0,
        active_timeout: float = 300.0,
        window: float | None = None,
        max_flows: int = 1_000_000,
        key: tuple[str, ...] = ("vlan",),
        splt: int = 0,
        first_bytes: int = 0,
        inner: bool = False,
    ) -> None:
        self.idle, self.active = round(idle_timeout * 1e9), round(active_timeout * 1e9)
        self.splt, self.first_bytes, self.inner = splt, first_bytes, inner
        self.window, self.max_flows, self.key = round((window or 0) * 1e9), max_flows, key
        self.open: OrderedDict[Any, Flow] = OrderedDict()
        self.closed: OrderedDict[Any, Flow] = OrderedDict()
        self.fragmented: deque[tuple[Any, tuple[int, int, int]]] = deque(maxlen=MAX_FRAGMENTED)
        self.clock: int | None = None
        self.ended: list[Flow] = []
        self.others = [0, 0]

    def update(self, batch: Batch) -> None:
        headers = batch.headers(inner=self.inner)
        for index, row in enumerate(batch.records.tolist()):
            record = dict(zip(RECORD_DTYPE.names or (), row, strict=True))
            header = dict(zip(HEADER_DTYPE.names or (), headers[index].item(), strict=True))
            self.set_time(record["timestamp"])
            packet = bytes(batch.payload(index))[record["ip_offset"] :]
            version = packet[0] >> 4 if packet else 0
            if len(packet) < {4: 20, 6: 40}.get(version, 1 << 20):
                self.others[0] += 1
                self.others[1] += record["total_len"]
            else:
                start, length = header["l7_offset"], header["l7_len"]
                header["data"] = bytes(batch.payload(index))[start : start + length]
                self.add(record, header)

    def add(self, record: Flow, header: Flow) -> None:
        flags = header["tcp_flags"]
        self.find_fragment(record, header)
        ends = [(header[side], header[f"{side}_port"]) for side in ("src", "dst")]
        vlan, interface = record["vlan_tci"] & 0xFFF, record["interface"]
        key = (
            *(*sorted(ends), header["protocol"], header["ip_version"], vlan if "vlan" in self.key else 0),
            interface if "interface" in self.key else 0,
        )
        flow = self.open.get(key) or self.closed.get(key)
        if flow and flags & SYN and flow["state"]:
            self.end(key, FlowEnd.END_OF_FLOW)
            flow = None
        if flow is None:
            if len(self.open) + len(self.closed) == self.max_flows:
                full = FlowEnd.END_OF_FLOW if self.closed else FlowEnd.LACK_OF_RESOURCES
                self.end(next(iter(self.closed or self.open)), full)
            how, is_reverse = initiator_of(header)
            src, dst = reversed(ends) if is_reverse else ends
            flow = {**header, "vlan_id": vlan, "interface": interface, "initiator": how, "state": set()}
            (flow["src"], flow["src_port"]), (flow["dst"], flow["dst_port"]) = src, dst
            flow["part"], flow["packets"], flow["sequences"] = 0, [], Sequences()
            flow["flow_id"] = (key, record["timestamp"])
            flow.update(dict.fromkeys(COUNTERS, 0))
            self.open[key] = flow
        self.count(flow, record, header, flags)
        if flags & FIN:
            flow["state"].add("dst" if ends[0] != (flow["src"], flow["src_port"]) else "src")
        if flags & RST:
            flow["state"] |= {"src", "dst"}
        flow["seen"] = self.clock
        if key in self.open and len(flow["state"]) == 2:
            self.closed[key] = self.open.pop(key)
        (self.open if key in self.open else self.closed).move_to_end(key)

    def count(self, flow: Flow, record: Flow, header: Flow, flags: int) -> None:
        time = record["timestamp"]
        if flow["src_packets"] + flow["dst_packets"] and time - flow["first"] >= self.active:
            self.cut(flow, FlowEnd.ACTIVE)
        if flow["src_packets"] + flow["dst_packets"] == 0:
            flow["first"] = flow["last"] = time
        flow["first"], flow["last"] = min(flow["first"], time), max(flow["last"], time)
        length = max(record["total_len"], record["cap_len"]) - record["ip_offset"]
        sender = (header["src"], header["src_port"]) == (flow["src"], flow["src_port"])
        side = "src" if sender else "dst"
        again = flow["sequences"].add(side, header)
        flow["packets"].append(
            Seen(side, time, record["total_len"], flags, header["data"], header["l7_len"], again)
        )
        flow[f"{side}_packets"] += 1
        flow[f"{side}_bytes"] += record["total_len"]
        flow[f"{side}_ip_bytes"] += header["ip_len"] if 0 < header["ip_len"] <= length else length
        flow[f"{side}_tcp_flags"] |= flags

    def find_fragment(self, record: Flow, header: Flow) -> None:
        """Set the ports of a later fragment, or remember those of a first one."""
        datagram = (
            *(header["src"], header["dst"], header["ip_id"]),
            header["protocol"] if header["ip_version"] == 4 else 0,
            record["vlan_tci"] & 0xFFF if "vlan" in self.key else 0,
            record["interface"] if "interface" in self.key else 0,
        )
        names = ("protocol", "src_port", "dst_port")
        if header["frag_offset"]:
            known = [ports for one, ports in self.fragmented if one == datagram]
            header.update(zip(names, known[-1] if known else [header[name] for name in names], strict=True))
        elif header["more_fragments"]:
            self.fragmented.append((datagram, (header["protocol"], header["src_port"], header["dst_port"])))

    def cut(self, flow: Flow, reason: FlowEnd) -> None:
        if flow["src_packets"] + flow["dst_packets"]:
            features = features_of(flow["packets"], self.splt, self.first_bytes)
            self.ended.append({**flow, **features, "end_reason": reason})
            flow["part"] += 1
            flow["packets"] = []
        flow.update(dict.fromkeys(COUNTERS, 0))

    def end(self, key: Any, reason: FlowEnd) -> None:
        self.cut((self.open if key in self.open else self.closed).pop(key), reason)

    def end_unseen(self, now: int) -> None:
        for flows, timeout, reason in (
            (self.closed, min(LINGER, self.idle), FlowEnd.END_OF_FLOW),
            (self.open, self.idle, FlowEnd.IDLE),
        ):
            for key in [key for key, flow in flows.items() if now - flow["seen"] > timeout]:
                self.end(key, reason)

    def set_time(self, time: int) -> None:
        if self.clock is None or self.clock - time > self.active:
            self.flush()
            self.clock = time
        self.expire(time)

    def expire(self, time: int) -> None:
        if self.clock is None or time <= self.clock:
            return
        border = (self.clock // self.window + 1) * self.window if self.window else time + 1
        if time >= border:
            self.end_unseen(border)
            for flow in [*self.closed.values(), *self.open.values()]:
                self.cut(flow, FlowEnd.WINDOW)
        self.clock = time
        self.end_unseen(time)

    def flush(self) -> None:
        for key in [*self.closed, *self.open]:
            self.end(key, FlowEnd.END_OF_FLOW if key in self.closed else FlowEnd.FORCED)


def initiator_of(header: Flow) -> tuple[FlowInitiator, bool]:
    """Return how the initiator is found from a first packet, and whether it is the receiver."""
    protocol, low = header["protocol"], [header["src_port"] < 1024, header["dst_port"] < 1024]
    if protocol == 6 and header["tcp_flags"] & SYN:
        is_answer = bool(header["tcp_flags"] & ACK)
        return FlowInitiator.SYN_ACK if is_answer else FlowInitiator.SYN, is_answer
    if protocol in (1, 58):
        kind = (protocol, header["icmp_type"])
        known = kind in REQUESTS | REPLIES
        return FlowInitiator.ICMP_TYPE if known else FlowInitiator.FIRST_PACKET, kind in REPLIES
    return (FlowInitiator.PORT, low[0]) if low[0] != low[1] else (FlowInitiator.FIRST_PACKET, False)


def assert_equal(flows: FlowBatch, ended: list[Flow]) -> None:
    """Fail unless the records are those of the oracle, in order, and records of one flow have one ID.

    Columns of features are compared, too, up to the last digits of a quotient.
    """
    found = [tuple(row) for row in np.asarray(flows.records)[NAMES].tolist()]
    assert found == [tuple(flow[name] for name in NAMES) for flow in ended]
    for name in set(flows.records.dtype.names or ()) - set(NAMES) - {"flow_id", "community_id"}:
        expected = np.array([flow[name] for flow in ended]).reshape(flows[name].shape)
        if flows[name].dtype.kind == "f":
            np.testing.assert_allclose(flows[name], expected, rtol=1e-12, atol=0, err_msg=name)
        else:
            np.testing.assert_array_equal(flows[name], expected, err_msg=name)
    ids = set(zip(flows["flow_id"].tolist(), (flow["flow_id"] for flow in ended), strict=True))
    assert len(ids) == len({one for one, _ in ids}) == len({one for _, one in ids})
