from libc.stdint cimport int64_t

from slimcap.io.watch cimport EndPolicy
from slimcap.packet.rows cimport Rows
from slimcap.source.file.several cimport FilesSource, Part

cdef class Rotation(EndPolicy):
    cdef str pattern        # None: the files are given as a list
    # A mark identifies a file: device, inode, time of the last modification.
    cdef list queue         # (path, mark) of the files to read next; (path, None) if given as a list
    cdef dict seen          # files that matched at the last scan: path → mark
    cdef tuple reading      # mark of the current file, or None
    cdef object done        # marks of the files that were finished last
    cdef bint complete      # no more files are added
    cdef int look(self) except -1
    cdef bint is_new(self, str path, tuple mark, set queued, set read)
    cdef bint is_reading(self, tuple mark)
    cdef str take(self)
    cdef bint is_there(self, int fd) except -1
    cdef bint queue_again(self, str path) except -1
    cdef int note_done(self, int fd) except -1

cdef class RotatedSource(FilesSource):
    cdef Rotation _rotation
    cdef Part _part         # the current file, or None
    cdef int _done          # number of finished files
    cdef int _open(self, object files) except -1
    cdef bint _next_file(self, int64_t deadline) except -1
    cdef bint _open_next(self, int64_t deadline) except -1
    cdef Rows _read_on(self, int64_t deadline)
    cdef int _end_file(self) except -1
