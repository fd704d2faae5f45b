from libc.stdint cimport int64_t

from slimcap.io.watch cimport Watch
from slimcap.source.file.several cimport FilesSource, Part

cdef class Rotation(Watch):
    cdef str pattern        # None: the files are those of a list
    # A mark is what tells a file from others: device, inode, time of the last change.
    cdef list queue         # (path, mark) of those that come next; of a list's, (path, None)
    cdef dict seen          # of files that matched when that was looked at: path → mark
    cdef tuple reading      # mark of the file that is read, or None
    cdef object done        # marks of those that were read last
    cdef bint complete      # nothing is to be added any more
    cdef int look(self) except -1
    cdef bint is_new(self, str path, tuple mark, set queued, set read)
    cdef bint is_reading(self, tuple mark)
    cdef str take(self)
    cdef bint is_there(self, int fd) except -1
    cdef bint queue_again(self, str path) except -1
    cdef int note_done(self, int fd) except -1

cdef class RotatedSource(FilesSource):
    cdef Rotation _rotation
    cdef Part _part         # that is read, or None
    cdef int _done          # files that were
    cdef bint _next_file(self, int64_t deadline) except -1
    cdef bint _open_next(self, int64_t deadline) except -1
    cdef bint _read_on(self, int64_t deadline) except -1
    cdef int _end_file(self) except -1
