"""The contract of every source, written once.

A subclass decodes a block of packets at a time (`_fill`); what is here hands them out, in bulk or one by one:

    _fill() ──► _rows[_next:_end] ──► next_batch()      all of them, or some
                                  ──► next_packet() …   the next one

A reader is inside from `_begin` to `_leave`. Inside, rows and bytes stay: a second reader is refused, and
`close()` leaves it to the reader to tear down, so that nothing is freed or closed under its feet.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from slimcap.abi.linux cimport nanosleep, timespec
from slimcap.io.event cimport SIGNAL_STOP, SIGNAL_UNBLOCK, deadline_after, monotonic_ns
from slimcap.packet.batch cimport Batch, new_batch
from slimcap.packet.lease cimport Borrowed, Hold, borrow, lease_block
from slimcap.packet.packet cimport Packet, empty_packet, packet_from, packet_type
from slimcap.packet.record cimport ip_start
from slimcap.packet.view cimport View, new_ip_layer, new_view

import sys
from typing import NamedTuple

from slimcap.errors import CaptureStopped

cdef Py_ssize_t ALL = sys.maxsize

cdef enum:
    SHORT_NAP = 100_000         # ns between two looks whether the reader is out
    LONGEST_WAIT = 100_000_000  # ns for it to get out


class Stats(NamedTuple):
    """Packet counters of a source.

    Attributes
    ----------
    packets_received : int
        Packets that were read, or that reached the socket.
    packets_dropped : int
        Packets lost for want of space.
    queue_freezes : int
        How often the ring was full.
    """

    packets_received: int
    packets_dropped: int
    queue_freezes: int


cdef class Source:
    """What every source of packets can do. Use `RingSource`, `PcapSource` …, which are Sources.

    `for packet in source` and `source.batches()` end with the capture; the `next_*` methods then raise
    EOFError. All of them, unless said otherwise, raise

    - CaptureStopped if the source is or gets closed,
    - CaptureUnblocked once after `unblock()`,
    - TimeoutError if no packet came within `timeout` seconds (the source's option where the call gives none),
    - RuntimeError if another thread is reading from it,

    and lose no packet by that. One thread may read at a time; `close` and `unblock` may be called from any.
    """

    def __cinit__(self, *args, **kwargs):
        self._event = Event()
        self._signal = &self._event.signal
        self._cleared = Stats(0, 0, 0)
        self._links = ()

    def __init__(self):
        raise TypeError("Source is what sources have in common: open one with slimcap.open_file")

    # What a subclass writes.

    cdef bint _fill(self, int64_t deadline) except -1:
        """Show the next rows, at least one, and give True; give False at the end."""
        raise NotImplementedError

    cdef void _tear_down(self) noexcept:
        """Close what is open; nobody is inside."""

    cdef Py_ssize_t _snaplen(self) except -1:
        """Most bytes a packet of this source may have."""
        return 0

    # What it calls.

    cdef void _show(self, Block rows, Py_ssize_t count, Block data, Py_ssize_t data_size) noexcept:
        """Make `count` rows over `data` the current ones."""
        self._drop_rows()
        self._rows_block = rows
        self._rows = <const Record*> rows.ptr
        self._end = count
        self._data_block = data
        self._data = data.ptr
        self._data_size = data_size

    cdef void _drop_rows(self) noexcept:
        """Let go of the current rows, so that their memory is free for the next ones."""
        self._earlier += self._next
        self._rows = NULL
        self._data = NULL
        self._total_bytes = -1
        self._next = self._end = 0
        self._rows_hold = self._view_hold = None
        self._rows_block = self._data_block = None

    # Going in and out.

    cdef bint _ready(self) noexcept:
        """Whether a row can be given out at once."""
        return self._next < self._end and not self._busy and not self._signal[0]

    cdef const Record* _begin(self, object timeout) except NULL:
        """Go in; the next row. At the end, as after any exception, out again and EOFError."""
        if timeout is None and self._ready():
            self._busy = True
            return &self._rows[self._next]
        return self._begin_by(deadline_after(self._timeout if timeout is None else timeout))

    cdef const Record* _begin_by(self, int64_t deadline) except NULL:
        """As `_begin`, if need be after a wait."""
        if self._busy:
            raise RuntimeError("another thread is reading from this source: one reader at a time")
        self._busy = True
        self._reader = PyThread_get_thread_ident()
        try:
            self._event.check()
            if self._next == self._end:
                self._drop_rows()
                if not self._fill(deadline):
                    raise EOFError("the end of the capture")
            return &self._rows[self._next]
        except BaseException:
            self._leave()
            raise

    cdef const Record* _begin_ip(self, object timeout) except NULL:
        """As `_begin`, for the next row with an IP layer; those before it count as read."""
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
        """As `_begin`, for a loop: NULL at the end, which `close()` makes, too."""
        if self._ready():
            self._busy = True
            return &self._rows[self._next]
        try:
            return self._begin(None)
        except (EOFError, CaptureStopped):
            return NULL

    cdef void _leave(self) noexcept:
        """Go out; let go of rows that are all given out, and tear down what `close()` left to us."""
        if self._next == self._end and self._rows is not NULL:
            self._drop_rows()
        self._busy = False
        if self._signal[0] & SIGNAL_STOP and not self._closers:
            self._shut_down()

    cdef void _shut_down(self) noexcept:
        if not self._shut:
            self._shut = True
            self._given = self._target = None
            self._drop_rows()
            self._tear_down()
            if not self._is_part:
                self._event.shut()

    cdef Hold _lend(self):
        """What single views of the current bytes hold on to."""
        if self._view_hold is None:
            self._view_hold = lease_block(self._data_block, self._data_size).hold
        return self._view_hold

    # Packets, one by one.

    def new_packet(self):
        """An empty Packet, large enough for any packet of this source,
        to be given to `next_packet` again and again."""
        return empty_packet(self._snaplen())

    def next_packet(self, Packet buf=None, *, timeout=None):
        """The next packet, copied.

        Parameters
        ----------
        buf : Packet, optional
            Where to put it, instead of a new one; it gets what fits.
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        Packet
            `buf` if it was given. Its bytes are its own.
        """
        cdef const Record* row = self._begin(timeout)
        try:
            if buf is None:
                buf = packet_from(row, self._data + row.offset)
            else:
                if buf._memory is NULL:  # new, or a view, which it refuses
                    buf._own()
                buf._fill(row, self._data + row.offset)
            self._next += 1
        finally:
            self._leave()
        return buf

    def next_payload(self, buf=None, *, timeout=None):
        """The next packet's captured bytes, copied.

        Parameters
        ----------
        buf : writable buffer, optional
            Where to put them; it gets what fits. The source holds on to it until it is given another or
            closed.
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        payload : bytes or View
            New bytes, or a View of what was written to `buf`.
        pkt_type : PacketType
            Who the packet was for.
        total_len : int
            Its length on the wire.
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
        """The next packet that has an IP layer, from its IP header on, copied. Other packets are passed over.

        Parameters
        ----------
        buf : writable buffer, optional
            Where to put it; it gets what fits. The source holds on to it until it is given another or closed.
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        ip_layer : IPLayer
            Over memory of its own, or over what was written to `buf`.
        pkt_type : PacketType
            Who the packet was for.
        total_len : int
            Its length on the wire, link-layer header included.
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
        """Call `fn(payload, total_len, pkt_type, ip_layer_offset)` with the next packet.

        `payload` is a View of the source's own memory: it stays valid as long as it lives, and the memory is
        on loan for that long. What `fn` raises goes through; the packet counts as read.

        Returns
        -------
        object
            What `fn` returns.
        """
        cdef const Record* row = self._begin(timeout)
        cdef uint32_t total_len
        cdef uint16_t ip_offset
        try:
            payload = new_view(self._data + row.offset, row.cap_len, self._lend())
            total_len = row.total_len
            pkt_type = packet_type(row.pkt_type)
            ip_offset = row.ip_offset
            self._next += 1
        finally:
            self._leave()
        return fn(payload, total_len, pkt_type, ip_offset)

    cdef View _write_to(self, object buf, const uint8_t* p, Py_ssize_t n, bint ip_layer):
        """Copy to a writable buffer what fits; a view of what was written.

        The same buffer is mostly given again and again: hold on to it, which is cheaper than to ask for it
        each time.
        """
        if buf is not self._given:
            self._target = borrow(buf, True)
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
            self._next += 1
        finally:
            self._leave()
        return packet

    # Packets in bulk.

    def next_batch(self, max_packets=None, timeout=None):
        """The packets that are there, at least one: what one read or one ring block brought.

        Parameters
        ----------
        max_packets : int, optional
            Most packets to take.
        timeout : float, optional
            Seconds to wait for the first.

        Returns
        -------
        Batch
            Over the source's own memory, which is on loan as long as the batch or a view of it lives.

        Raises
        ------
        ValueError
            `max_packets` is less than 1.
        """
        return self._next_batch(max_packets, timeout)

    cdef Batch _next_batch(self, object max_packets, object timeout):
        cdef Py_ssize_t most = ALL if max_packets is None else max_packets
        cdef const Record* row
        if most < 1:
            raise ValueError(f"max_packets is at least 1, not {most}")
        row = self._begin(timeout)
        try:
            most = min(most, self._end - self._next)
            if self._rows_hold is None:
                self._rows_hold = lease_block(self._rows_block, self._end * sizeof(Record)).hold
            batch = new_batch(
                row, most, self._rows_hold, lease_block(self._data_block, self._data_size), self._links)
            if most == self._end:  # that is all of them
                batch._total_bytes = self._total_bytes
            self._next += most
        finally:
            self._leave()
        return batch

    def batches(self, max_packets=None, timeout=None):
        """Iterate over batches to the end of the capture; see `next_batch`.

        What it gives is an Arrow stream, too, with the columns of `ArrowStream`: `polars.DataFrame(batches)`,
        `pyarrow.table(batches)`, `duckdb.sql("from batches")`.
        """
        self._check_open()
        cdef _Batches batches = _Batches.__new__(_Batches)
        batches.source, batches.max_packets, batches.timeout = self, max_packets, timeout
        return batches

    # The rest.

    cdef object _totals(self):
        """Counters since the source was opened."""
        return Stats(self._earlier + self._next, 0, 0)

    @property
    def total_stats(self):
        """Counters since the source was opened: a Stats, which no call clears."""
        return self._totals()

    def stats(self):
        """Counters since the last call of `stats()`: a Stats."""
        totals = self._totals()
        since = Stats(*(now - then for now, then in zip(totals, self._cleared, strict=True)))
        self._cleared = totals
        return since

    @property
    def links(self):
        """The interfaces that packets come from: a tuple of Link. May grow while a file is read."""
        return self._links

    @property
    def link(self):
        """The interface that packets come from, the first if there are several: a Link."""
        return self._links[0] if self._links else None

    @property
    def closed(self):
        """Whether `close()` was called."""
        return bool(self._signal[0] & SIGNAL_STOP)

    def unblock(self):
        """Make a read that waits, or else the next one, raise CaptureUnblocked. From any thread."""
        self._event.raise_signal(SIGNAL_UNBLOCK)

    def close(self):
        """Stop.

        A read that waits, and every later one, raises CaptureStopped. From any thread; views live on.
        """
        self._event.raise_signal(SIGNAL_STOP)
        if self._busy and self._reader != PyThread_get_thread_ident():
            self._wait_for_reader()
        if not self._busy:
            self._shut_down()

    cdef int _wait_for_reader(self) except -1:
        """Let the reader get out first, who would have to tear down otherwise, which can take its time.

        Should it not come, it is not waiting, but busy with something long: then it does tear down.
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
        if self._signal[0] & SIGNAL_STOP:
            raise CaptureStopped("the source is closed")
        return 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __reduce__(self):
        raise TypeError("a source cannot be pickled: open it in the process that reads it")


@cython.final
cdef class _Batches:
    """The iterator that `batches()` gives. After an exception it goes on where it was."""

    cdef Source source
    cdef object max_packets, timeout

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self.source._next_batch(self.max_packets, self.timeout)
        except (EOFError, CaptureStopped):
            raise StopIteration from None

    def __arrow_c_schema__(self):
        from slimcap.sink.arrow import batch_layout, schema_capsule
        return schema_capsule(batch_layout())

    def __arrow_c_stream__(self, requested_schema=None):
        from slimcap.sink.arrow import stream_capsule
        return stream_capsule(self, requested_schema)


cdef class ZeroCopySource(Source):
    """A Source whose packets can be looked at where they are."""

    def next_payload_zero_copy(self, *, timeout=None):
        """The next packet's captured bytes, not copied.

        Returns
        -------
        payload : View
            Of the source's own memory, which is on loan as long as the view lives.
        pkt_type : PacketType
            Who the packet was for.
        total_len : int
            Its length on the wire.
        """
        cdef const Record* row = self._begin(timeout)
        try:
            payload = new_view(self._data + row.offset, row.cap_len, self._lend())
            result = <tuple> (payload, packet_type(row.pkt_type), row.total_len)
            self._next += 1
        finally:
            self._leave()
        return result

    def next_ip_packet_zero_copy(self, *, timeout=None):
        """The next packet that has an IP layer, from its IP header on,
        not copied. Other packets are passed over.

        Returns
        -------
        ip_layer : IPLayer
            Over the source's own memory, which is on loan as long as it lives.
        pkt_type : PacketType
            Who the packet was for.
        total_len : int
            Its length on the wire, link-layer header included.
        """
        cdef const Record* row = self._begin_ip(timeout)
        cdef Py_ssize_t at = ip_start(row)
        try:
            layer = new_ip_layer(self._data + row.offset + at, row.cap_len - at, self._lend())
            result = <tuple> (layer, packet_type(row.pkt_type), row.total_len)
            self._next += 1
        finally:
            self._leave()
        return result
