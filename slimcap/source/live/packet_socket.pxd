from libc.stdint cimport int64_t, uint32_t, uint64_t

from slimcap.abi.linux cimport mmsghdr, packet_mreq
from slimcap.io.event cimport Event
from slimcap.io.owner cimport Owner
from slimcap.source.base cimport Counters
from slimcap.source.live.ring cimport Ring

cdef enum LinkState:
    LINK_GONE
    LINK_DOWN
    LINK_UP

cdef class CaptureSocket:
    cdef readonly object link
    cdef Owner _owner
    cdef uint64_t counter_range     # its counters wrap to 0 there; 0: they do not
    cdef object compile(self, dict options)
    cdef object count_drops(self)
    cdef int attach(self, object program) except -1
    cdef int drop_all(self) except -1
    cdef int ignore_outgoing(self) except -1
    cdef Ring open_ring(self, Py_ssize_t block_size, Py_ssize_t num_blocks, unsigned int timeout_ms)
    cdef int set_messages(self, Py_ssize_t buffer_size) except -1
    cdef int set_promiscuous(self) except -1
    cdef int bind(self) except -1
    cdef short wait(self, Event event, int64_t deadline) except -1
    cdef int fileno(self) noexcept
    cdef bint clear_reports(self) noexcept
    cdef int read_statistics(self, Counters* found) noexcept nogil
    cdef void end_statistics(self) noexcept nogil
    cdef int take_error(self) except -1
    cdef int receive(self, mmsghdr* messages, unsigned int count) noexcept nogil
    cdef LinkState link_state(self) noexcept
    cdef bint is_ours(self) noexcept
    cdef void detach(self) noexcept

cdef class PacketSocket(CaptureSocket):
    cdef readonly int fd
    cdef bint _made             # __cinit__ ran: the descriptors are valid
    cdef int _epoll             # with a ring: an epoll that reports each block once; else -1
    cdef short _error_reported  # POLLERR, POLLHUP: reported by the epoll, and not yet by `wait`
    cdef bint _promiscuous
    cdef bint _uncounted        # the socket gets closed
    cdef packet_mreq _promiscuity(self) noexcept
    cdef uint32_t start_fanout(self, uint32_t kind) except? 0
    cdef int join_fanout(self, uint32_t group) except -1
    cdef int choose_worker(self, object program) except -1
    cdef object _build(self, dict options)
    cdef object _inside(self, call)
    cdef int _open_epoll(self) except -1
    cdef short _take_report(self) noexcept
    cdef int _option(self, int level, int option, const void* value, unsigned int size, str name) except -1
    cdef int _set_ring(
        self, Py_ssize_t block_size, Py_ssize_t num_blocks, unsigned int timeout_ms) except -1
