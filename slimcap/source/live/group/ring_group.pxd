from libc.stdint cimport int64_t, uint64_t

from slimcap.packet.rows cimport Rows
from slimcap.source.base cimport Counters, ZeroCopySource
from slimcap.source.live.ring_source cimport RingSource

cdef class Member:
    cdef RingSource ring
    cdef int fd             # of its socket, also once that is closed
    cdef bint is_queued

cdef Member member_of(RingSource ring)

cdef class RingGroup(ZeroCopySource):
    cdef int _epoll
    cdef int _monitor_fd    # another descriptor that is waited for, or -1
    cdef dict _members      # descriptor of the socket → Member; replaced, never changed
    cdef object _ready      # deque of Members that may have rows
    cdef list _watched      # Members that are drained, or whose interface is down
    cdef list _held         # Members whose next block is held by views
    cdef bint _draining
    cdef dict _options      # of each ring; None: the source was never opened
    cdef object _filtering  # an RLock: filters are changed, or a ring is opened with the current one
    cdef double _latency    # seconds
    cdef tuple _interfaces
    cdef Member _shown      # that of the current rows
    cdef uint64_t _handed_over  # packets of all rows that were shown
    cdef Counters _past     # of members that were removed
    cdef object _past_drops

    # Implemented by subclasses.
    cdef int _on_monitor(self) except -1
    cdef object _summary_of(self, Member member)
    cdef int _on_removed(self, Member member, object summary) except -1
    cdef int _describe(self) except -1
    cdef int _set_filter_of(self, Member member, object filter, bint attach) except -1

    cdef int _open_epoll(self) except -1
    cdef int _register(self, int fd, bint once) except -1
    cdef int _add(self, Member member) except -1
    cdef object _account_of(self, Member member)
    cdef object _sum_of_accounts(self)
    cdef int _drain(self, Member member) except -1
    cdef int _remove(self, Member member) except -1
    cdef Rows _next_rows(self)
    cdef int _queue(self, Member member) except -1
    cdef int _wait(self, int64_t deadline) except -1
    cdef int64_t _look_after(self, int64_t end) except? -2
    cdef int _collect(self) except -1
    cdef int _on_error(self, Member member) except -1
