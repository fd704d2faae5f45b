from libc.stdint cimport int64_t, uint8_t, uint32_t

from slimcap.io.event cimport Event
from slimcap.io.owner cimport Owner
from slimcap.packet.lease cimport Block, Home

cdef class Ring(Home):
    cdef uint8_t* memory
    cdef readonly Py_ssize_t block_size, num_blocks
    cdef int64_t* _lent         # when each block was lent, monotonic ns; 0 if it is not lent; atomic
    cdef readonly Py_ssize_t lent   # number of lent blocks, atomic
    cdef Py_ssize_t _mapped     # bytes
    cdef int wakeup_fd          # an eventfd that is written to when a block is returned, or -1
    cdef Event reader           # gets SIGNAL_RETURNED when a block is returned that it waits for, or None
    cdef int64_t returned_at    # when a block was returned last, monotonic ns; atomic
    cdef int _awaited           # 1: the reader waits for a block; atomic
    cdef bint _repeats          # returned blocks are ready again
    cdef void discard_ready(self) noexcept nogil
    cdef void repeat_first(self, Py_ssize_t num_blocks) noexcept nogil
    cdef Owner _owner
    cdef int map_socket(self, int fd) except -1
    cdef int map(self, int flags, int fd) except -1
    cdef bint is_ready(self, Py_ssize_t index) noexcept nogil
    cdef bint is_lent(self, Py_ssize_t index) noexcept nogil
    cdef bint await_block(self, Py_ssize_t index) noexcept nogil
    cdef void end_await(self) noexcept nogil
    cdef uint32_t* _status(self, Py_ssize_t index) noexcept nogil
    cdef Py_ssize_t count_ready(self, Py_ssize_t index, Py_ssize_t max_count) noexcept nogil
    cdef Block lend(self, Py_ssize_t index, Py_ssize_t count)
    cdef double held_for(self, Py_ssize_t index) noexcept
