from libc.stdint cimport int64_t

from slimcap.io.owner cimport Owner

cdef enum:
    NEVER = -1          # as a deadline: none

cdef enum Signal:
    SIGNAL_UNBLOCK = 1
    SIGNAL_STOP = 2
    SIGNAL_END = 4      # the source is to return what was captured so far, then end
    SIGNAL_RETURNED = 8     # memory that the reader waits for was returned

cdef class Event:
    cdef Owner owner
    cdef int _fd
    cdef int signal     # Signal bits, atomic; a reader that never waits checks them, too
    cdef int open(self) except -1
    cdef void raise_signal(self, Signal signal) noexcept
    cdef void shut(self) noexcept
    cdef void _close(self) noexcept
    cdef int check(self) except -1
    cdef int wait(self, int fd, short events, int64_t deadline) except -1

cdef int64_t monotonic_ns() noexcept nogil
cdef int64_t deadline_after(object timeout) except? -2
cdef int64_t sooner(int64_t deadline, int64_t time) noexcept
cdef int raise_errno(str call, object subject) except -1
cdef int duplicate(int fd, object subject) except -1
