"""SHA-1 (FIPS 180-4 section 6.1) for messages of a single block, which is enough for Community ID."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from slimcap.abi.bytes cimport be32, put_be16, put_be32
from slimcap.abi.sha1_cpu cimport sha1_cpu, sha1_cpu_found

cdef enum:
    SHA1_LEN = 20
    SHA1_BLOCK = 64
    SHA1_MAX_LEN = 55  # maximum message length: the block also holds the end bit and the length


cdef inline uint32_t rotl32(uint32_t value, int count) noexcept nogil:
    return value << count | value >> (32 - count)


cdef inline void schedule(const uint8_t* block, uint32_t* words) noexcept nogil:
    """Compute the 80 words of the message schedule (section 6.1.2)."""
    cdef uint32_t t
    for t in range(16):
        words[t] = be32(block + 4 * t)
    for t in range(16, 80):
        words[t] = rotl32(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16], 1)


cdef inline void sha1_portable(const uint8_t* block, uint8_t* digest) noexcept nogil:
    """Write the digest of a padded message, on any processor."""
    cdef uint32_t words[80]
    cdef uint32_t a = 0x67452301, b = 0xefcdab89, c = 0x98badcfe, d = 0x10325476, e = 0xc3d2e1f0
    cdef uint32_t t, f
    schedule(block, words)
    for t in range(80):
        if t < 20:
            f = (b & c | ~b & d) + <uint32_t> 0x5a827999
        elif t < 40:
            f = (b ^ c ^ d) + <uint32_t> 0x6ed9eba1
        elif t < 60:
            f = (b & c | b & d | c & d) + <uint32_t> 0x8f1bbcdc
        else:
            f = (b ^ c ^ d) + <uint32_t> 0xca62c1d6
        a, b, c, d, e = rotl32(a, 5) + f + e + words[t], a, rotl32(b, 30), c, d
    put_be32(digest, a + <uint32_t> 0x67452301)
    put_be32(digest + 4, b + <uint32_t> 0xefcdab89)
    put_be32(digest + 8, c + <uint32_t> 0x98badcfe)
    put_be32(digest + 12, d + <uint32_t> 0x10325476)
    put_be32(digest + 16, e + <uint32_t> 0xc3d2e1f0)


cdef inline void pad(uint8_t* block, uint32_t n) noexcept nogil:
    """Pad the message `block[:n]` to the block (section 5.1.1).

    The rest of `block`, of SHA1_BLOCK bytes, must be 0, and `n` at most SHA1_MAX_LEN.
    """
    block[n] = 0x80
    put_be16(block + SHA1_BLOCK - 2, <uint16_t> (n * 8))


cdef inline void sha1(uint8_t* block, uint32_t n, uint8_t* digest) noexcept nogil:
    """Pad the message `block[:n]` as `pad` does, and write its digest."""
    pad(block, n)
    if sha1_cpu_found():
        sha1_cpu(block, digest)
    else:
        sha1_portable(block, digest)
