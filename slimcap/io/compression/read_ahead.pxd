from libc.stdint cimport int64_t

from slimcap.io.owner cimport Owner

cdef class Queue:
    cdef object _chunks                 # a deque; the end, or an exception, is the last one and stays
    cdef int64_t _added, _removed       # bytes; counted by the thread and by the reader, atomic
    cdef Py_ssize_t _since_wakeup       # bytes since the reader was last woken; of the thread
    cdef int _ended                     # the last chunk was added, atomic
    cdef int _closed                    # atomic
    cdef object _changed                # a Condition: bytes were removed, or the queue was closed
    cdef int _fd                        # polls readable after a wake-up; owned
    cdef bint _put(self, object chunk) except -1
    cdef bint _has_space(self) noexcept
    cdef bint _has(self, Py_ssize_t size) noexcept
    cdef bint _take(self, Py_ssize_t size, list chunks) except -1
    cdef int _close(self) except -1

cdef class ReadAhead:
    cdef Owner _owner
    cdef Queue _queue
    cdef object _thread
    cdef bint is_here(self) noexcept
    cdef int fileno(self) noexcept
    cdef bint take_into(self, Py_ssize_t size, list chunks) except -1
