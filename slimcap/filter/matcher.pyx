"""Match captured packets with a filter, a block of packets at a time, without the GIL.

An expression or a set of hosts becomes one program per link type, when the first packet of that type comes.
It is compiled as for a file, where VLAN tags are in the packet's bytes. If the kernel removed a tag, it is
reinserted before the program runs:

    | destination (6) | source (6) | EtherType …       as captured
    | destination (6) | source (6) | TPID (2) | TCI (2) | EtherType …
"""
cimport cython
from libc.stdint cimport UINT32_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cimport slimcap.wire.null as null
cimport slimcap.wire.vlan as vlan
from slimcap.abi.bytes cimport load32
from slimcap.filter.header_filter cimport HeaderMatcher, header_matcher
from slimcap.filter.vm cimport Machine, execute
from slimcap.packet.batch cimport Batch, new_batch
from slimcap.packet.lease cimport Block, lease_block, lease_buffer, new_block
from slimcap.packet.record cimport FLAG_VLAN_STRIPPED, in_bounds
from slimcap.packet.view cimport View

import functools

import numpy as np

from slimcap.errors import FilterError
from slimcap.filter.header_filter import header_filter
from slimcap.filter.host_set import HostSet
from slimcap.filter.libpcap import MAX_LINK_TYPE, REJECTS_ALL, LinkTypeRefused, compile_expression, shown
from slimcap.filter.program import DROP, check_filter_type
from slimcap.packet.enums import LinkType

# Link types whose packets start with an address family, in the byte order of the machine that wrote it.
_EITHER_ORDER = frozenset((LinkType.NULL, LinkType.ENC))


# An expression is valid if libpcap compiles it for one of these. It has primitives that exist only for
# Ethernet, 802.11, PFLOG, cooked captures, MTP2 and ATM.
_PROBED = (
    LinkType.ETHERNET, LinkType.IEEE802_11, LinkType.PFLOG, LinkType.LINUX_SLL, LinkType.LINUX_SLL2, 140, 123,
)

_DROP = Machine(DROP)


@functools.lru_cache(maxsize=64)
def _compiled(filter, link_type, swapped):
    """Return the Machine of an expression or HostSet for a link type, or the arguments of LinkTypeRefused."""
    if isinstance(filter, HostSet):
        try:
            return Machine(filter.program(link_type))
        except FilterError as error:
            return str(error), str(error)
    return _compiled_expression(filter, link_type, swapped)


def _compiled_expression(expression, link_type, swapped):
    if link_type > MAX_LINK_TYPE:
        reason = f"link types of files are 0 to {MAX_LINK_TYPE}"
        return f"filter {shown(expression)}: {reason}", reason
    try:
        return Machine(compile_expression(expression, link_type, swapped=swapped))
    except LinkTypeRefused as error:
        return str(error), error.reason


@cython.final
cdef class Matcher:
    """A filter for blocks of packets, for use by one thread.

    Parameters
    ----------
    filter : str, HostSet, Machine or sequence of (code, jt, jf, k)
        A tcpdump expression, a set of hosts, or a classic BPF program.

    Raises
    ------
    FilterError
        `filter` is not a valid program. Errors in an expression are raised by `validate`.
    """

    def __cinit__(self, filter):
        self._programs_of = {}
        self.unfilterable = {}
        self._programs = new_block(0)
        self._scratch = new_block(0)
        self._filter = filter
        if not isinstance(filter, (str, HostSet)):
            self._any_interface = True
            if not isinstance(filter, Machine):
                check_filter_type(filter)
            self._extend(1)
            self._programs_of[None] = (filter if isinstance(filter, Machine) else Machine(filter)), None
            self._set(0, self._programs_of[None])

    cdef int validate(self, tuple links) except -1:
        """Raise FilterError if an expression is not valid for any link type.

        The type of the first link is tried first: usually it is the only one. An expression that contradicts
        itself on Ethernet is not tried further.
        """
        if self._any_interface:
            return 0
        for link_type in dict.fromkeys([link.type for link in links[:1]] + list(_PROBED)):
            found = _compiled(self._filter, link_type, False)
            if isinstance(found, Machine):
                return 0
            if link_type == LinkType.ETHERNET and found[1] == REJECTS_ALL:
                break
        raise LinkTypeRefused(*_compiled(self._filter, LinkType.ETHERNET, False))

    cdef int prepare(self, tuple links, const Record* rows, Py_ssize_t count) except -1:
        """Compile the expression for the interfaces of packets.

        `links` starts with the links of the previous call, and may have more.
        """
        cdef Py_ssize_t index = 0
        if self._any_interface:
            return 0
        self._extend(len(links))
        while self._missing:
            index = self.known(rows, count, index)
            if index == count:
                break
            self._set(rows[index].interface, self._programs_for(links[rows[index].interface].type))
            self._missing -= 1
        return 0

    cdef int _extend(self, Py_ssize_t count) except -1:
        """Make space for the programs of `count` interfaces."""
        cdef Py_ssize_t used = self._count * sizeof(Programs), size = count * sizeof(Programs)
        if size > self._programs.size:
            self._programs.resize(max(size, 2 * self._programs.size))
            memset(self._programs.ptr + used, 0, self._programs.size - used)
        self._missing += count - self._count
        self._count = count
        return 0

    cdef tuple _programs_for(self, object link_type):
        """Return the program for a link type, and that for the other byte order or None."""
        if link_type in self._programs_of:
            return self._programs_of[link_type]
        found = [_compiled(self._filter, link_type, False), None]
        if not isinstance(found[0], Machine):
            self.unfilterable[link_type] = found[0][1]
            found[0] = _DROP
        elif link_type in _EITHER_ORDER:
            found[1] = _compiled(self._filter, link_type, True)
        return self._programs_of.setdefault(link_type, tuple(found))

    cdef int _set(self, Py_ssize_t interface, tuple found) except -1:
        cdef Programs* programs = <Programs*> self._programs.ptr + interface
        cdef Machine native = found[0], swapped = found[1]
        programs.native = native._steps
        programs.swapped = NULL if swapped is None else swapped._steps
        return 0

    cdef Py_ssize_t known(self, const Record* rows, Py_ssize_t count, Py_ssize_t start=0) noexcept nogil:
        """Return the number of packets before the first one, from `start` on, without a program.

        Interfaces without a link need none: their packets do not match.
        """
        cdef const Programs* programs = <const Programs*> self._programs.ptr
        cdef Py_ssize_t index
        if self._any_interface:
            return count
        for index in range(start, count):
            if rows[index].interface < self._count and programs[rows[index].interface].native is NULL:
                return index
        return count

    cdef Py_ssize_t keep(
            self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
            Record* kept, Block numbers=None) except -1:
        """Copy the rows that match to `kept`, which may be `rows`; return their number.

        `numbers`, an int64 for each row, gets the row numbers of the kept ones.
        """
        cdef int64_t* p = NULL if numbers is None else <int64_t*> numbers.ptr
        with nogil:
            return self._keep(rows, count, data, size, kept, p)

    cdef Py_ssize_t _keep(
            self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
            Record* kept, int64_t* numbers) except -1 nogil:
        cdef Py_ssize_t index, kept_count = 0
        for index in range(count):
            if in_bounds(&rows[index], size) and self._matches(&rows[index], data + rows[index].offset):
                if &kept[kept_count] != &rows[index]:
                    memcpy(&kept[kept_count], &rows[index], sizeof(Record))
                if numbers is not NULL:
                    numbers[kept_count] = index
                kept_count += 1
        return kept_count

    cdef int _matches(self, const Record* row, const uint8_t* payload) except -1 nogil:
        """Return True if the packet matches; False for an interface without a link."""
        cdef uint32_t index = 0 if self._any_interface else row.interface
        cdef uint32_t cap_len = row.cap_len
        cdef uint32_t wire_len = row.total_len
        cdef Programs programs
        if index >= self._count:
            return False
        programs = (<const Programs*> self._programs.ptr)[index]
        if (programs.swapped is not NULL and null.check(payload, cap_len)
                and load32(payload) > null.MAX_FAMILY):
            programs.native = programs.swapped
        if row.flags & FLAG_VLAN_STRIPPED and vlan.TAG_OFFSET <= cap_len <= UINT32_MAX - vlan.LEN:
            payload = self._reinsert_tag(row, payload)
            cap_len += vlan.LEN
            wire_len = max(cap_len, wire_len + vlan.LEN)
        return execute(programs.native, payload, cap_len, wire_len, NULL) != 0

    cdef const uint8_t* _reinsert_tag(self, const Record* row, const uint8_t* payload) except NULL nogil:
        """Return the packet with its VLAN tag reinserted, in scratch memory that the next call reuses."""
        cdef uint8_t* out
        if self._scratch.size < <Py_ssize_t> row.cap_len + vlan.LEN:
            with gil:
                self._scratch.resize(max(<Py_ssize_t> row.cap_len + vlan.LEN, 2 * self._scratch.size))
        out = self._scratch.ptr
        memcpy(out + vlan.LEN, payload, row.cap_len)
        vlan.put_tag(out + vlan.LEN, row.vlan_tpid, row.vlan_tci)
        return out


def match(Batch batch not None, filter, where):
    """Return a batch of the packets that match a filter and conditions; see `Batch.filter`."""
    if filter is None and where is None:
        raise TypeError("filter() requires a filter, or conditions: where={…}")
    if filter is not None:
        batch = _match(batch, _matcher_of(batch, filter))
    if where is not None:
        batch = _match(batch, _header_matcher_of(batch, where))
    return batch


cdef Matcher _matcher_of(Batch batch, object filter):
    cdef Matcher matcher = Matcher(filter)
    batch._open()
    if isinstance(filter, (str, HostSet)) and not batch._links:
        raise FilterError(
            f"filter {filter!r}: this batch has no links, so its link type is unknown: make it with "
            "Batch(…, links=…), or use a BPF program")
    matcher.validate(batch._links)
    matcher.prepare(batch._links, batch._rows, batch._count)
    return matcher


cdef HeaderMatcher _header_matcher_of(Batch batch, object where):
    cdef HeaderMatcher matcher = header_matcher(header_filter("where", where))
    matcher.learn(batch._links)
    return matcher


ctypedef fused AnyMatcher:
    Matcher
    HeaderMatcher


cdef Batch _match(Batch batch, AnyMatcher matcher):
    """Return a batch of the packets that match."""
    cdef View view = batch._open()
    cdef Block rows = new_block(batch._count * sizeof(Record))
    cdef Block numbers = new_block(batch._count * sizeof(int64_t)) if batch._annotations is not None else None
    cdef Py_ssize_t count
    cdef Batch matched
    count = matcher.keep(batch._rows, batch._count, view._ptr, view._len, <Record*> rows.ptr, numbers)
    rows.resize(count * sizeof(Record))
    matched = new_batch(
        <const Record*> rows.ptr, count, lease_block(rows, rows.size).hold, lease_buffer(view), None)
    matched._inherit(batch, None if numbers is None else row_numbers(numbers, count))
    return matched


cdef object row_numbers(Block numbers, Py_ssize_t count):
    """Return the numbers that `Matcher.keep` wrote, an ndarray of int64, shape (count,)."""
    return np.frombuffer(numbers, np.int64, count) if count else np.empty(0, np.int64)
