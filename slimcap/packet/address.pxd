"""IP addresses of 16 bytes as text: IPv4-mapped ones in dotted decimal, others as in RFC 5952."""
from libc.stdint cimport uint8_t
from libc.string cimport strlen

cimport slimcap.wire.ipv4 as ipv4
from slimcap.abi.c_library cimport AF_INET6, INET6_ADDRSTRLEN, inet_ntop

cdef enum:
    ADDRESS_LEN = 16
    MAX_TEXT = INET6_ADDRSTRLEN     # terminating NUL included


cdef inline Py_ssize_t write_ip(const uint8_t* address, char* text) noexcept nogil:
    """Write an address to `text`, which has at least MAX_TEXT bytes; return its length."""
    cdef char* end = text
    cdef int index
    if not ipv4.is_mapped(address):
        inet_ntop(AF_INET6, address, text, MAX_TEXT)
        return strlen(text)
    for index in range(ipv4.MAPPED_OFFSET, ADDRESS_LEN):
        if index > ipv4.MAPPED_OFFSET:
            end[0] = c"."
            end += 1
        end = _put_byte(end, address[index])
    return end - text


cdef inline char* _put_byte(char* out, uint8_t number) noexcept nogil:
    """Write a byte in decimal; return the position after it."""
    if number >= 100:
        out[0] = c"0" + number // 100
        out += 1
    if number >= 10:
        out[0] = c"0" + number // 10 % 10
        out += 1
    out[0] = c"0" + number % 10
    return out + 1
