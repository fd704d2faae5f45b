"""The constants of XXH64: too large for an enum of Cython, whose members are C ints."""
from libc.stdint cimport uint64_t

cdef extern from * nogil:
    """
    static const unsigned long long slimcap_xxh64_prime[5] = {
        0x9E3779B185EBCA87ULL, 0xC2B2AE3D27D4EB4FULL, 0x165667B19E3779F9ULL,
        0x85EBCA77C2B2AE63ULL, 0x27D4EB2F165667C5ULL};
    """
    const uint64_t* prime "slimcap_xxh64_prime"
