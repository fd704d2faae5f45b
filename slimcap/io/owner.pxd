cdef unsigned int forks     # number of forks from the process that imported this module to this one

cdef class Owner:
    cdef readonly int pid
    cdef unsigned int forks     # at the time it was made
    cpdef bint is_here(self) noexcept
    cpdef int check(self, str name) except -1
