"""`Record`, the row struct: one per packet, the same for all sources."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef struct Record:
    int64_t timestamp
    uint64_t offset
    uint32_t total_len
    uint32_t cap_len
    uint32_t interface
    uint16_t vlan_tci
    uint16_t vlan_tpid
    uint16_t ip_offset
    uint8_t pkt_type
    uint32_t flags

cdef enum:
    # RecordFlag in C; record.pyx compares them at import.
    FLAG_VLAN = 1
    FLAG_VLAN_STRIPPED = 2
    FLAG_TRUNCATED = 4
    FLAG_CHECKSUM_VALID = 8
    FLAG_CHECKSUM_NOT_READY = 16
    FLAG_LOSING = 32
    FLAG_GSO = 64
    FLAG_TIME_CLAMPED = 128
    NO_IP_OFFSET = 0xffff
    MAX_INTERFACES = 1 << 18    # of a source or file: their descriptions take 150 MB


cdef inline void set_pkt_type(Record* row, uint8_t pkt_type) noexcept nogil:
    """Set the packet type, and the spare byte after it to zero."""
    cdef uint8_t both[2]
    both[0], both[1] = pkt_type, 0
    memcpy(&row.pkt_type, both, 2)


cdef inline bint in_bounds(const Record* row, uint64_t size) noexcept nogil:
    """Return True if the payload of `row` lies within `size` bytes of data; no arithmetic can overflow."""
    return row.cap_len <= size and row.offset <= size - row.cap_len


cdef inline uint32_t ip_start(const Record* row) noexcept nogil:
    """Return the offset of the IP header in the payload, or `cap_len` if there is none.

    A payload may be longer than NO_IP_OFFSET, so that is not a position past every payload's end.
    """
    return row.ip_offset if row.ip_offset != NO_IP_OFFSET and row.ip_offset < row.cap_len else row.cap_len
