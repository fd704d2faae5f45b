"""Base classes of all sources: `Source` and `ZeroCopySource`.

A subclass decodes a block of packets at a time (`_fill`); the base class returns them in bulk or one by one:

    _fill() ──► Rows ──► _rows[_next:_end] ──► next_batch()      all of them, or the first max_packets
                                           ──► next_packet() …   the next one

A reader holds the source from `_begin` to `_leave`. Meanwhile the rows and bytes stay valid: a second reader
gets RuntimeError, and `close()` leaves the teardown to the reader, so that nothing the reader uses is freed
or closed.
"""
cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.atomic cimport load_bits
from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport nanosleep, timespec
from slimcap.io.event cimport NEVER, SIGNAL_STOP, SIGNAL_UNBLOCK, deadline_after, monotonic_ns
from slimcap.io.owner cimport forks
from slimcap.packet.batch cimport Batch
from slimcap.packet.lease cimport Borrowed, borrow
from slimcap.packet.packet cimport Packet, empty_packet, packet_from, packet_type
from slimcap.packet.record cimport Record, ip_start
from slimcap.packet.rows cimport Rows
from slimcap.packet.view cimport View, new_ip_layer, new_view

import sys
import warnings
from _thread import allocate_lock
from typing import NamedTuple

from slimcap.errors import CaptureStopped, integer, wrong_type
from slimcap.packet.interface import InterfaceInfo

cdef Py_ssize_t ALL = sys.maxsize

cdef enum:
    SHORT_NAP = 100_000         # ns between two checks whether the reader has left
    LONGEST_WAIT = 100_000_000  # ns to wait for it to leave


class Stats(NamedTuple):
    """Packet counters of a source.

    Attributes
    ----------
    packets_received : int
        Packets that were read from a file, or that reached the socket, including those it dropped.
    packets_dropped : int
        Packets lost because a buffer was full.
    queue_freezes : int
        Number of times the ring was full.
    """

    packets_received: int
    packets_dropped: int
    queue_freezes: int


cdef class Source:
    """Base class of all packet sources. Open one with `open_live`, `open_file`, `open_files` or a subclass.

    A source is an iterator over packets and a context manager that closes it. `for packet in source` and
    `source.batches()` end at the end of the capture and when the source is closed. At the end of the capture
    the `next_*` methods raise EOFError. Every call that reads also raises, unless it says otherwise,

    - CaptureStopped if the source is closed, or gets closed during the call,
    - CaptureUnblocked once after `unblock()`,
    - TimeoutError if no packet came within `timeout` seconds; by default the source's own `timeout` applies,
      0 does not wait,
    - RuntimeError if another thread is reading from the source, or another process opened it,
    - ValueError if `timeout` is negative.

    None of these loses a packet. Only one thread may read at a time; all else may be called from any thread,
    at any time.

    A source belongs to the process that opened it. In a forked process reads raise RuntimeError, and `close`,
    `stop` and `unblock` do not affect the parent's source; what the child needs of it must be read before the
    fork, or opened again.

    Examples
    --------
    >>> with slimcap.open_file("trace.pcap") as source:
    ...     for batch in source.batches():
    ...         print(len(batch), batch.total_bytes)
    """

    def __cinit__(self, *args, **kwargs):
        self._event = Event()
        self._owner = self._event.owner
        self._signal = &self._event.signal
        self._links = ()

    def __init__(self):
        raise TypeError("Source cannot be instantiated: open a source with slimcap.open_file")

    # Implemented by subclasses.

    cdef Rows _fill(self, int64_t deadline):
        """Return the next rows, at least one; None at the end. There are no current rows."""
        raise NotImplementedError

    cdef void _tear_down(self) noexcept:
        """Close everything that is open. No reader holds the source."""

    cdef bint _is_left_open(self) noexcept:
        """Return True if this process has to close something that is neither closed nor read to its end."""
        return False

    cdef int _awaited_fd(self) noexcept:
        """Return the descriptor that reads wait for; -1 if that is not always the same one."""
        return -1

    cdef bint _may_have_more(self) noexcept:
        """Return False if a read would wait for `_awaited_fd()`. There are no current rows."""
        return True

    def __del__(self):
        # An attribute may be missing, if __cinit__ has failed.
        if self._initialised and not self._shut and not self._ended and self._is_left_open():
            warnings.warn(
                f"{self!r} was not closed: use it as a context manager, or call close()", ResourceWarning,
                source=self)

    cdef Py_ssize_t _snaplen(self) except -1:
        """Return the maximum size in bytes of a packet of this source."""
        return 0

    # Locking for one reader.

    cdef int _begin_opening(self) except -1:
        """Lock the source for its `__init__`, during which file objects and other threads may call it.

        Raises TypeError if it was opened or is being opened. `_leave` unlocks it.
        """
        if self._busy or self._initialised:
            raise TypeError("a source is opened once")
        self._check_open()
        self._event.open()
        self._busy = True
        self._reader = PyThread_get_thread_ident()
        return 0

    cdef inline bint _ready(self) noexcept:
        """Return True if a row can be returned at once."""
        return (
            self._next < self._end and not self._busy and not load_bits(self._signal)
            and self._owner.forks == forks)

    cdef int _enter(self) except -1:
        """Lock the source for reading."""
        if self._busy:
            raise RuntimeError(
                "another thread is reading from this source, or opens it: one reader at a time")
        self._busy = True
        self._reader = PyThread_get_thread_ident()
        return 0

    cdef const Record* _begin(self, object timeout) except NULL:
        """Lock the source for reading and return the next row.

        At the end of the capture unlock it and raise EOFError; any other exception unlocks it, too.
        """
        if timeout is None and self._ready():
            self._busy = True
            return &self._rows[self._next]
        return self._begin_by(deadline_after(self._timeout if timeout is None else timeout))

    cdef const Record* _begin_by(self, int64_t deadline) except NULL:
        """Do the same as `_begin`, waiting until `deadline` if no row is ready."""
        cdef Rows rows
        self._owner.check("this source")
        self._enter()
        self._event.begin_read()
        try:
            self._event.check()
            if self._next == self._end:
                PyErr_CheckSignals()  # a loop in C, as in `list(source)`, does not
                self._drop_rows()
                rows = self._fill(deadline)
                if rows is None:
                    self._ended = True
                    raise EOFError("the end of the capture")
                self._show(rows)
            return &self._rows[self._next]
        except TimeoutError:
            self._event.show_waiting()
            self._leave()
            raise
        except BaseException:
            self._event.show_ready()
            self._leave()
            raise

    cdef const Record* _begin_ip(self, object timeout) except NULL:
        """Do the same as `_begin` for the next row with an IP header; the rows before it count as read."""
        cdef const Record* row
        cdef int64_t deadline
        if timeout is None and self._ready():
            row = &self._rows[self._next]
            if ip_start(row) < row.cap_len:
                self._busy = True
                return row
        deadline = deadline_after(self._timeout if timeout is None else timeout)
        row = self._begin_by(deadline)
        while ip_start(row) == row.cap_len:
            self._next += 1
            self._leave()
            row = self._begin_by(deadline)
        return row

    cdef const Record* _begin_iteration(self) except? NULL:
        """Do the same as `_begin` for a loop: return NULL at the end and when the source is closed."""
        if self._ready():
            self._busy = True
            return &self._rows[self._next]
        try:
            return self._begin(None)
        except (EOFError, CaptureStopped):
            return NULL

    cdef void _show(self, Rows rows) noexcept:
        """Make rows the current ones."""
        self._current = rows
        self._rows, self._data = <const Record*> rows.block.ptr, rows.data.ptr
        self._next, self._end = 0, rows.count
        self._event.show_ready()

    cdef void _drop_rows(self) noexcept:
        """Release the current rows, so that their memory is free for the next ones."""
        self._earlier += self._next
        self._rows = NULL
        self._data = NULL
        self._next = self._end = 0
        self._current = None

    cdef void _run_out(self) noexcept:
        """Release the current rows, all of which were returned."""
        self._drop_rows()
        if self._event.set_fd() >= 0 and not self._may_have_more():
            self._event.show_idle()

    cdef uint64_t _count_read(self) noexcept:
        """Return the number of packets that were returned or skipped since the source was opened."""
        return self._earlier + self._next

    cdef inline void _leave(self) noexcept:
        """Unlock the source.

        Releases the rows if all were returned, and tears down if `close()` left that to the reader.
        """
        if self._next == self._end and self._rows is not NULL:
            self._run_out()
        self._busy = False
        if load_bits(self._signal) & SIGNAL_STOP and not self._closers:
            self._shut_down()

    cdef void _shut_down(self) noexcept:
        if not self._shut:
            self._shut = True
            self._given = self._target = None
            self._drop_rows()
            self._tear_down()
            self._event.shut()

    # Single packets.

    def new_packet(self):
        """Return an empty packet with capacity for any packet of this source, to reuse with `next_packet`.

        Returns
        -------
        Packet
        """
        return empty_packet(self._snaplen())

    def next_packet(self, Packet buf=None, *, timeout=None):
        """Return the next packet, copied.

        Parameters
        ----------
        buf : Packet, optional
            Packet to overwrite. The captured bytes are truncated to its capacity. Default: a new Packet.
        timeout : float, optional
            Maximum time to wait in seconds. Default: the source's `timeout`.

        Returns
        -------
        Packet
            `buf` if it was given. It owns its memory.

        Raises
        ------
        EOFError, CaptureStopped, CaptureUnblocked, TimeoutError, RuntimeError, ValueError
            See `Source`.
        TypeError
            `buf` is a PacketView.
        """
        cdef const Record* row = self._begin(timeout)
        try:
            if buf is None:
                buf = packet_from(row, self._data + row.offset)
                if self._current.annotations is not None:
                    buf.comment = self._current.comment(self._next)
            else:
                buf.overwrite(
                    row, self._data + row.offset,
                    None if self._current.annotations is None else self._current.comment(self._next))
            self._next += 1
        finally:
            self._leave()
        return buf

    def next_payload(self, buf=None, *, timeout=None):
        """Return the captured bytes of the next packet, copied.

        Parameters
        ----------
        buf : writable buffer, optional
            Buffer to write to; the bytes are truncated to its size. The source keeps a reference to it until
            another one is given or the source is closed. Default: new bytes.
        timeout : float, optional
            Maximum time to wait in seconds. Default: the source's `timeout`.

        Returns
        -------
        payload : bytes or View
            New bytes, or a View of the part of `buf` that was written.
        pkt_type : PacketType
            Addressee or direction of the packet.
        total_len : int
            Length on the wire in bytes.

        Raises
        ------
        EOFError, CaptureStopped, CaptureUnblocked, TimeoutError, RuntimeError, ValueError
            See `Source`.
        """
        cdef const Record* row = self._begin(timeout)
        try:
            if buf is None:
                payload = PyBytes_FromStringAndSize(<const char*> self._data + row.offset, row.cap_len)
            else:
                payload = self._write_to(buf, self._data + row.offset, row.cap_len, False)
            result = <tuple> (payload, packet_type(row.pkt_type), row.total_len)
            self._next += 1
        finally:
            self._leave()
        return result

    def next_ip_packet(self, buf=None, *, timeout=None):
        """Return the next packet with an IP header, from that header on, copied. Other packets are skipped.

        Parameters
        ----------
        buf : writable buffer, optional
            Buffer to write to; the bytes are truncated to its size. The source keeps a reference to it until
            another one is given or the source is closed. Default: new memory.
        timeout : float, optional
            Maximum time to wait in seconds. Default: the source's `timeout`.

        Returns
        -------
        ip_layer : IPLayer
            View of new memory, or of the part of `buf` that was written.
        pkt_type : PacketType
            Addressee or direction of the packet.
        total_len : int
            Length on the wire in bytes, link-layer header included.

        Raises
        ------
        EOFError, CaptureStopped, CaptureUnblocked, TimeoutError, RuntimeError, ValueError
            See `Source`.
        """
        cdef const Record* row = self._begin_ip(timeout)
        cdef Py_ssize_t at = ip_start(row)
        try:
            if buf is None:
                copied = PyBytes_FromStringAndSize(
                    <const char*> self._data + row.offset + at, row.cap_len - at)
                layer = new_ip_layer(<const uint8_t*> PyBytes_AS_STRING(copied), row.cap_len - at, copied)
            else:
                layer = self._write_to(buf, self._data + row.offset + at, row.cap_len - at, True)
            result = <tuple> (layer, packet_type(row.pkt_type), row.total_len)
            self._next += 1
        finally:
            self._leave()
        return result

    def next_packet_fn(self, fn, *, timeout=None):
        """Call `fn(payload, total_len, pkt_type, ip_layer_offset)` with the next packet, without a copy.

        Parameters
        ----------
        fn : callable
            `payload` is a View of the source's memory, which it keeps alive as long as it lives. `pkt_type`
            is a PacketType. `ip_layer_offset` is the offset of the IP header in the payload, `NO_IP` if there
            is none. Exceptions of `fn` are propagated; the packet counts as read nevertheless.
        timeout : float, optional
            Maximum time to wait in seconds. Default: the source's `timeout`.

        Returns
        -------
        object
            The result of `fn`.

        Raises
        ------
        EOFError, CaptureStopped, CaptureUnblocked, TimeoutError, RuntimeError, ValueError
            See `Source`.
        """
        cdef const Record* row
        cdef uint32_t total_len
        cdef uint16_t ip_offset
        if not callable(fn):
            raise wrong_type("fn", "callable", fn)
        with cython.critical_section(self):  # but not `fn`
            row = self._begin(timeout)
            try:
                payload = new_view(self._data + row.offset, row.cap_len, self._current.lend())
                total_len = row.total_len
                pkt_type = packet_type(row.pkt_type)
                ip_offset = row.ip_offset
                self._next += 1
            finally:
                self._leave()
        return fn(payload, total_len, pkt_type, ip_offset)

    cdef View _write_to(self, object buf, const uint8_t* p, Py_ssize_t n, bint ip_layer):
        """Copy bytes to a writable buffer, truncated to its size, and return a view of what was written.

        Callers usually pass the same buffer again and again. Keeping it exported is cheaper than exporting it
        for each packet.
        """
        if buf is not self._given or not _is_in_place(buf, self._target):
            self._given = None
            self._target = _borrowed(buf)
            self._given = buf
        cdef Borrowed target = self._target
        n = min(n, target.buffer.len)
        memcpy(target.buffer.buf, p, n)
        if ip_layer:
            return new_ip_layer(<const uint8_t*> target.buffer.buf, n, target)
        return new_view(<const uint8_t*> target.buffer.buf, n, target)

    def __iter__(self):
        self._check_open()
        return self

    def __next__(self):
        cdef const Record* row = self._begin_iteration()
        cdef Packet packet
        if row is NULL:
            raise StopIteration
        try:
            packet = packet_from(row, self._data + row.offset)
            if self._current.annotations is not None:
                packet.comment = self._current.comment(self._next)
            self._next += 1
        finally:
            self._leave()
        return packet

    # Batches.

    def next_batch(self, max_packets=None, timeout=None):
        """Return the packets that are available, at least one: those of one read or one ring block.

        Parameters
        ----------
        max_packets : int, optional
            Maximum number of packets. Default: no maximum.
        timeout : float, optional
            Maximum time to wait for the first packet in seconds. Default: the source's `timeout`.

        Returns
        -------
        Batch
            Over the source's memory, which stays valid as long as the batch or a view of it lives.

        Raises
        ------
        EOFError, CaptureStopped, CaptureUnblocked, TimeoutError, RuntimeError
            See `Source`.
        ValueError
            `max_packets` is less than 1, or `timeout` is negative.
        """
        return self._next_batch(max_packets, timeout)

    cdef Batch _next_batch(self, object max_packets, object timeout):
        cdef Py_ssize_t count = _limit_of(max_packets)
        self._begin(timeout)
        try:
            count = min(count, self._end - self._next)
            batch = self._current.batch(self._next, count)
            self._next += count
        finally:
            self._leave()
        return batch

    def batches(self, max_packets=None, timeout=None):
        """Return an iterator over batches to the end of the capture; see `next_batch`.

        In asyncio, ``async for batch in source.batches()`` does not block the event loop; see `anext_batch`.

        The iterator is also an Arrow stream with the default columns of `ArrowStream`:
        `polars.DataFrame(batches)`, `pyarrow.table(batches)`, `duckdb.sql("from batches")`.

        Parameters
        ----------
        max_packets : int, optional
            Maximum number of packets in a batch. Default: no maximum.
        timeout : float, optional
            Maximum time to wait for each batch in seconds. Default: the source's `timeout`.

        Returns
        -------
        iterator of Batch
            After an exception such as TimeoutError it can be continued.

        Raises
        ------
        CaptureStopped
            The source is closed already.
        ValueError
            `max_packets` is less than 1, or `timeout` is negative.
        """
        _limit_of(max_packets)
        deadline_after(timeout)
        self._check_open()
        cdef _Batches batches = _Batches.__new__(_Batches)
        batches.source, batches.max_packets, batches.timeout = self, max_packets, timeout
        return batches

    # For event loops.

    def fileno(self):
        """Return a descriptor for event loops, which polls readable when a read would not wait.

        That is when packets are available, at the end of the capture, and after `stop()`, `unblock()` and
        `close()`. Only wait for it; do not read from it. It can be readable although no packet is there, for
        example because the packets that arrived do not match a filter, so read with ``timeout=0``: after the
        TimeoutError it is not readable until there is something to read again.

        A regular file is always readable. So are a file object and standard input from a file.

        asyncio needs no descriptor: see `anext_batch`. With trio, `trio.lowlevel.wait_readable(source)` waits
        for it, with anyio `anyio.wait_readable(source)`, with gevent
        `gevent.socket.wait_read(source.fileno())`. `select.poll` and `selectors` accept the source, too.

        The first call opens two descriptors. They stay open, and readable, after `close()`, until the
        source is deallocated: another thread may be waiting.

        Returns
        -------
        int
            The same number each time.

        Raises
        ------
        CaptureStopped
            The source was closed before the first call.
        RuntimeError
            Another process opened the source.
        OSError
            There are no more descriptors.

        Examples
        --------
        >>> async def next_batch(source):
        ...     while True:
        ...         try:
        ...             return source.next_batch(timeout=0)
        ...         except TimeoutError:
        ...             await trio.lowlevel.wait_readable(source)
        """
        self._owner.check("this source")
        if self._event.set_fd() < 0:
            self._check_open()
            self._event.open_set(self._awaited_fd())
            if self._busy:
                self._event.mark()  # until the reader waits: then it tells
            elif self._next < self._end or self._may_have_more():
                self._event.show_ready()
        return self._event.set_fd()

    def anext_batch(self, max_packets=None, timeout=None):
        """Return the packets that are available, as `next_batch` does, without blocking an asyncio loop.

        While there are none, the task waits for `fileno()`; no thread is used. Other tasks run before each
        batch, also if packets are always available. A task that is cancelled loses no packet.

        A compressed file is decompressed by its thread meanwhile. What the loop does wait for is reading a
        block of another file, which takes long only if the disk is slow, and for file objects. Opening a
        file reads its header: for a FIFO or a slow disk use ``await asyncio.to_thread(slimcap.open_file,
        path)``.

        Parameters
        ----------
        max_packets : int, optional
            Maximum number of packets. Default: no maximum.
        timeout : float, optional
            Maximum time to wait for the first packet in seconds. Default: the source's `timeout`.

        Returns
        -------
        coroutine of Batch
            To be awaited; it returns what `next_batch` does.

        Raises
        ------
        EOFError, CaptureStopped, CaptureUnblocked, TimeoutError
            See `Source`. `close()` and `unblock()` may be called by other tasks, and by any thread.
        RuntimeError
            Another task or thread is reading from the source, or another process opened it.
        ValueError
            `max_packets` is less than 1, or `timeout` is negative.

        Examples
        --------
        >>> async def main():
        ...     with slimcap.open_live("eth0") as source:
        ...         batch = await source.anext_batch(timeout=1)
        """
        if timeout is None:
            timeout = self._timeout
        if deadline_after(timeout) == NEVER:
            timeout = None
        _limit_of(max_packets)
        if self._turn is None:
            self._turn = allocate_lock()
        from slimcap.source.async_reading import next_batch  # imports asyncio
        return next_batch(self, self._turn, max_packets, timeout)

    # Counters, properties, closing.

    cdef int _totals(self, Counters* totals) except -1:
        """Get the counters since the source was opened. They never decrease."""
        totals.received, totals.dropped, totals.freezes = self._count_read(), 0, 0
        return 0

    @property
    def total_stats(self):
        """Counters since the source was opened, a Stats; never reset."""
        cdef Counters totals
        self._totals(&totals)
        return stats_of(&totals)

    def stats(self):
        """Return the counters since the last call of `stats()`.

        Returns
        -------
        Stats
        """
        cdef Counters since
        self._totals(&since)
        # C only from here: no other call runs meanwhile. One that counted after us may have run before.
        _subtract(&since.received, &self._cleared.received)
        _subtract(&since.dropped, &self._cleared.dropped)
        _subtract(&since.freezes, &self._cleared.freezes)
        return stats_of(&since)

    @property
    def links(self):
        """The interfaces that packets come from, a tuple of Link. It may grow while a file is read."""
        return self._links

    @property
    def interfaces(self):
        """Descriptions of the interfaces, a tuple of InterfaceInfo: one for each of `links`."""
        return tuple([InterfaceInfo(link, 0, NANOSECONDS) for link in self._links])

    @property
    def link(self):
        """The first of `links`, a Link; None if there is none yet."""
        return self._links[0] if self._links else None

    @property
    def timeout(self):
        """Maximum time in seconds that a read waits for a packet; None: no maximum."""
        return self._timeout

    @property
    def closed(self):
        """True after `close()`."""
        return bool(load_bits(self._signal) & SIGNAL_STOP)

    def unblock(self):
        """Make the waiting read, or else the next one, raise CaptureUnblocked. May be called from any thread.
        """
        with cython.critical_section(self._event):  # not the source, which a reader may have locked
            self._event.raise_signal(SIGNAL_UNBLOCK)

    def close(self):
        """Close the source. May be called from any thread; a second call does nothing.

        A waiting read and every later one raise CaptureStopped. Batches and views stay valid.
        """
        self._event.raise_signal(SIGNAL_STOP)
        with cython.critical_section(self):  # not before: a reader may have locked the source
            if self._busy and self._reader != PyThread_get_thread_ident() and self._owner.is_here():
                self._wait_for_reader()
            if not self._busy:
                self._shut_down()

    cdef int _wait_for_reader(self) except -1:
        """Wait until the reader has left, at most 100 ms.

        Otherwise the reader would have to tear down, which can take long. A reader that has not left by then
        is not waiting but busy, and does tear down.
        """
        cdef timespec nap
        cdef int64_t end = monotonic_ns() + LONGEST_WAIT
        nap.tv_sec, nap.tv_nsec = 0, SHORT_NAP
        self._closers += 1
        while self._busy and monotonic_ns() < end:
            with nogil:
                nanosleep(&nap, NULL)
        self._closers -= 1
        return 0

    cdef int _check_open(self) except -1:
        if load_bits(self._signal) & SIGNAL_STOP:
            raise CaptureStopped("the source is closed")
        return 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __reduce__(self):
        raise TypeError("a source cannot be pickled: open it in the process that reads it")


cdef object stats_of(const Counters* counters):
    """Return counters as Stats."""
    return Stats(counters.received, counters.dropped, counters.freezes)


cdef void _subtract(uint64_t* counter, uint64_t* cleared) noexcept nogil:
    """Replace a counter by what it has more than `cleared`, and add that to `cleared`."""
    counter[0] = max(counter[0], cleared[0]) - cleared[0]
    cleared[0] += counter[0]


cdef Py_ssize_t _limit_of(object max_packets) except -1:
    """Return the maximum number of packets of a batch."""
    cdef Py_ssize_t limit = ALL if max_packets is None else integer("max_packets", max_packets)
    if limit < 1:
        raise ValueError(f"max_packets must be at least 1, not {limit}")
    return limit


cdef bint _is_in_place(object buf, Borrowed target) noexcept:
    """Return True if a buffer has the memory that it exported.

    Exports prevent a bytearray from being resized, but not an array with `resize(refcheck=False)`, and a
    ctypes array never.
    """
    if type(buf) is bytearray or type(buf) is memoryview:
        return True
    return isinstance(buf, cnp.ndarray) and (
        cnp.PyArray_DATA(buf) == target.buffer.buf and cnp.PyArray_NBYTES(buf) == target.buffer.len)


cdef Borrowed _borrowed(object buf):
    try:
        return borrow(buf, True)
    except TypeError:
        raise wrong_type("buf", "a writable buffer", buf) from None


@cython.final
cdef class _Batches:
    """Iterator returned by `Source.batches()`, also asynchronous.

    After an exception it continues where it stopped.
    """

    cdef Source source
    cdef object max_packets, timeout

    def __iter__(self):
        return self

    def __next__(self):
        try:
            with cython.critical_section(self.source):
                return self.source._next_batch(self.max_packets, self.timeout)
        except (EOFError, CaptureStopped):
            raise StopIteration from None

    def __aiter__(self):
        return self

    def __anext__(self):
        from slimcap.source.async_reading import next_or_stop
        return next_or_stop(self.source.anext_batch(self.max_packets, self.timeout))

    def unblock(self):
        """Do the same as `Source.unblock`."""
        with cython.critical_section(self.source._event):
            self.source._event.raise_signal(SIGNAL_UNBLOCK)

    def __arrow_c_schema__(self):
        from slimcap.sink.arrow import batch_schema
        return batch_schema()

    def __arrow_c_stream__(self, requested_schema=None):
        from slimcap.sink.arrow import stream_capsule
        return stream_capsule(self, requested_schema)


cdef class ZeroCopySource(Source):
    """Base class of sources that return packets without copying them.

    Views keep the source's memory alive: for a ring that is a block, which the kernel cannot fill meanwhile.
    """

    def next_payload_zero_copy(self, *, timeout=None):
        """Return the captured bytes of the next packet, without a copy.

        Parameters
        ----------
        timeout : float, optional
            Maximum time to wait in seconds. Default: the source's `timeout`.

        Returns
        -------
        payload : View
            View of the source's memory, which it keeps alive as long as it lives.
        pkt_type : PacketType
            Addressee or direction of the packet.
        total_len : int
            Length on the wire in bytes.

        Raises
        ------
        EOFError, CaptureStopped, CaptureUnblocked, TimeoutError, RuntimeError, ValueError
            See `Source`.
        """
        cdef const Record* row = self._begin(timeout)
        try:
            payload = new_view(self._data + row.offset, row.cap_len, self._current.lend())
            result = <tuple> (payload, packet_type(row.pkt_type), row.total_len)
            self._next += 1
        finally:
            self._leave()
        return result

    def next_ip_packet_zero_copy(self, *, timeout=None):
        """Return the next packet with an IP header, from that header on, without a copy. Others are skipped.

        Parameters
        ----------
        timeout : float, optional
            Maximum time to wait in seconds. Default: the source's `timeout`.

        Returns
        -------
        ip_layer : IPLayer
            View of the source's memory, which it keeps alive as long as it lives.
        pkt_type : PacketType
            Addressee or direction of the packet.
        total_len : int
            Length on the wire in bytes, link-layer header included.

        Raises
        ------
        EOFError, CaptureStopped, CaptureUnblocked, TimeoutError, RuntimeError, ValueError
            See `Source`.
        """
        cdef const Record* row = self._begin_ip(timeout)
        cdef Py_ssize_t at = ip_start(row)
        try:
            layer = new_ip_layer(self._data + row.offset + at, row.cap_len - at, self._current.lend())
            result = <tuple> (layer, packet_type(row.pkt_type), row.total_len)
            self._next += 1
        finally:
            self._leave()
        return result
