"""Options of pcapng blocks (draft-ietf-opsawg-pcapng, section 3.5).

    code   length   value, padded to a multiple of 4   …   0   0
    2      2                                               the end
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from slimcap.abi.bytes cimport bswap16, bswap32, bswap64, load32, load64
from slimcap.abi.pcap_format cimport (
    INTERFACE_FILTER,
    INTERFACE_RECEIVE_SPEED,
    INTERFACE_SEND_SPEED,
    INTERFACE_SPEED,
    INTERFACE_TIME_OFFSET,
    INTERFACE_TIME_ZONE,
    OPTION_CUSTOM,
    OPTION_CUSTOM_TEXT,
    OPTION_END,
    OPTION_PRIVATE,
    OPTION_PRIVATE_TEXT,
    PACKET_DROPS,
    PACKET_FLAGS,
    PACKET_ID,
    PACKET_QUEUE,
    PACKET_VERDICT,
    PCAPNG_INTERFACE,
    PCAPNG_PACKET,
    PCAPNG_STATISTICS,
    STATISTICS_DELIVERED,
    STATISTICS_END,
    STATISTICS_RECEIVED,
    STATISTICS_START,
    PcapngOption,
    padded,
)

cdef enum:
    BYTECODE = 1            # type of a capture filter (if_filter) that is a BPF program

cdef enum:
    MAX_KEPT = 64 << 20     # bytes of Python objects made of what a file tells about itself
    OPTION_COST = 128       # bytes that an option takes as a Python object, besides those of its value

cdef struct Options:
    const uint8_t* at
    uint64_t left           # 0 after the last option, unless an option is longer than the block
    bint swapped

cdef class Allowance:
    cdef int64_t left       # bytes
    cdef bint take(self, int64_t size) noexcept

cdef tuple read_options(Options* options, uint32_t block, Allowance allowance, uint64_t* left_out)
cdef int64_t cost_of(object options) except -1
cdef object comments_of(Options options)
cdef bytes encode_option(int code, bytes value)
cdef bytes encode_options(object options)
cdef list comment_options(object text, str what)
cdef dict texts_of(object options, dict fields)
cdef tuple with_texts(tuple options, dict fields, dict texts)


cdef inline bint next_option(Options* options, PcapngOption* option, const uint8_t** value) noexcept nogil:
    """Read the next option; return False after the last one, or if its value is longer than the block."""
    cdef uint64_t size
    if options.left < sizeof(PcapngOption):
        return False
    memcpy(option, options.at, sizeof(PcapngOption))
    if options.swapped:
        option.code, option.length = bswap16(option.code), bswap16(option.length)
    if option.code == OPTION_END:
        options.left = 0
        return False
    size = sizeof(PcapngOption) + padded(option.length)
    if size > options.left:
        return False
    value[0] = options.at + sizeof(PcapngOption)
    options.at += size
    options.left -= size
    return True


cdef inline uint8_t* put_option(uint8_t* out, uint16_t code, const void* value, uint32_t size) noexcept nogil:
    """Write an option to `out`; return the address after it."""
    cdef PcapngOption h
    h.code, h.length = code, <uint16_t> size
    memcpy(out, &h, sizeof(h))
    out += sizeof(h)
    if size:
        memcpy(out, value, size)
        memset(out + size, 0, padded(size) - size)
    return out + padded(size)


cdef inline bint is_private(uint16_t code) noexcept nogil:
    """Return True for an option that must not be copied to another file (section 3.5.1)."""
    return code == OPTION_PRIVATE_TEXT or code == OPTION_PRIVATE


cdef inline void swap_value(uint32_t block, uint16_t code, uint8_t* value, uint32_t size) noexcept nogil:
    """Swap the bytes of the numbers in the value of an option, by the type of its block."""
    cdef uint32_t at
    if OPTION_CUSTOM_TEXT <= code <= OPTION_CUSTOM or is_private(code):
        if size >= 4:
            _swap32(value)  # the rest is as its owner defines it
    elif _is_number(block, code):
        if size == 4:
            _swap32(value)
        elif size == 8:
            _swap64(value)
    elif block == PCAPNG_STATISTICS and STATISTICS_START <= code <= STATISTICS_END and size == 8:
        _swap32(value)
        _swap32(value + 4)
    elif block == PCAPNG_PACKET and code == PACKET_VERDICT and size == 9 and value[0]:
        _swap64(value + 1)
    elif block == PCAPNG_INTERFACE and code == INTERFACE_FILTER and size and value[0] == BYTECODE:
        at = 1
        while at + 8 <= size:
            value[at], value[at + 1] = value[at + 1], value[at]
            _swap32(value + at + 4)
            at += 8


cdef inline bint _is_number(uint32_t block, uint16_t code) noexcept nogil:
    if block == PCAPNG_PACKET:
        return code == PACKET_FLAGS or PACKET_DROPS <= code <= PACKET_QUEUE
    if block == PCAPNG_INTERFACE:
        return (
            code == INTERFACE_SPEED or code == INTERFACE_TIME_ZONE or code == INTERFACE_TIME_OFFSET
            or INTERFACE_SEND_SPEED <= code <= INTERFACE_RECEIVE_SPEED)
    return block == PCAPNG_STATISTICS and STATISTICS_RECEIVED <= code <= STATISTICS_DELIVERED


cdef inline void _swap32(uint8_t* p) noexcept nogil:
    cdef uint32_t value = bswap32(load32(p))
    memcpy(p, &value, sizeof(value))


cdef inline void _swap64(uint8_t* p) noexcept nogil:
    cdef uint64_t value = bswap64(load64(p))
    memcpy(p, &value, sizeof(value))
