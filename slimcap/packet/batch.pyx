"""`Batch`: a block of packets as numpy sees it, rows of numbers over bytes on loan."""
cimport cython
cimport numpy as cnp
from cpython.number cimport PyIndex_Check, PyNumber_AsSsize_t
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from slimcap.packet.headers.columns cimport header_columns
from slimcap.packet.lease cimport Block, Hold, Lease, lease_block, lease_buffer, new_block
from slimcap.packet.packet cimport new_packet_view
from slimcap.packet.record cimport Record, in_bounds, ip_start
from slimcap.packet.view cimport View, new_ip_layer, new_view

import numpy as np

from slimcap.packet.record import RECORD_DTYPE

cnp.import_array()

cdef cnp.dtype _RECORD = RECORD_DTYPE
cdef cnp.dtype _BYTE = np.dtype("u1")
cdef enum:
    HTML_ROWS = 10
    NANOSECOND = 1_000_000_000


cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(
        type subtype, cnp.dtype descr, int nd, cnp.npy_intp* dims, cnp.npy_intp* strides, void* data,
        int flags, object obj)
    int PyArray_SetBaseObject(cnp.ndarray array, object base) except -1


cdef object _array(cnp.dtype dtype, Py_ssize_t count, View view):
    """An array over the bytes of a view.

    It stays read-only: numpy asks the view before it lets somebody write.
    """
    cdef cnp.npy_intp size = count
    cdef cnp.ndarray array
    # Both calls steal a reference.
    cnp.Py_INCREF(dtype)
    array = PyArray_NewFromDescr(cnp.ndarray, dtype, 1, &size, NULL, <void*> view._ptr, 0, None)
    cnp.Py_INCREF(view)
    PyArray_SetBaseObject(array, view)
    return array


cdef Batch new_batch(const Record* rows, Py_ssize_t count, Hold rows_hold, Lease lease, object links):
    """A batch over rows that `rows_hold` keeps alive and bytes on loan by `lease`."""
    cdef Batch batch = Batch.__new__(Batch)
    batch._rows = rows
    batch._count = count
    batch._rows_hold = rows_hold
    batch._lease = lease
    batch._links = links
    batch._total_bytes = -1
    return batch


cdef void pack_rows(
        const Record* rows, Py_ssize_t count, const unsigned char* data, size_t size,
        Record* out, unsigned char* bytes_out, size_t at) noexcept nogil:
    """Copy rows and their payloads, one payload behind the other from `at` on;
    rows out of bounds become empty."""
    cdef Py_ssize_t index
    cdef Record* row
    for index in range(count):
        row = &out[index]
        memcpy(row, &rows[index], sizeof(Record))  # the spare bytes, too, which an assignment may leave out
        if not in_bounds(row, size):
            row.cap_len = 0
            row.offset = 0
        memcpy(bytes_out + at, data + row.offset, row.cap_len)
        row.offset = at
        at += row.cap_len


cdef Py_ssize_t _first_outside(const Record* rows, Py_ssize_t count, size_t size) noexcept nogil:
    """The first row that points outside `size` bytes of data; `count` if none does."""
    cdef Py_ssize_t index
    for index in range(count):
        if not in_bounds(&rows[index], size):
            return index
    return count


cdef size_t _payload_size(const Record* rows, Py_ssize_t count, size_t size) noexcept nogil:
    """Bytes that the payloads of the rows take."""
    cdef Py_ssize_t index
    cdef size_t total = 0
    for index in range(count):
        if in_bounds(&rows[index], size):
            total += rows[index].cap_len
    return total


@cython.final
cdef class _Packer:
    """Packets of several batches, brought together in memory that grows by half when it is full."""

    cdef Block rows, data
    cdef Py_ssize_t count, size

    def __cinit__(self):
        self.rows, self.data = new_block(0), new_block(0)

    cdef int add(self, Batch batch) except -1:
        cdef View view = batch._open()
        cdef Py_ssize_t more
        with nogil:
            more = _payload_size(batch._rows, batch._count, view._len)
        _grow(self.rows, (self.count + batch._count) * sizeof(Record))
        _grow(self.data, self.size + more)
        with nogil:
            pack_rows(
                batch._rows, batch._count, view._ptr, view._len,
                <Record*> self.rows.ptr + self.count, self.data.ptr, self.size)
        self.count += batch._count
        self.size += more
        return 0

    cdef Batch finish(self, object links):
        self.rows.resize(self.count * sizeof(Record))
        self.data.resize(self.size)
        return new_batch(
            <const Record*> self.rows.ptr, self.count,
            lease_block(self.rows, self.rows.size).hold, lease_block(self.data, self.data.size), links)


cdef int _grow(Block block, Py_ssize_t needed) except -1:
    if needed > block.size:
        block.resize(max(needed, block.size + block.size // 2))
    return 0


def concat(batches):
    """The packets of several batches, in memory of their own and without the bytes between them.

    Parameters
    ----------
    batches : iterable of Batch
        Of one source, or of sources with the same links. Each is needed only until the next is asked for.

    Returns
    -------
    Batch
        It borrows nothing.

    Raises
    ------
    ValueError
        A batch was released, or their links contradict each other.
    """
    cdef _Packer packer = _Packer()
    cdef Batch batch
    links = ()
    for batch in batches:
        if batch is None:
            raise TypeError("concat takes batches, not None")
        packer.add(batch)
        longer, shorter = (batch._links, links) if len(batch._links) > len(links) else (links, batch._links)
        if longer[:len(shorter)] != shorter:
            raise ValueError("batches of different interfaces cannot be brought together")
        links = longer
    return packer.finish(links)


@cython.final
@cython.no_gc_clear  # rows are looked at through a pointer
@cython.freelist(64)
cdef class Batch:
    """Packets: an array of records, and the bytes they describe.

    `batch["total_len"]` is a column, `batch[3]` a packet, `batch[batch["ip_offset"] != NO_IP]` a batch of
    those rows over the same memory; iterating gives the packets. `len(batch)` is the number of packets.

    Arrays, views and batches made from a batch keep the packets' bytes on loan as long as they live. They are
    read-only. `copy()` takes the packets into memory of their own, `release()` gives the bytes back early.

    Parameters
    ----------
    records : array_like of RECORD_DTYPE, shape (N,)
        One row a packet. Copied.
    data : buffer
        The bytes that `records["offset"]` and `["cap_len"]` point into. Not copied; must not change.
    links : tuple of Link
        The interfaces that `records["interface"]` points into.

    Raises
    ------
    ValueError
        A record that points outside `data`.
    """

    def __init__(self, records, data, links=()):
        cdef Lease lease = lease_buffer(data)
        cdef cnp.ndarray rows = np.atleast_1d(np.asarray(records, RECORD_DTYPE)).copy()
        cdef const Record* p = <const Record*> cnp.PyArray_DATA(rows)
        cdef Py_ssize_t index, count = rows.shape[0]
        if rows.ndim != 1:
            raise ValueError(f"records have one dimension, not {rows.ndim}")
        with nogil:
            index = _first_outside(p, count, lease._size)
        if index < count:
            raise ValueError(
                f"record {index} points outside the {lease._size} bytes of data "
                f"(offset {p[index].offset}, cap_len {p[index].cap_len})")
        self.release()
        self._take(rows)
        self._lease = lease
        self._links = tuple(links)

    cdef int _take(self, object rows) except -1:
        """Rows that a contiguous array owns, which nobody else may refer to:
        nothing may change them behind us."""
        cdef Lease lease = lease_buffer(rows)
        self._rows = <const Record*> lease._ptr
        self._count = len(rows)
        self._rows_hold = lease.hold
        self._records = None
        self._total_bytes = -1
        return 0

    @property
    def records(self):
        """The rows, RECORD_DTYPE, shape (N,), read-only.

        An array lives on after the batch, without its bytes.
        """
        if self._records is None:
            view = new_view(<const uint8_t*> self._rows, self._count * sizeof(Record), self._rows_hold)
            self._records = _array(_RECORD, self._count, view)
        return self._records

    @property
    def total_bytes(self):
        """Bytes of all packets on the wire: the sum of `total_len`, without an array made."""
        cdef const Record* rows = self._rows
        cdef Hold _hold = self._rows_hold
        cdef Py_ssize_t index, count = self._count
        cdef int64_t total = 0
        if self._total_bytes < 0:
            with nogil:
                for index in range(count):
                    total += rows[index].total_len
            self._total_bytes = total
        return self._total_bytes

    @property
    def data(self):
        """The bytes that `records["offset"]` points into, uint8, read-only;
        on loan as long as a view of it lives.

        Raises
        ------
        ValueError
            The batch was released.
        """
        cdef View view
        if self._data is None:
            view = self._open()
            self._data = _array(_BYTE, view._len, view)
        return self._data

    @property
    def links(self):
        """The interfaces, a tuple of Link; `records["interface"]` is an index into it."""
        return self._links

    @property
    def timestamps(self):
        """Capture times, datetime64[ns], shape (N,): a view of the records."""
        return self.records["timestamp"].view("M8[ns]")

    def payload(self, index):
        """The captured bytes of a packet: a View, which keeps the batch's bytes on loan as long as it lives.

        Raises
        ------
        IndexError
            There is no such packet.
        ValueError
            The batch was released.
        """
        cdef const Record* row = self._row(PyNumber_AsSsize_t(index, IndexError))
        return new_view(self._lease._ptr + row.offset, row.cap_len, self._lease.hold)

    def ip_layer(self, index):
        """A packet from its IP header on: an IPLayer, empty if there is none; it lives as a payload does.

        Raises
        ------
        IndexError
            There is no such packet.
        ValueError
            The batch was released.
        """
        cdef const Record* row = self._row(PyNumber_AsSsize_t(index, IndexError))
        cdef uint32_t at = ip_start(row)
        return new_ip_layer(
            self._lease._ptr + row.offset + at, row.cap_len - at, self._lease.hold)

    def gather(self, Py_ssize_t n):
        """The first `n` bytes of every packet, zero-padded: an array of its own, uint8, shape (N, n).

        Raises
        ------
        ValueError
            `n` is negative, or the batch was released.
        """
        cdef View view = self._open()
        if n < 0:
            raise ValueError(f"cannot gather {n} bytes")
        cdef cnp.ndarray out = np.empty((self._count, n), np.uint8)
        cdef uint8_t* to = <uint8_t*> cnp.PyArray_DATA(out)
        cdef Py_ssize_t index
        cdef Record row
        cdef size_t width
        with nogil:
            for index in range(self._count):
                row = self._rows[index]
                width = 0
                if in_bounds(&row, view._len):
                    width = min(<size_t> row.cap_len, <size_t> n)
                    memcpy(to, view._ptr + row.offset, width)
                memset(to + width, 0, n - width)
                to += n
        return out

    def filter(self, filter):
        """The packets that a filter takes: a batch of those rows over the same memory.

        Expressions are compiled as for a file, for the link type of each interface. VLAN tags that the kernel
        took out are seen where they were on the wire.

        Parameters
        ----------
        filter : str, Machine or sequence of (code, jt, jf, k)
            A tcpdump expression or a classic BPF program.

        Returns
        -------
        Batch
            Keeps this one's bytes on loan as long as it lives.

        Raises
        ------
        FilterError
            The filter cannot be compiled for a link type of this batch, or is no program.
        ValueError
            The batch was released.
        """
        from slimcap.filter.matcher import match

        return match(self, filter)

    def headers(self, columns=None, inner=False):
        """What the packets' headers say, from the link layer to the transport: a structured array of its own.

        Nothing raises for a packet: `status` is a `HeaderStatus`, which says what is known of it.

        Parameters
        ----------
        columns : iterable of str, optional
            Names of the columns, in order; only these are computed. Any of HEADER_DTYPE, which is what
            there is without, and the keys:

            - flow_hash, u8: XXH64 with seed 0 of src, dst, src_port, dst_port in network byte order, and
              protocol, 37 bytes; 0 where there are no addresses.
            - flow_hash_symmetric, u8: the same, with the smaller (address, port) for src: both
              directions of a flow have the same.
            - community_id, S30: Community ID version 1 with seed 0; empty where the ports are not known.
        inner : bool
            Go into IP in IP, GRE, VXLAN, GENEVE and GTP-U: the columns from `ip_version` on are those of the
            innermost IP packet, and `tunnels` says how deep that was.

        Returns
        -------
        ndarray of HEADER_DTYPE, or of the columns, shape (N,)
            Aligned with `records`. It lives on after the batch.

        Raises
        ------
        ValueError
            There is no such column, or the batch was released.
        """
        return header_columns(self._rows, self._count, self._open(), self._links, columns, inner)

    def copy(self):
        """The same packets in memory of their own, without the bytes between them:
        a Batch that borrows nothing.

        Raises
        ------
        ValueError
            The batch was released.
        """
        return concat((self,))

    def release(self):
        """Give the packets' bytes back now. Columns and `records` stay; a second call does nothing.

        Raises
        ------
        BufferError
            Views of the bytes are still open: payloads, `data` and what was sliced from it, batches of some
            rows.
        """
        self._data = None
        if self._lease is not None:
            self._lease.release()

    @property
    def released(self):
        """Whether `release()` was called."""
        return self._lease is None or self._lease.released

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.release()

    def __len__(self):
        return self._count

    def __iter__(self):
        cdef Py_ssize_t index
        for index in range(self._count):
            yield self._packet(index)

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.records[key]
        if PyIndex_Check(key) and not isinstance(key, (bool, np.ndarray)):
            return self._packet(PyNumber_AsSsize_t(key, IndexError))
        rows = self.records[key]
        if not isinstance(rows, np.ndarray) or rows.dtype != RECORD_DTYPE or rows.ndim != 1:
            raise TypeError(
                "a batch is indexed by a column's name, a packet's number, a slice, a mask or numbers")
        # The new batch's lease borrows from ours: a view like any other.
        cdef Batch batch = new_batch(NULL, 0, None, lease_buffer(self._open()), self._links)
        batch._lease.scarce = self._lease.scarce
        batch._take(np.ascontiguousarray(rows))
        return batch

    cdef object _packet(self, Py_ssize_t index):
        cdef const Record* row = self._row(index)
        return new_packet_view(row, self._lease._ptr + row.offset, self._lease.hold)

    cdef const Record* _row(self, Py_ssize_t index) except NULL:
        """A row whose bytes are there, for an index as Python has it."""
        self._check()
        if index < 0:
            index += self._count
        if not 0 <= index < self._count:
            raise IndexError(f"packet {index} of {self._count}")
        if not in_bounds(&self._rows[index], self._lease._size):
            raise ValueError(f"record {index} points outside the batch's data")
        return &self._rows[index]

    cdef View _open(self):
        """All of the bytes; while it lives, `release()` refuses, also in another thread."""
        self._check()
        return new_view(self._lease._ptr, self._lease._size, self._lease.hold)

    cdef int _check(self) except -1:
        if self._lease is None:
            raise ValueError("this batch was never made: use Batch(records, data)")
        return self._lease.check()

    # Arrow. These reach up to the sinks, and import them only when called.

    def to_arrow(self, columns=None, *, payload=True):
        """The packets as a pyarrow Table, which borrows nothing. Needs `slimcap[arrow]`.

        Parameters
        ----------
        columns : list of str, optional
            Names of columns, in this order: those of RECORD_DTYPE, "payload", and those of `headers`.
            By default those of RECORD_DTYPE but `offset`, and "payload".
        payload : bool or {"large_binary", "binary_view", "hex"}
            Whether the payload is among the default columns, and what it is: copied, as True says; where it
            is, on loan as long as the table lives, but pyarrow cannot filter or sort it; hexadecimal text.

        Returns
        -------
        pyarrow.Table
            Of N rows; `timestamp` is timestamp[ns, UTC], the other columns have the types that records have.

        Raises
        ------
        ImportError
            pyarrow is not installed.
        ValueError
            There is no such column, or the batch was released.
        """
        from slimcap.sink.dataframes import to_arrow
        return to_arrow(self, columns, payload)

    def to_pandas(self, columns=None, *, payload=True):
        """The packets as a pandas DataFrame, which borrows nothing. Needs `slimcap[pandas]`.

        Parameters
        ----------
        columns, payload
            As `to_arrow` takes them.

        Returns
        -------
        pandas.DataFrame
            Of N rows; `timestamp` is datetime64[ns, UTC], `payload` an ArrowDtype, which gives out bytes.

        Raises
        ------
        ImportError, ValueError
            As `to_arrow` does.
        """
        from slimcap.sink.dataframes import to_pandas
        return to_pandas(self, columns, payload)

    def to_polars(self, columns=None, *, payload=True):
        """The packets as a polars DataFrame. Needs `slimcap[polars]`.

        Parameters
        ----------
        columns, payload
            As `to_arrow` takes them, but that True is "binary_view", which is what polars works with.

        Returns
        -------
        polars.DataFrame
            Of N rows; `timestamp` is Datetime("ns", "UTC"), `payload` Binary. The packets' bytes are on loan
            as long as it lives; those of a ring are copied.

        Raises
        ------
        ImportError, ValueError
            As `to_arrow` does.
        """
        from slimcap.sink.dataframes import to_polars
        return to_polars(self, columns, payload)

    def __arrow_c_schema__(self):
        from slimcap.sink.arrow import batch_layout, schema_capsule
        return schema_capsule(batch_layout())

    def __arrow_c_array__(self, requested_schema=None):
        from slimcap.sink.arrow import array_capsules
        return array_capsules(self, requested_schema)

    def __arrow_c_stream__(self, requested_schema=None):
        from slimcap.sink.arrow import stream_capsule
        return stream_capsule((self,), requested_schema)

    def __reduce__(self):
        cdef Batch own = self.copy()
        return Batch, (np.array(own.records), np.array(own.data), own.links)

    def __repr__(self):
        if self._count == 0:
            return "<Batch: 0 packets>"
        what = f"{self._count:,} packets, {self.total_bytes:,} bytes"
        times = self["timestamp"]
        first, last = int(times.min()), int(times.max())
        return f"<Batch: {what}, {(last - first) / NANOSECOND:.6f} s from {np.datetime64(first, 'ns')}>"

    def _repr_html_(self):
        """The first rows as a table, for notebooks."""
        names = RECORD_DTYPE.names
        head = "".join(f"<th>{name}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{row[name]}</td>" for name in names) + "</tr>"
            for row in self.records[:HTML_ROWS])
        more = f"<p>… {self._count - HTML_ROWS:,} more</p>" if self._count > HTML_ROWS else ""
        about = repr(self).strip('<>')
        return f"<p>{about}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
