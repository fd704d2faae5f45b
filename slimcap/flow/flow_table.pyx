"""`FlowTable`: packets in, records of the flows that ended out. One loop for a batch, without the GIL.

    batch ─► parse, hash, prefetch ─► find or start ─► count ─► end? ─► records
             a chunk of packets       packet by packet

Time is that of the packets. The table's clock is the latest of them, and each flow has its value at the
flow's last packet, so that the lists of flows are in order of time even if the packets are not.
"""
cimport cython
cimport numpy as cnp
from libc.stdint cimport INT64_MAX, UINT32_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
cimport slimcap.wire.tcp as tcp
cimport slimcap.wire.vlan as vlan
from slimcap.abi.branch cimport prefetch, rarely
from slimcap.abi.bytes cimport load64
from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.wide cimport fold, prime
from slimcap.flow.features cimport FeatureRules, add_features, clear_features, put_features
from slimcap.flow.flow_columns cimport dtype_of, set_features
from slimcap.flow.flow_key cimport (
    SECRET_WORDS, FlowPacket, KeyRules, TunnelColumns, find_initiator, has_key, hash_of_flow, hash_of_key)
from slimcap.flow.flow_record cimport (
    END_ACTIVE, END_FORCED, END_IDLE, END_LACK_OF_RESOURCES, END_OF_FLOW, END_WINDOW, FlowRecord)
from slimcap.flow.flow_store cimport (
    CLOSED_FLOWS, LINE, MAX_PROBES, MOVED_AT_ONCE, NO_FLOW, OPEN_FLOWS, FlowStore, Node, Slot, append_node,
    close_store, find_flow, first_slot, free_slot, free_slots, give_node, home_of, is_flow_of, open_store,
    remove_slot, start_growing, state_of, take_node, tunnel_of_flow, unlink_node, unseen_longest)
from slimcap.flow.fragments cimport Fragments, add_first_fragment, fill_later_fragment
from slimcap.packet.batch cimport Batch
from slimcap.packet.headers.columns cimport tunnel_table
from slimcap.packet.headers.dissect cimport IPPacket, fill_addresses, fill_header, parse_ip
from slimcap.packet.headers.flow_hash cimport Flow, flow_hash, order, set_flow
from slimcap.packet.headers.plain cimport fill_plain
from slimcap.packet.headers.row cimport PART_NETWORK, PART_TRANSPORT, Header, HeaderRow
from slimcap.packet.lease cimport Hold
from slimcap.packet.record cimport Record, in_bounds, ip_start
from slimcap.packet.view cimport View
from slimcap.wire.walk_link cimport LINKTYPE_USER0
from slimcap.wire.walk_tunnel cimport TunnelPorts, tunnel_id

import os
import time
from typing import NamedTuple

import numpy as np

from slimcap.errors import in_range
from slimcap.flow.flow_batch import FlowBatch
from slimcap.flow.flow_enums import FlowEnd
from slimcap.flow.flow_options import FlowOptions
from slimcap.option_set import parse

cnp.import_array()

cdef enum:
    CHUNK = 64                  # packets, whose keys stay in the L1 cache
    AHEAD = 8                   # how many packets ahead headers are prefetched
    PARTS = PART_NETWORK | PART_TRANSPORT
    ENDED_AT_ONCE = 16          # flows, whose slots are prefetched
    FEW_RECORDS = 4096          # that are copied, so that their memory is used again
    REASONS = 8
    # State of a flow, kept in its `end_reason`.
    FIN_BY_SRC = 1
    FIN_BY_DST = 2
    RESET = 4
    CLOSED = 8                  # it is in the list of closed flows

cdef tuple DEFAULT_KEY = ("vlan",)
cdef int64_t LINGER = 2 * NANOSECONDS   # for the last ACKs: more than RFC 6298's initial timeout

cdef struct Counters:
    uint64_t started
    uint64_t packets
    uint64_t bytes
    uint64_t other_packets
    uint64_t other_bytes
    uint64_t ended[REASONS]     # by the lower bits of the reason, which differ

cdef struct Table:
    FlowStore store
    KeyRules rules
    FeatureRules features
    bint inner                  # flows are those in tunnels
    TunnelPorts ports
    Fragments fragments
    Counters counters
    uint8_t* ended              # records of this call, and
    uint8_t* ended_end          # the end of them
    # Nanoseconds.
    int64_t idle_timeout
    int64_t active_timeout
    int64_t linger
    int64_t window              # 0: no windows
    int64_t clock
    int64_t window_last         # last nanosecond of the current window
    int64_t due                 # nothing ends by time up to then
    bint running                # the clock was set


class FlowStats(NamedTuple):
    """Counters of a `FlowTable`, since it was made.

    Attributes
    ----------
    active : int
        Flows in the table.
    started : int
        Flows that were ever in it.
    packets : int
        Packets of flows.
    bytes : int
        Bytes of these packets on the wire.
    other_packets : int
        Packets that belong to no flow: without a complete IP header.
    other_bytes : int
        Bytes of these packets on the wire.
    ended : dict of FlowEnd to int
        Records that ended, by reason.
    """

    active: int
    started: int
    packets: int
    bytes: int
    other_packets: int
    other_bytes: int
    ended: dict


# ---- packets

cdef inline void _set_packet(
        FlowPacket* packet, const Header* header, const Record* row, const uint8_t* payload,
        uint32_t ip_bytes, bint has_features) noexcept nogil:
    packet.address[0][0], packet.address[0][1] = load64(header.src), load64(header.src + 8)
    packet.address[1][0], packet.address[1][1] = load64(header.dst), load64(header.dst + 8)
    packet.interface = row.interface
    packet.ip_bytes = ip_bytes
    packet.port[0], packet.port[1] = header.src_port, header.dst_port
    packet.vlan_id = row.vlan_tci & vlan.VID_MASK
    packet.tcp_flags = header.tcp_flags
    packet.protocol, packet.ip_version = header.protocol, header.ip_version
    packet.icmp_type, packet.icmp_code = header.icmp_type, header.icmp_code
    if rarely(has_features):
        packet.tcp_seq = header.tcp_seq
        packet.l7, packet.l7_len = payload + header.l7_offset, header.l7_len
        packet.l7_captured = min(header.l7_len, row.cap_len - header.l7_offset)
        packet.tunnel_id = 0
        memset(packet.outer, 0, sizeof(packet.outer))


cdef inline bint _parse_plain(
        const Table* table, const Record* row, const uint8_t* data, size_t size, bint has_features,
        FlowPacket* packet) noexcept nogil:
    """Fill in what the table needs of a plain packet; return False if it is not plain."""
    cdef Header header      # only inlined functions have its address, so that its fields are in registers
    if rarely(not in_bounds(row, size)):
        return False
    if not fill_plain(&header, data + row.offset, row, LINKTYPE_USER0, PARTS, table.inner, &table.ports):
        return False
    _set_packet(packet, &header, row, data + row.offset, header.ip_len, has_features)
    return True


cdef void _set_tunnel(
        const Table* table, const uint8_t* p, uint32_t n, uint32_t length, FlowPacket* packet) noexcept nogil:
    """Fill in the tunnel that a packet is in, from its outermost IP header at `p`."""
    cdef IPPacket outer = parse_ip(p, n, length)
    cdef Header header
    memset(&header, 0, sizeof(header))
    fill_addresses(&header, &outer)
    memcpy(packet.outer[0], header.src, sizeof(header.src))
    memcpy(packet.outer[1], header.dst, sizeof(header.dst))
    packet.tunnel_id = tunnel_id(
        outer.upper.protocol, outer.p + outer.upper.offset, outer.n - outer.upper.offset, &table.ports)


cdef void _parse_other(
        Table* table, const Record* row, const uint8_t* data, size_t size,
        FlowPacket* packet) noexcept nogil:
    """Fill in what the table needs of any packet."""
    cdef const uint8_t* payload = data + row.offset
    cdef HeaderRow row_header
    cdef Header* header = &row_header.header
    cdef uint32_t offset = ip_start(row), n = row.cap_len - offset
    cdef uint32_t length = max(row.total_len, row.cap_len) - offset
    memset(packet, 0, sizeof(FlowPacket))
    if not in_bounds(row, size) or not (
            ipv4.check(payload + offset, n) or ipv6.check(payload + offset, n)):
        return
    memset(header, 0, sizeof(Header))
    fill_header(&row_header, payload, row, LINKTYPE_USER0, PARTS, table.inner, &table.ports, NULL)
    # A length of 0 is that of a packet before segmentation; one that is too large was not on the wire.
    if header.ip_len and header.ip_len <= length:
        length = header.ip_len
    _set_packet(packet, header, row, payload, length, table.features.state_size != 0)
    if table.rules.has_tunnel and header.tunnels:
        _set_tunnel(table, payload + offset, n, max(row.total_len, row.cap_len) - offset, packet)
    if rarely(header.frag_offset):
        fill_later_fragment(&table.fragments, &table.rules, packet, header.ip_id)
    elif rarely(header.more_fragments):
        add_first_fragment(&table.fragments, &table.rules, packet, header.ip_id)


# ---- flows

cdef inline bint _has_packets(const FlowRecord* flow) noexcept nogil:
    """Return False after a cut, until the next packet."""
    return flow.packets[0] | flow.packets[1] != 0


cdef inline void _emit(Table* table, uint32_t flow, uint8_t reason) noexcept nogil:
    """Add the record of a flow to those that ended, unless it has no packets."""
    cdef const FlowRecord* record = &table.store.records[flow]
    cdef uint8_t* out = table.ended_end
    if _has_packets(record):
        memcpy(out, record, sizeof(FlowRecord))
        (<FlowRecord*> out).end_reason = reason
        if table.features.record_size > sizeof(FlowRecord):
            put_features(&table.features, state_of(&table.store, flow), record, out)
        table.ended_end += table.features.record_size
        table.counters.ended[reason % REASONS] += 1


cdef inline void _cut(Table* table, uint32_t flow, uint8_t reason) noexcept nogil:
    """End the record of a flow, which continues."""
    cdef FlowRecord* record = &table.store.records[flow]
    _emit(table, flow, reason)
    record.part += 1
    memset(record.packets, 0, sizeof(record.packets))
    memset(record.bytes, 0, sizeof(record.bytes))
    memset(record.ip_bytes, 0, sizeof(record.ip_bytes))
    memset(record.tcp_flags, 0, sizeof(record.tcp_flags))
    if table.features.state_size:
        clear_features(&table.features, state_of(&table.store, flow))


cdef inline void _drop(Table* table, uint32_t flow, uint8_t reason) noexcept nogil:
    """End a flow whose slot has another flow, or none, by now."""
    _emit(table, flow, reason)
    unlink_node(table.store.nodes, flow)
    give_node(&table.store, flow)


cdef void _end(Table* table, uint32_t flow, uint8_t reason) noexcept nogil:
    cdef const TunnelColumns* tunnel = tunnel_of_flow(&table.store, flow)
    remove_slot(&table.store, flow, hash_of_flow(&table.rules, &table.store.records[flow], tunnel))
    _drop(table, flow, reason)


cdef uint32_t _end_first(
        Table* table, uint32_t head, uint32_t limit, int64_t timeout, int64_t now,
        uint8_t reason) noexcept nogil:
    """End the first flows of a list, those without a packet for `timeout` at `now`; return how many.

    At most `limit` of them end. With a negative timeout, all may. Their slots are prefetched.
    """
    cdef const FlowStore* store = &table.store
    cdef uint32_t flows[ENDED_AT_ONCE]
    cdef uint32_t hashes[ENDED_AT_ONCE]
    cdef uint32_t flow, n, index, ended = 0
    while True:
        flow, n = store.nodes[head].next, 0
        while n < ENDED_AT_ONCE and ended + n < limit and flow != head and (
                timeout < 0 or _is_past(store.nodes[flow].seen, timeout, now)):
            flows[n] = flow
            hashes[n] = hash_of_flow(&table.rules, &store.records[flow], tunnel_of_flow(store, flow))
            prefetch(first_slot(store, hashes[n]))
            flow, n = store.nodes[flow].next, n + 1
        for index in range(n):
            remove_slot(&table.store, flows[index], hashes[index])
            _drop(table, flows[index], reason)
        ended += n
        if n < ENDED_AT_ONCE:
            return ended


cdef void _end_unseen(Table* table, int64_t now) noexcept nogil:
    """End the flows that had no packet for too long at a time."""
    _end_first(table, CLOSED_FLOWS, UINT32_MAX, table.linger, now, END_OF_FLOW)
    _end_first(table, OPEN_FLOWS, UINT32_MAX, table.idle_timeout, now, END_IDLE)


cdef void _end_all(Table* table, uint32_t count) noexcept nogil:
    """End `count` flows, of those there are."""
    count -= _end_first(table, CLOSED_FLOWS, count, -1, 0, END_OF_FLOW)
    _end_first(table, OPEN_FLOWS, count, -1, 0, END_FORCED)


cdef void _cut_list(Table* table, uint32_t head) noexcept nogil:
    """Cut the flows of a list that had packets since the last window: those at its end."""
    cdef const Node* nodes = table.store.nodes
    cdef uint32_t flow = nodes[head].prev
    while flow != head and _has_packets(&table.store.records[flow]):
        flow = nodes[flow].prev
    flow = nodes[flow].next
    while flow != head:
        _cut(table, flow, END_WINDOW)
        flow = nodes[flow].next


# ---- time

cdef inline bint _is_past(int64_t since, int64_t timeout, int64_t now) noexcept nogil:
    """Return True if more than a timeout has passed; `now` is not before `since`."""
    return <uint64_t> now - <uint64_t> since > <uint64_t> timeout


cdef inline int64_t _after(int64_t start, int64_t more) noexcept nogil:
    """Return a time, INT64_MAX at most."""
    return start + more if start <= INT64_MAX - more else INT64_MAX


cdef inline void _set_due(Table* table) noexcept nogil:
    cdef const Node* nodes = table.store.nodes
    table.due = table.window_last
    if nodes[CLOSED_FLOWS].next != CLOSED_FLOWS:
        table.due = min(table.due, _after(nodes[nodes[CLOSED_FLOWS].next].seen, table.linger))
    if nodes[OPEN_FLOWS].next != OPEN_FLOWS:
        table.due = min(table.due, _after(nodes[nodes[OPEN_FLOWS].next].seen, table.idle_timeout))


cdef void _set_window(Table* table) noexcept nogil:
    """Set the last nanosecond of the window that the clock is in."""
    cdef int64_t past
    if table.window == 0:
        table.window_last = INT64_MAX
        return
    past = table.clock % table.window
    if past < 0:
        past += table.window    # as C divides, towards zero
    table.window_last = _after(table.clock, table.window - past - 1)


cdef void _start_clock(Table* table, int64_t now) noexcept nogil:
    table.clock, table.running = now, True
    _set_window(table)
    _set_due(table)


cdef void _run_timers(Table* table) noexcept nogil:
    """End what ends by time up to the clock: first up to the end of the window, then the rest."""
    if table.clock > table.window_last:
        _end_unseen(table, table.window_last + 1)
        _cut_list(table, CLOSED_FLOWS)
        _cut_list(table, OPEN_FLOWS)
        _set_window(table)
    _end_unseen(table, table.clock)
    _set_due(table)


cdef inline void _set_time(Table* table, int64_t now) noexcept nogil:
    """Advance the clock to the time of a packet, or set it back if that is much earlier."""
    if now > table.clock:
        table.clock = now
        if rarely(now > table.due):
            _run_timers(table)
    elif rarely(_is_past(now, table.active_timeout, table.clock)):
        _end_all(table, table.store.count)
        _start_clock(table, now)


# ---- the way of a packet

cdef uint32_t _start(Table* table, const FlowPacket* packet, int64_t timestamp) noexcept nogil:
    """Start the flow of a packet, without the packet; return its number."""
    cdef FlowStore* store = &table.store
    cdef uint32_t flow, reverse = 0
    cdef FlowRecord* record
    cdef TunnelColumns* tunnel
    cdef Slot* slot
    if store.count == store.max_flows:
        _make_free(table)
    if store.old_slots is not NULL:
        _move_slots(table)
    elif <uint64_t> store.count * 8 >= <uint64_t> store.homes * 5 and store.homes < store.max_homes:
        start_growing(store)
    slot = free_slot(first_slot(store, packet.hash))
    if rarely(slot is NULL):    # of those that it may have: another flow has to leave
        slot = first_slot(store, packet.hash)
        flow = unseen_longest(store, slot)
        while slot.flow != flow:
            slot += 1
        _drop(table, flow, END_LACK_OF_RESOURCES)
    flow = take_node(store)
    slot.hash, slot.flow = packet.hash, flow
    record = &store.records[flow]
    memset(record, 0, sizeof(FlowRecord))
    if store.state_size:
        memset(state_of(store, flow), 0, store.state_size)
    record.initiator = find_initiator(packet, &reverse)
    memcpy(record.address[reverse], packet.address[0], sizeof(packet.address[0]))
    memcpy(record.address[1 - reverse], packet.address[1], sizeof(packet.address[1]))
    record.port[reverse], record.port[1 - reverse] = packet.port[0], packet.port[1]
    record.protocol, record.ip_version = packet.protocol, packet.ip_version
    record.vlan_id, record.interface = packet.vlan_id, packet.interface
    record.icmp_type, record.icmp_code = packet.icmp_type, packet.icmp_code
    tunnel = <TunnelColumns*> tunnel_of_flow(store, flow)
    if table.rules.has_tunnel:
        memcpy(tunnel.outer[reverse], packet.outer[0], sizeof(packet.outer[0]))
        memcpy(tunnel.outer[1 - reverse], packet.outer[1], sizeof(packet.outer[1]))
        tunnel.tunnel_id = packet.tunnel_id
    record.flow_id = _flow_id(table, record, tunnel, timestamp)
    store.nodes[flow].seen = table.clock
    append_node(store.nodes, flow, OPEN_FLOWS)
    table.due = min(table.due, _after(table.clock, table.idle_timeout))
    table.counters.started += 1
    return flow


cdef void _move_slots(Table* table) noexcept nogil:
    """Move some of the old slots to the new ones, up to one that is free.

    No flow after a free slot has its home before it. A flow whose new slots are all used ends.
    """
    cdef FlowStore* store = &table.store
    cdef Slot* old = store.old_slots + store.moved
    cdef Slot* enough = old + MOVED_AT_ONCE
    cdef Slot* end = store.old_slots + store.old_homes + MAX_PROBES
    cdef Slot* slot
    while old < end and (old < enough or old.flow != NO_FLOW):
        if old.flow != NO_FLOW:
            slot = free_slot(store.slots + home_of(store.homes, old.hash))
            if rarely(slot is NULL):
                _drop(table, old.flow, END_LACK_OF_RESOURCES)
            else:
                slot[0] = old[0]
        old += 1
    store.moved = <uint32_t> (old - store.old_slots)
    if old == end:
        free_slots(store.old_slots, store.old_homes)
        store.old_slots = NULL


cdef void _make_free(Table* table) noexcept nogil:
    """End one flow: a connection that was closed if there is one, else the least recently used."""
    cdef const Node* nodes = table.store.nodes
    if nodes[CLOSED_FLOWS].next != CLOSED_FLOWS:
        _end(table, nodes[CLOSED_FLOWS].next, END_OF_FLOW)
    else:
        _end(table, nodes[OPEN_FLOWS].next, END_LACK_OF_RESOURCES)


cdef uint64_t _tunnel_number(const TunnelColumns* tunnel) noexcept nogil:
    """Return a hash of a tunnel: the same in each run, and for both directions."""
    cdef uint64_t sides = (
        fold(tunnel.outer[0][0] ^ prime[0], tunnel.outer[0][1] ^ prime[1])
        + fold(tunnel.outer[1][0] ^ prime[0], tunnel.outer[1][1] ^ prime[1]))
    return fold(sides ^ prime[2], tunnel.tunnel_id ^ prime[3])


cdef uint64_t _flow_id(
        const Table* table, const FlowRecord* record, const TunnelColumns* tunnel,
        int64_t timestamp) noexcept nogil:
    """Return a hash of the flow's key and of the time of its first packet: the same in each run."""
    cdef Header header
    cdef Flow flow
    cdef uint64_t rest = (
        <uint64_t> (record.interface & table.rules.interface_mask) << 16
        | record.vlan_id & table.rules.vlan_mask)
    if table.rules.has_tunnel:
        rest += _tunnel_number(tunnel)
    memcpy(header.src, record.address[0], sizeof(header.src))
    memcpy(header.dst, record.address[1], sizeof(header.dst))
    header.src_port, header.dst_port, header.protocol = record.port[0], record.port[1], record.protocol
    set_flow(&flow, &header)
    order(&flow)
    return fold(flow_hash(&flow) + rest, <uint64_t> timestamp ^ <uint64_t> 0x9E3779B97F4A7C15)


cdef inline void _add(Table* table, const FlowPacket* packet, const Record* row) noexcept nogil:
    """Count a packet in its flow."""
    cdef FlowStore* store = &table.store
    cdef int64_t timestamp = row.timestamp
    cdef FlowRecord* record
    cdef uint32_t flow, reverse = 0
    _set_time(table, timestamp)
    if rarely(packet.ip_version == 0):
        table.counters.other_packets += 1
        table.counters.other_bytes += row.total_len
        return
    table.counters.packets += 1
    table.counters.bytes += row.total_len
    flow = packet.flow
    if rarely(not is_flow_of(store, flow, packet, &table.rules, &reverse)):
        flow = find_flow(store, packet, &table.rules, &reverse)
    if rarely(packet.tcp_flags & tcp.SYN and flow != NO_FLOW and store.records[flow].end_reason != 0):
        _end(table, flow, END_OF_FLOW)      # the ports are used again
        flow = NO_FLOW
    if rarely(flow == NO_FLOW):
        flow = _start(table, packet, timestamp)
        has_key(&store.records[flow], packet, &table.rules, &reverse)
    record = &store.records[flow]
    if not _has_packets(record):
        record.first = record.last = timestamp
    elif timestamp > record.first and _is_past(record.first, table.active_timeout - 1, timestamp):
        _cut(table, flow, END_ACTIVE)
        record.first = record.last = timestamp
    if table.features.state_size:
        add_features(&table.features, state_of(store, flow), record, packet, row, reverse)
    if timestamp > record.last:
        record.last = timestamp
    elif timestamp < record.first:
        record.first = timestamp
    record.packets[reverse] += 1
    record.bytes[reverse] += row.total_len
    record.ip_bytes[reverse] += packet.ip_bytes
    record.tcp_flags[reverse] |= packet.tcp_flags
    if rarely(packet.tcp_flags & (tcp.FIN | tcp.RST)):
        _close(table, flow, packet.tcp_flags, reverse)
    store.nodes[flow].seen = table.clock
    unlink_node(store.nodes, flow)
    append_node(store.nodes, flow, CLOSED_FLOWS if record.end_reason & CLOSED else OPEN_FLOWS)


cdef void _close(Table* table, uint32_t flow, uint32_t tcp_flags, uint32_t reverse) noexcept nogil:
    """Note a FIN or RST."""
    cdef FlowRecord* record = &table.store.records[flow]
    if tcp_flags & tcp.FIN:
        record.end_reason |= FIN_BY_DST if reverse else FIN_BY_SRC
    if tcp_flags & tcp.RST:
        record.end_reason |= RESET
    if record.end_reason & RESET or (record.end_reason & FIN_BY_SRC and record.end_reason & FIN_BY_DST):
        record.end_reason |= CLOSED
        table.due = min(table.due, _after(table.clock, table.linger))


cdef inline uint32_t _prefetch_flow(const FlowStore* store, uint32_t hash) noexcept nogil:
    """Prefetch what is probably the flow with this hash, and return its number; its slot is in the cache."""
    cdef const Slot* slot = first_slot(store, hash)
    cdef const Slot* end = slot + MAX_PROBES
    cdef uint32_t offset = 0
    while slot < end and slot.flow != NO_FLOW and slot.hash != hash:
        slot += 1
    prefetch(&store.records[slot.flow])
    prefetch(<const uint8_t*> &store.records[slot.flow] + LINE)
    prefetch(&store.nodes[slot.flow])
    while offset < store.state_size:
        prefetch(state_of(store, slot.flow) + offset)
        offset += LINE
    return slot.flow


cdef void _update(
        Table* table, const Record* rows, Py_ssize_t count, const uint8_t* data, size_t size) noexcept nogil:
    cdef FlowPacket packets[CHUNK]
    cdef uint8_t indexes[CHUNK]     # of the packets that are not plain
    cdef Py_ssize_t first = 0, index, n, last, others
    cdef bint has_features = table.features.state_size != 0
    cdef const Record* ahead
    if count and not table.running:
        _start_clock(table, rows[0].timestamp)
    while first < count:
        n, last = min(count - first, CHUNK), count - first - 1
        others = 0
        for index in range(n):
            # An invalid address does no harm: a prefetch does not fault.
            ahead = &rows[min(index + AHEAD, last)]
            prefetch(<const void*> (<size_t> data + ahead.offset + ahead.ip_offset))
            if not _parse_plain(table, &rows[index], data, size, has_features, &packets[index]):
                indexes[others] = <uint8_t> index
                others += 1
        for index in range(others):
            _parse_other(table, &rows[indexes[index]], data, size, &packets[indexes[index]])
        for index in range(n):
            packets[index].hash = hash_of_key(&table.rules, &packets[index])
            prefetch(first_slot(&table.store, packets[index].hash))
        for index in range(n):
            packets[index].flow = _prefetch_flow(&table.store, packets[index].hash)
        for index in range(n):
            _add(table, &packets[index], &rows[index])
        rows += n
        first += n


# ---- the class

@cython.final
cdef class FlowTable:
    """Table of the flows that packets belong to. It returns a record of each flow that ended.

    A flow has the packets of both directions between two endpoints: the same addresses, ports and protocol,
    and the same VLAN, as `Batch.headers` shows them. With the key "tunnel", the addresses of the outermost IP
    header and the identifier of the tunnel are the same, too. Only TCP, UDP, UDP-Lite, SCTP and DCCP have
    ports. Its `src` is the initiator: `FlowInitiator` lists how it is found. Packets without a complete IP
    header belong to no flow, and are counted in `stats`: so each packet is counted once.

    A record ends for one of the reasons of `FlowEnd`:

    - A flow ends if it has no packet for more than `idle_timeout`.
    - A TCP connection ends if both sides have sent a FIN, or one side an RST, and then no packet comes for 2
      seconds, or `idle_timeout` if that is shorter. A SYN after a FIN or RST starts another flow at once. So
      does a packet after these seconds; a SYN without a FIN or RST before it belongs to the flow.
    - A record ends before a packet that comes `active_timeout` or more after its first. At the end of a
      `window` the records of all flows end. In both cases the flow continues: its next record has the same
      `src`, `initiator`, `icmp_type` and `flow_id`. If no packet follows, there is no next record.
    - If the table is full, a new flow ends the connection that was closed first, or else the flow that had no
      packet for the longest time. It also may if hundreds of flows have similar hashes, which a sender
      cannot bring about: the hash has a random key.
    - `flush` ends all flows.

    Time is that of the packets. The clock of the table is the latest time so far, and an earlier packet
    counts as if it came at that time, except that `first` and `last` are exact: a packet that arrives after
    its window has ended is counted in the current one. A packet that is more than `active_timeout` earlier
    than the clock means that time was set back: all flows end, as by `flush`, and the clock is set to it.
    `expire` advances the clock when there are no packets.

    Fragments belong to the flow of the packet's first fragment, if that came before and is one of the last
    512 fragmented packets. Otherwise they belong to a flow with ports 0.

    Only one thread may call `update`, `expire` and `flush` at a time.

    Parameters
    ----------
    **options
        Those of `FlowOptions`.

    Attributes
    ----------
    dtype : numpy.dtype
        That of the records: FLOW_DTYPE, and the columns of `features`, `splt` and `first_bytes`.
    window : float or None
        The parameter.

    Raises
    ------
    TypeError, ValueError
        An option is not valid.
    MemoryError
        There is not enough memory for `max_flows`. It is reserved at once, but only used as flows come.

    Examples
    --------
    >>> table = slimcap.FlowTable(idle_timeout=30)
    >>> with slimcap.open_file("trace.pcap") as source:
    ...     ended = [table.update(batch) for batch in source.batches()]
    >>> flows = slimcap.FlowBatch.concat([*ended, table.flush()])
    """

    cdef Table _table
    cdef Counters _shown        # as of the last call that returned
    cdef uint32_t _active
    cdef int64_t _clock
    cdef bint _running
    cdef readonly object dtype, window
    cdef object _none           # the FlowBatch without records
    cdef cnp.ndarray _ended     # memory for the records of a call
    cdef bytes _tunnels         # which the table's `ports` show
    cdef bint _made, _busy

    def __init__(self, **options: Unpack[FlowOptions]):
        cdef dict given = parse(FlowOptions, options)
        cdef Table* table = &self._table
        cdef int index
        if self._made:
            raise TypeError("a FlowTable is made once")
        key = DEFAULT_KEY if given["key"] is None else given["key"]
        if "tunnel" in key and not given["inner"]:
            raise ValueError("key has 'tunnel', which requires inner=True")
        set_features(&table.features, given["features"], given["splt"], given["first_bytes"], "tunnel" in key)
        if not open_store(
                &table.store, given["max_flows"], table.features.state_size, table.features.tunnel):
            raise MemoryError(f"cannot reserve memory for {given['max_flows']:,} flows")
        self._made = True
        self.dtype = dtype_of(&table.features)
        self._none = FlowBatch(np.empty(0, self.dtype))
        table.inner = given["inner"]
        self._tunnels = tunnel_table(given["tunnel_ports"])
        if self._tunnels is not None:
            table.ports.tunnels = <const uint8_t*> self._tunnels
        for index in range(SECRET_WORDS):
            table.rules.secret[index] = int.from_bytes(os.urandom(8)) | 1    # 0 would be a weak factor
        table.rules.has_tunnel = "tunnel" in key
        table.rules.vlan_mask = vlan.VID_MASK if "vlan" in key else 0
        table.rules.interface_mask = 0xffffffff if "interface" in key else 0
        table.idle_timeout = _nanoseconds(given["idle_timeout"])
        table.active_timeout = _nanoseconds(given["active_timeout"])
        self.window = given["window"]
        table.window = 0 if self.window is None else _nanoseconds(self.window)
        table.linger = min(LINGER, table.idle_timeout)

    def __dealloc__(self):
        close_store(&self._table.store)

    def update(self, Batch batch not None):
        """Count the packets of a batch.

        Parameters
        ----------
        batch : Batch
            The packets, which are not needed afterwards.

        Returns
        -------
        FlowBatch
            The records that ended, in order. It owns its memory.

        Raises
        ------
        RuntimeError
            Another thread is using the table.
        ValueError
            The batch was released.
        MemoryError
            There is not enough memory for a record of each packet and flow. No packet was counted.
        """
        cdef View view = batch._open()
        cdef Hold _rows_hold = batch._rows_hold
        cdef const Record* rows = batch._rows
        cdef Py_ssize_t count = batch._count
        self._enter(count, UINT32_MAX)
        with nogil:
            _update(&self._table, rows, count, view._ptr, view._len)
        return self._leave()

    def expire(self, now=None):
        """Advance the clock, and end what ends by time. A time before the clock has no effect.

        Parameters
        ----------
        now : int, optional
            Nanoseconds since the Unix epoch. Default: the current time.

        Returns
        -------
        FlowBatch
            The records that ended, in order.

        Raises
        ------
        RuntimeError
            Another thread is using the table.
        """
        now = time.time_ns() if now is None else now
        cdef int64_t until = in_range("now", now, -INT64_MAX - 1, INT64_MAX)
        self._enter(0, UINT32_MAX)
        if self._table.running and until > self._table.clock:
            with nogil:
                self._table.clock = until
                _run_timers(&self._table)
        return self._leave()

    def flush(self, limit=None):
        """End all flows. Afterwards packets of any time may follow.

        Parameters
        ----------
        limit : int, optional
            Maximum number of flows to end, for less memory: call it again until the table is empty. Default:
            all.

        Returns
        -------
        FlowBatch
            The records that ended, in order of their flows' last packets: closed connections first.

        Raises
        ------
        RuntimeError
            Another thread is using the table.
        ValueError
            `limit` is less than 1.
        """
        cdef uint32_t most = UINT32_MAX if limit is None else in_range("limit", limit, 1, UINT32_MAX)
        cdef uint32_t count
        self._enter(0, most)
        count = min(most, self._table.store.count)
        with nogil:
            _end_all(&self._table, count)
            if self._table.store.count == 0:
                self._table.running = False
                self._table.fragments.count = 0
        return self._leave()

    cdef int _enter(self, Py_ssize_t packets, uint32_t limit) except -1:
        """Lock the table, and get memory for the records that may end: of `packets` packets, `limit` flows.
        """
        if not self._made:
            raise ValueError("this table was never made: use FlowTable()")
        if self._busy:
            raise RuntimeError("another thread is using this table: one at a time")
        cdef cnp.ndarray ended = self._ended
        # Bytes of records that were not returned, since Ctrl-C interrupted that: this call returns them.
        cdef Py_ssize_t kept = self._table.ended_end - self._table.ended
        cdef Py_ssize_t needed = packets + min(limit, self._table.store.count)
        needed += kept // <Py_ssize_t> self._table.features.record_size
        if ended is None or ended.shape[0] < needed:
            try:
                self._ended = np.empty(max(needed + needed // 2, FEW_RECORDS), self.dtype)
            except MemoryError:
                raise MemoryError(
                    f"cannot reserve memory for {needed:,} records of {self.dtype.itemsize:,} bytes: "
                    "pass fewer packets at a time, or set a lower max_flows") from None
            if kept:
                memcpy(cnp.PyArray_DATA(self._ended), self._table.ended, kept)
        self._table.ended = <uint8_t*> cnp.PyArray_DATA(self._ended)
        self._table.ended_end = self._table.ended + kept
        self._busy = True
        return 0

    cdef object _leave(self):
        """Unlock the table and return the records that ended."""
        cdef Py_ssize_t size = self._table.ended_end - self._table.ended
        cdef Py_ssize_t count = size // self._table.features.record_size
        cdef cnp.ndarray ended = self._ended
        self._shown, self._active = self._table.counters, self._table.store.count
        self._clock, self._running = self._table.clock, self._table.running
        try:
            if count == 0:
                return self._none
            # Python code, which Ctrl-C may interrupt.
            batch = FlowBatch(ended[:count] if count >= FEW_RECORDS else ended[:count].copy())
            if count >= FEW_RECORDS:    # the memory after them was never touched, and needs no page
                self._ended = None
            self._table.ended_end = self._table.ended
            return batch
        finally:
            self._busy = False

    @property
    def _secret(self):
        """The key of the hashes, with which tests find flows that collide."""
        return tuple([self._table.rules.secret[index] for index in range(SECRET_WORDS)])

    @property
    def clock(self):
        """The latest time as of the last call that returned, int nanoseconds since the Unix epoch.

        None before the first packet.
        """
        return self._clock if self._running else None

    @property
    def stats(self):
        """Counters, a FlowStats, as of the last call that returned."""
        cdef Counters* shown = &self._shown
        ended = {reason: shown.ended[<int> reason % REASONS] for reason in FlowEnd}
        return FlowStats(
            self._active, shown.started, shown.packets, shown.bytes, shown.other_packets, shown.other_bytes,
            ended)

    def __len__(self):
        return self._active

    def __repr__(self):
        return f"<FlowTable: {self._active:,} flows>"

    def __reduce__(self):
        raise TypeError("a FlowTable cannot be pickled: flush it, and pickle the records")


cdef int64_t _nanoseconds(object seconds) except -1:
    return round(seconds * NANOSECONDS)
