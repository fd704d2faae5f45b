from libc.stdint cimport uint8_t, uint32_t, uint64_t

from slimcap.packet.record cimport Record
from slimcap.source.decoder cimport Decoder

cdef enum LengthOrder:
    LENGTHS_NORMAL
    LENGTHS_SWAPPED     # versions before 2.3 have len before caplen
    LENGTHS_EITHER      # version 2.3: swapped if caplen > len

cdef class PcapDecoder(Decoder):
    cdef readonly uint32_t linktype
    cdef readonly uint32_t header_len   # of the file: what comes before the first record
    cdef uint32_t _record_len
    cdef uint32_t _most_caplen
    cdef LengthOrder _lengths
    cdef uint64_t _bad_caplen
    cdef Py_ssize_t _walk(
        self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room) noexcept nogil
