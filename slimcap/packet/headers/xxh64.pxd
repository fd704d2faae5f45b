"""XXH64 by Yann Collet (xxHash fast digest algorithm), with the same result on all machines."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from slimcap.abi.wide cimport prime


cdef inline uint64_t rotl(uint64_t value, int count) noexcept nogil:
    return value << count | value >> (64 - count)


cdef inline uint64_t mix(uint64_t lane, uint64_t word) noexcept nogil:
    """Return a lane after mixing in eight bytes."""
    return rotl(lane + word * prime[1], 31) * prime[0]


cdef inline uint64_t merge(uint64_t hash, uint64_t lane) noexcept nogil:
    return (hash ^ mix(0, lane)) * prime[0] + prime[3]


cdef inline uint64_t xxh64_of_key(
        uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint32_t ports, uint8_t protocol) noexcept nogil:
    """Return the hash with seed 0 of 37 bytes: four words, a word of half the size, and a byte.

    The words are loaded in little-endian byte order. The first 32 bytes are hashed in four lanes.
    """
    cdef uint64_t hash
    a, b, c, d = mix(prime[0] + prime[1], a), mix(prime[1], b), mix(0, c), mix(0 - prime[0], d)
    hash = rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18)
    hash = merge(merge(merge(merge(hash, a), b), c), d) + 37
    hash = rotl(hash ^ ports * prime[0], 23) * prime[1] + prime[2]
    hash = rotl(hash ^ protocol * prime[4], 11) * prime[0]
    hash = (hash ^ hash >> 33) * prime[1]
    hash = (hash ^ hash >> 29) * prime[2]
    return hash ^ hash >> 32
