"""SHA-1 of one block by the instructions that x86 processors have for it (SHA extensions, since 2016).

Whether the processor has them is found out at run time. On other machines `sha1_cpu_found()` returns 0.
"""
from libc.stdint cimport uint8_t, uint32_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <cpuid.h>
    #include <immintrin.h>

    /* SHA, SSSE3 and SSE4.1, by CPUID leaves 7 and 1. CPUID is slow: a virtual machine stops for it. */
    static int slimcap_sha1_cpu_found(void)
    {
        static int known;    /* 0: not yet, 1: no, 2: yes. Threads that ask at once find the same. */
        int found = __atomic_load_n(&known, __ATOMIC_RELAXED);
        if (!found) {
            unsigned a, b = 0, c = 0, d;
            found = 1;
            if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1 && __get_cpuid(1, &a, &b, &c, &d)
                && c >> 9 & 1 && c >> 19 & 1)
                found = 2;
            __atomic_store_n(&known, found, __ATOMIC_RELAXED);
        }
        return found == 2;
    }

    /* Four rounds, which need the message's words of this step: W holds those of the last four steps. */
    #define SLIMCAP_SHA1_STEP(step) do {                                                                    \\
        __m128i e = step ? _mm_sha1nexte_epu32(last, w[step & 3]) : _mm_add_epi32(last, w[0]);              \\
        last = abcd;                                                                                        \\
        abcd = _mm_sha1rnds4_epu32(abcd, e, step / 5);                                                      \\
        if (step < 16)                                                                                      \\
            w[step & 3] = _mm_sha1msg2_epu32(                                                               \\
                _mm_xor_si128(_mm_sha1msg1_epu32(w[step & 3], w[(step + 1) & 3]), w[(step + 2) & 3]),       \\
                w[(step + 3) & 3]);                                                                         \\
    } while (0)

    __attribute__((target("sha,sse4.1,ssse3")))
    static void slimcap_sha1_cpu(const uint8_t *block, uint8_t *digest)
    {
        const __m128i swap = _mm_set_epi64x(0x0001020304050607LL, 0x08090a0b0c0d0e0fLL);
        const __m128i first = _mm_set_epi32(0x67452301, (int)0xefcdab89, (int)0x98badcfe, 0x10325476);
        const __m128i first_e = _mm_set_epi32((int)0xc3d2e1f0, 0, 0, 0);
        __m128i abcd = first, last = first_e, w[4];
        int i;
        for (i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), swap);
        SLIMCAP_SHA1_STEP(0);
        SLIMCAP_SHA1_STEP(1);
        SLIMCAP_SHA1_STEP(2);
        SLIMCAP_SHA1_STEP(3);
        SLIMCAP_SHA1_STEP(4);
        SLIMCAP_SHA1_STEP(5);
        SLIMCAP_SHA1_STEP(6);
        SLIMCAP_SHA1_STEP(7);
        SLIMCAP_SHA1_STEP(8);
        SLIMCAP_SHA1_STEP(9);
        SLIMCAP_SHA1_STEP(10);
        SLIMCAP_SHA1_STEP(11);
        SLIMCAP_SHA1_STEP(12);
        SLIMCAP_SHA1_STEP(13);
        SLIMCAP_SHA1_STEP(14);
        SLIMCAP_SHA1_STEP(15);
        SLIMCAP_SHA1_STEP(16);
        SLIMCAP_SHA1_STEP(17);
        SLIMCAP_SHA1_STEP(18);
        SLIMCAP_SHA1_STEP(19);
        abcd = _mm_shuffle_epi8(_mm_add_epi32(abcd, first), swap);
        last = _mm_shuffle_epi8(_mm_sha1nexte_epu32(last, first_e), swap);
        _mm_storeu_si128((__m128i *)digest, abcd);
        i = _mm_cvtsi128_si32(last);
        __builtin_memcpy(digest + 16, &i, 4);
    }
    #else
    static int slimcap_sha1_cpu_found(void) { return 0; }
    static void slimcap_sha1_cpu(const uint8_t *block, uint8_t *digest) { (void)block; (void)digest; }
    #endif
    """
    bint sha1_cpu_found "slimcap_sha1_cpu_found"() noexcept
    # Writes the 20 bytes of the digest of a message that is padded to one block of 64 bytes.
    void sha1_cpu "slimcap_sha1_cpu"(const uint8_t* block, uint8_t* digest) noexcept
