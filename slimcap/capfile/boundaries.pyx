"""Where a capture file can be cut in two, between packets: for readers that start in the middle of it.

Neither format has marks to look for: the length of a record or block is all that leads to the next. In
pcapng, what says how to read packets may come anywhere, so that its blocks are walked from the first on. Of
a classic pcap file, most need not be looked at:

    w                        w + R
    ├─ a candidate each byte ─┤            y
    ╰──►──────►───────►───────┼──►───►─────►    the way of reading: where it comes to is not known …
      ╰─►─╳       ╰──►────────┼────────────╯    … until all others have ended, or met with it

Reading is a walk from a record at x to the next at x + header + caplen. No step is longer than R, so that a
way that is before w has a record in [w, w + R). All bytes of that are walked from at once, in increasing
order; ways that meet are one from then on. A way ends at a header that no record has: with caplen > len, a
second or more of fraction, a length out of all reason (draft-ietf-opsawg-pcap, section 5). When the window
is behind and a single way is left, reading is on it: proven, whatever the packets' bytes are, if the records
that reading comes to from w on have headers as they should. Whether they have is not left open: who reads up
to y comes to y exactly, or to an error. Packets that are captures themselves may keep ways apart; then the
file is walked.

Without that condition no proof is cheaper than a walk through all records before w. Where packets are whole,
caplen and len are the same: four bytes behind the start of each record is another that a reader would take,
and it leads to four bytes behind the start of the next. Nothing from w on contradicts it but its form.
"""
cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from slimcap.abi.bytes cimport trailing_zeros
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
from slimcap.capfile.pcap_decoder cimport PcapDecoder, RecordLayout, read_record
from slimcap.capfile.pcapng_decoder cimport MIN_BLOCK, is_block_length, read_block_head
from slimcap.io.event cimport raise_errno
from slimcap.packet.lease cimport Block, new_block

cdef enum:
    PIECE = 1 << 19             # bytes to read at a time
    RING = 1 << 19              # places that may be alive at once: more than a step is long
    WORD = 64
    MOST_SWEPT = 4 << 20        # bytes in which ways have to end or to meet
    CONFIRMING = 32             # records that the last way has to go on through
    MOST_LEN = 16 << 20         # of a packet on the wire: four bytes of anything else are mostly more
    WORTH_A_PROOF = 4 << 20     # bytes that are walked faster than a place is proven


@cython.internal
cdef class _Pieces:
    """Part of a file, which others keep open, wherever it is looked at next."""

    cdef int _fd
    cdef str _name
    cdef uint64_t _size
    cdef bint _failed           # a read
    cdef Block _piece           # keeps _bytes alive
    cdef uint8_t* _bytes        # the file's bytes from _first on, _have of them
    cdef uint64_t _first, _have

    def __cinit__(self, *args, **kwargs):
        self._piece = new_block(PIECE)
        self._bytes = self._piece.ptr

    @cython.final
    cdef const uint8_t* _look(self, uint64_t at, uint64_t size) noexcept nogil:
        """`size` bytes from `at` on, few of them; NULL if the file ends before, or cannot be read."""
        if at < self._first or at + size > self._first + self._have:
            if not self._read(at) or size > self._have:
                return NULL
        return self._bytes + (at - self._first)

    @cython.final
    cdef bint _read(self, uint64_t at) noexcept nogil:
        """Read a piece from `at` on; never again once that failed, so that errno still says why."""
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
        """Raise what a read met with; nothing was done since."""
        if self._failed:
            raise_errno("pread", self._name)
        return 0


@cython.final
cdef class RecordBoundaries(_Pieces):
    """Finds where records of a classic pcap file start.

    Parameters
    ----------
    fd : int
        The file; stays the caller's.
    size : int
        Its size: what is behind that is not looked at.
    name : str
        Its name, for errors.
    decoder : PcapDecoder
        Made from its header.
    """

    cdef RecordLayout _layout
    cdef uint32_t _second       # in units of the fraction of a timestamp
    cdef Block _ring            # keeps _live alive
    cdef uint64_t* _live        # a bit for each of the next RING places: a way goes through it

    def __init__(self, int fd, uint64_t size, str name, PcapDecoder decoder not None):
        self._fd, self._size, self._name = fd, size, name
        self._layout = decoder._layout
        self._second = 1_000_000_000 // decoder.resolution
        self._ring = new_block(RING // 8)
        self._live = <uint64_t*> self._ring.ptr

    def find(self, uint64_t start, uint64_t wanted, bint exact=False):
        """A place from `wanted` on where a record starts, near it.

        Parameters
        ----------
        start : int
            The start of a record before `wanted`.
        wanted : int
            Where the caller would like one.
        exact : bool
            Walk from `start`, even if a proof would be cheaper: it takes the headers' form for granted.

        Returns
        -------
        int or None
            None if reading ends before, or there is no more in the file.
        """
        cdef uint64_t found = 0
        with nogil:
            if not exact and wanted - start >= WORTH_A_PROOF and self._layout.most_caplen <= MAX_CAPLEN:
                found = self._prove(wanted)
            if found == 0:
                found = self._walk(start, wanted)
        self._check()
        return found or None

    def prove(self, uint64_t wanted):
        """A place behind `wanted` where a record starts, found from there: see above.

        Returns
        -------
        int or None
            None if there is no telling without a walk from the start of the file.
        """
        cdef uint64_t found = 0
        if self._layout.most_caplen <= MAX_CAPLEN:
            with nogil:
                found = self._prove(wanted)
        self._check()
        return found or None

    cdef inline uint64_t _next(self, uint64_t at, bint sound) noexcept nogil:
        """Where the record behind that at `at` starts; 0 if reading ends there, and if `sound`, also if the
        header there is not as it should be."""
        cdef const uint8_t* p = self._look(at, self._layout.header_len)
        return 0 if p is NULL else self._behind(p, at, sound)

    cdef inline uint64_t _behind(self, const uint8_t* p, uint64_t at, bint sound) noexcept nogil:
        """`_next`, of what was read to `p`."""
        cdef PcapRecordHeader h
        read_record(&self._layout, p, &h)
        if h.caplen > self._layout.most_caplen:
            return 0
        if sound and (h.caplen > h.len or h.len > MOST_LEN or h.fraction >= self._second):
            return 0
        return at + self._layout.header_len + h.caplen

    cdef uint64_t _walk(self, uint64_t at, uint64_t wanted) noexcept nogil:
        """From record to record, up to the first from `wanted` on; 0 if it ends before."""
        while 0 < at < wanted:
            at = self._next(at, False)
        return at if at < self._size else 0

    cdef uint64_t _prove(self, uint64_t wanted) noexcept nogil:
        """Where the way is that alone is left of all from the window at `wanted`; 0 if there is none."""
        cdef uint64_t behind = wanted + self._layout.header_len + self._layout.most_caplen
        cdef uint64_t limit = min(behind + MOST_SWEPT, self._size)
        cdef uint64_t at
        cdef uint32_t live
        if behind >= self._size:
            return 0
        memset(self._live, 0, RING // 8)
        live = self._start_all(wanted, behind)
        at = self._next_live(behind, limit)
        while live > 1 and at < limit:
            live -= 1
            self._drop(at)
            live += self._add(self._next(at, True), behind)
            at = self._next_live(at + 1, limit)
        return at if live == 1 and at < limit and self._goes_on(at) else 0

    cdef bint _goes_on(self, uint64_t at) noexcept nogil:
        """Whether a way does not end soon."""
        for _ in range(CONFIRMING):
            at = self._next(at, True)
            if at == 0:
                return False
        return True

    cdef uint32_t _start_all(self, uint64_t at, uint64_t behind) noexcept nogil:
        """Go a step from each place of the window; to how many places behind it that leads.

        A step that ends in the window ends where another way starts.
        """
        cdef uint32_t live = 0
        cdef uint64_t end
        cdef const uint8_t* p
        while at < behind:
            p = self._look(at, self._layout.header_len)
            if p is NULL:
                break
            end = min(behind, self._first + self._have - self._layout.header_len + 1)
            while at < end:
                live += self._add(self._behind(p, at, True), behind)
                p += 1
                at += 1
        return live

    cdef inline uint32_t _add(self, uint64_t to, uint64_t behind) noexcept nogil:
        """1 if `to` is a place behind the window that no way led to yet."""
        cdef uint64_t* word = self._word(to)
        cdef uint64_t bit = <uint64_t> 1 << to % WORD
        if to < behind or word[0] & bit:
            return 0
        word[0] |= bit
        return 1

    cdef inline void _drop(self, uint64_t at) noexcept nogil:
        cdef uint64_t* word = self._word(at)
        word[0] &= ~(<uint64_t> 1 << at % WORD)

    cdef inline uint64_t* _word(self, uint64_t at) noexcept nogil:
        return &self._live[at // WORD % (RING // WORD)]

    cdef inline uint64_t _next_live(self, uint64_t at, uint64_t limit) noexcept nogil:
        """The first place from `at` on that a way goes through; `limit` if there is none before that."""
        cdef uint64_t bits
        while at < limit:
            bits = self._word(at)[0] >> at % WORD
            if bits:
                return min(at + trailing_zeros(bits), limit)
            at += WORD - at % WORD
        return limit


cdef enum Stop:
    STOP_END            # of the file, or of what can be read of it
    STOP_PACKET         # at one that a part may start with
    STOP_DESCRIPTION    # at a section header or interface description


@cython.final
cdef class BlockBoundaries(_Pieces):
    """Walks the blocks of a pcapng file; only their heads are looked at.

    Parameters
    ----------
    fd : int
        The file; stays the caller's.
    size : int
        Its size: what is behind that is not looked at.
    name : str
        Its name, for errors.

    Attributes
    ----------
    position : int
        Where the block starts that the walk is at.
    length : int
        Its length.
    """

    cdef readonly uint64_t position
    cdef readonly uint64_t length
    cdef bint _swapped
    cdef bint _any      # packets passed: the part has its first

    def __init__(self, int fd, uint64_t size, str name):
        self._fd, self._size, self._name = fd, size, name

    def walk(self, uint64_t wanted):
        """Go on behind the last block, up to one that the caller has to look at.

        Parameters
        ----------
        wanted : int
            The next part may start from there on, with a packet that is not the first of this part.

        Returns
        -------
        str or None
            "packet", where a part may start; "description", a section header or interface description; None
            at the end, or where reading ends because of what the head of a block says.
        """
        cdef Stop stop
        with nogil:
            stop = self._walk(wanted)
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
        """The head of the block at `at` (draft-ietf-opsawg-pcapng, section 3.1), if all of it is there."""
        cdef const uint8_t* p = self._look(at, MIN_BLOCK)
        return (
            p is not NULL and read_block_head(p, &self._swapped, block)
            and is_block_length(block.length) and block.length <= self._size - at)
