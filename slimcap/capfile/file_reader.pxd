from libc.stdint cimport int64_t, uint32_t, uint64_t

from slimcap.capfile.decoder cimport Decoder
from slimcap.filter.header_filter cimport HeaderMatcher
from slimcap.filter.matcher cimport Matcher
from slimcap.io.event cimport Event
from slimcap.io.input cimport Input
from slimcap.io.watch cimport EndPolicy
from slimcap.packet.annotations cimport Annotations
from slimcap.packet.lease cimport Block, Pool
from slimcap.packet.options cimport Allowance
from slimcap.packet.record cimport Record
from slimcap.packet.rows cimport Rows

cdef enum:
    BLOCK_SIZE = 1 << 19
    BYTES_A_ROW = 32            # of a block: less than any packet with a link-layer header occupies

cdef class FileReader:
    cdef Decoder decoder
    cdef Input file             # the opened file
    cdef uint64_t left_out      # packets that did not match the filter
    cdef uint64_t returned      # packets that were returned
    cdef Event _event
    cdef Input _input           # what is decoded: the file, or the decompressor on top of it
    cdef object _decompressor   # or None
    cdef Pool _blocks, _row_blocks
    cdef Block _block           # the undecoded bytes are _block[_start:_stop]
    cdef Py_ssize_t _start, _stop
    cdef uint64_t _base         # offset in the file of the block's first byte
    cdef Matcher _matcher       # the filter; None: all packets match
    cdef HeaderMatcher _header_matcher  # the conditions on headers, or None
    cdef uint64_t blocks_left_out   # blocks between packets that were not kept
    cdef list _pending          # those that come before the next packet
    cdef int64_t _pending_size      # what they take of the allowance, in bytes
    cdef Allowance _allowance       # for them,
    cdef Allowance _described       # and for options of sections and interfaces; both may be shared
    cdef object _error          # class and arguments of the exception that ended reading, or None
    cdef Rows next_rows(self, int64_t deadline)
    cdef object compression(self)
    cdef Annotations trailer(self)
    cdef dict unfilterable(self)
    cdef void ignore_filter(self) noexcept
    cdef void park(self) noexcept
    cdef void close(self) noexcept
    cdef int _open(
        self, object file, dict options, Event event, int64_t deadline, EndPolicy end, bint ahead,
        Allowance described, Allowance pending) except -1
    cdef int _decompress(self, bint ahead) except -1
    cdef int _read_header(self, uint32_t snaplen) except -1
    cdef int _read_pcap_header(self, uint32_t snaplen) except -1
    cdef int _read_pcapng_header(self, uint32_t snaplen) except -1
    cdef int _read_to(self, Py_ssize_t size) except -1
    cdef Py_ssize_t _decode(self, Record* rows, Py_ssize_t capacity) except -1
    cdef Rows _keep(self, Block rows, Py_ssize_t count)
    cdef int _hold_back(self, Annotations annotations) except -1
    cdef bint _end_of_file(self) except -1
    cdef int _read_more(self, Py_ssize_t needed) except -1
    cdef int _make_space(self, Py_ssize_t needed) except -1
    cdef object _bad(self, object kind, str reason, Py_ssize_t at)

cdef FileReader open_reader(
    object file, dict options, Event event, int64_t deadline, EndPolicy end=*, bint ahead=*,
    Allowance described=*, Allowance pending=*)
