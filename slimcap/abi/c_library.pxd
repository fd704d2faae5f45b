"""Functions of the C library that Cython does not declare."""

cdef extern from "arpa/inet.h" nogil:
    enum: AF_INET, AF_INET6, INET6_ADDRSTRLEN
    const char* inet_ntop(int family, const void* address, char* text, unsigned int size)
    int inet_pton(int family, const char* text, void* address)

cdef extern from "stdlib.h" nogil:
    void* aligned_alloc(size_t alignment, size_t size)
