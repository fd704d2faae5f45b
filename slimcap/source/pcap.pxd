from libc.stdint cimport uint8_t, uint32_t, uint64_t

from slimcap.filter.match cimport Matcher
from slimcap.packet.lease cimport Block, Pool
from slimcap.packet.record cimport Record
from slimcap.source.base cimport ZeroCopySource
from slimcap.source.input cimport Input

cdef enum LengthOrder:
    LENGTHS_NORMAL
    LENGTHS_SWAPPED     # versions before 2.3 have len before caplen
    LENGTHS_EITHER      # version 2.3: swapped if caplen > len

cdef class PcapDecoder:
    cdef readonly uint32_t linktype, snaplen, version_major, version_minor, resolution
    cdef readonly bint swapped
    cdef readonly uint64_t position     # where the last decode() ended
    cdef readonly uint64_t needed       # bytes from there on that the next record takes, as far as is known
    cdef readonly str fault             # why it cannot go on, or None
    cdef uint32_t _record_len
    cdef uint32_t _most_caplen
    cdef uint32_t _cut
    cdef LengthOrder _lengths
    cdef uint64_t _bad_caplen
    cdef Py_ssize_t _decode(self, const uint8_t[::1] data, uint64_t start, Record[::1] rows) except -1
    cdef Py_ssize_t _walk(
        self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room) noexcept nogil

cdef class PcapSource(ZeroCopySource):
    cdef PcapDecoder _decoder
    cdef Input _file, _input            # what was opened; what is decoded, perhaps decompressed from it
    cdef Pool _blocks, _row_blocks
    cdef Block _block                   # the undecoded bytes are _block[_start:_stop]
    cdef Py_ssize_t _start, _stop
    cdef uint64_t _base                 # offset in the file of the block's first byte
    cdef Matcher _matcher               # None: all packets
    cdef uint64_t _left_out             # packets that it did not take
    cdef object _error                  # what ended reading: class and arguments of the exception, or None
    cdef int _decompress(self) except -1
    cdef int _read_header(self, uint32_t snaplen) except -1
    cdef Py_ssize_t _decode(self, Record[::1] out) except -1
    cdef Py_ssize_t _keep(self, Block rows, Py_ssize_t count) except -1
    cdef bint _end_of_file(self) except -1
    cdef int _read_more(self, Py_ssize_t needed) except -1
    cdef int _make_room(self, Py_ssize_t needed) except -1
    cdef object _bad(self, object kind, str reason, Py_ssize_t at)
