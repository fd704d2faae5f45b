"""`PcapSource`: a capture file, pcap or pcapng, compressed or not; the first bytes tell which."""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memmove

from slimcap.abi.bytes cimport load32
from slimcap.abi.pcap_format cimport PCAPNG_SECTION, PcapFileHeader
from slimcap.capfile.decoder cimport numbered_comments
from slimcap.capfile.pcap_decoder cimport PcapDecoder
from slimcap.capfile.pcapng_decoder cimport PcapngDecoder
from slimcap.filter.matcher cimport Matcher
from slimcap.io.event cimport SIGNAL_END, Event, deadline_after
from slimcap.io.input cimport open_input, wrap_input
from slimcap.io.watch cimport Watch
from slimcap.packet.lease cimport Block, Pool, new_block
from slimcap.packet.record cimport Record

from slimcap.errors import FileFormatError, FilterError, TruncatedFileError
from slimcap.io.compression.detect import SNIFF_LEN, decompressor
from slimcap.io.compression.stream_reader import StreamError
from slimcap.source.base import Stats

cdef enum:
    MIN_BLOCK_SIZE = 64
    MAX_BLOCK_SIZE = 1 << 30
    MAGIC_LEN = 4


@cython.final
cdef class PcapSource(ZeroCopySource):
    """Read packets from one capture file.

    The format is detected from the content:

    - pcapng with any number of sections and interfaces,
    - classic pcap of either byte order, with microseconds or nanoseconds, also with the longer record headers
      of 1990s Linux and with the longer file header of IXIA,
    - any of these compressed with gzip, bzip2, xz, zstd or lz4. zstd and lz4 require a package
      (``pip install 'slimcap[zstd,lz4]'``); ``slimcap[gzip]`` makes gzip faster.

    A compressed file that is opened by path is decompressed by a read-ahead thread, unless it is followed.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, "-" for standard input, or an object with `readinto` or `read`; it need not be seekable.
    follow : bool, default False
        At the end of the file wait for more data, also for a missing header. The source ends after `stop()`,
        or when the file was removed and has been read to its end. A FIFO continues with its next writer,
        which requires permission to write to it.
    snaplen : int, optional
        Maximum number of bytes to read of a packet. Default: all that were captured.
    filter : str, Machine or sequence of (code, jt, jf, k), optional
        A tcpdump expression or a classic BPF program. Packets that do not match are read, and counted in
        `stats().packets_received`, but not returned. The filter sees at most `snaplen` bytes of a packet.
        Default: all packets match.
    block_size : int, default 1 MiB
        Number of bytes to read at a time, from 64 bytes to 1 GiB. A batch is not larger, except for a single
        larger packet.
    timeout : float, optional
        Maximum time in seconds that a read waits for a FIFO, a terminal, standard input or a followed file.
        Default: no maximum.

    Raises
    ------
    FileFormatError
        The file header is not valid or not supported. Also from calls that read: the file is damaged, or a
        followed file was truncated to less than what was read. It is raised once all packets before the bad
        place were returned, and by every later call, with the path, the byte offset and the number of those
        packets.
    TruncatedFileError
        The file ends in its header. Also from calls that read, as above: it ends in the middle of a record.
    FilterError
        The filter is not a valid program, or cannot be compiled for the link type. For an interface that is
        described later in a pcapng file this is raised by the call that reaches its first packet.
    OSError
        The file cannot be opened or read.
    TimeoutError
        No complete header came within `timeout`.
    ValueError
        An option is out of range, or `follow` was given for a file object.
    ImportError
        Decompression requires a package that is not installed.

    Examples
    --------
    >>> with slimcap.PcapSource("trace.pcap", snaplen=128) as source:
    ...     for packet in source:
    ...         print(packet.timestamp, packet.total_len)
    """

    def __init__(
            self, file, *, follow=False, snaplen=None, filter=None, Py_ssize_t block_size=1 << 20,
            timeout=None):
        if self._file is not None:
            raise TypeError("a source is opened once")
        check_options(snaplen, block_size)
        self._timeout = timeout
        options = {"snaplen": snaplen, "filter": filter, "block_size": block_size}
        self._open(file, options, deadline_after(timeout), Watch() if follow else None, True)

    cdef int _open(self, object file, dict options, int64_t deadline, Watch watch, bint ahead) except -1:
        cdef Py_ssize_t block_size = options["block_size"]
        self._blocks = Pool(block_size)
        self._row_blocks = Pool((block_size // BYTES_A_ROW + 1) * sizeof(Record))
        self._block = self._blocks.take()
        self._file = self._input = open_input(file, self._event, watch)
        self._file.deadline = deadline
        try:
            self._decompress(ahead)
            self._read_header(options["snaplen"] or 0)
            self._links = self._decoder.links
            if options["filter"] is not None:
                self._matcher = Matcher(options["filter"])
                self._matcher.learn(self._links)
        except BaseException:
            self._shut_down()
            raise
        return 0

    cdef int _decompress(self, bint ahead) except -1:
        """Insert a decompressor if the first bytes are those of a compressed file."""
        self._read_to(SNIFF_LEN)
        head = self._block.ptr[:self._stop]
        self._reader = decompressor(head, self._file.read)
        if self._reader is not None:
            self._input = wrap_input(self._file, self._reader, ahead)
            self._stop = 0
        return 0

    cdef int _read_header(self, uint32_t snaplen) except -1:
        self._read_to(MAGIC_LEN)
        if self._stop >= MAGIC_LEN and load32(self._block.ptr) == PCAPNG_SECTION:
            return self._read_pcapng_header(snaplen)
        return self._read_pcap_header(snaplen)

    cdef int _read_pcap_header(self, uint32_t snaplen) except -1:
        cdef PcapDecoder decoder
        self._read_to(sizeof(PcapFileHeader))
        try:
            head = self._block.ptr[:min(self._stop, <Py_ssize_t> sizeof(PcapFileHeader))]
            decoder = PcapDecoder(head, snaplen, self._file.name)
        except ValueError as error:
            if self._stop >= <Py_ssize_t> sizeof(PcapFileHeader):
                raise self._bad(FileFormatError, str(error), 0) from None
            what = "the file is empty" if self._stop == 0 else "the file ends in its header"
            raise self._bad(TruncatedFileError, what, self._stop) from None
        self._read_to(decoder.header_len)
        if self._stop < decoder.header_len:
            raise self._bad(TruncatedFileError, "the file ends in its header", self._stop)
        self._start = decoder.header_len
        self._decoder = decoder
        return 0

    cdef int _read_pcapng_header(self, uint32_t snaplen) except -1:
        """Read up to the first interface, so that `link` is known.

        Stop earlier at a packet before any interface, and at the end of the file.
        """
        cdef Block rows = self._row_blocks.take()
        cdef Record[::1] none = (<Record[:1]> <Record*> rows.ptr)[:0]
        self._decoder = PcapngDecoder(snaplen, self._file.name)
        while True:
            self._decode(none)
            if self._decoder.links or <Py_ssize_t> self._decoder.needed <= self._stop - self._start:
                break
            if not self._read_more(self._decoder.needed):
                self._end_of_file()
                break
        if self._decoder.fault is not None and not self._decoder.links:
            raise self._bad(FileFormatError, self._decoder.fault, self._start)
        return 0

    cdef int _read_to(self, Py_ssize_t size) except -1:
        """Read until the block has its first `size` bytes, or to the end of the file."""
        while self._stop < size and self._read_more(size):
            pass
        return 0

    cdef bint _fill(self, int64_t deadline) except -1:
        cdef Block rows
        cdef Py_ssize_t count, kept
        if self._error is not None:
            raise self._error[0](*self._error[1:])
        if self._decoder is None:
            return False
        self._file.deadline = deadline
        rows = self._row_blocks.take()
        cdef Record[::1] out = <Record[:rows.size // sizeof(Record)]> <Record*> rows.ptr
        while True:
            count = self._decode(out)
            kept = self._keep(rows, count)
            if kept:
                self._show(rows, kept, self._block, self._stop)
                self._first = self._earlier
                return True
            if self._error is not None:
                raise self._error[0](*self._error[1:])
            if count:
                continue
            if self._decoder.fault is not None:
                raise self._bad(FileFormatError, self._decoder.fault, self._start)
            if not self._read_more(self._decoder.needed):
                return self._end_of_file()

    cdef Py_ssize_t _decode(self, Record[::1] out) except -1:
        """Decode rows from the bytes in the block; return their number."""
        cdef Py_ssize_t count
        if self._start == self._stop:
            return 0
        count = self._decoder._decode(<uint8_t[:self._stop]> self._block.ptr, self._start, out)
        self._start = self._decoder.position
        self._links = self._decoder.links
        return count

    cdef Py_ssize_t _keep(self, Block rows, Py_ssize_t count) except -1:
        """Keep only the rows that match the filter, and move them together; return their number."""
        cdef Record* p = <Record*> rows.ptr
        cdef Py_ssize_t kept
        self._comments = self._decoder.comments
        if self._matcher is None:
            return count
        try:
            self._matcher.learn(self._links)
        except FilterError as error:
            kept = self._matcher.known(p, count)
            if kept < count:
                self._error = (FilterError, *error.args)
                count = kept
        places = [(p[row].offset, text) for row, text in self._comments if row < count]
        kept = self._matcher.keep(p, count, self._block.ptr, self._stop, p)
        self._comments = _comments_on(p, kept, places)
        self._left_out += count - kept
        return kept

    cdef bint _end_of_file(self) except -1:
        if self._start == self._stop or self._file.stopped:
            return False  # at the end as of stop() the last record may be half-written
        raise self._bad(
            TruncatedFileError,
            f"{self._file.extent} ends in a packet's record: "
            f"{self._stop - self._start} of {self._decoder.needed} bytes",
            self._start)

    cdef int _read_more(self, Py_ssize_t needed) except -1:
        """Read more bytes to `_stop`; return 0 at the end.

        Several calls get `needed` bytes from `_start` on into the block.
        """
        cdef Py_ssize_t got
        self._event.check()
        self._make_room(needed)
        try:
            got = self._input.read_into(self._block, self._stop, self._block.size - self._stop)
        except StreamError as error:
            if error.cut and self._file.stopped:
                return 0
            raise self._bad(
                TruncatedFileError if error.cut else FileFormatError, error.reason, self._stop) from None
        except EOFError as error:
            # File objects such as gzip.open and bz2.open raise it for a truncated stream; ours return 0.
            reason = str(error) or "the file object ended early"
            raise self._bad(TruncatedFileError, reason, self._stop) from error
        self._stop += got
        return got > 0

    cdef int _make_room(self, Py_ssize_t needed) except -1:
        """Make sure that the block has room after `_stop`.

        Bytes that batches show are not moved, but copied to another block. A block grows with the bytes that
        were read, never to a length that only a header claims.
        """
        cdef Py_ssize_t have = self._stop - self._start
        cdef Py_ssize_t size = max(self._blocks.size, min(needed, 2 * have))
        cdef Block block = self._block
        if self._stop < block.size and self._start + needed <= block.size:
            return 0
        if block.holds or size > block.size:
            block = self._blocks.take() if size == self._blocks.size else new_block(size)
        memmove(block.ptr, self._block.ptr + self._start, have)
        self._base += self._start
        self._block = block
        self._start, self._stop = 0, have
        return 0

    cdef object _bad(self, object kind, str reason, Py_ssize_t at):
        """Return the exception for a bad place at `at` in the block; every later call raises it again.

        Only its class and arguments are stored: an exception with its traceback would keep the caller's
        variables alive.
        """
        before = self._left_out + self._earlier + self._end
        self._error = (kind, reason, self._file.name, self._file.place(self._base + at), before)
        return kind(*self._error[1:])

    def stop(self):
        """End the source after the data that is in the file now. May be called from any thread.

        Loops then end, and reads raise EOFError. This is for followed files and FIFOs; an incomplete packet
        at the end is omitted. Any other file is read to its end.
        """
        self._event.raise_signal(SIGNAL_END)

    cdef void _tear_down(self) noexcept:
        if self._input is not None:
            self._input.close()
        self._input = self._file
        self._block = None

    cdef object _totals(self):
        received = self._left_out + self._earlier + self._next
        return Stats(received, 0 if self._decoder is None else self._decoder._dropped(), 0)

    cdef Py_ssize_t _snaplen(self) except -1:
        # Not the snaplen that the file states, since its packets may be longer.
        return self._decoder._cut

    @property
    def name(self):
        """Name of the file as it was given; "<stdin>" for standard input."""
        return self._file.name

    @property
    def snaplen(self):
        """The snaplen in bytes that the file states for its first interface; 0 or a huge number: no maximum.

        Packets may be longer nevertheless.
        """
        return self._decoder.snaplen

    @property
    def version(self):
        """Version of the file format, (major, minor). In pcapng, of the section that was read last."""
        return self._decoder.version_major, self._decoder.version_minor

    @property
    def byte_order(self):
        """Byte order, "little" or "big". In pcapng, of the section that was read last."""
        return self._decoder._byte_order()

    @property
    def resolution(self):
        """Resolution of the timestamps in nanoseconds per tick; 1 if a tick is shorter.

        In pcapng, of the interface with the finest resolution so far.
        """
        return self._decoder.resolution

    @property
    def format(self):
        """Format of the file, "pcap" or "pcapng"."""
        return "pcapng" if isinstance(self._decoder, PcapngDecoder) else "pcap"

    @property
    def compression(self):
        """Compression of the file, "gzip", "bzip2", "xz", "zstd" or "lz4"; None if it is not compressed."""
        return None if self._reader is None else self._reader.name

    @property
    def interfaces(self):
        """The interfaces that the file has described so far, a tuple of InterfaceInfo."""
        return tuple(self._decoder.interfaces)

    @property
    def sections(self):
        """The sections read so far, a tuple of SectionInfo; at most the first 65,535."""
        return tuple(self._decoder.sections)

    @property
    def comments(self):
        """Comments on the packets that were read last, a dict from packet number to str.

        Numbers start at 0 for the file's first packet; with a filter, at 0 for the first that matches.
        Several comments on a packet are separated by newlines. After `next_batch()` the dict is for that
        batch, and the next read from the file replaces it: collect the comments batch by batch.
        """
        return numbered_comments(self._first, self._comments)

    @property
    def progress(self):
        """Progress, (bytes read, size): in bytes of the file as stored; size is None if unknown."""
        return self._file.position, self._file.size

    def __repr__(self):
        state = "closed" if self.closed else f"{self._totals().packets_received:,} packets read"
        types = ", ".join(dict.fromkeys(link.type_name for link in self._links)) or "no interface"
        return f"<PcapSource {self._file.name!r}: {types}, {state}>"


cdef int check_options(object snaplen, object block_size) except -1:
    if snaplen is not None and not 0 < snaplen < 1 << 32:
        raise ValueError(f"snaplen is a number of bytes from 1 on, not {snaplen}")
    if not MIN_BLOCK_SIZE <= block_size <= MAX_BLOCK_SIZE:
        raise ValueError(
            f"block_size is from {MIN_BLOCK_SIZE} to {MAX_BLOCK_SIZE} bytes, not {block_size}")
    return 0


cdef PcapSource open_part(
        object file, dict options, Event event, int64_t deadline, Watch watch=None, bint ahead=True):
    """Open a file as part of another source.

    It waits with that source's event, and only that source calls `_fill`. The options are `snaplen`, `filter`
    and `block_size`.
    """
    cdef PcapSource part = PcapSource.__new__(PcapSource)
    part._event, part._signal, part._is_part = event, &event.signal, True
    part._open(file, options, deadline, watch, ahead)
    return part


cdef list _comments_on(const Record* rows, Py_ssize_t count, list places):
    """Return the comments on the given rows as (row, text).

    `places` is (offset, text) of all comments, in the order of their packets' offsets.
    """
    cdef Py_ssize_t row = 0
    found = []
    for offset, text in places:
        while row < count and rows[row].offset < <uint64_t> offset:
            row += 1
        if row < count and rows[row].offset == <uint64_t> offset:
            found.append((row, text))
    return found
