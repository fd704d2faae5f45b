from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.bytes cimport bswap32
from slimcap.abi.pcap_format cimport PcapRecordHeader
from slimcap.capfile.decoder cimport Decoder
from slimcap.packet.record cimport Record

cdef enum LengthOrder:
    LENGTHS_NORMAL
    LENGTHS_SWAPPED     # versions before 2.3: len comes before caplen
    LENGTHS_EITHER      # version 2.3: swapped if caplen > len

cdef struct RecordLayout:
    uint32_t header_len     # size of a record header
    uint32_t max_caplen
    LengthOrder lengths
    bint swapped

cdef class PcapDecoder(Decoder):
    cdef readonly uint32_t linktype
    cdef readonly uint32_t header_len   # size of the file header
    cdef RecordLayout _layout
    cdef uint64_t _bad_caplen
    cdef Py_ssize_t _walk(
        self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room) noexcept nogil


cdef inline void read_record(
        const RecordLayout* layout, const uint8_t* p, PcapRecordHeader* h) noexcept nogil:
    """Read the record header at `p` (draft-ietf-opsawg-pcap, section 5), converted to native byte order."""
    memcpy(h, p, sizeof(PcapRecordHeader))
    if layout.swapped:
        h.seconds = bswap32(h.seconds)
        h.fraction = bswap32(h.fraction)
        h.caplen = bswap32(h.caplen)
        h.len = bswap32(h.len)
    if layout.lengths != LENGTHS_NORMAL and (layout.lengths == LENGTHS_SWAPPED or h.caplen > h.len):
        h.caplen, h.len = h.len, h.caplen
