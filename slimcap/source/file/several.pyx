"""`FilesSource`: base class of sources of several files. It merges interface lists and sums up counters."""
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.capfile.decoder cimport MAX_SECTIONS
from slimcap.capfile.file_reader cimport BYTES_A_ROW, FileReader, open_reader
from slimcap.capfile.pcapng_fields cimport INTERFACE_TEXTS, SECTION_TEXTS
from slimcap.io.event cimport SIGNAL_END, deadline_after
from slimcap.io.watch cimport EndPolicy
from slimcap.packet.annotations cimport Annotations, after_blocks, block_cost, other_blocks
from slimcap.packet.lease cimport Block, Pool, new_block
from slimcap.packet.options cimport Allowance, cost_of
from slimcap.packet.record cimport MAX_INTERFACES, Record
from slimcap.packet.rows cimport Rows, blocks_batch, new_rows
from slimcap.source.base cimport Counters, ZeroCopySource

import os
from dataclasses import replace
from operator import add

from slimcap.errors import FileFormatError
from slimcap.packet.interface import OtherBlock
from slimcap.source.file.file_errors import FileErrors

cdef enum:
    MIN_ROWS = 64

# Counters of interface statistics, each with the function that combines those of several files.
cdef dict COUNTERS = {"received": add, "interface_dropped": add, "os_dropped": add, "start": min, "end": max}


@cython.final
cdef class Part:
    """One of the files of a FilesSource."""


cdef Part new_part(object file, Py_ssize_t order):
    cdef Part part = Part.__new__(Part)
    part.file = file
    part.name = os.fsdecode(file) if isinstance(file, (str, bytes, os.PathLike)) else repr(file)
    part.head.order = order
    return part


cdef class FilesSource(ZeroCopySource):
    """Base class of sources of several files. Open one with `slimcap.open_files`.

    `links` are the interfaces of all files, in the order in which they were found. Interfaces that several
    files describe alike, as in a rotated set, are one, except with `file_names`. An interface without a name
    gets the name of its file.
    """

    def __cinit__(self, *args, **kwargs):
        self._numbers, self._infos, self._open_parts = {}, [], set()
        self._interfaces = ()
        self._sections, self._late = {}, []
        self._unfilterable = {}
        self._described, self._pending, self._kept = Allowance(), Allowance(), Allowance()

    def __init__(self):
        raise TypeError("FilesSource is what sources of several files have in common: use slimcap.open_files")

    cdef int _set_up(self, dict options) except -1:
        """Lock the source, and keep its options. `_leave` has to follow."""
        cdef Pool row_blocks = Pool((options["block_size"] // BYTES_A_ROW + MIN_ROWS) * sizeof(Record))
        errors = FileErrors(options["on_error"])
        deadline_after(options["timeout"])
        self._begin_opening()
        self._initialised = True
        self._timeout, self._options = options["timeout"], options
        self._errors, self._row_blocks = errors, row_blocks
        return 0

    # A single file.

    cdef int _open_part(
            self, Part part, dict options, int64_t deadline, EndPolicy end=None, bint ahead=True) except -1:
        part.reader = open_reader(
            part.file, options, self._event, deadline, end, ahead, self._described, self._pending)
        part.name = part.reader.file.name
        part.numbers, part.known, part.seen, part.infos, part.counters = new_block(0), 0, {}, (), {}
        self._open_parts.add(part)
        if part.reader.decoder.sections and len(self._sections) < MAX_SECTIONS:
            if part.head.order not in self._sections:
                self._sections[part.head.order] = self._affordable(
                    part.reader.decoder.sections[0], SECTION_TEXTS)
        self._max_len = max(self._max_len, <Py_ssize_t> part.reader.decoder.max_cap_len)
        return self._number(part)

    cdef bint _read_part(self, Part part, int64_t deadline) except -1:
        """Read the next rows of an open file and renumber their interfaces; return False at its end."""
        cdef Rows rows
        part.rows = None
        part.head.next = part.head.end = 0
        rows = part.reader.next_rows(deadline)
        if rows is None:
            return False
        self._number(part)
        renumber(<Record*> rows.block.ptr, rows.count, <const uint32_t*> part.numbers.ptr)
        rows.annotations = only_others(rows.annotations)
        part.rows = rows
        part.head.rows, part.head.data = <const Record*> rows.block.ptr, rows.data.ptr
        part.head.end = rows.count
        part.head.time = part.head.rows[0].timestamp
        return True

    cdef int _number(self, Part part) except -1:
        """Assign our numbers to the interfaces that a file has described since the last call."""
        cdef tuple infos = part.reader.decoder.interfaces
        cdef Py_ssize_t before = len(self._infos)
        while part.known < len(infos):
            if part.numbers.size < <Py_ssize_t> ((part.known + 1) * sizeof(uint32_t)):
                part.numbers.resize(max(16, 2 * part.numbers.size))
            (<uint32_t*> part.numbers.ptr)[part.known] = self._number_as(part, infos[part.known])
            part.known += 1
        if infos is not part.infos:
            part.infos, part.counters = infos, _counters_of(part, infos)
        if len(self._infos) > before:
            # Both at once: another thread takes both.
            links = self._links + tuple([info.link for info in self._infos[before:]])
            interfaces = tuple(self._infos)
            self._links = links
            self._interfaces = interfaces
        return 0

    cdef int _number_as(self, Part part, object info) except -1:
        """Return our number for an interface.

        An interface that another file describes alike has the same number.
        """
        plain = info._replace(link=replace_index(info.link, 0), **dict.fromkeys(COUNTERS))
        if not self._options["file_names"]:
            plain = plain._replace(file_name="")
        if (plain, 1) not in self._numbers:
            plain = self._affordable(plain, INTERFACE_TEXTS)
        times = part.seen[plain] = part.seen.get(plain, 0) + 1
        number = self._numbers.setdefault((plain, times), len(self._infos))
        if number == MAX_INTERFACES:
            del self._numbers[plain, times]
            raise FileFormatError(
                f"with it the files have more than {MAX_INTERFACES:,} interfaces: open fewer at a time",
                part.name)
        if number == len(self._infos):
            self._infos.append(plain._replace(link=replace_index(info.link, number)))
        return number

    cdef object _affordable(self, object described, object texts):
        """Return a SectionInfo or InterfaceInfo, without options and texts if there is no memory for them."""
        if self._kept.take(cost_of(described.options)):
            return described
        self._options_left_out += len(described.options)
        names = [name for name in (*texts.values(), "comment") if name in described._fields]
        return described._replace(options=(), **dict.fromkeys(names, ""))

    cdef Rows _take_run(self, Part part, Py_ssize_t count):
        """Return the next rows of one file, without copying their bytes."""
        cdef Py_ssize_t first = part.head.next, size = count * sizeof(Record)
        cdef Block block
        cdef Rows rows = part.rows
        if first > 0 or count < rows.count:
            block = self._row_blocks.take() if size <= self._row_blocks.size else new_block(size)
            memcpy(block.ptr, part.head.rows + first, size)
            rows = new_rows(block, count, rows.data, rows.data_size, None)
            if part.rows.annotations is not None:
                rows.annotations = part.rows.annotations.part(
                    first, first + count, first + count == part.head.end)
        return self._complete(rows)

    cdef Rows _complete(self, Rows rows):
        """Add what rows of all files have: the interfaces, and blocks from the ends of files before."""
        rows.links, rows.interfaces = self._links, self._interfaces
        rows.annotations = after_blocks(self._late, rows.annotations)
        self._kept.left += self._late_size
        self._late, self._late_size = [], 0
        return rows

    cdef void _close_part(self, Part part) noexcept:
        """Close a file. It may be opened again."""
        if part.reader is not None:
            self._open_parts.discard(part)
            part.reader.close()
            part.reader = part.rows = part.numbers = part.seen = part.infos = part.counters = None
        part.head.next = part.head.end = 0

    cdef int _finish(self, Part part) except -1:
        """Close a file that was read to its end or failed, and keep its counters.

        Another thread may count at any time: it sees the file as open, or else its counters among ours.
        """
        cdef FileReader reader = part.reader
        cdef uint64_t dropped
        cdef dict counters
        cdef list infos, former = self._infos
        if reader is not None:
            self._unfilterable |= reader.unfilterable()
            self._keep_late(only_others(reader.trailer()))
            self._blocks_left_out += reader.blocks_left_out + reader.decoder.blocks_left_out
            self._options_left_out += reader.decoder.options_left_out
            counters = _counters_of(part, reader.decoder.interfaces)
            infos = former.copy() if counters else former
            add_counters(infos, counters)
            dropped = reader.decoder.count_dropped()
            # C only from here, and nothing is deallocated: no other call sees a part of it.
            self._left_out += reader.left_out
            self._dropped = saturating_sum(self._dropped, dropped)
            self._bytes += reader.file.position
            self._infos = infos
            self._open_parts.discard(part)
        self._close_part(part)
        return 0

    cdef int _keep_late(self, Annotations trailer) except -1:
        """Keep the blocks at the end of a file for the next rows, up to a limit."""
        if trailer is None:
            return 0
        for _, block in trailer.blocks:
            size = block_cost(block)
            if self._kept.take(size):
                self._late.append(block)
                self._late_size += size
            else:
                self._blocks_left_out += 1
        return 0

    # All files.

    cdef bint _is_left_open(self) noexcept:
        return bool(self._open_parts)

    cdef void _tear_down(self) noexcept:
        cdef Part part
        for part in list(self._open_parts):
            part.reader.close()  # but for its counters
            part.rows = None

    cdef Py_ssize_t _snaplen(self) except -1:
        return self._max_len

    # The following are C only once they have the list of open files: the reader does not change it meanwhile.

    cdef int _totals(self, Counters* totals) except -1:
        cdef Part part
        cdef list parts = list(self._open_parts)
        totals.received = self._left_out + self._count_read()
        totals.dropped, totals.freezes = self._dropped, 0
        for part in parts:
            totals.received += part.reader.left_out
            totals.dropped = saturating_sum(totals.dropped, part.reader.decoder.count_dropped())
        return 0

    def stop(self):
        """End the source after the data that is in the files now. May be called from any thread.

        Loops then end, and reads raise EOFError. This is for followed files and FIFOs; an incomplete packet
        at the end is omitted.
        """
        with cython.critical_section(self._event):  # not the source, which a reader may have locked
            self._event.raise_signal(SIGNAL_END)

    @property
    def interfaces(self):
        """The interfaces that the files have described so far, a tuple of InterfaceInfo.

        There is one for each of `links`. The counters of an interface that several files have in common are
        summed.
        """
        cdef list parts = list(self._open_parts)
        cdef list infos = self._infos
        cdef Py_ssize_t index
        for index in range(len(parts)):
            parts[index] = (<Part> parts[index]).counters
        infos = infos.copy()
        for counters in parts:
            add_counters(infos, counters)
        return tuple(infos)

    @property
    def sections(self):
        """The first section of each file that was opened, a tuple of SectionInfo; at most 65,535."""
        return tuple([self._sections[order] for order in sorted(self._sections)])

    @property
    def errors(self):
        """The errors for which the rest of a file was skipped, by `on_error`; at most the last 65,535."""
        return () if self._errors is None else self._errors.skipped

    @property
    def trailer(self):
        """A batch without packets, with the blocks after the last packets of files, as for `PcapSource`."""
        return blocks_batch(after_blocks(self._late, None), self._links, self._interfaces)

    @property
    def unfilterable(self):
        """Link types for which libpcap cannot compile the filter expression: a dict, link type → its reason.

        It has only link types of packets that were read. None of these packets matched.
        """
        cdef list parts = list(self._open_parts)
        cdef Py_ssize_t index
        for index in range(len(parts)):
            parts[index] = (<Part> parts[index]).reader.unfilterable()
        found = dict(self._unfilterable)
        for more in parts:
            found |= more
        return found

    @property
    def blocks_left_out(self):
        """Number of blocks in finished files that were not kept, as for `PcapSource`."""
        return self._blocks_left_out

    @property
    def options_left_out(self):
        """Number of options of descriptions in finished files that were not kept, as for `PcapSource`."""
        return self._options_left_out

    @property
    def progress(self):
        """Progress, (bytes read, total size): in bytes of the files as stored; the size is None if unknown.
        """
        cdef Part part
        cdef list parts = list(self._open_parts)
        cdef uint64_t read = self._bytes
        for part in parts:
            read += part.reader.file.position
        return read, self._size


cdef Annotations only_others(Annotations annotations):
    """Return annotations without the blocks that a merge makes itself: sections, interfaces, statistics."""
    if annotations is None or not annotations.blocks:
        return annotations
    return other_blocks(
        annotations, [(row, block) for row, block in annotations.blocks if isinstance(block, OtherBlock)])


cdef object replace_index(object link, Py_ssize_t index):
    """Return a copy of a Link with another index."""
    return replace(link, index=index)


cdef void renumber(Record* rows, Py_ssize_t count, const uint32_t* numbers) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(count):
        rows[row].interface = numbers[rows[row].interface]


cdef uint64_t saturating_sum(uint64_t counter, uint64_t more) noexcept:
    return counter + min(more, 0xffffffffffffffffULL - counter)


cdef dict _counters_of(Part part, tuple infos):
    """Return (our number, InterfaceInfo) of each interface with statistics, by its number in the file.

    `part` has them as of the last call: only interfaces that were described or counted since are looked at.
    """
    cdef tuple former = part.infos
    cdef dict found = part.counters
    cdef Py_ssize_t index, known = len(former)
    for index in range(part.known):
        info = infos[index]
        if (index < known and info is former[index]) or not any(
                [getattr(info, name) is not None for name in COUNTERS]):
            continue
        if found is part.counters:
            found = found.copy()
        found[index] = (<const uint32_t*> part.numbers.ptr)[index], info
    return found


cdef int add_counters(list infos, dict counters) except -1:
    """Add the counters of a file's interface statistics to our interfaces."""
    for number, theirs in counters.values():
        told = {name: getattr(theirs, name) for name in COUNTERS}
        ours = infos[number]
        more = {
            name: count if getattr(ours, name) is None else COUNTERS[name](count, getattr(ours, name))
            for name, count in told.items() if count is not None}
        if more:
            infos[number] = ours._replace(**more)
    return 0
