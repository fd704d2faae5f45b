"""Capture files as sources: pcap or pcapng, compressed or not, as their first bytes tell."""
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
    BLOCK_SIZE = 1 << 20
    MIN_BLOCK_SIZE = 64
    MAX_BLOCK_SIZE = 1 << 30
    MAGIC_LEN = 4


@cython.final
cdef class PcapSource(ZeroCopySource):
    """A capture file as a Source.

    pcapng, with any number of sections and interfaces; classic pcap of either byte order, with micro- or
    nanoseconds, with the longer records of 1990s Linux or the longer header of IXIA; all of them also
    compressed with gzip, bzip2, xz, zstd or lz4. The content tells which. The last two take a package
    (``pip install 'slimcap[zstd,lz4]'``), and ``slimcap[gzip]`` makes gzip faster.

    A compressed file that is opened by its path is decompressed on a thread of its own, ahead of the reader;
    one that is followed by the reader itself.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, "-" for standard input, or an object with `readinto` or `read`; it need not seek.
    follow : bool
        Wait at the end of the file for more, also for its header. It ends with `stop()`, or when the file was
        removed and all of it was read. A FIFO goes on with its next writer; that takes the right to write to
        it.
    snaplen : int, optional
        Most bytes to take of a packet.
    filter : str, Machine or sequence of (code, jt, jf, k), optional
        A tcpdump expression or a classic BPF program: other packets are read, and counted in
        `stats().packets_received`, but not given out. It sees no more than `snaplen` bytes of a packet.
    block_size : int
        Bytes to read at a time; the most a batch has, but for a larger packet.
    timeout : float, optional
        Seconds that a read waits at most, of what can be waited for: FIFOs, terminals, standard input, files
        that are followed.

    Raises
    ------
    FileFormatError
        The file's header is none, or of a kind that cannot be read. Also from every call that reads, once all
        packets before the bad place were given out; with the path, the byte offset, and the number of those
        packets. A file that is followed was cut to less than what was read.
    TruncatedFileError
        Likewise, the file ends in the middle of something.
    FilterError
        The filter cannot be compiled for the link type, or is no program. If the interface is one that comes
        later in a pcapng file, the call that comes to its first packet raises this.
    OSError
        The file cannot be opened or read.
    TimeoutError
        No header came within `timeout`.
    ValueError
        An option is out of range, or a file object is to be followed.
    ImportError
        The file takes a package to decompress that is not installed.
    """

    def __init__(
            self, file, *, follow=False, snaplen=None, filter=None, Py_ssize_t block_size=BLOCK_SIZE,
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
        """Put a decompressor in between if the first bytes ask for one."""
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
        """Read up to the first interface, so that there is a link; or to a packet without, or the end."""
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
        """See to it that the block has the first `size` bytes, if the file has."""
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
        """Decode what the block holds."""
        cdef Py_ssize_t count
        if self._start == self._stop:
            return 0
        count = self._decoder._decode(<uint8_t[:self._stop]> self._block.ptr, self._start, out)
        self._start = self._decoder.position
        self._links = self._decoder.links
        return count

    cdef Py_ssize_t _keep(self, Block rows, Py_ssize_t count) except -1:
        """Bring together the rows that the filter takes."""
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
            return False  # or where stop() found it, perhaps half-written
        raise self._bad(
            TruncatedFileError,
            f"{self._file.extent} ends in a packet's record: "
            f"{self._stop - self._start} of {self._decoder.needed} bytes",
            self._start)

    cdef int _read_more(self, Py_ssize_t needed) except -1:
        """Read on behind `_stop`, so that in the end `needed` bytes from `_start` on are there;
        0 at the end."""
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
            # A file object's own word for a cut stream (gzip.open, bz2.open …); ours means a good end.
            reason = str(error) or "the file object ended early"
            raise self._bad(TruncatedFileError, reason, self._stop) from error
        self._stop += got
        return got > 0

    cdef int _make_room(self, Py_ssize_t needed) except -1:
        """See to it that the block has room behind `_stop`.

        What batches show stays where it is: bytes on loan are not moved, but copied to another block.
        A block grows with the bytes that are there, never by what a length claims.
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
        """The exception for a bad place at `at` in the block, which every later call will raise, too.

        What is kept is how to make it: with its traceback it would keep the caller's variables alive.
        """
        before = self._left_out + self._earlier + self._end
        self._error = (kind, reason, self._file.name, self._file.place(self._base + at), before)
        return kind(*self._error[1:])

    def stop(self):
        """End after what is in the file now: loops then end, and reads raise EOFError. From any thread.

        For a file that is followed, or a FIFO. A packet that is there in part is left out. Any other file is
        read to its end.
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
        # Not what the file states: packets may be longer.
        return self._decoder._cut

    @property
    def name(self):
        """Name of the file as it was given."""
        return self._file.name

    @property
    def snaplen(self):
        """The snaplen that the file states, for its first interface; packets may be longer all the same.
        0 or huge: none."""
        return self._decoder.snaplen

    @property
    def version(self):
        """Version of the file format: (major, minor); of the section, if there are several."""
        return self._decoder.version_major, self._decoder.version_minor

    @property
    def byte_order(self):
        """Byte order of the file, or of the section, "little" or "big"."""
        return self._decoder._byte_order()

    @property
    def resolution(self):
        """Nanoseconds in a tick of the file's timestamps, 1 if a tick is less; of its finest interface, as
        far as the file was read."""
        return self._decoder.resolution

    @property
    def format(self):
        """Format of the file, "pcap" or "pcapng"."""
        return "pcapng" if isinstance(self._decoder, PcapngDecoder) else "pcap"

    @property
    def compression(self):
        """What the file is compressed with, "gzip", "bzip2", "xz", "zstd" or "lz4"; None if it is not."""
        return None if self._reader is None else self._reader.name

    @property
    def interfaces(self):
        """What the file says of its interfaces, as far as it was read: a tuple of InterfaceInfo."""
        return tuple(self._decoder.interfaces)

    @property
    def sections(self):
        """What the file says of its sections, as far as it was read, the first 65,535 of them:
        a tuple of SectionInfo."""
        return tuple(self._decoder.sections)

    @property
    def comments(self):
        """Comments on the packets that were read from the file last, by the packet's number in it, from 0;
        with a filter, by its number among those that the filter took.

        A dict of str. It has those of the batch that `next_batch()` just gave, and changes with the next
        read that goes on in the file: collect them batch by batch. Several on one packet are parted by
        newlines.
        """
        return numbered_comments(self._first, self._comments)

    @property
    def progress(self):
        """How far reading is: bytes read of the file (as it is on disk),
        and its size or None if that is unknown."""
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
    """A file that another source reads: it waits with that one's event, and `_fill` is called by it alone.

    The options are snaplen, filter and block_size.
    """
    cdef PcapSource part = PcapSource.__new__(PcapSource)
    part._event, part._signal, part._is_part = event, &event.signal, True
    part._open(file, options, deadline, watch, ahead)
    return part


cdef list _comments_on(const Record* rows, Py_ssize_t count, list places):
    """(row, text) of comments, given as (offset, text), on the packets that are among the rows."""
    cdef Py_ssize_t row = 0
    found = []
    for offset, text in places:
        while row < count and rows[row].offset < <uint64_t> offset:
            row += 1
        if row < count and rows[row].offset == <uint64_t> offset:
            found.append((row, text))
    return found
