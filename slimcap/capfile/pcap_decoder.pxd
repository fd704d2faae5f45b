from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.bytes cimport bswap32
from slimcap.abi.pcap_format cimport PcapRecordHeader
from slimcap.capfile.decoder cimport Decoder
from slimcap.packet.record cimport Record

cdef enum:
    # The link type of a file header (draft-ietf-opsawg-pcap, section 4).
    LINKTYPE_MASK = 0xffff
    FCS_PRESENT = 0x04000000
    FCS_SHIFT = 28          # of the length of the frame check sequence, in units of 2 bytes

cdef enum LengthOrder:
    LENGTHS_NORMAL
    LENGTHS_SWAPPED     # versions before 2.3: len comes before caplen
    LENGTHS_EITHER      # version 2.3: swapped if caplen > len

cdef struct RecordLayout:
    uint32_t header_len     # size of a record header
    uint32_t max_caplen
    LengthOrder lengths
    bint swapped

cdef enum PcapHalt:
    PCAP_MORE               # more bytes are required, or more rows
    PCAP_CAPLEN             # at a packet that is too long,
    PCAP_ZEROS              # at zeros that are not packets,
    PCAP_ANOTHER            # at the header of another capture file

cdef class PcapDecoder(Decoder):
    cdef readonly uint32_t linktype
    cdef readonly uint32_t header_len   # size of the file header
    cdef bint concatenated              # another pcap file may follow
    cdef RecordLayout _layout
    cdef uint64_t _bad_caplen
    cdef str _name
    cdef uint32_t _wanted               # maximum number of bytes to show of a packet
    cdef dict _numbers                  # number of the interface of each different header
    cdef list _all_links, _all_infos    # these interfaces
    cdef uint32_t _interface            # of the rows
    cdef int _begin(self, const uint8_t* header) except -1
    cdef int _publish(self) except -1
    cdef bint _begin_next(self, const uint8_t* p, uint64_t left) except -1
    cdef str _explain(self, PcapHalt halt)
    cdef PcapHalt _walk(
        self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room,
        Py_ssize_t* rows_written) noexcept nogil
    cdef PcapHalt _look_at(self, const uint8_t* p, uint64_t left) noexcept nogil
    cdef PcapHalt _look_at_zeros(self, const uint8_t* p, uint64_t left) noexcept nogil


cdef str NEVER_MADE, NO_RECORD
cdef bint is_another(const uint8_t* p) noexcept nogil


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
