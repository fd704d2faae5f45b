"""WCCP's redirect header, in GRE (draft-wilson-wrec-wccp-v2-01 section 4.12): an IP packet to a web cache.

    flags (1) | service (1) | alternative bucket (1) | primary bucket (1) | IP

Version 1 has no header. Flags that look like the version of IP are not in use.
"""
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    ETHERTYPE = 0x883e
    LEN = 4


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one, or starts with IP."""
    return LEN if n >= LEN and p[0] >> 4 != 4 and p[0] >> 4 != 6 else 0
