"""Loads and stores of integers at any address and in either byte order.

`memcpy` of a constant size is the portable unaligned load in C: gcc compiles it to one instruction.
No function here checks lengths; the callers must.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from * nogil:
    """
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ && __BYTE_ORDER__ != __ORDER_BIG_ENDIAN__
    #error "slimcap knows little- and big-endian machines only"
    #endif
    #define SLIMCAP_LITTLE_ENDIAN (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
    """
    const bint SLIMCAP_LITTLE_ENDIAN
    uint16_t bswap16 "__builtin_bswap16"(uint16_t value) noexcept
    uint32_t bswap32 "__builtin_bswap32"(uint32_t value) noexcept
    uint64_t bswap64 "__builtin_bswap64"(uint64_t value) noexcept
    int trailing_zeros "__builtin_ctzll"(uint64_t value) noexcept  # undefined for 0


cdef inline uint16_t load16(const void* p) noexcept nogil:
    """Load a 16-bit integer in machine byte order."""
    cdef uint16_t value
    memcpy(&value, p, 2)
    return value


cdef inline uint32_t load32(const void* p) noexcept nogil:
    """Load a 32-bit integer in machine byte order."""
    cdef uint32_t value
    memcpy(&value, p, 4)
    return value


cdef inline uint64_t load64(const void* p) noexcept nogil:
    """Load a 64-bit integer in machine byte order."""
    cdef uint64_t value
    memcpy(&value, p, 8)
    return value


cdef inline uint16_t network16(uint16_t value) noexcept nogil:
    """Convert a 16-bit integer between machine and network byte order: htons(3), ntohs(3)."""
    return bswap16(value) if SLIMCAP_LITTLE_ENDIAN else value


cdef inline uint16_t be16(const void* p) noexcept nogil:
    """Load a 16-bit integer in network byte order."""
    return network16(load16(p))


cdef inline uint32_t be32(const void* p) noexcept nogil:
    """Load a 32-bit integer in network byte order."""
    return bswap32(load32(p)) if SLIMCAP_LITTLE_ENDIAN else load32(p)


cdef inline uint64_t be64(const void* p) noexcept nogil:
    """Load a 64-bit integer in network byte order."""
    return bswap64(load64(p)) if SLIMCAP_LITTLE_ENDIAN else load64(p)


cdef inline uint16_t le16(const void* p) noexcept nogil:
    """Load a 16-bit integer in little-endian byte order."""
    return load16(p) if SLIMCAP_LITTLE_ENDIAN else bswap16(load16(p))


cdef inline uint32_t le32(const void* p) noexcept nogil:
    """Load a 32-bit integer in little-endian byte order."""
    return load32(p) if SLIMCAP_LITTLE_ENDIAN else bswap32(load32(p))


cdef inline void put_be16(uint8_t* p, uint16_t value) noexcept nogil:
    """Write a 16-bit integer in network byte order."""
    p[0] = <uint8_t> (value >> 8)
    p[1] = <uint8_t> value


cdef inline void put_be32(uint8_t* p, uint32_t value) noexcept nogil:
    """Write a 32-bit integer in network byte order."""
    put_be16(p, <uint16_t> (value >> 16))
    put_be16(p + 2, <uint16_t> value)


cdef inline void put_be64(uint8_t* p, uint64_t value) noexcept nogil:
    """Write a 64-bit integer in network byte order."""
    if SLIMCAP_LITTLE_ENDIAN:
        value = bswap64(value)
    memcpy(p, &value, 8)
