"""Match captured packets with a filter, a block of packets at a time, without the GIL.

An expression becomes one program per link type, compiled as for a file, where VLAN tags are in the packet's
bytes. If the kernel removed a tag, it is reinserted before the program runs:

    | destination (6) | source (6) | EtherType …       as captured
    | destination (6) | source (6) | TPID (2) | TCI (2) | EtherType …
"""
cimport cython
from libc.stdint cimport UINT32_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

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
from slimcap.filter.libpcap import compile_expression
from slimcap.filter.program import check_filter_type
from slimcap.packet.enums import LinkType

# Link types whose packets start with an address family, in the byte order of the machine that wrote it.
_EITHER_ORDER = frozenset((LinkType.NULL, LinkType.ENC))


@functools.lru_cache(maxsize=64)
def _compiled(expression, link_type, swapped):
    return Machine(compile_expression(expression, link_type, swapped=swapped))


@cython.final
cdef class Matcher:
    """A filter for blocks of packets, for use by one thread.

    Parameters
    ----------
    filter : str, Machine or sequence of (code, jt, jf, k)
        A tcpdump expression or a classic BPF program.

    Raises
    ------
    FilterError
        `filter` is not a valid program. Errors in an expression are raised by `learn`.
    """

    def __cinit__(self, filter):
        self._machines = []
        self._programs = new_block(0)
        self._scratch = new_block(0)
        self._filter = filter
        if not isinstance(filter, str):
            self._any_interface = True
            if not isinstance(filter, Machine):
                check_filter_type(filter)
            self._add(filter if isinstance(filter, Machine) else Machine(filter), None)

    cdef int learn(self, tuple links) except -1:
        """Compile the expression for the interfaces in `links`.

        `links` starts with the links of the previous call, and may have more.
        """
        if self._any_interface:
            return 0
        for link in links[self._count:]:
            swapped = _compiled(self._filter, link.type, True) if link.type in _EITHER_ORDER else None
            self._add(_compiled(self._filter, link.type, False), swapped)
        return 0

    cdef int _add(self, object native, object swapped) except -1:
        cdef Programs* programs
        self._programs.resize((self._count + 1) * sizeof(Programs))
        programs = <Programs*> self._programs.ptr + self._count
        programs.native = (<Machine> native)._steps
        programs.swapped = NULL if swapped is None else (<Machine> swapped)._steps
        self._machines += (native, swapped)
        self._count += 1
        return 0

    cdef Py_ssize_t known(self, const Record* rows, Py_ssize_t count) noexcept nogil:
        """Return the number of packets before the first one whose interface was not passed to `learn`."""
        cdef Py_ssize_t index
        for index in range(count):
            if rows[index].interface >= self._count and not self._any_interface:
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
        """Return True if the packet matches; False for an interface that was not passed to `learn`."""
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
    matched = batch
    if filter is not None:
        matched = _match(matched, _matcher_of(matched, filter))
    if where is not None:
        matched = _match(matched, header_matcher(header_filter("where", where)))
    return matched


cdef Matcher _matcher_of(Batch batch, object filter):
    cdef Matcher matcher = Matcher(filter)
    if isinstance(filter, str) and not batch._links:
        raise FilterError(
            f"filter {filter!r}: this batch has no links, so its link type is unknown: make it with "
            "Batch(…, links=…), or use a BPF program")
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
    matcher.learn(batch._links)
    count = matcher.keep(batch._rows, batch._count, view._ptr, view._len, <Record*> rows.ptr, numbers)
    rows.resize(count * sizeof(Record))
    # The new batch's lease borrows from ours, so it counts as one of our views.
    matched = new_batch(
        <const Record*> rows.ptr, count, lease_block(rows, rows.size).hold, lease_buffer(view), None)
    matched._inherit(batch, None if numbers is None else row_numbers(numbers, count))
    matched._lease.scarce = batch._lease.scarce
    return matched


cdef object row_numbers(Block numbers, Py_ssize_t count):
    """Return the numbers that `Matcher.keep` wrote, an ndarray of int64, shape (count,)."""
    return np.frombuffer(numbers, np.int64, count) if count else np.empty(0, np.int64)
