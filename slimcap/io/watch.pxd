from libc.stdint cimport int64_t

from slimcap.io.event cimport Event
from slimcap.io.owner cimport Owner

cdef class Watch:
    cdef bint _made         # __cinit__ ran: the descriptor is valid
    cdef int _fd
    cdef Owner _owner
    cdef int _folder        # watch descriptor of the folder, or -1
    cdef int64_t _rescan_at     # when to rescan unless inotify reports something, monotonic ns
    cdef bint changed       # the folder may have changed; cleared by the reader that rescans it
    cdef int add_file(self, int fd, str name) except -1
    cdef int add_folder(self, str path) except -1
    cdef void forget(self, int watched) noexcept
    cdef int wait(self, Event event, int64_t deadline) except -1
    cdef int _read_events(self) except -1

cdef class EndPolicy:
    cdef Watch watch
    cdef bint is_over(self) except -1
