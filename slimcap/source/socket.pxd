cdef enum LinkState:
    LINK_GONE
    LINK_DOWN
    LINK_UP

cdef class PacketSocket:
    cdef readonly int fd
    cdef readonly object link
    cdef int attach(self, bytes program) except -1
    cdef int set_ring(self, Py_ssize_t block_size, Py_ssize_t num_blocks, unsigned int timeout_ms) except -1
    cdef int set_promiscuous(self) except -1
    cdef int bind(self) except -1
    cdef object read_statistics(self)
    cdef int take_error(self) except -1
    cdef LinkState link_state(self) noexcept
    cdef void detach(self) noexcept
