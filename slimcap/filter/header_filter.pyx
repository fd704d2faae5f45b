"""Match captured packets by their parsed headers, a block of packets at a time, without the GIL.

Where an expression is compiled to loads at fixed offsets, a `HeaderFilter` parses each packet as
`Batch.headers` does: after VLAN tags, MPLS labels and PPPoE headers, and into tunnels. Its sets of values are
bit arrays, and sorted keys for binary search, so that the time per packet hardly grows with their number.
"""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
cimport slimcap.wire.transport as transport
from slimcap.packet.headers.columns cimport tunnel_table
from slimcap.packet.headers.dissect cimport fill_header
from slimcap.packet.headers.flow_hash cimport KEY_LEN, Flow, order, put_key, set_flow
from slimcap.packet.headers.row cimport (
    PART_COMMUNITY_ID, PART_LINK, PART_TRANSPORT, STATUS_ARP, Header, HeaderRow)
from slimcap.packet.lease cimport Block, new_block
from slimcap.packet.record cimport Record, in_bounds, ip_start
from slimcap.wire.walk_link cimport LINKTYPE_USER0

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network
from itertools import chain

import numpy as np

from slimcap.errors import wrong_type
from slimcap.filter.where_options import WhereOptions
from slimcap.option_set import parse
from slimcap.packet.headers.tunnel_ports import fixed_ports

cdef enum:
    RANGE_LEN = 2 * ipv6.ADDRESS_LEN

_MAPPED = 0xffff << 32  # the IPv4-mapped address of 0.0.0.0, ::ffff:0:0/96 being those of all


@cython.final
cdef class HeaderFilter:
    """Conditions on the headers of a packet, as `Batch.headers` shows them.

    A packet matches if all conditions hold. One with several values holds if one of them matches. Unlike a
    tcpdump expression it sees the headers after VLAN tags, MPLS labels and PPPoE headers, and in tunnels.

    It does not change, and may be used by several threads and sources at once.

    Parameters
    ----------
    **options
        Those of `WhereOptions`.

    Raises
    ------
    TypeError
        A value has a wrong type, or an option is not known.
    ValueError
        A value is not valid, or there is no condition.

    Examples
    --------
    >>> web = slimcap.filter.HeaderFilter(net="192.0.2.0/24", port=[80, 443], inner=True)
    >>> with slimcap.open_file("trace.pcap", where=web) as source:
    ...     for batch in source.batches():
    ...         print(len(batch))
    """

    def __init__(self, **options: Unpack[WhereOptions]):
        options = {name: _fixed(value) for name, value in options.items()}
        found = parse(WhereOptions, options)
        if self._sets is not None:  # `_conditions` points into them, and other threads may use it
            raise TypeError("a HeaderFilter cannot be initialized again")
        self._sets = []
        self._conditions.inner = found.pop("inner")
        self._tunnels = tunnel_table(found.pop("tunnel_ports"))
        if self._tunnels is not None:
            self._conditions.tunnel_ports.tunnels = self._tunnels
        for name, values in found.items():
            if values is not None:
                self._add(name, values)
        if not self._sets:
            raise ValueError("a header filter has to have a condition, such as host=\"192.0.2.1\"")
        self._options = options

    def __repr__(self):
        given = (f"{name}={value!r}" for name, value in (self._options or {}).items())
        return f"HeaderFilter({', '.join(given)})"

    def __eq__(self, other):
        if not isinstance(other, HeaderFilter):
            return NotImplemented
        return self._state() == (<HeaderFilter> other)._state()

    def __hash__(self):
        return hash(self._state())

    def __reduce__(self):
        return _restored, (dict(self._options or {}),)

    cdef tuple _state(self):
        return self._conditions.inner, self._tunnels, tuple(self._sets or ())

    cdef int _add(self, str name, object values) except -1:
        """Add a condition with its checked values."""
        cdef Conditions* conditions = &self._conditions
        if name == "host":
            conditions.hosts = self._keys(name, _ranges((one, one) for one in values))
        elif name == "net":
            nets = ((net.network_address, net.broadcast_address) for net in values)
            conditions.nets = self._keys(name, _ranges(nets))
        elif name == "port":
            conditions.ports = self._keep_alive(name, _bits(chain.from_iterable(values), 1 << 16))
        elif name == "protocol":
            conditions.protocols = self._keep_alive(name, _bits(values, 1 << 8))
        elif name == "flow":
            conditions.flows = self._keys(name, (_flow_key(flow) for flow in values))
        elif name == "community_id":
            conditions.community_ids = self._keys(name, values)
            conditions.parts |= PART_COMMUNITY_ID | PART_TRANSPORT
        elif name == "vlan":
            conditions.vlans = self._keep_alive(name, _bits(values, 1 << 12))
            conditions.parts |= PART_LINK
        else:
            raise SystemError(f"the condition {name} is declared, but not made")
        return 0

    cdef const uint8_t* _keep_alive(self, str name, bytes memory) except NULL:
        self._sets.append((name, memory))
        return memory

    cdef Keys _keys(self, str name, object keys) except *:
        cdef Keys found
        keys = sorted(set(keys))
        found.count = len(keys)
        found.first = self._keep_alive(name, b"".join(keys))
        return found


def _fixed(value):
    """Return a value of an option as it is now: an iterable as a tuple."""
    if isinstance(value, Mapping):
        return fixed_ports(value)
    if isinstance(value, (str, bytes, bytearray, np.void, IPv4Network, IPv6Network)):
        return value
    return tuple(value) if isinstance(value, Iterable) else value


def _restored(options):
    return HeaderFilter(**options)


cdef bytes _bits(object numbers, Py_ssize_t limit):
    """Return an array of `limit` bits in which those of the numbers are set."""
    cdef bytearray bits = bytearray(limit // 8)
    cdef Py_ssize_t number
    for number in numbers:
        bits[number >> 3] |= 1 << (number & 7)
    return bytes(bits)


def _ranges(pairs):
    """Yield the keys of ranges of addresses, sorted and without overlaps, from first and last addresses.

    Those of IPv6 are without the IPv4-mapped addresses, which stand for IPv4.
    """
    split = []
    for first, last in pairs:
        if first.version == 4:
            split.append((_MAPPED + int(first), _MAPPED + int(last)))
            continue
        split.append((int(first), min(int(last), _MAPPED - 1)))
        split.append((max(int(first), _MAPPED + (1 << 32)), int(last)))
    start, end = 0, -1
    for first, last in sorted(split):
        if first > last:
            continue
        if first > end + 1 and end >= start:
            yield start.to_bytes(16) + end.to_bytes(16)
        if first > end + 1 or end < start:
            start = first
        end = max(end, last)
    if end >= start:
        yield start.to_bytes(16) + end.to_bytes(16)


cdef bytes _flow_key(object flow):
    cdef Header header
    cdef Flow key_flow
    cdef uint8_t key[KEY_LEN]
    memset(&header, 0, sizeof(header))
    _put_address(header.src, flow.src)
    _put_address(header.dst, flow.dst)
    header.src_port, header.dst_port = flow.src_port, flow.dst_port
    header.protocol = flow.protocol
    set_flow(&key_flow, &header)
    order(&key_flow)
    put_key(&key_flow, key)
    return key[:KEY_LEN]


cdef int _put_address(uint8_t* out, object address) except -1:
    cdef bytes packed = address.packed
    if address.version == 4:
        ipv4.put_mapped(out, packed)
    else:
        memcpy(out, <const uint8_t*> packed, ipv6.ADDRESS_LEN)
    return 0


cdef HeaderMatcher header_matcher(object where):
    """Return a matcher for a `HeaderFilter`."""
    cdef HeaderMatcher matcher = HeaderMatcher.__new__(HeaderMatcher)
    matcher._filter = where
    matcher._linktypes = new_block(0)
    return matcher


def header_filter(name, where):
    """Return a `HeaderFilter` or a mapping of its options as a `HeaderFilter`; the check of options."""
    if isinstance(where, HeaderFilter):
        return where
    if not isinstance(where, Mapping):
        raise wrong_type(name, "a HeaderFilter or a mapping of its options", where)
    return HeaderFilter(**where)


@cython.final
cdef class HeaderMatcher:
    """A header filter for blocks of packets, for use by one thread."""

    cdef int learn(self, tuple links) except -1:
        """Note the link types of the interfaces in `links`.

        `links` starts with the links of the previous call, and may have more.
        """
        cdef Py_ssize_t size = len(links) * sizeof(uint32_t)
        if size > self._linktypes.size:
            self._linktypes.resize(max(size, 2 * self._linktypes.size))
        for link in links[self._count:]:
            (<uint32_t*> self._linktypes.ptr)[self._count] = link.type
            self._count += 1
        return 0

    cdef Py_ssize_t keep(
            self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
            Record* kept, Block numbers=None) except -1:
        """Copy the rows that match to `kept`, which may be `rows`; return their number.

        `numbers`, an int64 for each row, gets the row numbers of the kept ones.
        """
        cdef int64_t* p = NULL if numbers is None else <int64_t*> numbers.ptr
        cdef const Conditions* conditions = &self._filter._conditions
        cdef const uint32_t* linktypes = <const uint32_t*> self._linktypes.ptr
        cdef Py_ssize_t index, kept_count = 0
        cdef uint32_t linktype
        with nogil:
            for index in range(count):
                linktype = linktypes[rows[index].interface] if rows[index].interface < self._count else (
                    LINKTYPE_USER0)
                if not (in_bounds(&rows[index], size)
                        and matches(conditions, &rows[index], data + rows[index].offset, linktype)):
                    continue
                if &kept[kept_count] != &rows[index]:
                    memcpy(&kept[kept_count], &rows[index], sizeof(Record))
                if p is not NULL:
                    p[kept_count] = index
                kept_count += 1
        return kept_count


cdef bint matches(
        const Conditions* conditions, const Record* record, const uint8_t* payload,
        uint32_t linktype) noexcept nogil:
    """Return True if all conditions hold for a packet."""
    cdef HeaderRow row
    cdef const Header* header = &row.header
    # The keys come last in a HeaderRow: only if they are wanted do they need to be zero.
    memset(&row, 0, sizeof(HeaderRow) if conditions.parts & PART_COMMUNITY_ID else sizeof(Header))
    fill_header(
        &row, payload, record, linktype, conditions.parts, conditions.inner, &conditions.tunnel_ports,
        NULL)
    if conditions.vlans is not NULL and not (
            has_vlan(conditions.vlans, header.vlan_id) or has_vlan(conditions.vlans, header.inner_vlan_id)):
        return False
    if conditions.protocols is not NULL and not (
            header.ip_version and has_bit(conditions.protocols, header.protocol)):
        return False
    if conditions.ports is not NULL and not has_port(conditions.ports, header, record):
        return False
    if conditions.hosts.first is not NULL or conditions.nets.first is not NULL or (
            conditions.flows.first is not NULL):
        if not (addresses_known(header, record, payload) and addresses_match(conditions, header)):
            return False
    return conditions.community_ids.first is NULL or has_key(
        &conditions.community_ids, row.keys.community_id, sizeof(row.keys.community_id))


cdef inline bint has_bit(const uint8_t* bits, uint32_t number) noexcept nogil:
    return bits[number >> 3] >> (number & 7) & 1


cdef inline bint has_vlan(const uint8_t* bits, uint32_t vlan_id) noexcept nogil:
    return vlan_id != 0 and has_bit(bits, vlan_id)


cdef inline bint has_port(const uint8_t* bits, const Header* header, const Record* record) noexcept nogil:
    """Return True if one of the ports that were captured is in the set."""
    cdef uint32_t captured
    if not transport.has_ports(header.protocol) or header.l4_offset == 0:
        return False
    captured = record.cap_len - min(record.cap_len, header.l4_offset)
    return (
        (captured >= transport.SOURCE + transport.PORT_LEN and has_bit(bits, header.src_port))
        or (captured >= transport.DESTINATION + transport.PORT_LEN and has_bit(bits, header.dst_port)))


cdef inline bint addresses_known(
        const Header* header, const Record* record, const uint8_t* payload) noexcept nogil:
    """Return True if the fixed IP header was captured, or the packet is ARP, so that zeros are an address."""
    cdef uint32_t offset = ip_start(record)
    if header.ip_version == 4 or header.status == STATUS_ARP:
        return ipv4.is_mapped(header.dst)
    # An inner IP packet is entered only if its fixed header is complete.
    return header.ip_version == 6 and (
        header.tunnels != 0 or ipv6.check(payload + offset, record.cap_len - offset) != 0)


cdef Py_ssize_t last_up_to(
        const Keys* keys, const uint8_t* key, size_t key_len, size_t stride) noexcept nogil:
    """Return the index of the last of the sorted keys that is not greater than `key`; -1 if all are."""
    cdef Py_ssize_t low = 0, high = keys.count, middle
    while low < high:
        middle = low + (high - low) // 2
        if memcmp(keys.first + middle * stride, key, key_len) <= 0:
            low = middle + 1
        else:
            high = middle
    return low - 1


cdef inline bint has_key(const Keys* keys, const uint8_t* key, size_t key_len) noexcept nogil:
    cdef Py_ssize_t index = last_up_to(keys, key, key_len, key_len)
    return index >= 0 and memcmp(keys.first + index * key_len, key, key_len) == 0


cdef inline bint in_ranges(const Keys* ranges, const uint8_t* address) noexcept nogil:
    cdef Py_ssize_t index = last_up_to(ranges, address, ipv6.ADDRESS_LEN, RANGE_LEN)
    return index >= 0 and memcmp(
        address, ranges.first + index * RANGE_LEN + ipv6.ADDRESS_LEN, ipv6.ADDRESS_LEN) <= 0


cdef bint addresses_match(const Conditions* conditions, const Header* header) noexcept nogil:
    """Return True if the conditions on addresses hold for a packet whose addresses are known."""
    return (
        (conditions.hosts.first is NULL or either_in(&conditions.hosts, header))
        and (conditions.nets.first is NULL or either_in(&conditions.nets, header))
        and (conditions.flows.first is NULL or has_flow(&conditions.flows, header)))


cdef inline bint either_in(const Keys* ranges, const Header* header) noexcept nogil:
    return in_ranges(ranges, header.src) or in_ranges(ranges, header.dst)


cdef inline bint has_flow(const Keys* flows, const Header* header) noexcept nogil:
    cdef Flow flow
    cdef uint8_t key[KEY_LEN]
    if header.ip_version == 0:
        return False
    set_flow(&flow, header)
    order(&flow)
    put_key(&flow, key)
    return has_key(flows, key, KEY_LEN)
