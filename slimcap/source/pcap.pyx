"""Capture files: classic pcap (draft-ietf-opsawg-pcap), as libpcap and Wireshark read it."""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from slimcap.abi.bytes cimport SLIMCAP_LITTLE_ENDIAN, bswap16, bswap32
from slimcap.abi.capfile cimport (
    PCAP_MICRO,
    PCAP_MODIFIED,
    PCAP_MODIFIED_EXTRA,
    PCAP_NANO,
    PcapFileHeader,
    PcapRecordHeader,
)
from slimcap.filter.match cimport Matcher
from slimcap.packet.lease cimport Block, Pool, new_block
from slimcap.packet.record cimport FLAG_TRUNCATED, Record, set_pkt_type
from slimcap.source.event cimport deadline_after
from slimcap.source.input cimport open_input, wrap_input
from slimcap.wire.link cimport LinkInfo
from slimcap.wire.linktype cimport LINKTYPE_DBUS, walk_link

from slimcap.errors import FileFormatError, TruncatedFileError
from slimcap.source.base import Stats
from slimcap.source.compression import SNIFF_LEN, StreamError, decompressor
from slimcap.source.link import Link

cdef enum:
    NANOSECONDS = 1_000_000_000
    LINKTYPE_MASK = 0xffff      # above it: FCS length and reserved bits
    MAX_CAPLEN = 262144         # libpcap's MAXIMUM_SNAPLEN
    MAX_CAPLEN_DBUS = 128 << 20
    BLOCK_SIZE = 1 << 20
    MIN_BLOCK_SIZE = 64
    MAX_BLOCK_SIZE = 1 << 30
    BYTES_A_ROW = 32            # of a block: fewer than any packet with a link-layer header takes
    PCAPNG_MAGIC = 0x0a0d0d0a


@cython.final
cdef class PcapDecoder:
    """The records of a classic pcap file, from bytes to rows. Knows nothing of files.

    Parameters
    ----------
    header : buffer of uint8, shape (24,)
        The file's header.
    snaplen : int
        Most bytes to take of a packet; 0 for all that were captured.

    Raises
    ------
    ValueError
        `header` is no header of a pcap file that can be read.
    """

    def __init__(self, const uint8_t[::1] header, uint32_t snaplen=0):
        cdef PcapFileHeader h
        if header.shape[0] < <Py_ssize_t> sizeof(h):
            raise ValueError(f"a pcap file header has {sizeof(h)} bytes, not {header.shape[0]}")
        memcpy(&h, &header[0], sizeof(h))
        self.swapped = _is_magic(bswap32(h.magic))
        if self.swapped:
            h.magic = bswap32(h.magic)
            h.version_major = bswap16(h.version_major)
            h.version_minor = bswap16(h.version_minor)
            h.snaplen = bswap32(h.snaplen)
            h.linktype = bswap32(h.linktype)
        elif not _is_magic(h.magic):
            raise ValueError(_unknown_magic(h.magic))
        if h.version_major < 2:
            raise ValueError(f"pcap version {h.version_major}.{h.version_minor} is not supported")
        self.version_major, self.version_minor = h.version_major, h.version_minor
        self.snaplen = h.snaplen
        self.linktype = h.linktype & LINKTYPE_MASK
        self.resolution = 1 if h.magic == PCAP_NANO else 1000
        self._record_len = sizeof(PcapRecordHeader) + (PCAP_MODIFIED_EXTRA if h.magic == PCAP_MODIFIED else 0)
        self._most_caplen = MAX_CAPLEN_DBUS if self.linktype == LINKTYPE_DBUS else MAX_CAPLEN
        self._lengths = _length_order(h.version_major, h.version_minor)
        self.needed = self._record_len
        self._cut = snaplen if 0 < snaplen < self._most_caplen else self._most_caplen

    def decode(self, const uint8_t[::1] data, Record[::1] rows, uint64_t start=0):
        """Decode the whole records in `data[start:]`, as many as `rows` has room for.

        Afterwards `position` is where in `data` it ended, `needed` how many bytes the record there takes as
        far as is known, and `fault` says why no more can be decoded from there on, if that is so.

        Parameters
        ----------
        data : buffer of uint8, shape (n,)
            Bytes of the file; `offset` in the rows counts from its start.
        rows : array of RECORD_DTYPE, shape (m,)
            Written to.
        start : int
            Where the first record starts.

        Returns
        -------
        int
            Number of rows written.
        """
        return self._decode(data, start, rows)

    cdef Py_ssize_t _decode(self, const uint8_t[::1] data, uint64_t start, Record[::1] rows) except -1:
        if self._record_len == 0:
            raise ValueError("this decoder was never made: use PcapDecoder(header)")
        cdef uint64_t size = data.shape[0]
        cdef const uint8_t* p = &data[0] if size else NULL
        cdef Record* out = &rows[0] if rows.shape[0] else NULL
        cdef Py_ssize_t count
        self.position = min(start, size)
        self._bad_caplen = 0
        with nogil:
            count = self._walk(p, size, out, rows.shape[0])
        self.fault = None
        if self._bad_caplen:
            self.fault = (
                f"a packet of {self._bad_caplen} captured bytes: there can be {self._most_caplen}")
        return count

    cdef Py_ssize_t _walk(
            self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room) noexcept nogil:
        cdef uint64_t at = self.position
        cdef uint32_t header = self._record_len
        cdef Py_ssize_t count = 0
        cdef PcapRecordHeader h
        cdef LinkInfo info
        cdef Record* row
        self.needed = header
        while count < room and size - at >= header:
            memcpy(&h, data + at, sizeof(h))
            if self.swapped:
                _swap(&h)
            if self._lengths != LENGTHS_NORMAL and (self._lengths == LENGTHS_SWAPPED or h.caplen > h.len):
                h.caplen, h.len = h.len, h.caplen
            if h.caplen > self._most_caplen:
                self._bad_caplen = h.caplen
                break
            if size - at - header < h.caplen:
                self.needed = <uint64_t> header + h.caplen
                break
            row = &rows[count]
            row.timestamp = <int64_t> h.seconds * NANOSECONDS + <int64_t> h.fraction * self.resolution
            row.offset = at + header
            row.total_len = max(h.len, h.caplen)
            row.cap_len = min(h.caplen, self._cut)
            walk_link(self.linktype, data + at + header, row.cap_len, &info)
            row.ip_offset = info.ip_offset
            row.interface = 0
            row.vlan_tci = info.vlan_tci
            row.vlan_tpid = info.vlan_tpid
            set_pkt_type(row, info.pkt_type)
            row.flags = info.flags | (FLAG_TRUNCATED if row.cap_len < row.total_len else 0)
            at += header + h.caplen
            count += 1
        self.position = at
        return count


cdef inline void _swap(PcapRecordHeader* h) noexcept nogil:
    h.seconds = bswap32(h.seconds)
    h.fraction = bswap32(h.fraction)
    h.caplen = bswap32(h.caplen)
    h.len = bswap32(h.len)


cdef inline bint _is_magic(uint32_t magic) noexcept nogil:
    return magic == PCAP_MICRO or magic == PCAP_NANO or magic == PCAP_MODIFIED


cdef str _unknown_magic(uint32_t magic):
    if magic == PCAPNG_MAGIC:
        return "a pcapng file, which cannot be read yet: convert it with `editcap -F pcap IN OUT`"
    return f"not a capture file: unknown magic 0x{magic:08x}"


cdef LengthOrder _length_order(uint32_t major, uint32_t minor) noexcept:
    """Which of a record's lengths comes first: len did before version 2.3, and in what says it is 543.0."""
    if (major == 2 and minor < 3) or (major == 543 and minor == 0):
        return LENGTHS_SWAPPED
    return LENGTHS_EITHER if major == 2 and minor == 3 else LENGTHS_NORMAL


@cython.final
cdef class PcapSource(ZeroCopySource):
    """A capture file as a Source.

    Classic pcap of either byte order, with micro- or nanoseconds, with the longer records of 1990s Linux;
    gzip-compressed files too, as their content tells.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, "-" for standard input, or an object with `readinto` or `read`; it need not seek.
    snaplen : int, optional
        Most bytes to take of a packet.
    filter : str, Machine or sequence of (code, jt, jf, k), optional
        A tcpdump expression or a classic BPF program: other packets are read, and counted in
        `stats().packets_received`, but not given out. It sees no more than `snaplen` bytes of a packet.
    block_size : int
        Bytes to read at a time; the most a batch has, but for a larger packet.
    timeout : float, optional
        Seconds that a read waits at most, of what can be waited for: FIFOs, terminals, standard input.

    Raises
    ------
    FileFormatError
        The file's header is none, or of a kind that cannot be read. Also from every call that reads, once all
        packets before the bad place were given out; with the path, the byte offset, and the number of those
        packets.
    TruncatedFileError
        Likewise, the file ends in the middle of something.
    FilterError
        The filter cannot be compiled for the file's link type, or is no program.
    OSError
        The file cannot be opened or read.
    """

    def __init__(self, file, *, snaplen=None, filter=None, Py_ssize_t block_size=BLOCK_SIZE, timeout=None):
        if self._file is not None:
            raise TypeError("a source is opened once")
        if snaplen is not None and not 0 < snaplen < 1 << 32:
            raise ValueError(f"snaplen is a number of bytes from 1 on, not {snaplen}")
        if not MIN_BLOCK_SIZE <= block_size <= MAX_BLOCK_SIZE:
            raise ValueError(
                f"block_size is from {MIN_BLOCK_SIZE} to {MAX_BLOCK_SIZE} bytes, not {block_size}")
        self._timeout = timeout
        self._blocks = Pool(block_size)
        self._row_blocks = Pool((block_size // BYTES_A_ROW + 1) * sizeof(Record))
        self._block = self._blocks.take()
        self._file = self._input = open_input(file, self._event)
        self._file.deadline = deadline_after(timeout)
        try:
            self._decompress()
            self._read_header(snaplen or 0)
            self._links = (Link(self._file.name, 0, self._decoder.linktype),)
            if filter is not None:
                self._matcher = Matcher(filter)
                self._matcher.learn(self._links)
        except BaseException:
            self._shut_down()
            raise

    cdef int _decompress(self) except -1:
        """Put a decompressor in between if the first bytes ask for one."""
        while self._stop < SNIFF_LEN and self._read_more(SNIFF_LEN):
            pass
        head = self._block.ptr[:self._stop]
        reader = decompressor(head, self._file.read)
        if reader is not None:
            self._input = wrap_input(self._file, reader)
            self._stop = 0
        return 0

    cdef int _read_header(self, uint32_t snaplen) except -1:
        while self._stop < <Py_ssize_t> sizeof(PcapFileHeader):
            if not self._read_more(sizeof(PcapFileHeader)):
                what = "the file is empty" if self._stop == 0 else "the file ends in its header"
                raise self._bad(TruncatedFileError, what, self._stop)
        try:
            self._decoder = PcapDecoder(self._block.ptr[:sizeof(PcapFileHeader)], snaplen)
        except ValueError as error:
            raise self._bad(FileFormatError, str(error), 0) from None
        self._start = sizeof(PcapFileHeader)
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
                return True
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
        return count

    cdef Py_ssize_t _keep(self, Block rows, Py_ssize_t count) except -1:
        """Bring together the rows that the filter takes."""
        cdef Record* p = <Record*> rows.ptr
        cdef Py_ssize_t kept = count
        if self._matcher is not None:
            kept = self._matcher.keep(p, count, self._block.ptr, self._stop, p)
        self._left_out += count - kept
        return kept

    cdef bint _end_of_file(self) except -1:
        if self._start == self._stop:
            return False
        raise self._bad(
            TruncatedFileError,
            f"the file ends in a packet's record: {self._stop - self._start} of {self._decoder.needed} bytes",
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
        self._error = (kind, reason, self._file.name, self._base + at, before)
        return kind(*self._error[1:])

    cdef void _tear_down(self) noexcept:
        if self._file is not None:
            self._file.close()
        self._input = self._file
        self._block = None

    cdef object _totals(self):
        return Stats(self._left_out + self._earlier + self._next, 0, 0)

    cdef Py_ssize_t _snaplen(self) except -1:
        # Not what the file states: packets may be longer.
        return self._decoder._cut

    @property
    def name(self):
        """Name of the file as it was given."""
        return self._file.name

    @property
    def snaplen(self):
        """The snaplen that the file states; packets may be longer all the same. 0 or huge: none."""
        return self._decoder.snaplen

    @property
    def version(self):
        """Version of the file format: (major, minor)."""
        return self._decoder.version_major, self._decoder.version_minor

    @property
    def byte_order(self):
        """Byte order of the file, "little" or "big"."""
        return "big" if self._decoder.swapped == SLIMCAP_LITTLE_ENDIAN else "little"

    @property
    def resolution(self):
        """Nanoseconds in a tick of the file's timestamps: 1000 or 1."""
        return self._decoder.resolution

    @property
    def progress(self):
        """How far reading is: bytes read of the file (as it is on disk),
        and its size or None if that is unknown."""
        return self._file.position, self._file.size

    def __repr__(self):
        state = "closed" if self.closed else f"{self._totals().packets_received:,} packets read"
        return f"<PcapSource {self._file.name!r}: {self.link.type_name}, {state}>"
