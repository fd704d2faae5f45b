from libc.stdint cimport uint8_t, uint32_t, uint64_t

from slimcap.packet.record cimport Record

cdef class BlockWalker:
    cdef readonly uint32_t linktype
    cdef uint32_t interface             # written to each row
    cdef readonly uint64_t position     # of the next packet's header in the block; 0 once there is none
    cdef readonly uint32_t status       # of the block: TP_STATUS_ bits
    cdef readonly uint32_t remaining    # packets from `position` on, according to the block
    cdef uint64_t total_bytes           # sum of total_len of the packets walked
    cdef readonly bint bad              # the walk ended early, at something that points outside the block
    cdef bint _busy                     # walk() is running; a source, which has a lock, calls walk_at()
    cdef int _check_idle(self) except -1
    cdef Py_ssize_t _write(self, const uint8_t[::1] block, Record[::1] rows, uint64_t base) except -1
    cdef void start_at(self, const uint8_t* block, uint64_t size) noexcept nogil
    cdef Py_ssize_t walk_at(
        self, const uint8_t* block, uint64_t size, uint64_t base,
        Record* rows, Py_ssize_t capacity) noexcept nogil

cdef void reinsert_vlan_tags(uint8_t* block, uint64_t size, uint32_t snaplen) noexcept nogil
