"""`FileReader`: the packets of one capture file, a block at a time.

    Input ──► (decompressor) ──► Decoder ──► (Matcher) ──► (HeaderMatcher) ──► Rows
     bytes                        rows             those that match

A reader has no lock, no signals and no counters of what was read: sources, which have readers, do.
"""
cimport cython
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memmove

from slimcap.abi.atomic cimport load_size
from slimcap.abi.bytes cimport load32
from slimcap.abi.pcap_format cimport PCAPNG_SECTION, PcapFileHeader
from slimcap.capfile.pcap_decoder cimport NO_RECORD, PcapDecoder
from slimcap.capfile.pcapng_decoder cimport PcapngDecoder
from slimcap.filter.header_filter cimport header_matcher
from slimcap.filter.matcher cimport Matcher, row_numbers
from slimcap.io.event cimport Event
from slimcap.io.input cimport open_input, wrap_input
from slimcap.io.watch cimport EndPolicy
from slimcap.packet.annotations cimport Annotations, after_blocks, block_cost
from slimcap.packet.lease cimport Block, Pool, new_block
from slimcap.packet.options cimport Allowance
from slimcap.packet.record cimport Record
from slimcap.packet.rows cimport Rows, new_rows

from slimcap.errors import FileFormatError, FilterError, TruncatedFileError
from slimcap.io.compression.detect import SNIFF_LEN, decompressor
from slimcap.io.compression.stream_reader import StreamError

cdef enum:
    MAGIC_LEN = 4


cdef FileReader open_reader(
        object file, dict options, Event event, int64_t deadline, EndPolicy end=None, bint ahead=True,
        Allowance described=None, Allowance pending=None):
    """Open a capture file and read its header, waiting with `event` until `deadline`.

    Of the options, which were checked, it uses `snaplen`, `filter`, `where`, `concatenated` and `block_size`.
    With an end policy the file is followed: the policy tells where it ends. `ahead` allows a read-ahead
    thread for decompression. Readers that share allowances, for options of sections and interfaces
    (`described`) and for blocks that are `pending`, keep only as much together as one does.
    """
    cdef FileReader reader = FileReader.__new__(FileReader)
    reader._open(file, options, event, deadline, end, ahead, described or Allowance(), pending or Allowance())
    return reader


@cython.final
cdef class FileReader:
    """Reader of one capture file: pcap or pcapng, compressed or not; the first bytes tell which."""

    cdef int _open(
            self, object file, dict options, Event event, int64_t deadline, EndPolicy end,
            bint ahead, Allowance described, Allowance pending) except -1:
        cdef Py_ssize_t block_size = options["block_size"]
        self._event = event
        self._pending, self._allowance, self._described = [], pending, described
        self._blocks = Pool(block_size)
        self._row_blocks = Pool((block_size // BYTES_A_ROW + 1) * sizeof(Record))
        self._block = self._blocks.take()
        self.file = self._input = open_input(file, event, end, options.get("name"))
        self.file.deadline = deadline
        try:
            self._decompress(ahead)
            self._read_header(options["snaplen"] or 0)
            if isinstance(self.decoder, PcapDecoder):
                (<PcapDecoder> self.decoder).concatenated = options["concatenated"]
            if options["filter"] is not None:
                self._matcher = Matcher(options["filter"])
                self._matcher.validate(self.decoder.links)
            if options["where"] is not None:
                self._header_matcher = header_matcher(options["where"])
        except BaseException:
            self.close()
            raise
        return 0

    cdef int _decompress(self, bint ahead) except -1:
        """Insert a decompressor if the first bytes are those of a compressed file."""
        self._read_to(SNIFF_LEN)
        head = self._block.ptr[:self._stop]
        self._decompressor = decompressor(head, self.file.read)
        if self._decompressor is not None:
            self._input = wrap_input(self.file, self._decompressor, ahead)
            self._stop = 0
        return 0

    cdef int _read_header(self, uint32_t snaplen) except -1:
        self._read_to(MAGIC_LEN)
        if self._stop >= MAGIC_LEN and load32(self._block.ptr) == PCAPNG_SECTION:
            return self._read_pcapng_header(snaplen)
        return self._read_pcap_header(snaplen)

    cdef int _read_pcap_header(self, uint32_t snaplen) except -1:
        cdef PcapDecoder decoder = None
        cdef str fault = ""
        self._read_to(sizeof(PcapFileHeader))
        if self._stop < <Py_ssize_t> sizeof(PcapFileHeader):
            fault = "the file is empty" if self._stop == 0 else "the file ends in its header"
            raise self._bad(TruncatedFileError, fault, self._stop)
        try:
            decoder = PcapDecoder(self._block.ptr[:sizeof(PcapFileHeader)], snaplen, self.file.name)
        except ValueError as error:
            fault = str(error)
        if decoder is None:
            raise self._bad(FileFormatError, fault, 0)
        self._read_to(decoder.header_len)
        if self._stop < decoder.header_len:
            raise self._bad(TruncatedFileError, "the file ends in its header", self._stop)
        self._start = decoder.header_len
        self.decoder = decoder
        return 0

    cdef int _read_pcapng_header(self, uint32_t snaplen) except -1:
        """Read up to the first interface.

        Stop earlier at a packet before any interface, and at the end of the file.
        """
        self.decoder = PcapngDecoder(snaplen, self.file.name)
        self.decoder.memory = self._described
        while True:
            self._decode(NULL, 0)
            self._hold_back(self.decoder.annotations)
            if self.decoder.links or <Py_ssize_t> self.decoder.needed <= self._stop - self._start:
                break
            if not self._read_more(self.decoder.needed):
                self._end_of_file()
                break
        if self.decoder.fault is not None and not self.decoder.links:
            raise self._bad(FileFormatError, self.decoder.fault, self._start)
        return 0

    cdef int _read_to(self, Py_ssize_t size) except -1:
        """Read until the block has its first `size` bytes, or to the end of the file."""
        while self._stop < size and self._read_more(size):
            pass
        return 0

    cdef Rows next_rows(self, int64_t deadline):
        """Return the next packets that match, at least one; None at the end of the file.

        Damage raises FileFormatError, once all packets before it were returned; so does every later call.
        """
        cdef Block block
        cdef Rows rows
        cdef Py_ssize_t count
        if self._error is not None:
            raise self._error[0](*self._error[1:])
        self.file.deadline = deadline
        block = self._row_blocks.take()
        while True:
            count = self._decode(<Record*> block.ptr, block.size // sizeof(Record))
            rows = self._keep(block, count)
            if rows is not None:
                return rows
            if self._error is not None:
                raise self._error[0](*self._error[1:])
            if count:
                continue
            if self.decoder.fault is not None:
                raise self._bad(FileFormatError, self.decoder.fault, self._start)
            if not self._read_more(self.decoder.needed):
                self._end_of_file()
                return None

    cdef Py_ssize_t _decode(self, Record* rows, Py_ssize_t capacity) except -1:
        """Decode rows from the bytes in the block; return their number."""
        cdef Py_ssize_t count
        if self._start == self._stop:
            self.decoder.annotations = None
            return 0
        count = self.decoder._decode(self._block.ptr, self._stop, self._start, rows, capacity)
        self._start = self.decoder.position
        return count

    cdef Rows _keep(self, Block rows, Py_ssize_t count):
        """Move the rows that match the filter together and return them; None if there are none."""
        cdef Record* p = <Record*> rows.ptr
        cdef Py_ssize_t kept = count, decoded = count
        cdef Block numbers = None
        cdef Annotations annotations = self.decoder.annotations
        cdef Rows found
        if count and self._matcher is not None:
            try:
                self._matcher.prepare(self.decoder.links, p, count)
            except FilterError as error:
                kept = self._matcher.known(p, count)
                if kept < count:
                    self._error = (FilterError, *error.args)
                    count = kept
            if annotations is not None:
                numbers = new_block(count * sizeof(int64_t))
            kept = self._matcher.keep(p, count, self._block.ptr, self._stop, p, numbers)
            if annotations is not None:
                annotations = annotations.take(row_numbers(numbers, kept))
        if kept and self._header_matcher is not None:
            self._header_matcher.learn(self.decoder.links)
            numbers = None if annotations is None else new_block(kept * sizeof(int64_t))
            kept = self._header_matcher.keep(p, kept, self._block.ptr, self._stop, p, numbers)
            if annotations is not None:
                annotations = annotations.take(row_numbers(numbers, kept))
        self.left_out += count - kept
        if kept == 0:
            self._hold_back(annotations)
            return None
        self.returned += kept
        found = new_rows(rows, kept, self._block, self._stop, self.decoder.links)
        if kept == decoded:  # summed up while the rows were in the cache
            found.total_bytes = self.decoder.total_bytes
        found.interfaces = self.decoder.interfaces
        found.annotations = after_blocks(self._pending, annotations)
        self._allowance.left += self._pending_size
        self._pending, self._pending_size = [], 0
        return found

    cdef int _hold_back(self, Annotations annotations) except -1:
        """Keep blocks for the next rows, up to a limit."""
        if annotations is None:
            return 0
        for _, block in annotations.blocks:
            size = block_cost(block)
            if self._allowance.take(size):
                self._pending.append(block)
                self._pending_size += size
            else:
                self.blocks_left_out += 1
        return 0

    cdef Annotations trailer(self):
        """Return the blocks after the last packet so far; None if there are none."""
        return after_blocks(self._pending, None)

    cdef bint _end_of_file(self) except -1:
        if self._start == self._stop or self.file.stopped:
            return False  # at the end as of stop() the last record may be half-written
        if self.decoder.at_zeros:
            raise self._bad(FileFormatError, NO_RECORD, self._start)
        raise self._bad(
            TruncatedFileError,
            f"{self.file.extent} ends in a packet's record: "
            f"{self._stop - self._start} of {self.decoder.needed} bytes",
            self._start)

    cdef int _read_more(self, Py_ssize_t needed) except -1:
        """Read more bytes to `_stop`; return 0 at the end.

        Several calls get `needed` bytes from `_start` on into the block.
        """
        cdef Py_ssize_t got = 0
        cdef object damage = None   # raised outside of the handler: as a context, its frames would be kept
        self._event.check()
        self._make_space(needed)
        try:
            got = self._input.read_into(self._block, self._stop, self._block.size - self._stop)
        except StreamError as error:
            if error.truncated and self.file.stopped:
                return 0
            damage = <tuple> (TruncatedFileError if error.truncated else FileFormatError, error.reason)
        except EOFError as error:
            # File objects such as gzip.open and bz2.open raise it for a truncated stream; ours return 0.
            reason = str(error) or "the file object ended early"
            raise self._bad(TruncatedFileError, reason, self._stop) from error
        if damage is not None:
            raise self._bad(damage[0], damage[1], self._stop)
        self._stop += got
        return got > 0

    cdef int _make_space(self, Py_ssize_t needed) except -1:
        """Make sure that the block has space after `_stop`.

        Bytes that batches show are not moved, but copied to another block. A block grows with the bytes that
        were read, never to a length that only a header claims.
        """
        cdef Py_ssize_t have = self._stop - self._start
        cdef Py_ssize_t size = max(self._blocks.size, min(needed, 2 * have))
        cdef Block block = self._block
        if self._stop < block.size and self._start + needed <= block.size:
            return 0
        if load_size(&block.holds) or size > block.size:
            block = self._blocks.take() if size == self._blocks.size else new_block(size)
        memmove(block.ptr, self._block.ptr + self._start, have)
        self._base += self._start
        self._block = block
        self._start, self._stop = 0, have
        return 0

    cdef object _bad(self, object kind, str reason, Py_ssize_t at):
        """Return the exception for an error at `at` in the block; every later call raises it again.

        Only its class and arguments are stored: an exception with its traceback would keep the caller's
        variables alive.
        """
        before = self.left_out + self.returned
        self._error = (kind, reason, self.file.name, self.file.offset_in_file(self._base + at), before)
        return kind(*self._error[1:])

    cdef object compression(self):
        """Return the name of the compression, or None; that of zstd and lz4 is known once data was read."""
        return None if self._decompressor is None else self._decompressor.name

    cdef dict unfilterable(self):
        """Return the link types for which the filter cannot be compiled: link type → reason."""
        return {} if self._matcher is None else self._matcher.unfilterable

    cdef void ignore_filter(self) noexcept:
        """Let all packets match."""
        self._matcher = None
        self._header_matcher = None

    cdef void park(self) noexcept:
        """Give back the file's descriptor until the next read, if that can open the file again."""
        self._input.park()

    cdef void close(self) noexcept:
        self._input.close()
        self._input = self.file
        self._block = None
        self._allowance.left += self._pending_size
        self._pending_size = 0
        if self.decoder is not None:
            self._described.left += self.decoder.described
            self.decoder.described = 0
