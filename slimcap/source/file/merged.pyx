"""`MergedSource`: several capture files as one source, in order of time.

    files ──► heap of their next rows ──┬──► long run of one file: shown in place, not copied
              (merge_heap.pxd)          └──► packets of several files in turn: copied until a block is full

A k-way merge. A file is opened when the merge reaches its first packet, and closed at its end.
"""
cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport INT64_MIN, int64_t, uint32_t

from slimcap.io.event cimport deadline_after
from slimcap.packet.annotations cimport Annotations
from slimcap.packet.lease cimport Block, Pool, new_block
from slimcap.packet.record cimport Record
from slimcap.packet.rows cimport Rows, new_rows
from slimcap.source.file.merge_heap cimport advance, gather, run_length, sift_down
from slimcap.source.file.several cimport FilesSource, Part, new_part

import errno
import os
import resource
import stat
import sys

import numpy as np

from slimcap.errors import FileFormatError, FilterError
from slimcap.option_set import parse
from slimcap.source.file.file_list import list_some_files
from slimcap.source.file.file_options import SeveralOptions

cdef enum:
    LONG_RUN = 1024             # packets of one file from which on a batch without a copy is faster
    SMALL_BLOCK = 1 << 17       # minimum block size of each file if several are open,
    MANY_FILES = 64             # and if more than these are,
    TINY_BLOCK = 1 << 14        # which bounds the memory of thousands
    MAX_AHEAD = 16              # maximum number of files that are decompressed by threads
    PEEK_BLOCK = 1 << 14        # block size for reading a file's first packet


@cython.final
cdef class MergedSource(FilesSource):
    """Merge several capture files in order of time. `slimcap.open_files` opens it.

    The next packet is the earliest of the files' next packets; of equal times, the one of the file that was
    given first. So packets of one file keep their order, even if they are not in order of time.

    A file is open only from its first packet to its last: thousands of files that follow each other take no
    more memory or descriptors than a few. If more files overlap than half of the process's descriptors, they
    are opened again for each read, so that their number has no limit. Inputs that cannot be opened twice
    (standard input, FIFOs, file objects) are open all the time. The merge reaches a file at the time of its
    first packet, even if that does not match the filter. Files that overlap share `block_size`: each has a
    smaller block, of at least 128 KiB, or 16 KiB if there are more than 64, or `block_size`.

    If a file is damaged or cannot be read, all packets before the damage are returned. The call that
    reaches it raises the error, once, unless `on_error` says otherwise; the next call continues with the
    other files.

    Parameters
    ----------
    files : str, os.PathLike or sequence
        A path, a folder, or a pattern of `glob.glob`, in which ``**`` stands for folders of any depth: the
        files are sorted by name. Or a sequence of files as for `PcapSource`, and of folders. A folder stands
        for the regular files in it whose names do not start with a dot.
    **options
        Those of `SeveralOptions`.

    Raises
    ------
    ValueError
        `files` is empty, or an option is out of range.
    OSError
        A file cannot be opened, or no file matches the pattern.
    FileFormatError
        A file header is not valid, or the files have more than 65,535 interfaces in all. Also from calls that
        read, with the path, byte offset and packet number in the file that is damaged.
    FilterError, TimeoutError, ImportError
        As for `PcapSource`.

    Examples
    --------
    >>> with MergedSource(["eth0.pcap", "eth1.pcap"]) as source:
    ...     for batch in source.batches():
    ...         print(len(batch))
    """

    def __init__(self, files, **options: Unpack[SeveralOptions]):
        self._set_up(parse(SeveralOptions, options))
        try:
            self._open(files)
        finally:
            self._leave()

    cdef int _open(self, object files) except -1:
        cdef Part part
        self._blocks = Pool(self._options["block_size"])
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        # The other half is for the rest of the program.
        self._max_open = sys.maxsize if limit == resource.RLIM_INFINITY else limit // 2
        self._parts = [new_part(file, order) for order, file in enumerate(list_some_files(files))]
        self._heap = <Head**> PyMem_RawMalloc(len(self._parts) * sizeof(Head*))
        if self._heap is NULL:
            raise MemoryError(f"cannot keep {len(self._parts)} files in order")
        try:
            for part in self._parts:
                try:
                    self._add(part)
                except (FileFormatError, OSError) as error:
                    self._close_part(part)
                    if not self._errors.skip(error):
                        raise
                    self._parts[part.head.order] = None
        except BaseException:
            self._shut_down()
            raise
        sizes = [(<Part> part).size for part in self._parts if part is not None]
        self._size = None if None in sizes else sum(sizes)
        for order in range(self._count // 2 - 1, -1, -1):
            sift_down(self._heap, self._count, order)
        return 0

    def __dealloc__(self):
        PyMem_RawFree(self._heap)

    cdef int _add(self, Part part) except -1:
        """Peek into a file and append it to the heap, which is not ordered yet."""
        part.head.time = INT64_MIN
        if _is_regular(part.file):
            self._peek(part)
        else:
            self._open_part(part, self._options, deadline_after(self._timeout))
        self._heap[self._count] = &part.head
        self._count += 1
        return 0

    cdef int _peek(self, Part part) except -1:
        """Read the interfaces of a file and the time of its first packet, then close it."""
        options = {**self._options, "block_size": min(<Py_ssize_t> self._options["block_size"], PEEK_BLOCK)}
        self._open_part(part, options, deadline_after(self._timeout), None, False)
        part.reader.ignore_filter()  # made only to see that it compiles: peek at any packet
        part.size = part.reader.file.size
        try:
            self._read_part(part, deadline_after(self._timeout))
        except FileFormatError:
            pass  # raised by the read that opens the file for its packets
        finally:
            self._close_part(part)
        return 0

    @property
    def names(self):
        """Names of the files that have not been read to their end, a tuple of str."""
        return tuple([(<Part> part).name for part in self._parts if part is not None])

    # Reading.

    cdef Rows _fill(self, int64_t deadline):
        cdef Part part
        while self._count:
            part = self._parts[self._heap[0].order]
            if part.head.next < part.head.end:
                return self._take_next(part)
            try:
                if not self._go_on(part, deadline):
                    self._leave_out()
                sift_down(self._heap, self._count, 0)
            except (TimeoutError, BlockingIOError):
                raise
            except (FileFormatError, FilterError, OSError, ImportError) as error:
                if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
                    raise  # the next call tries again
                self._leave_out()
                sift_down(self._heap, self._count, 0)
                if not self._errors.skip(error):
                    raise
        return None

    cdef bint _go_on(self, Part part, int64_t deadline) except -1:
        """Read more of a file, opening it if necessary; return False at its end."""
        cdef bint more
        if part.reader is None:
            self._open_now(part, deadline)
        more = self._read_part(part, deadline)
        if len(self._open_parts) > self._max_open:
            part.reader.park()
        return more

    cdef int _open_now(self, Part part, int64_t deadline) except -1:
        """Open a file whose first packet is next. If the process has no descriptor left, others give theirs.
        """
        cdef Part other
        try:
            self._open_part(part, self._options_now(), deadline, None, len(self._open_parts) < MAX_AHEAD)
            return 0
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
        self._max_open = 0
        for other in self._open_parts:
            other.reader.park()
        return self._open_part(part, self._options_now(), deadline, None, False)

    cdef dict _options_now(self):
        """Return the options for opening a file now.

        The blocks of all open files together should fit in a cache.
        """
        cdef Py_ssize_t size = self._options["block_size"], count = len(self._open_parts) + 1
        size = max(size // count, min(size, TINY_BLOCK if count > MANY_FILES else SMALL_BLOCK))
        return {**self._options, "block_size": size}

    cdef int _leave_out(self) except -1:
        """Remove the first file from the heap, and finish it. The caller must sift the one that replaces it.
        """
        cdef Part part = self._parts[self._heap[0].order]
        self._count -= 1
        self._heap[0] = self._heap[self._count]
        self._parts[part.head.order] = None
        return self._finish(part)

    cdef Rows _take_next(self, Part part):
        """Return the next packets, of which the first is from `part`."""
        cdef Py_ssize_t run = run_length(self._heap, self._count)
        cdef Rows rows
        if run < LONG_RUN and run < part.rows.count:
            rows = self._gather()
            if rows is not None:
                return rows
        rows = self._take_run(part, run)
        advance(&part.head, run)
        sift_down(self._heap, self._count, 0)
        return rows

    cdef Rows _gather(self):
        """Copy the next packets of all files to one block; return None if the first does not fit in it."""
        cdef Block block = self._row_blocks.take()
        cdef Block data = self._blocks.take()
        cdef Py_ssize_t count, capacity = block.size // sizeof(Record)
        cdef size_t used = 0
        cdef Block orders = None
        cdef uint32_t* p = NULL
        cdef Rows rows
        starts = None
        if self._has_annotations():
            orders = new_block(capacity * sizeof(uint32_t))
            p = <uint32_t*> orders.ptr
            starts = [(part, (<Part> part).head.next) for part in self._open_parts]
        with nogil:
            count = gather(
                self._heap, self._count, <Record*> block.ptr, capacity, data.ptr, data.size, p, &used)
        if count == 0:
            return None
        rows = new_rows(block, count, data, used, self._links)
        if starts:
            rows.annotations = self._annotations_of(starts, orders, count)
        return self._complete(rows)

    cdef bint _has_annotations(self):
        cdef Part part
        for part in self._open_parts:
            if part.rows is not None and part.rows.annotations is not None:
                return True
        return False

    cdef Annotations _annotations_of(self, list starts, Block orders, Py_ssize_t count):
        """Return the annotations of gathered rows. `starts` holds (part, its next row before gathering)."""
        cdef Annotations found = Annotations(), theirs
        cdef Part part
        cdef Py_ssize_t start
        owners = np.frombuffer(orders, np.uint32, count)
        for part, start in starts:
            if part.rows is None or part.rows.annotations is None or start == part.head.next:
                continue
            theirs = part.rows.annotations.part(start, part.head.next, part.head.next == part.head.end)
            if theirs is not None:
                found.add_at(theirs, np.flatnonzero(owners == part.head.order))
        found.sort()
        return found if found._count or found.blocks else None

    def __repr__(self):
        state = "closed" if self.closed else f"{self.total_stats.packets_received:,} packets read"
        types = ", ".join(dict.fromkeys(link.type_name for link in self._links)) or "no interface"
        return f"<MergedSource of {len(self._parts or ())} files: {types}, {state}>"


cdef bint _is_regular(object file) except -1:
    """Return True if a file can be opened twice."""
    if not isinstance(file, (str, bytes, os.PathLike)) or os.fsdecode(file) == "-":
        return False
    try:
        return stat.S_ISREG(os.stat(file).st_mode)
    except OSError:
        return False  # opening the file will raise
