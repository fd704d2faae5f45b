from libc.stdint cimport int64_t, uint64_t

from slimcap.abi.lock cimport Lock
from slimcap.packet.rows cimport Rows
from slimcap.source.base cimport Counters, ZeroCopySource
from slimcap.source.live.packet_socket cimport CaptureSocket

cdef enum:
    LINK_CHECK_INTERVAL = 100_000_000    # ns between two checks whether a link that went down still exists

cdef class LiveSource(ZeroCopySource):
    cdef CaptureSocket socket
    cdef readonly bint reinsert_vlan
    cdef Py_ssize_t max_len     # maximum bytes captured of a packet
    cdef bint _raise_down       # the option link_down is "raise"
    cdef bint is_member         # of a group, which warns if it is not closed
    cdef bint starts_later      # all packets are dropped up to `start_now`
    cdef bint check_needed      # the link went down: check if it still exists
    cdef bint gone              # the link no longer exists
    cdef bint draining          # stop() was called, or the link is gone: no more packets arrive
    cdef int64_t drained        # while draining: the last packet is available by then, monotonic ns
    cdef bint is_empty          # drained: no more packets can come
    cdef dict filters           # the options of `build_program`
    cdef object _attaching      # an RLock: another filter is attached, or the last one
    cdef tuple _interfaces      # an InterfaceInfo of the link; locked by _event
    cdef Lock _counting         # for the next three
    cdef Counters _counters     # sums of the kernel's counters, which reset when read
    cdef int64_t _counted_at    # when they were read last, monotonic ns; atomic
    cdef object _drops          # counter of the interface's packets
    cdef bint _drops_ended      # it is closed
    cdef str _direction         # the option direction

    # Implemented by subclasses.
    cdef object _look_up(self, link, netns)
    cdef CaptureSocket _new_socket(self, link)
    cdef int _set_up(self) except -1
    cdef Rows _next_rows(self)
    cdef int64_t _delay(self) noexcept

    cdef int _open(self, link, dict options) except -1
    cdef int start_now(self) except -1
    cdef Rows poll(self)
    cdef void hand_over(self, Rows rows) noexcept
    cdef object account_for(self, uint64_t delivered)
    cdef uint64_t count_returned(self) noexcept
    cdef int _check_capturing(self) except -1
    cdef int begin_draining(self) except -1
    cdef bint _is_drained(self) except -1
    cdef int end_drops(self) except -1
    cdef int _wait(self, int64_t deadline) except -1
    cdef int on_error(self, int pending) except -1
    cdef int check_state(self) except -1
    cdef int count(self, Counters* totals) except -1
    cdef int _add_counters(self, uint64_t read) noexcept nogil
