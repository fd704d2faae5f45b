"""Find record and block boundaries near given offsets of a capture file, to read it in parallel parts.

Neither format has sync marks: only the length of a record or block leads to the next one. In pcapng, blocks
that are required to read packets may be anywhere, so `BlockBoundaries` walks all blocks from the first one.
In classic pcap, `RecordBoundaries` finds a boundary y after a wanted offset w from the bytes after w only, by
parallel resynchronisation:

    w                        w + R
    ├─ a chain at each byte ──┤            y
    ╰──►──────►───────►───────┼──►───►─────►    the reader's chain: not known until all others …
      ╰─►─╳       ╰──►────────┼────────────╯    … have ended, or have merged with it

A chain is a sequence of offsets, each the previous one + header + caplen. The reader's chain is the one that
starts at the first record of the file. A header is regular if caplen <= len, len <= 16 MiB, its fraction is
less than one second, and caplen is within the format's limit (draft-ietf-opsawg-pcap, section 5).

1. Window. R is the maximum length of a record, so every chain that starts before w has an offset in
   [w, w + R). Start a chain at every byte of that window. (Link types with a larger R than libpcap's usual
   maximum, D-Bus, are always walked.)
2. State. `_live` is a bitmap of the chains' offsets after the window. All of them are less than R apart, so a
   ring of RING bits holds them. Chains that meet share a bit: from there on they are one.
3. Step. Take the lowest live offset. If its header is regular, move the chain to its next offset; if not, end
   the chain.
4. Invariant. Every chain that started in the window and had only regular headers so far has exactly one live
   offset. In particular, the reader's chain does, if its headers from w on are regular.
5. Result. When one live offset y is left, the reader's chain goes through y, whatever bytes the packets
   contain. For safety, the next CONFIRMING headers must be regular, too.
6. No result. Either all chains end, or several are left MOST_SWEPT bytes after the window, for example if
   packets contain capture files. Then `find` walks all records from the last known boundary.
7. Failure. If the reader's chain has an irregular header between w and y, it ends in step 3, and y may be
   wrong. That is always detected: the reader of the part before y ends exactly at y, or raises an error.

Without the condition on headers, no proof would be cheaper than a walk through all records before w. If
packets are captured completely, caplen and len are equal. Then there is a second chain, 4 bytes after the
start of each record: its caplen is the real len, and leads to 4 bytes after the start of the next record.
From w on, only the regularity of its headers can refute it.
"""
cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from slimcap.abi.bytes cimport trailing_zeros
from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport EINTR, c_pread, errno
from slimcap.abi.pcap_format cimport (
    PCAPNG_INTERFACE,
    PCAPNG_OLD_PACKET,
    PCAPNG_PACKET,
    PCAPNG_SECTION,
    PCAPNG_SIMPLE,
    PcapngBlock,
    PcapRecordHeader,
)
from slimcap.capfile.decoder cimport MAX_CAPLEN
from slimcap.capfile.pcap_decoder cimport NEVER_MADE, PcapDecoder, RecordLayout, read_record
from slimcap.capfile.pcapng_decoder cimport MIN_BLOCK, is_block_length, read_block_head
from slimcap.io.event cimport raise_errno
from slimcap.packet.lease cimport Block, new_block

cdef enum:
    PIECE = 1 << 19             # bytes per read
    RING = 1 << 19              # bits of _live: more than the maximum length of a record
    WORD = 64
    MOST_SWEPT = 4 << 20        # bytes after the window in which all chains but one must end or merge
    CONFIRMING = 32             # regular records required after the result
    MOST_LEN = 16 << 20         # maximum regular len: four arbitrary bytes are mostly more
    WORTH_A_PROOF = 4 << 20     # below this distance in bytes, a walk is faster than a resynchronisation


@cython.internal
cdef class _Pieces:
    """A buffer over part of a file, refilled wherever it is read; the caller keeps the descriptor open."""

    cdef int _fd
    cdef str _name
    cdef uint64_t _size
    cdef bint _failed           # a read failed
    cdef Block _piece           # keeps _bytes alive
    cdef uint8_t* _bytes        # the file's bytes from _first on, _have of them
    cdef uint64_t _first, _have
    cdef bint _busy             # a method is running

    def __cinit__(self, *args, **kwargs):
        self._piece = new_block(PIECE)
        self._bytes = self._piece.ptr
        self._fd = -1

    @cython.final
    cdef int _open(self, int fd, uint64_t size, str name) except -1:
        if self._name is not None:
            raise TypeError(f"a {type(self).__name__} is made once")
        self._fd, self._size, self._name = fd, size, name or ""
        return 0

    @cython.final
    cdef int _enter(self) except -1:
        if self._name is None:
            raise ValueError(f"this {type(self).__name__} was never made")
        if self._busy:
            raise RuntimeError(f"another thread is using this {type(self).__name__}: one at a time")
        self._busy = True
        return 0

    @cython.final
    cdef const uint8_t* _look(self, uint64_t at, uint64_t size) noexcept nogil:
        """Return a pointer to `size` bytes at offset `at`; NULL if the file ends before or cannot be read.

        `size` must be at most PIECE.
        """
        if at < self._first or size > self._have or at - self._first > self._have - size:
            if not self._read(at) or size > self._have:
                return NULL
        return self._bytes + (at - self._first)

    @cython.final
    cdef bint _read(self, uint64_t at) noexcept nogil:
        """Fill the buffer from offset `at` on. After a failure never read again: errno keeps the reason."""
        cdef Py_ssize_t got = 0
        cdef uint64_t have = 0
        if self._failed:
            return False
        while at < self._size and have < PIECE:
            got = c_pread(self._fd, self._bytes + have, PIECE - have, <long long> (at + have))
            if got < 0 and errno == EINTR:
                continue
            if got <= 0:
                break
            have += <uint64_t> got
        self._first, self._have = at, have
        self._failed = got < 0
        return not self._failed

    @cython.final
    cdef int _check(self) except -1:
        """Raise OSError if a read failed; errno still has the reason, because nothing was called since."""
        if self._failed:
            raise_errno("pread", self._name)
        return 0


@cython.final
cdef class RecordBoundaries(_Pieces):
    """Finder of record boundaries in a classic pcap file.

    Parameters
    ----------
    fd : int
        Descriptor of the file. It is read with pread, and stays the caller's.
    size : int
        Size of the file in bytes. Bytes after that are ignored.
    name : str
        Name of the file, for errors.
    decoder : PcapDecoder
        A decoder made from the file's header.
    """

    cdef RecordLayout _layout
    cdef uint32_t _second       # one second in units of the timestamp's fraction
    cdef Block _ring            # keeps _live alive
    cdef uint64_t* _live        # bitmap of the next RING offsets: 1 if a chain goes through

    def __init__(self, int fd, uint64_t size, str name, PcapDecoder decoder not None):
        if decoder._layout.header_len == 0:
            raise ValueError(NEVER_MADE)
        self._open(fd, size, name)
        self._layout = decoder._layout
        self._second = NANOSECONDS // decoder.resolution
        self._ring = new_block(RING // 8)
        self._live = <uint64_t*> self._ring.ptr

    def find(self, uint64_t start, uint64_t wanted, bint exact=False):
        """Find a record boundary at or shortly after `wanted`.

        Parameters
        ----------
        start : int
            Offset of a record before `wanted`.
        wanted : int
            Offset in the file, in bytes.
        exact : bool, default False
            True: always walk all records from `start`. False: resynchronise at `wanted` if that is faster,
            which relies on regular headers.

        Returns
        -------
        int or None
            Offset of the start of a record; None if the file, or its valid part, ends before.

        Raises
        ------
        OSError
            The file cannot be read.
        """
        cdef uint64_t found = 0
        self._enter()
        with nogil:
            if not exact and wanted - start >= WORTH_A_PROOF and self._layout.max_caplen <= MAX_CAPLEN:
                found = self._prove(wanted)
            if found == 0:
                found = self._walk(start, wanted)
        self._busy = False
        self._check()
        return found or None

    def prove(self, uint64_t wanted):
        """Find a record boundary after `wanted` by resynchronisation only; see the module's docstring.

        Parameters
        ----------
        wanted : int
            Offset in the file, in bytes.

        Returns
        -------
        int or None
            Offset of the start of a record; None if only a walk from the start of the file could tell.

        Raises
        ------
        OSError
            The file cannot be read.
        """
        cdef uint64_t found = 0
        self._enter()
        if self._layout.max_caplen <= MAX_CAPLEN:
            with nogil:
                found = self._prove(wanted)
        self._busy = False
        self._check()
        return found or None

    cdef inline uint64_t _next(self, uint64_t at, bint sound) noexcept nogil:
        """Return the offset of the record after the one at `at`.

        0 if a reader ends at `at`; with `sound`, also if the header there is not regular.
        """
        cdef const uint8_t* p = self._look(at, self._layout.header_len)
        return 0 if p is NULL else self._behind(p, at, sound)

    cdef inline uint64_t _behind(self, const uint8_t* p, uint64_t at, bint sound) noexcept nogil:
        """Do the work of `_next` for a header that was read to `p`."""
        cdef PcapRecordHeader h
        read_record(&self._layout, p, &h)
        if h.caplen > self._layout.max_caplen:
            return 0
        if sound and (h.caplen > h.len or h.len > MOST_LEN or h.fraction >= self._second):
            return 0
        return at + self._layout.header_len + h.caplen

    cdef uint64_t _walk(self, uint64_t at, uint64_t wanted) noexcept nogil:
        """Return the first boundary at or after `wanted` on the chain of `at`; 0 if the chain ends before."""
        while 0 < at < wanted:
            at = self._next(at, False)
        return at if at < self._size else 0

    cdef uint64_t _prove(self, uint64_t wanted) noexcept nogil:
        """Resynchronise at `wanted`: return the offset of the only chain left; 0 if there is no result."""
        cdef uint64_t window_end = wanted + self._layout.header_len + self._layout.max_caplen
        cdef uint64_t limit = min(window_end + MOST_SWEPT, self._size)
        cdef uint64_t at
        cdef uint32_t live
        if window_end >= self._size:
            return 0
        memset(self._live, 0, RING // 8)
        live = self._start_all(wanted, window_end)
        at = self._next_live(window_end, limit)
        while live > 1 and at < limit:
            live -= 1
            self._drop(at)
            live += self._add(self._next(at, True), window_end)
            at = self._next_live(at + 1, limit)
        return at if live == 1 and at < limit and self._goes_on(at) else 0

    cdef bint _goes_on(self, uint64_t at) noexcept nogil:
        """Return True if the next CONFIRMING headers of the chain are regular."""
        for _ in range(CONFIRMING):
            at = self._next(at, True)
            if at == 0:
                return False
        return True

    cdef uint32_t _start_all(self, uint64_t at, uint64_t window_end) noexcept nogil:
        """Start a chain at each byte of the window and move it one step; return the number of live offsets.

        A step that ends within the window ends where another chain starts, so the chains merge there.
        """
        cdef uint32_t live = 0
        cdef uint64_t end
        cdef const uint8_t* p
        while at < window_end:
            p = self._look(at, self._layout.header_len)
            if p is NULL:
                break
            end = min(window_end, self._first + self._have - self._layout.header_len + 1)
            while at < end:
                live += self._add(self._behind(p, at, True), window_end)
                p += 1
                at += 1
        return live

    cdef inline uint32_t _add(self, uint64_t to, uint64_t window_end) noexcept nogil:
        """Mark `to` as live; return 1 if it is after the window and was not marked yet, else 0."""
        cdef uint64_t* word = self._word(to)
        cdef uint64_t bit = <uint64_t> 1 << to % WORD
        if to < window_end or word[0] & bit:
            return 0
        word[0] |= bit
        return 1

    cdef inline void _drop(self, uint64_t at) noexcept nogil:
        cdef uint64_t* word = self._word(at)
        word[0] &= ~(<uint64_t> 1 << at % WORD)

    cdef inline uint64_t* _word(self, uint64_t at) noexcept nogil:
        return &self._live[at // WORD % (RING // WORD)]

    cdef inline uint64_t _next_live(self, uint64_t at, uint64_t limit) noexcept nogil:
        """Return the lowest live offset from `at` on; `limit` if there is none before it."""
        cdef uint64_t bits
        while at < limit:
            bits = self._word(at)[0] >> at % WORD
            if bits:
                return min(at + trailing_zeros(bits), limit)
            at += WORD - at % WORD
        return limit


cdef enum Stop:
    STOP_END            # end of the file, or of its readable part
    STOP_PACKET         # at a packet that may be the first of a part
    STOP_DESCRIPTION    # at a section header or interface description


@cython.final
cdef class BlockBoundaries(_Pieces):
    """Walker of the blocks of a pcapng file, which reads only their heads.

    Parameters
    ----------
    fd : int
        Descriptor of the file. It is read with pread, and stays the caller's.
    size : int
        Size of the file in bytes. Bytes after that are ignored.
    name : str
        Name of the file, for errors.

    Attributes
    ----------
    position : int
        Offset of the current block in the file.
    length : int
        Length of the current block in bytes.
    """

    cdef readonly uint64_t position
    cdef readonly uint64_t length
    cdef bint _swapped
    cdef bint _any      # this part has a packet already

    def __init__(self, int fd, uint64_t size, str name):
        self._open(fd, size, name)

    def walk(self, uint64_t wanted):
        """Walk from the block after the current one to the next block that the caller must see.

        Parameters
        ----------
        wanted : int
            Offset from which on the next part may start, at a packet that is not the first of the current
            part.

        Returns
        -------
        {"packet", "description"} or None
            "packet": the next part may start here. "description": a section header or interface description.
            None: the file ends, or its next block has an invalid head.

        Raises
        ------
        OSError
            The file cannot be read.
        """
        cdef Stop stop
        self._enter()
        with nogil:
            stop = self._walk(wanted)
        self._busy = False
        self._check()
        if stop == STOP_END:
            return None
        return "packet" if stop == STOP_PACKET else "description"

    cdef Stop _walk(self, uint64_t wanted) noexcept nogil:
        cdef PcapngBlock block
        cdef uint64_t at = self.position + self.length
        while self._head(at, &block):
            self.position, self.length = at, block.length
            if block.type == PCAPNG_PACKET or block.type == PCAPNG_SIMPLE or block.type == PCAPNG_OLD_PACKET:
                if self._any and at >= wanted:
                    return STOP_PACKET
                self._any = True
            elif block.type == PCAPNG_SECTION or block.type == PCAPNG_INTERFACE:
                return STOP_DESCRIPTION
            at += block.length
        return STOP_END

    cdef bint _head(self, uint64_t at, PcapngBlock* block) noexcept nogil:
        """Read the head of the block at `at` (draft-ietf-opsawg-pcapng, section 3.1).

        Return False if it is not valid, or the file does not contain the whole block.
        """
        cdef const uint8_t* p = self._look(at, MIN_BLOCK)
        return (
            p is not NULL and read_block_head(p, &self._swapped, block)
            and is_block_length(block.length) and block.length <= self._size - at)
