"""Binary heap of the files' next rows: the file with the earliest packet is at the top.

        heap[0]             the earliest; a file's own order is kept: only its next row is compared
       /       \
    heap[1]   heap[2] …     none is before its parent

A head without rows is a file that must be opened or read before any later packet is returned.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from slimcap.packet.record cimport Record

cdef struct Head:
    int64_t time            # of rows[next]; if there are no rows, the time at which to refill the file
    uint32_t order          # number of the file; decides between packets of the same time
    const Record* rows      # rows and data are owned by the file's source
    const uint8_t* data
    Py_ssize_t next, end


cdef inline bint is_before(const Head* one, const Head* other) noexcept nogil:
    return one.time < other.time or (one.time == other.time and one.order < other.order)


cdef inline void sift_down(Head** heap, Py_ssize_t count, Py_ssize_t at) noexcept nogil:
    """Move heap[at], whose time may have increased, to its place."""
    cdef Head* head = heap[at]
    cdef Py_ssize_t child
    while 2 * at + 1 < count:
        child = 2 * at + 1
        if child + 1 < count and is_before(heap[child + 1], heap[child]):
            child += 1
        if not is_before(heap[child], head):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = head


cdef inline void advance(Head* head, Py_ssize_t count) noexcept nogil:
    """Skip `count` rows.

    After its last row a head keeps that row's time, so that its file is refilled first.
    """
    head.next += count
    head.time = head.rows[head.next if head.next < head.end else head.end - 1].timestamp


cdef inline Py_ssize_t run_length(Head** heap, Py_ssize_t count) noexcept nogil:
    """Return how many rows of the first head come before those of all others. It must have rows."""
    cdef const Head* first = heap[0]
    cdef const Head* second
    cdef Head next
    cdef Py_ssize_t row
    if count == 1:
        return first.end - first.next
    second = heap[2] if count > 2 and is_before(heap[2], heap[1]) else heap[1]
    next.order = first.order
    for row in range(first.next, first.end):
        next.time = first.rows[row].timestamp
        if not is_before(&next, second):
            return row - first.next
    return first.end - first.next


cdef inline Py_ssize_t gather(
        Head** heap, Py_ssize_t count, Record* rows, Py_ssize_t room, uint8_t* data, size_t size,
        uint32_t* orders, size_t* used) noexcept nogil:
    """Copy packets in order of time, until one file has no more rows or there is no more space.

    Returns the number of rows, and in `used` the number of bytes. `orders`, unless NULL, receives the file
    number of each row.
    """
    cdef Py_ssize_t taken = 0
    cdef size_t at = 0
    cdef Head* head
    cdef const Record* row
    while taken < room:
        head = heap[0]
        if head.next == head.end:
            break
        row = &head.rows[head.next]
        if row.cap_len > size - at:
            break
        memcpy(&rows[taken], row, sizeof(Record))
        memcpy(data + at, head.data + row.offset, row.cap_len)
        rows[taken].offset = at
        if orders is not NULL:
            orders[taken] = head.order
        at += row.cap_len
        taken += 1
        advance(head, 1)
        sift_down(heap, count, 0)
    used[0] = at
    return taken
