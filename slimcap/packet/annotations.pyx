"""`Annotations`: what a pcapng file has besides packets.

    options of packets:         runs (row, at, size) ──► values: options as in a file, packet after packet
    blocks between packets:     (row, block)

Few packets have options that are worth keeping, so there is a run only for those that do.
"""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy

from slimcap.abi.pcap_format cimport OPTION_COMMENT, PACKET_DROPS, PCAPNG_PACKET, PcapngOption
from slimcap.packet.lease cimport new_block
from slimcap.packet.options cimport (
    comment_options,
    comments_of,
    cost_of,
    encode_option,
    is_private,
    next_option,
    put_option,
    swap_value,
)

from collections.abc import Iterable, Mapping
from operator import index as as_index

import numpy as np

from slimcap.errors import wrong_type
from slimcap.packet.interface import OtherBlock, SectionInfo, Statistics

# Classes of blocks; an int stands for the description of the interface of that number.
cdef tuple KINDS = (OtherBlock, Statistics, SectionInfo, int)

cdef enum:
    OWN_SIZE = 2 * sizeof(PcapngOption) + sizeof(uint64_t) + sizeof(Instant)    # drops and a time
    BLOCK_COST = 256            # bytes that a block takes besides its own


@cython.final
cdef class Annotations:
    """Options of packets and blocks between packets, by row. Once a batch has them they do not change."""

    def __cinit__(self):
        self._runs, self._values, self.blocks = new_block(0), new_block(0), []

    # Making them.

    cdef int reserve(self, Py_ssize_t runs, uint64_t size) except -1:
        """Reserve memory for more runs, whose options take `size` bytes together, and for what `keep` adds.
        """
        cdef uint64_t run_bytes = (self._count + runs) * sizeof(OptionRun)
        cdef uint64_t values = self._used + size + OWN_SIZE
        if run_bytes > <uint64_t> self._runs.size:
            self._runs.resize(2 * run_bytes)
        if values > <uint64_t> self._values.size:
            self._values.resize(values + self._used)
        return 0

    cdef int _reserve_for(self, Annotations other) except -1:
        """Reserve memory for all options of others."""
        cdef Py_ssize_t index
        cdef uint64_t size = 0
        with nogil:
            for index in range(other._count):
                size += (<const OptionRun*> other._runs.ptr)[index].size
        return self.reserve(other._count, size)

    cdef bint keep(
            self, int64_t row, Options options, int64_t drops, const Instant* clamped) noexcept nogil:
        """Keep the options of a packet, its number of drops if that is not -1, and its time if not NULL.

        The rows must be given in order. Options that must not be copied to another file are left out. Return
        False if `reserve` has to be called before.
        """
        cdef PcapngOption option
        cdef const uint8_t* value
        cdef uint8_t* start = self._values.ptr + self._used
        cdef uint8_t* out = start
        cdef uint8_t* end
        if (<uint64_t> self._runs.size < (self._count + 1) * sizeof(OptionRun)
                or <uint64_t> self._values.size < self._used + options.left + OWN_SIZE):
            return False
        while next_option(&options, &option, &value):
            if is_private(option.code):
                continue
            end = put_option(out, option.code, value, option.length)
            if options.swapped:
                swap_value(PCAPNG_PACKET, option.code, out + sizeof(option), option.length)
            out = end
        if drops >= 0:
            out = put_option(out, PACKET_DROPS, &drops, sizeof(drops))
        if clamped is not NULL:
            out = put_option(out, CLAMPED_TIME, clamped, sizeof(Instant))
        self._append(row, out - start)
        return True

    cdef int keep_options(self, int64_t row, bytes encoded) except -1:
        """Keep options that are encoded already. The rows must be given in order."""
        self.reserve(1, len(encoded))
        memcpy(self._values.ptr + self._used, <const char*> encoded, len(encoded))
        self._append(row, len(encoded))
        return 0

    cdef void _append(self, int64_t row, uint64_t size) noexcept nogil:
        """Append a run of the next `size` bytes, which were written; of none if there are none."""
        cdef OptionRun* run = <OptionRun*> self._runs.ptr + self._count
        if size:
            run.row, run.at, run.size = row, self._used, size
            self._count = self._count + 1
            self._used = self._used + size

    cdef int add(self, Annotations other, int64_t shift) except -1:
        """Append those of other rows, which come later, their row numbers raised by `shift`."""
        cdef Py_ssize_t index
        cdef const OptionRun* run
        self._reserve_for(other)
        with nogil:
            for index in range(other._count):
                run = <const OptionRun*> other._runs.ptr + index
                self._copy(run, other, run.row + shift)
        self.blocks += [(row + shift, block) for row, block in other.blocks]
        return 0

    cdef Annotations renumbered(self, list numbers, Py_ssize_t known):
        """Return the same with other numbers of interfaces: `numbers[i]` for i.

        Descriptions of interfaces below `known` are left out.
        """
        blocks = []
        new = dict(enumerate(numbers))
        for row, block in self.blocks:
            if isinstance(block, int):
                block = new.get(block, block)
                if block < known:
                    continue
            elif isinstance(block, Statistics):
                block = block._replace(interface=new.get(block.interface, block.interface))
            elif isinstance(block, SectionInfo):
                block = block._replace(first_interface=new.get(block.first_interface, block.first_interface))
            blocks.append((row, block))
        return other_blocks(self, blocks)

    cdef int add_at(self, Annotations other, const int64_t[::1] places) except -1:
        """Append those of other rows, of which row i becomes `places[i]`. `sort` has to follow."""
        cdef Py_ssize_t index, place, end = places.shape[0]
        cdef const OptionRun* run
        self._reserve_for(other)
        with nogil:
            for index in range(other._count):
                run = <const OptionRun*> other._runs.ptr + index
                if run.row < end:
                    self._copy(run, other, places[run.row])
        for row, block in other.blocks:
            place = row
            if end:
                place = places[place] if place < end else places[end - 1] + 1
            self.blocks.append((place if end else 0, block))
        return 0

    cdef void _copy(self, const OptionRun* run, Annotations owner, int64_t row) noexcept nogil:
        """Append the options of another packet as those of `row`, in reserved memory."""
        memcpy(self._values.ptr + self._used, owner._values.ptr + run.at, run.size)
        self._append(row, run.size)

    cdef int sort(self) except -1:
        """Bring runs and blocks that were not added in order of their rows into this order."""
        with nogil:
            qsort(self._runs.ptr, self._count, sizeof(OptionRun), _by_row)
        self.blocks.sort(key=_row_of)
        return 0

    # Those of some rows.

    cdef Annotations part(self, int64_t start, int64_t stop, bint last):
        """Return those of the rows from `start` to `stop`; the row `start` becomes row 0.

        If that is the `last` part, also the blocks after its last row. None if there are no annotations.
        """
        cdef Annotations found = Annotations.__new__(Annotations)
        cdef Py_ssize_t first = self.find(start), count = self.find(stop) - first, index
        cdef OptionRun* runs
        found.blocks = [
            (row - start, block) for row, block in self.blocks
            if start <= row < stop or last and row == stop]
        if count > 0:
            found._values, found._used, found._count = self._values, self._used, count
            found._runs.resize(count * sizeof(OptionRun))
            runs = <OptionRun*> found._runs.ptr
            memcpy(runs, <OptionRun*> self._runs.ptr + first, count * sizeof(OptionRun))
            for index in range(count):
                runs[index].row -= start
        return found if count > 0 or found.blocks else None

    cdef Annotations take(self, object rows):
        """Return those of the given rows, an array of int64; `rows[i]` becomes row i.

        Blocks stay before the first row that follows them. None if there are no annotations.
        """
        cdef Annotations found = Annotations.__new__(Annotations)
        cdef const int64_t[::1] numbers = np.ascontiguousarray(rows, np.int64)
        cdef Py_ssize_t index, count = 0, most = numbers.shape[0] if self._count else 0
        cdef const OptionRun* run
        cdef OptionRun* runs
        found._runs.resize(most * sizeof(OptionRun))  # a row may occur several times
        runs = <OptionRun*> found._runs.ptr
        with nogil:
            for index in range(most):
                run = self.run_of(numbers[index])
                if run is not NULL:
                    runs[count] = run[0]
                    runs[count].row = index
                    count += 1
        found._runs.resize(count * sizeof(OptionRun))
        found._values, found._used, found._count = self._values, self._used, count
        if self.blocks:
            highest = np.maximum.accumulate(numbers) if numbers.shape[0] else numbers
            places = np.searchsorted(highest, [row for row, _ in self.blocks]).tolist()
            found.blocks = [(place, block) for place, (_, block) in zip(places, self.blocks, strict=True)]
        return found if count or found.blocks else None

    # Reading them.

    cdef Py_ssize_t find(self, int64_t row) noexcept nogil:
        """Return the index of the first run at `row` or after it."""
        cdef const OptionRun* runs = <const OptionRun*> self._runs.ptr
        cdef Py_ssize_t low = 0, high = self._count, middle
        while low < high:
            middle = low + (high - low) // 2
            if runs[middle].row < row:
                low = middle + 1
            else:
                high = middle
        return low

    cdef const OptionRun* run_of(self, int64_t row) noexcept nogil:
        """Return the run of a row, or NULL."""
        cdef const OptionRun* run = <const OptionRun*> self._runs.ptr + self.find(row)
        if run == <const OptionRun*> self._runs.ptr + self._count or run.row != row:
            return NULL
        return run

    cdef const OptionRun* longer_than(self, uint64_t size) noexcept:
        """Return the first run of more than `size` bytes, or NULL."""
        cdef const OptionRun* run = <const OptionRun*> self._runs.ptr
        cdef const OptionRun* end = run + self._count
        with nogil:
            while run != end and run.size <= size:
                run += 1
        if run == end:
            return NULL
        return run

    cdef Options options_of(self, const OptionRun* run) noexcept nogil:
        cdef Options options
        options.at, options.left, options.swapped = self._values.ptr + run.at, run.size, False
        return options

    cdef bint instant_of(self, const OptionRun* run, Instant* instant) noexcept nogil:
        """Read the time that is the last option of a run; return False if it is another one."""
        cdef PcapngOption option
        cdef const uint8_t* at
        if run.size < sizeof(option) + sizeof(Instant):
            return False
        at = self._values.ptr + run.at + run.size - sizeof(option) - sizeof(Instant)
        memcpy(&option, at, sizeof(option))
        memcpy(instant, at + sizeof(option), sizeof(Instant))
        return option.code == CLAMPED_TIME and option.length == sizeof(Instant)

    cdef list _list(self, const OptionRun* run):
        """Return the options of a run, a list of (code, value)."""
        cdef Options options = self.options_of(run)
        cdef PcapngOption option
        cdef const uint8_t* value
        found = []
        while next_option(&options, &option, &value):
            found.append((option.code, value[:option.length]))
        return found

    cdef object comment(self, int64_t row):
        """Return the comments on a packet, one per line; None if there are none."""
        cdef const OptionRun* run = self.run_of(row)
        return None if run is NULL else comments_of(self.options_of(run))

    cdef dict comments(self):
        """Return the comments by row."""
        cdef Py_ssize_t index
        cdef const OptionRun* run
        found = {}
        for index in range(self._count):
            run = <const OptionRun*> self._runs.ptr + index
            text = comments_of(self.options_of(run))
            if text is not None:
                found[run.row] = text
        return found

    cdef tuple count_options(self):
        """Return the number of packets with comments, and that of options that are not comments."""
        cdef Py_ssize_t index
        cdef PcapngOption option
        cdef const uint8_t* value
        cdef Options options
        cdef uint64_t commented = 0, others = 0
        cdef bint comment
        with nogil:
            for index in range(self._count):
                options = self.options_of(<const OptionRun*> self._runs.ptr + index)
                comment = False
                while next_option(&options, &option, &value):
                    comment |= option.code == OPTION_COMMENT
                    others += option.code != OPTION_COMMENT
                commented += comment
        return commented, others

    def __reduce__(self):
        runs = np.frombuffer(self._runs, _RUN, self._count) if self._count else np.empty(0, _RUN)
        return _restore, (runs.tobytes(), (<const char*> self._values.ptr)[:self._used], self.blocks)


_RUN = np.dtype([("row", "i8"), ("at", "u8"), ("size", "u8")])


cdef int _by_row(const void* a, const void* b) noexcept nogil:
    cdef int64_t first = (<const OptionRun*> a).row, second = (<const OptionRun*> b).row
    return (first > second) - (first < second)


cdef object _row_of(pair):
    return pair[0]


def _restore(bytes runs, bytes values, list blocks):
    """Return the annotations that were pickled."""
    cdef Annotations found = Annotations.__new__(Annotations)
    cdef uint64_t at, size
    for row, at, size in np.frombuffer(runs, _RUN).tolist():
        if at > <uint64_t> len(values) or size > len(values) - at:
            raise ValueError("damaged annotations: options outside of their bytes")
        found.keep_options(row, values[at:at + size])
    found.blocks = blocks
    return found


cdef Annotations with_comments(Annotations own, object comments, int64_t count):
    """Return annotations of `count` rows with these comments instead of those of `own`, which may be None.

    Raises
    ------
    ValueError
        There is no such row, or a line of a comment is longer than 65535 bytes.
    TypeError
        A row is not an int, or a comment is not a str.
    """
    cdef Annotations found = Annotations.__new__(Annotations)
    cdef const OptionRun* run
    cdef Py_ssize_t index
    if not isinstance(comments, Mapping):
        raise wrong_type("comments", "a mapping of row to str", comments)
    by_row = {}
    for key, texts in comments.items():
        row = as_index(key)
        if not 0 <= row < count:
            raise ValueError(f"a comment on packet {row} of {count}: packets are numbered from 0")
        for text in [texts] if isinstance(texts, str) else texts:
            if not isinstance(text, str):
                raise wrong_type("each of comments", "a str", text)
            by_row.setdefault(row, []).extend(comment_options(text, f"the comment on packet {row}"))
    if own is not None:
        found.blocks = own.blocks
        for index in range(own._count):
            run = <const OptionRun*> own._runs.ptr + index
            others = [option for option in own._list(run) if option[0] != OPTION_COMMENT]
            by_row.setdefault(run.row, []).extend(others)
    for row, options in sorted(by_row.items()):
        found.keep_options(row, b"".join([encode_option(code, value) for code, value in options]))
    return found if found._count or found.blocks else None


cdef int64_t block_cost(object block) except -1:
    """Return the number of bytes that a block takes of an allowance, roughly.

    Descriptions of interfaces, of which there are at most 65,535, take nothing.
    """
    if isinstance(block, int):
        return 0
    return BLOCK_COST + (len(block.body) if isinstance(block, OtherBlock) else cost_of(block.options))


cdef Annotations other_blocks(Annotations own, list blocks):
    """Return annotations with these blocks instead of those of `own`, which may be None; None if empty."""
    cdef Annotations found = Annotations.__new__(Annotations)
    found.blocks = blocks
    if own is not None:
        found._runs, found._count, found._values, found._used = own._runs, own._count, own._values, own._used
    return found if found._count or blocks else None


cdef Annotations after_blocks(list blocks, Annotations own):
    """Return annotations with more blocks before the first row; `own` may be None."""
    if not blocks:
        return own
    return other_blocks(own, [(0, block) for block in blocks] + ([] if own is None else own.blocks))


cdef Annotations with_blocks(Annotations own, object blocks, int64_t count):
    """Return annotations of `count` rows with these blocks instead of those of `own`, which may be None.

    Raises
    ------
    ValueError
        There is no such row.
    TypeError
        An item is not a row and a block.
    """
    cdef list found = []
    if not isinstance(blocks, Iterable):
        raise wrong_type("blocks", "an iterable of (row, block)", blocks)
    for item in blocks:
        if not isinstance(item, tuple) or len(item) != 2 or not isinstance(item[1], KINDS):
            raise wrong_type("each of blocks", "a tuple of row and block", item)
        row = as_index(item[0])
        if not 0 <= row <= count:
            raise ValueError(f"a block before packet {row} of {count}")
        found.append((row, item[1]))
    found.sort(key=_row_of)
    return other_blocks(own, found)
