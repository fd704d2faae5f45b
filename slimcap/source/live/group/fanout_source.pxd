from slimcap.source.live.group.ring_group cimport RingGroup

cdef class FanoutSource(RingGroup):
    cdef list _all              # the Members of all workers, in the order of the kernel's group
    cdef bint _are_shared       # `workers` was called: they are read one by one
    cdef bint _is_read          # the packets of all were read through this source
    cdef int _join(self, link, dict options, int count, unsigned int kind, object program) except -1
