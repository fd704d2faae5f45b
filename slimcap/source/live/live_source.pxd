from libc.stdint cimport int64_t

from slimcap.source.base cimport ZeroCopySource
from slimcap.source.live.packet_socket cimport CaptureSocket

cdef class LiveSource(ZeroCopySource):
    cdef CaptureSocket _socket
    cdef readonly bint reinsert_vlan
    cdef Py_ssize_t _most       # bytes captured of a packet
    cdef bint _raise_down
    cdef bint _doubtful         # the link was down: is it still there?
    cdef bint _gone             # it is not
    cdef bint _draining         # stop() was called, or the link is gone: nothing more comes in
    cdef int64_t _drained       # when the last packet will have come out then, monotonic ns
    cdef object _counted        # of the kernel's counters, which clear when read
    cdef object _drops          # the interface's

    # For subclasses to write.
    cdef object _look_up(self, link)
    cdef CaptureSocket _new_socket(self, link)
    cdef int _set_up(self) except -1
    cdef bint _next_rows(self) except -1
    cdef int64_t _delay(self) noexcept

    cdef int _open(self, link, dict options) except -1
    cdef int _check_process(self) except -1
    cdef int _begin_draining(self) except -1
    cdef bint _is_drained(self) except -1
    cdef int _wait(self, int64_t deadline) except -1
    cdef int _on_error(self, int pending) except -1
    cdef int _check_link(self) except -1
    cdef int _count(self) except -1
