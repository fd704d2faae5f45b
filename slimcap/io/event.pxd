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
    # For those who poll: see `open_set`.
    cdef int _set       # an epoll with the eventfd, the timer and what the reader waits for; or -1
    cdef int _timer     # a timerfd, or -1
    cdef int _watched   # the descriptor in the set that the reader waits for, or -1
    cdef int _awaited   # the descriptor that the last wait was for
    cdef bint _timed_out    # the last wait ended by its deadline
    cdef bint _shown    # `show_ready` has written to the eventfd
    cdef int64_t _again     # when the read is to be tried again in any case, monotonic ns; or NEVER
    cdef int open(self) except -1
    cdef void raise_signal(self, Signal signal) noexcept
    cdef void shut(self) noexcept
    cdef void _close(self) noexcept
    cdef int check(self) except -1
    cdef int wait(self, int fd, short events, int64_t deadline) except -1
    cdef int open_set(self, int fd) except -1
    cdef int set_fd(self) noexcept
    cdef void begin_read(self) noexcept
    cdef int64_t look_again(self, int64_t at) noexcept
    cdef void show_ready(self) noexcept
    cdef void show_idle(self) noexcept
    cdef void show_waiting(self) noexcept
    cdef void mark(self) noexcept
    cdef int _watch(self, int fd) noexcept
    cdef int _add_to_set(self, int fd) noexcept
    cdef void _arm(self) noexcept

cdef int64_t monotonic_ns() noexcept nogil
cdef int64_t deadline_after(object timeout) except? -2
cdef int64_t sooner(int64_t deadline, int64_t time) noexcept
cdef int raise_errno(str call, object subject) except -1
cdef int duplicate(int fd, object subject) except -1
