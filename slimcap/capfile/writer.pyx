"""Base class of capture file writers: packets are written to a buffer, by one thread at a time.

A subclass implements one format: `_check`, which raises if a batch cannot be written; `_size_of` and `_pack`,
which write packets without the GIL; if the format has blocks that packets require, `_is_new`, `_prepare` and
`_size_before`; and if it has others, `_annotate`, `_write_all` and `_limit`.
"""
from libc.stdint cimport int64_t

from slimcap.io.output cimport open_output
from slimcap.io.owner cimport Owner
from slimcap.packet.annotations cimport Annotations
from slimcap.packet.view cimport View

from slimcap.capfile.write_options import InterfaceOptions, StatisticsOptions
from slimcap.errors import in_range
from slimcap.option_set import accepts, parse


cdef class Writer:
    """Base class of writers: see `PcapWriter` and `PcapNgWriter`."""

    cdef int _open(self, object file, object link_type, dict options) except -1:
        self._check_new()
        self._busy = True
        try:
            self._link_type = in_range("link_type", link_type, 0, MAX_LINK_TYPE)
            self._snaplen, self._atomic = options["snaplen"], options["atomic"]
            self._fcs_len = options["fcs_len"]
            self._owner = Owner()
            self._out = open_output(
                file, options["compression"], options["level"], self._atomic, options["keep_partial"])
            self._name = self._out.name
        finally:
            self._busy = False
        return 0

    cdef int _check_new(self) except -1:
        """Raise TypeError if the writer was opened, or is being opened."""
        if self._busy or self._name is not None:
            raise TypeError("a writer is opened once")
        return 0

    cdef int _begin(self, const void* head, Py_ssize_t size) except -1:
        """Write the file's header; if that fails, close the writer."""
        self._busy = True
        try:
            self._put(head, size)
            self._out.drain()
        except BaseException:
            self._out.discard()
            self._out = None
            raise
        finally:
            self._busy = False
        return 0

    @accepts(InterfaceOptions)
    def add_interface(self, interface, **options: Unpack[InterfaceOptions]):
        """Only check the arguments: pcap has no descriptions of interfaces.

        Parameters
        ----------
        interface : Link or InterfaceInfo
            The interface; ignored.
        **options
            Those of `InterfaceOptions`.

        Returns
        -------
        int
            0.
        """
        parse(InterfaceOptions, options)
        return 0

    @accepts(StatisticsOptions)
    def write_statistics(self, interface=0, **options: Unpack[StatisticsOptions]):
        """Only check the arguments: pcap has no packet counters.

        Parameters
        ----------
        interface : int, default 0
            Ignored.
        **options
            Those of `StatisticsOptions`.
        """
        parse(StatisticsOptions, options)

    def flush(self):
        """Write all buffered packets, and flush the file object if there is one.

        The packets so far can then be read from a compressed file, too. To that end, flushing ends a
        compressed block, with xz, bzip2 and lz4 even a stream: frequent flushing reduces compression.

        Raises
        ------
        ValueError
            The writer is closed.
        OSError
            A write failed. A later call will write the rest.
        RuntimeError
            Another thread is writing, or another process opened the writer.
        """
        self._enter()
        try:
            self._out.flush()
        finally:
            self._busy = False

    def close(self):
        """Flush and close the writer. A second call does nothing. A file object stays open.

        A forked process writes nothing, and leaves the file to the one that opened it.

        Raises
        ------
        OSError
            The last write failed. The writer is closed all the same, and the rest of the buffer is lost. An
            atomic writer leaves no file.
        RuntimeError
            Another thread is writing.
        """
        self._end(True)

    def discard(self):
        """Close the writer without writing the buffer. After `close()` this does nothing.

        An atomic writer leaves no file, and an older file is not changed. Other files end after the last byte
        that was written.

        Raises
        ------
        RuntimeError
            Another thread is writing.
        """
        self._end(False)

    cdef int _end(self, bint whole) except -1:
        cdef Output out = self._out
        if out is None:
            return 0
        if not self._owner.is_here():
            self._out = None
            return out.discard()
        self._enter()
        try:
            if whole:
                self._out.close()
            else:
                self._out.discard()
        finally:
            self._out = None
            self._busy = False
        return 0

    @property
    def name(self):
        """Name of the file, as it was given."""
        return self._name

    @property
    def closed(self):
        """True after `close()` or `discard()`."""
        return self._out is None

    @property
    def packets_written(self):
        """Number of packets so far, including those that are still in the buffer."""
        return self._packets

    @property
    def bytes_written(self):
        """Uncompressed size of the file so far in bytes, including its header and the buffer."""
        return self._bytes

    @property
    def partial_path(self):
        """Path of the temporary file of an atomic writer until it is closed; otherwise None."""
        return None if self._out is None else self._out.partial_path()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self._atomic and kind is not None:
            self.discard()
        else:
            self.close()

    def __del__(self):
        if self._atomic:  # not closed, so the file may be incomplete
            self.discard()
        else:
            self.close()

    cdef int _enter(self) except -1:
        if self._out is None:
            raise ValueError("the writer is closed")
        self._owner.check("this writer")
        if self._busy:
            raise RuntimeError("another thread is writing with this writer: one at a time")
        self._busy = True
        return 0

    cdef int _put(self, const void* data, Py_ssize_t size) except -1:
        """Append bytes that are not a packet."""
        self._out.put(data, size)
        self._bytes += size
        return 0

    cdef int _write_rows(
            self, const Record* rows, Py_ssize_t index, Py_ssize_t count, const uint8_t* data,
            Py_ssize_t size) except -1:
        """Append the packets `rows[index:count]`, which were checked."""
        cdef Output out = self._out
        cdef Py_ssize_t first, at
        while True:
            first, at = index, out.stop
            with nogil:
                index = self._pack(rows, index, count, data, size, out.block.ptr, &at, out.block.size)
            self._packets += index - first
            self._bytes += at - out.stop
            out.stop = at
            if index == count:
                return 0
            if not self._prepare(&rows[index]):
                out.reserve(self._size_of(rows, index, data, size))

    cdef int _write_batch(self, Batch batch) except -1:
        """Write all packets of a batch, or raise before the first one."""
        cdef View view
        self._enter()
        try:
            view = batch._open()  # this also prevents that the rows are replaced
            self._check(batch)
            self._annotate(batch._annotations)
            self._write_all(batch, view)
            self._out.drain()
        finally:
            self._annotate(None)
            self._busy = False
        return 0

    def _fitting(self, Batch batch not None, int64_t room):
        """Return how many packets, from the first on, add at most `room` bytes to the file, or fewer.

        Nothing is written. After writing that many packets, call it again for the rest of the batch: the
        count may stop at a packet that needs a block before it.
        """
        cdef View view
        cdef Py_ssize_t limit
        self._enter()
        try:
            view = batch._open()
            self._check(batch)
            self._annotate(batch._annotations)
            limit = self._limit(batch, &room)
            return self._count_fitting(batch._rows, limit, view._ptr, view._len, room)
        finally:
            self._annotate(None)
            self._busy = False

    cdef Py_ssize_t _count_fitting(
            self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
            int64_t room) except -1:
        cdef Py_ssize_t index = 0
        if count and self._is_new(&rows[0]):  # only once that is written are later packets' sizes known
            return self._size_before(&rows[0]) + self._size_of(rows, 0, data, size) <= room
        with nogil:
            while index < count and not self._is_new(&rows[index]):
                room -= self._size_of(rows, index, data, size)
                if room < 0:
                    break
                index += 1
        return index

    cdef bint _is_new(self, const Record* row) noexcept nogil:
        """True if a block must be written before this packet, which `_prepare` does."""
        return False

    cdef Py_ssize_t _size_before(self, const Record* row) except -1:
        """Return the size in bytes of what `_prepare` would write before this packet."""
        return 0

    cdef int _prepare(self, const Record* row) except -1:
        """Write the block that must precede this packet, if it is missing; return True if it was."""
        return False

    cdef int _annotate(self, Annotations annotations) except -1:
        """Keep the options of the next rows to be packed; None: forget them. Raise if one is too long."""
        return 0

    cdef int _write_all(self, Batch batch, View view) except -1:
        """Append the packets of a batch, which was checked, and the blocks between them."""
        return self._write_rows(batch._rows, 0, batch._count, view._ptr, view._len)

    cdef Py_ssize_t _limit(self, Batch batch, int64_t* room) except -1:
        """Subtract from `room` the size of the blocks before the first packet; return the row of the next.
        """
        return batch._count

    cdef int _check(self, Batch batch) except -1:
        """Raise if the file cannot contain one of the rows."""
        raise NotImplementedError

    cdef Py_ssize_t _size_of(
            self, const Record* rows, Py_ssize_t index, const uint8_t* data, uint64_t size) noexcept nogil:
        """Return the size in bytes of a packet in the file."""
        return 0

    cdef Py_ssize_t _pack(
            self, const Record* rows, Py_ssize_t index, Py_ssize_t count, const uint8_t* data, uint64_t size,
            uint8_t* out, Py_ssize_t* at, Py_ssize_t room) noexcept nogil:
        """Write packets to `out[at[0]:room]` until one does not fit or needs `_prepare`.

        Advance `at[0]`; return the index of the first row that was not written.
        """
        return index
