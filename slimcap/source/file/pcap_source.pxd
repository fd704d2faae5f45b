from libc.stdint cimport int64_t, uint32_t, uint64_t

from slimcap.capfile.decoder cimport Decoder
from slimcap.filter.matcher cimport Matcher
from slimcap.io.event cimport Event
from slimcap.io.input cimport Input
from slimcap.io.watch cimport Watch
from slimcap.packet.lease cimport Block, Pool
from slimcap.packet.record cimport Record
from slimcap.source.base cimport ZeroCopySource

cdef enum:
    BYTES_A_ROW = 32            # of a block: less than any packet with a link-layer header occupies

cdef class PcapSource(ZeroCopySource):
    cdef Decoder _decoder
    cdef Input _file, _input            # the opened file; what is decoded: the same, or decompressed
    cdef object _reader                 # the decompressor, or None
    cdef Pool _blocks, _row_blocks
    cdef Block _block                   # the undecoded bytes are _block[_start:_stop]
    cdef Py_ssize_t _start, _stop
    cdef uint64_t _base                 # offset in the file of the block's first byte
    cdef uint64_t _first                # number of the first packet of the last rows
    cdef Matcher _matcher               # the filter; None: all packets match
    cdef uint64_t _left_out             # packets that did not match the filter
    cdef list _comments                 # (row, text) of the last rows
    cdef object _error                  # class and arguments of the exception that ended reading, or None
    cdef int _open(self, object file, dict options, int64_t deadline, Watch watch, bint ahead) except -1
    cdef int _decompress(self, bint ahead) except -1
    cdef int _read_header(self, uint32_t snaplen) except -1
    cdef int _read_pcap_header(self, uint32_t snaplen) except -1
    cdef int _read_pcapng_header(self, uint32_t snaplen) except -1
    cdef int _read_to(self, Py_ssize_t size) except -1
    cdef Py_ssize_t _decode(self, Record[::1] out) except -1
    cdef Py_ssize_t _keep(self, Block rows, Py_ssize_t count) except -1
    cdef bint _end_of_file(self) except -1
    cdef int _read_more(self, Py_ssize_t needed) except -1
    cdef int _make_room(self, Py_ssize_t needed) except -1
    cdef object _bad(self, object kind, str reason, Py_ssize_t at)

cdef PcapSource open_part(
    object file, dict options, Event event, int64_t deadline, Watch watch=*, bint ahead=*)
cdef int check_options(object snaplen, object block_size) except -1
