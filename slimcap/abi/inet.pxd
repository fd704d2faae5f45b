"""Addresses as text, from arpa/inet.h."""

cdef extern from "arpa/inet.h" nogil:
    enum: AF_INET, AF_INET6, INET6_ADDRSTRLEN
    const char* inet_ntop(int family, const void* address, char* text, unsigned int size)
    int inet_pton(int family, const char* text, void* address)
