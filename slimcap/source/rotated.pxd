from libc.stdint cimport int64_t

from slimcap.source.parts cimport FilesSource, Part
from slimcap.source.watch cimport Watch

cdef class Rotation(Watch):
    cdef str pattern        # None: the files are those of a list
    cdef list queue         # paths that come next
    cdef dict seen          # of files that match: path → (device, inode, time of the last change)
    cdef object reading     # device and inode of the file that is read
    cdef object done        # (device, inode, time of the last change) of those that were read last
    cdef bint complete      # nothing is to be added any more
    cdef int look(self) except -1
    cdef bint is_new(self, str path, object mark, object read)
    cdef int note_done(self, Part part) except -1

cdef class RotatedSource(FilesSource):
    cdef Rotation _rotation
    cdef Part _part         # that is read, or None
    cdef int _done          # files that were
    cdef bint _next_file(self, int64_t deadline) except -1
    cdef bint _read_on(self, int64_t deadline) except -1
    cdef int _end_file(self) except -1
