"""Writing capture files: classic pcap (draft-ietf-opsawg-pcap) with nanoseconds."""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.capfile cimport PCAP_NANO, PcapFileHeader, PcapRecordHeader
from slimcap.abi.linux cimport EAGAIN, EINTR, c_close, c_write, errno
from slimcap.packet.batch cimport Batch
from slimcap.packet.lease cimport Block, Window, new_block, new_window
from slimcap.packet.packet cimport Packet
from slimcap.packet.record cimport Record, in_bounds
from slimcap.packet.view cimport View
from slimcap.source.event cimport duplicate, raise_errno

import os
import select

cdef enum:
    NANOSECONDS = 1_000_000_000
    BUFFER_SIZE = 1 << 20
    SNAPLEN = 262144            # libpcap's MAXIMUM_SNAPLEN: readers take a longer packet for damage
    MAX_SNAPLEN = 0x7fffffff
    MAX_LINK_TYPE = 0xffff      # above it: FCS length and reserved bits
    STDOUT = 1

# Seconds have 32 bits and no sign (draft-ietf-opsawg-pcap, section 5): up to 2106.
cdef int64_t TIME_END = <int64_t> NANOSECONDS << 32


@cython.final
cdef class PcapWriter:
    """A capture file to write packets to: classic pcap with nanoseconds, of this machine's byte order.

    `write_batch` hands its packets over to the file before it returns. `write_packet` collects packets until
    there is a mebibyte of them; `flush()`, `close()` and `write_batch` write them out. Use it as a context
    manager, or close it.

    What a failed write leaves unwritten stays in the buffer, and the next call begins with it: the file never
    goes on in the middle of a packet. One thread may write at a time.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, which is created or emptied; "-" for standard output; or an object with `write`, which
        `close()` flushes and leaves open.
    link_type : int
        LINKTYPE_ number of all packets, as in `Link.type`; 1 is Ethernet.
    snaplen : int
        Most bytes to write of a packet. Many programs read no packet above 262144 bytes.

    Raises
    ------
    OSError
        The file cannot be opened or written.
    ValueError
        `link_type` or `snaplen` is out of range.
    """

    cdef str _name
    cdef int _fd                # ours; -1 if there is none
    cdef object _file, _write   # the file object and its `write`, if that is what was given
    cdef Block _block           # None if closed
    cdef Py_ssize_t _start, _stop   # of the bytes in the block that wait to be written
    cdef uint32_t _link_type, _snaplen
    cdef uint64_t _packets, _bytes
    cdef bint _busy             # a writer is inside
    cdef object _links          # the links that were looked at last, and
    cdef bytes _wrong           # which of them have another link type; None if none has

    def __cinit__(self):
        self._fd = -1

    def __init__(self, file, link_type=1, *, snaplen=SNAPLEN):
        if self._name is not None:
            raise TypeError("a writer is opened once")
        if not 0 <= link_type <= MAX_LINK_TYPE:
            raise ValueError(f"link_type is from 0 to {MAX_LINK_TYPE}, not {link_type}")
        if not 0 < snaplen <= MAX_SNAPLEN:
            raise ValueError(f"snaplen is a number of bytes from 1 to {MAX_SNAPLEN}, not {snaplen}")
        self._link_type, self._snaplen = link_type, snaplen
        self._open(file)
        self._busy = True
        try:
            self._block = new_block(BUFFER_SIZE)
            self._put_header()
            self._drain()
        except BaseException:
            self._shut_down()
            raise
        finally:
            self._busy = False

    cdef int _open(self, object file) except -1:
        if not isinstance(file, (str, bytes, os.PathLike)):
            self._write = getattr(file, "write", None)
            if self._write is None:
                raise TypeError(f"a path or a binary file object is needed, not {type(file).__name__}")
            self._file = file
            self._name = str(getattr(file, "name", f"<{type(file).__name__}>"))
            return 0
        path = os.fsdecode(file)
        if path == "-":
            self._fd = duplicate(STDOUT, "<stdout>")
        else:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._name = "<stdout>" if path == "-" else path
        return 0

    cdef void _put_header(self) noexcept:
        cdef PcapFileHeader h
        h.magic = PCAP_NANO
        h.version_major, h.version_minor = 2, 4
        h.thiszone = h.sigfigs = 0
        h.snaplen = self._snaplen
        h.linktype = self._link_type
        memcpy(self._block.ptr, &h, sizeof(h))
        self._stop = self._bytes = sizeof(h)

    def write_batch(self, Batch batch not None):
        """Write all packets of a batch.

        Parameters
        ----------
        batch : Batch
            Needed only during the call.

        Raises
        ------
        ValueError
            A time that the file cannot have, before 1970 or after 2106; a packet of an interface with another
            link type; the batch was released, or the writer is closed. Nothing of the batch was written.
        OSError
            A write failed. `packets_written` says how far it came: those packets will be written by a later
            call, the others will not.
        RuntimeError
            Another thread is writing.
        """
        cdef View view
        cdef Py_ssize_t index = 0, count
        self._enter()
        try:
            view = batch._open()  # and nobody can exchange the rows, either
            count = batch._count
            self._check(batch)
            while True:
                index = self._pack(batch._rows, index, count, view._ptr, view._len)
                self._drain()
                if index == count:
                    return
                self._make_room(&batch._rows[index])
        finally:
            self._busy = False

    def write_packet(self, Packet packet not None):
        """Write one packet, which is taken to be of the writer's link type.

        Parameters
        ----------
        packet : Packet or PacketView
            Needed only during the call.

        Raises
        ------
        ValueError
            A time that the file cannot have, before 1970 or after 2106; the writer is closed.
        OSError
            A write failed. If `packets_written` counts the packet, it will be written by a later call.
        RuntimeError
            Another thread is writing.
        """
        cdef Record row = packet._row
        row.offset = 0  # a view's bytes are at its pointer, too
        self._enter()
        try:
            if not _is_time(row.timestamp):
                raise ValueError(_bad_time("the packet", row.timestamp))
            if not self._pack(&row, 0, 1, packet._ptr, row.cap_len):
                self._drain()
                self._make_room(&row)
                self._pack(&row, 0, 1, packet._ptr, row.cap_len)
        finally:
            self._busy = False

    def flush(self):
        """Write out what is in the buffer, and flush the file object if there is one.

        Raises
        ------
        ValueError
            The writer is closed.
        OSError
            A write failed; what it left will be written by a later call.
        RuntimeError
            Another thread is writing.
        """
        self._enter()
        try:
            self._flush()
        finally:
            self._busy = False

    def close(self):
        """Flush and close; a second call does nothing. A file object stays open.

        Raises
        ------
        OSError
            The last write failed. The writer is closed all the same, without what was still in the buffer.
        RuntimeError
            Another thread is writing.
        """
        if self._block is None:
            return
        self._enter()
        try:
            self._flush()
            if self._fd >= 0 and self._close_descriptor() < 0 and errno != EINTR:  # closed in any case
                raise_errno("close", self._name)
        finally:
            self._shut_down()
            self._busy = False

    @property
    def name(self):
        """Name of the file as it was given."""
        return self._name

    @property
    def closed(self):
        """Whether `close()` was called."""
        return self._block is None

    @property
    def packets_written(self):
        """Packets so far; some may still be in the buffer."""
        return self._packets

    @property
    def bytes_written(self):
        """Bytes of the file so far, its header included; some may still be in the buffer."""
        return self._bytes

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __del__(self):
        self.close()

    def __dealloc__(self):
        if self._fd >= 0:
            self._close_descriptor()

    cdef int _enter(self) except -1:
        if self._busy:
            raise RuntimeError("another thread is writing with this writer: one at a time")
        if self._block is None:
            raise ValueError("the writer is closed")
        self._busy = True
        return 0

    cdef int _check(self, Batch batch) except -1:
        """Raise if the file cannot have one of the rows."""
        cdef const Record* rows = batch._rows
        cdef const uint8_t* wrong
        cdef Py_ssize_t index, count = batch._count, links
        if batch._links is not self._links:
            kinds = bytes([link.type != self._link_type for link in batch._links])
            self._links, self._wrong = batch._links, kinds if any(kinds) else None
        with nogil:
            index = _first_bad_time(rows, count)
        if index < count:
            raise ValueError(_bad_time(f"packet {index}", rows[index].timestamp))
        if self._wrong is None:
            return 0
        wrong, links = self._wrong, len(self._wrong)
        with nogil:
            index = _first_of_wrong_link(rows, count, wrong, links)
        if index < count:
            link = batch._links[rows[index].interface]
            raise ValueError(
                f"packet {index} is of {link.name!r} with link type {link.type}, "
                f"and the file has link type {self._link_type}")
        return 0

    cdef Py_ssize_t _pack(
            self, const Record* rows, Py_ssize_t index, Py_ssize_t count, const uint8_t* data,
            Py_ssize_t size) except -1:
        """Append packets from `index` on as long as there is room; gives the first that was not."""
        cdef uint8_t* out = self._block.ptr
        cdef Py_ssize_t at = self._stop, first = index
        with nogil:
            index = _pack_rows(rows, index, count, data, size, self._snaplen, out, &at, self._block.size)
        self._packets += index - first
        self._bytes += at - self._stop
        self._stop = at
        return index

    cdef int _make_room(self, const Record* row) except -1:
        """See to it that the buffer, which is empty, can take a packet."""
        cdef Py_ssize_t needed = sizeof(PcapRecordHeader) + min(row.cap_len, self._snaplen)
        if needed > self._block.size:
            self._block = new_block(needed)
        return 0

    cdef int _flush(self) except -1:
        self._drain()
        flush = getattr(self._file, "flush", None)
        if flush is not None:
            flush()
        return 0

    cdef int _drain(self) except -1:
        """Write what the buffer holds. What a failure leaves stays in it."""
        while self._start < self._stop:
            if self._write is None:
                self._start += self._write_descriptor()
            else:
                self._write_object()
            if self._start < self._stop:
                PyErr_CheckSignals()  # a signal may be why it was a part only; the next write may wait
        self._start = self._stop = 0
        return 0

    cdef Py_ssize_t _write_descriptor(self) except -1:
        cdef const uint8_t* p = self._block.ptr + self._start
        cdef Py_ssize_t wrote, size = self._stop - self._start
        with nogil:
            wrote = c_write(self._fd, p, size)
        if wrote >= 0:
            return wrote
        if errno == EAGAIN:  # standard output may be in non-blocking mode: others have it, too
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            poll.poll()
        elif errno != EINTR:
            raise_errno("write", self._name)
        return 0

    cdef int _write_object(self) except -1:
        cdef Py_ssize_t size = self._stop - self._start
        cdef Window window = new_window(self._block, self._start, size, True)
        try:
            wrote = self._write(memoryview(window))
        except BlockingIOError as error:
            self._start += min(max(getattr(error, "characters_written", 0), 0), size)
            raise
        finally:
            if window.exports:
                self._leave_block()
        if wrote is None:
            raise BlockingIOError(
                f"{self._name}: write() gave None, so it is in non-blocking mode and took nothing: "
                "make it blocking")
        if not 0 < wrote <= size:
            raise OSError(f"{self._name}: the file object wrote {wrote} bytes where {size} were given")
        self._start += wrote
        return 0

    cdef int _leave_block(self) except -1:
        """Go on in another block: the file object keeps a view of this one, which must not change."""
        cdef Block block = new_block(self._block.size)
        memcpy(block.ptr + self._start, self._block.ptr + self._start, self._stop - self._start)
        self._block = block
        return 0

    cdef int _close_descriptor(self) noexcept:
        cdef int fd = self._fd
        self._fd = -1
        return c_close(fd)

    cdef void _shut_down(self) noexcept:
        if self._fd >= 0:
            self._close_descriptor()
        self._block = self._file = self._write = self._links = None


cdef inline bint _is_time(int64_t timestamp) noexcept nogil:
    return 0 <= timestamp < TIME_END


cdef str _bad_time(str what, int64_t timestamp):
    return f"{what} has the time {timestamp} ns, and a pcap file has 0 to {TIME_END - 1} (until 2106)"


cdef Py_ssize_t _first_bad_time(const Record* rows, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(count):
        if not _is_time(rows[index].timestamp):
            return index
    return count


cdef Py_ssize_t _first_of_wrong_link(
        const Record* rows, Py_ssize_t count, const uint8_t* wrong, Py_ssize_t links) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(count):
        if rows[index].interface < links and wrong[rows[index].interface]:
            return index
    return count


cdef Py_ssize_t _pack_rows(
        const Record* rows, Py_ssize_t index, Py_ssize_t count, const uint8_t* data, uint64_t size,
        uint32_t snaplen, uint8_t* out, Py_ssize_t* at, Py_ssize_t room) noexcept nogil:
    """Records to `out[at[0]:room]`, as many as fit; moves `at`, and gives the first row not taken."""
    cdef Py_ssize_t position = at[0]
    cdef uint64_t time
    cdef PcapRecordHeader h
    cdef Record row
    while index < count:
        row = rows[index]
        if not in_bounds(&row, size):
            row.offset = row.cap_len = 0
        time = row.timestamp
        h.seconds, h.fraction = <uint32_t> (time // NANOSECONDS), <uint32_t> (time % NANOSECONDS)
        h.caplen, h.len = min(row.cap_len, snaplen), row.total_len
        if room - position < <Py_ssize_t> (sizeof(h) + h.caplen):
            break
        memcpy(out + position, &h, sizeof(h))
        position += sizeof(h)
        if h.caplen:  # the pointer of no bytes may be NULL
            memcpy(out + position, data + row.offset, h.caplen)
            position += h.caplen
        index += 1
    at[0] = position
    return index
