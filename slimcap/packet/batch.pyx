"""`Batch`: a block of packets as numpy arrays, rows of numbers over leased bytes."""
cimport cython
cimport numpy as cnp
from cpython.number cimport PyIndex_Check, PyNumber_AsSsize_t
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.numpy_array cimport PyArray_NewFromDescr, PyArray_SetBaseObject
from slimcap.packet.annotations cimport Annotations, with_blocks, with_comments
from slimcap.packet.headers.columns cimport header_columns
from slimcap.packet.lease cimport Block, Hold, Lease, lease_block, lease_buffer, new_block
from slimcap.packet.packet cimport PacketView, new_packet_view
from slimcap.packet.record cimport MAX_INTERFACES, Record, in_bounds, ip_start
from slimcap.packet.view cimport View, new_ip_layer, new_view

from collections.abc import Iterable

import numpy as np

from slimcap.errors import integer, suggestion, wrong_type
from slimcap.packet.address import ip_to_str
from slimcap.packet.enums import PROTOCOL_NAMES, PacketType
from slimcap.packet.headers.columns import HEADER_DTYPE
from slimcap.packet.interface import InterfaceInfo
from slimcap.packet.link import Link
from slimcap.packet.record import RECORD_DTYPE, copy_of

cnp.import_array()

cdef cnp.dtype _RECORD = copy_of(RECORD_DTYPE)
cdef cnp.dtype _BYTE = np.dtype("u1")
cdef enum:
    HTML_ROWS = 10


cdef object _array(cnp.dtype dtype, Py_ssize_t count, View view):
    """Return an array of `count` items over the bytes of a view.

    It stays read-only: before numpy makes an array writable, it asks the view, which refuses. Its dtype is a
    copy, since a caller may rename the fields.
    """
    cdef cnp.npy_intp size = count
    cdef cnp.ndarray array
    dtype = copy_of(dtype)
    # Both calls steal a reference.
    cnp.Py_INCREF(dtype)
    array = PyArray_NewFromDescr(cnp.ndarray, dtype, 1, &size, NULL, <void*> view._ptr, 0, None)
    cnp.Py_INCREF(view)
    PyArray_SetBaseObject(array, view)
    return array


cdef Batch new_batch(const Record* rows, Py_ssize_t count, Hold rows_hold, Lease lease, tuple links):
    """Make a batch of rows that `rows_hold` keeps alive, over the bytes of `lease`, without annotations."""
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
    """Copy rows and their payloads, the payloads one after another starting at `at`.

    Rows that are out of bounds get an empty payload.
    """
    cdef Py_ssize_t index
    cdef Record* row
    for index in range(count):
        row = &out[index]
        memcpy(row, &rows[index], sizeof(Record))  # an assignment need not copy the spare bytes
        if not in_bounds(row, size):
            row.cap_len = 0
            row.offset = 0
        memcpy(bytes_out + at, data + row.offset, row.cap_len)
        row.offset = at
        at += row.cap_len


cdef Py_ssize_t _first_outside(const Record* rows, Py_ssize_t count, size_t size) noexcept nogil:
    """Return the index of the first row that points outside `size` bytes of data; `count` if none does."""
    cdef Py_ssize_t index
    for index in range(count):
        if not in_bounds(&rows[index], size):
            return index
    return count


cdef object _rows_at(const Record* rows, cnp.ndarray numbers):
    """Return a copy of the rows with these numbers, which must be valid: an array that owns them.

    numpy copies an item of 40 bytes in as much time as this copies ten.
    """
    cdef Py_ssize_t index, count = numbers.shape[0]
    cdef const int64_t* at = <const int64_t*> cnp.PyArray_DATA(numbers)
    cdef cnp.ndarray copies = np.empty(count, _RECORD)
    cdef Record* out = <Record*> cnp.PyArray_DATA(copies)
    with nogil:
        for index in range(count):
            memcpy(&out[index], &rows[at[index]], sizeof(Record))
    return copies


cdef size_t _payload_size(const Record* rows, Py_ssize_t count, size_t size) noexcept nogil:
    """Return the total size of the rows' payloads in bytes."""
    cdef Py_ssize_t index
    cdef size_t total = 0
    for index in range(count):
        if in_bounds(&rows[index], size):
            total += rows[index].cap_len
    return total


@cython.final
cdef class _Packer:
    """Copies the packets of several batches into one, in memory that grows by half when it is full."""

    cdef Block rows, data
    cdef Py_ssize_t count, size
    cdef tuple links, interfaces
    cdef Annotations annotations    # None: there are none

    def __cinit__(self):
        self.rows, self.data = new_block(0), new_block(0)
        self.links = ()

    cdef int add(self, Batch batch) except -1:
        cdef View view = batch._open()
        cdef Py_ssize_t more, known = len(self.links)
        cdef Annotations annotations = batch._annotations
        cdef list numbers = self._add_links(batch)
        with nogil:
            more = _payload_size(batch._rows, batch._count, view._len)
        _grow(self.rows, (self.count + batch._count) * sizeof(Record))
        _grow(self.data, self.size + more)
        with nogil:
            pack_rows(
                batch._rows, batch._count, view._ptr, view._len,
                <Record*> self.rows.ptr + self.count, self.data.ptr, self.size)
        if numbers is not None:
            _renumber(<Record*> self.rows.ptr + self.count, batch._count, numbers)
            annotations = None if annotations is None else annotations.renumbered(numbers, known)
        if annotations is not None:
            if self.annotations is None:
                self.annotations = Annotations()
            self.annotations.add(annotations, self.count)
        self.count += batch._count
        self.size += more
        return 0

    cdef list _add_links(self, Batch batch):
        """Add the links and interfaces of the batch to those of the batches before.

        Return the new number of each, or None if they have the same numbers as before.
        """
        shorter, longer = self.links, batch._links
        if len(shorter) > len(longer):
            shorter, longer = longer, shorter
        if longer[:len(shorter)] != shorter:
            return self._add_other_links(batch)
        if longer is batch._links or len(shorter) == len(longer):
            self.links, self.interfaces = batch._links, batch._interfaces
        return None

    cdef list _add_other_links(self, Batch batch):
        """Do the same for a batch of another source: links that are equal become one."""
        cdef list numbers = [], links = list(self.links), infos = list(_infos_of(self.links, self.interfaces))
        places = {}
        for number, link in enumerate(links):
            places.setdefault(link, []).append(number)
        for link, info in zip(batch._links, _infos_of(batch._links, batch._interfaces), strict=True):
            if places.get(link):
                numbers.append(places[link].pop(0))
                continue
            if len(links) == MAX_INTERFACES:
                raise ValueError(f"the batches have more than {MAX_INTERFACES:,} links: concatenate fewer")
            numbers.append(len(links))
            links.append(link)
            infos.append(info)
        self.links, self.interfaces = tuple(links), tuple(infos)
        return numbers

    cdef Batch finish(self):
        cdef Batch batch
        self.rows.resize(self.count * sizeof(Record))
        self.data.resize(self.size)
        batch = new_batch(
            <const Record*> self.rows.ptr, self.count,
            lease_block(self.rows, self.rows.size).hold, lease_block(self.data, self.data.size), self.links)
        batch._interfaces, batch._annotations = self.interfaces, self.annotations
        return batch


cdef tuple _infos_of(tuple links, tuple interfaces):
    """Return the interfaces of links, also if they are not described."""
    if interfaces is not None:
        return interfaces
    return tuple([InterfaceInfo(link, 0, NANOSECONDS) for link in links])


cdef int _renumber(Record* rows, Py_ssize_t count, list numbers) except -1:
    """Replace the number of each row's interface; an unknown one stays unknown."""
    cdef const uint32_t[::1] new = np.array(numbers, np.uint32)
    cdef Py_ssize_t row, known = len(numbers)
    with nogil:
        for row in range(count):
            rows[row].interface = new[rows[row].interface] if rows[row].interface < known else MAX_INTERFACES
    return 0


cdef object _rows_from(object records):
    """Return a copy of records as an array of at least one dimension. Fields are found by their names."""
    names = getattr(getattr(records, "dtype", None), "names", None)
    if names is None or records.dtype == RECORD_DTYPE:
        try:
            return np.atleast_1d(np.asarray(records, RECORD_DTYPE)).copy()
        except TypeError as error:
            raise TypeError(f"records must be an array of RECORD_DTYPE: {error}") from None
    if sorted(names) != sorted(RECORD_DTYPE.names):
        raise TypeError(
            f"records must have the fields {', '.join(RECORD_DTYPE.names)}, not {', '.join(names)}")
    rows = np.zeros(records.shape, RECORD_DTYPE)
    for name in names:
        rows[name] = records[name]
        if not np.array_equal(rows[name], records[name]):
            raise ValueError(f"records[{name!r}] has values that do not fit into {rows.dtype[name]}")
    return np.atleast_1d(rows)


cdef tuple _checked(object items, str name, type kind):
    """Return the items of an argument as a tuple; raise TypeError if they are not of this type."""
    if not isinstance(items, Iterable):
        raise wrong_type(name, f"an iterable of {kind.__name__}", items)
    items = tuple(items)
    for item in items:
        if not isinstance(item, kind):
            raise wrong_type(f"each of {name}", f"a {kind.__name__}", item)
    return items


cdef int _check_column(str name) except -1:
    if name in RECORD_DTYPE.names:
        return 0
    if name in HEADER_DTYPE.names:
        raise ValueError(f"{name} is a header column: use batch.headers([{name!r}])[{name!r}]")
    similar = suggestion(name, RECORD_DTYPE.names + HEADER_DTYPE.names)
    raise ValueError(
        f"unknown column {name!r}{similar}: a batch has {', '.join(RECORD_DTYPE.names)}; header columns "
        f"are in batch.headers(): {', '.join(HEADER_DTYPE.names)}")


cdef int _grow(Block block, Py_ssize_t needed) except -1:
    if needed > block.size:
        block.resize(max(needed, block.size + block.size // 2))
    return 0


def concat(batches):
    """Concatenate batches into one, which has its own copy of the packets without the bytes between them.

    Parameters
    ----------
    batches : iterable of Batch
        Batches of one source or of several. Each batch is used only until the next one is taken from the
        iterable.

    Returns
    -------
    Batch
        All packets, in order, with their comments. Its links are those of all batches; equal links of two
        batches are one, and `interface` is renumbered. It owns its memory.

    Raises
    ------
    ValueError
        A batch was released, or the batches have more than 65,535 links together.
    TypeError
        An item is not a Batch.

    Examples
    --------
    >>> copy = slimcap.concat([batch, batch])
    >>> len(copy) == 2 * len(batch)
    True
    """
    cdef _Packer packer = _Packer()
    cdef Batch batch
    for batch in batches:
        if batch is None:
            raise TypeError("concat takes batches, not None")
        packer.add(batch)
    return packer.finish()


@cython.final
@cython.no_gc_clear  # rows are read through a pointer into memory that _rows_hold keeps alive
@cython.freelist(64)
cdef class Batch:
    """A block of packets: an array of records, and the bytes they describe.

    ============================ ==============================================================
    ``len(batch)``               number of packets
    ``batch["total_len"]``       a column of `records`, shape (N,)
    ``batch[3]``, ``batch[-1]``  one packet, a `PacketView`; iterating yields these
    ``batch[10:20]``             a batch of these rows over the same bytes; also with a boolean
                                 mask or an array of row numbers
    ``batch.links``              the interfaces that ``batch["interface"]`` is an index into
    ``batch.comments``           comments on packets, by row
    ``batch.blocks``             other blocks of a pcapng file, by row
    ============================ ==============================================================

    The columns (RECORD_DTYPE, 40 bytes per packet) are the same for all sources:

    ============ ==== =========================================================================
    timestamp    i8   nanoseconds since the Unix epoch
    offset       u8   offset of the payload in ``batch.data``, in bytes
    total_len    u4   length on the wire in bytes, link-layer header included
    cap_len      u4   number of bytes captured
    interface    u4   index into ``batch.links``
    ip_offset    u2   offset of the IP header in the payload; ``NO_IP`` if there is none
    vlan_tci     u2   TCI of the outermost VLAN tag; valid if ``flags`` has ``VLAN``
    vlan_tpid    u2   TPID of the outermost VLAN tag; valid if ``flags`` has ``VLAN``
    pkt_type     u1   a `PacketType`
    flags        u4   `RecordFlag` bits
    ============ ==== =========================================================================

    Columns, packets, payload views and batches of some rows are read-only. Packets, payload views, batches of
    some rows, and arrays from `data` share the packets' bytes and keep them alive. `copy()` copies
    the packets into memory of their own, `release()` returns the bytes early. A batch is a context manager
    that releases them on exit, and an Arrow array and stream (PyCapsule protocol). Pickling copies packets.
    Batches of some rows, copies and pickled batches keep the interfaces and options of their packets.

    Parameters
    ----------
    records : array_like of RECORD_DTYPE, shape (N,)
        One row per packet. Copied. Another structured array must have the same fields, in any order.
    data : buffer
        The bytes that `records["offset"]` and `records["cap_len"]` point into. Not copied; must not change.
    links : iterable of Link, default ()
        The interfaces that `records["interface"]` is an index into.
    interfaces : iterable of InterfaceInfo, optional
        Descriptions of the interfaces, instead of `links`. Default: only what the links tell.
    comments : mapping of int to str, optional
        Comments on packets by row, as for `with_comments`. Default: none.

    Raises
    ------
    ValueError
        A record points outside `data`, `records` has more than one dimension, both `links` and `interfaces`
        are given, or a comment is on a row that does not exist.
    TypeError, BufferError
        `data` is not a C-contiguous buffer, or a comment is not a str.

    Examples
    --------
    >>> records = np.zeros(2, slimcap.RECORD_DTYPE)
    >>> records["offset"], records["cap_len"] = [0, 3], [3, 2]
    >>> batch = slimcap.Batch(records, b"abcde")
    >>> bytes(batch[1].payload)
    b'de'
    >>> len(batch[batch["cap_len"] > 2])
    1
    """

    def __init__(self, records, data, links=(), *, interfaces=None, comments=None):
        cdef Lease lease = lease_buffer(data)
        cdef cnp.ndarray rows = _rows_from(records)
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
        links = _checked(links, "links", Link)
        if interfaces is not None:
            if links:
                raise ValueError("give links or interfaces, not both: an interface has its link")
            interfaces = _checked(interfaces, "interfaces", InterfaceInfo)
            links = tuple([info.link for info in interfaces])
        annotations = None if comments is None else with_comments(None, comments, count)
        if self._lease is not None:
            raise TypeError("a batch is made once: make another one")
        self._take(rows)
        self._lease = lease
        self._links, self._interfaces, self._annotations = links, interfaces, annotations

    cdef int _take(self, object rows) except -1:
        """Use the rows of a contiguous array that owns them.

        There must be no other reference to the array, so that nothing can change the rows afterwards.
        """
        cdef Lease lease = lease_buffer(rows)
        self._rows = <const Record*> lease._ptr
        self._count = len(rows)
        self._rows_hold = lease.hold
        self._records = None
        self._total_bytes = -1
        return 0

    cdef int _inherit(self, Batch other, object rows) except -1:
        """Use the interfaces of another batch, and the annotations of those of its rows that this batch has.

        `rows` are their numbers, an array or a slice; None: all of them.
        """
        cdef Annotations theirs = other._annotations
        cdef Py_ssize_t start, stop, step
        self._links, self._interfaces = other._links, other._interfaces
        if theirs is None or rows is None:
            self._annotations = theirs
            return 0
        if isinstance(rows, slice):
            start, stop, step = rows.indices(other._count)
            if step == 1:
                stop = max(start, stop)
                self._annotations = theirs.part(start, stop, stop == other._count)
                return 0
        self._annotations = theirs.take(np.arange(other._count)[rows])
        return 0

    @property
    def records(self):
        """The rows, an ndarray of RECORD_DTYPE, shape (N,), read-only.

        The array stays valid without the batch and after `release()`. It does not keep the packets' bytes
        alive.
        """
        if self._records is None:
            view = new_view(<const uint8_t*> self._rows, self._count * sizeof(Record), self._rows_hold)
            self._records = _array(_RECORD, self._count, view)
        return self._records

    @property
    def total_bytes(self):
        """Sum of `total_len` in bytes; computed once, without making an array."""
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
        """The bytes that `records["offset"]` points into, an ndarray of uint8, read-only.

        The bytes stay alive as long as any array or view made from it.

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
        """The interfaces, a tuple of Link that `records["interface"]` is an index into."""
        return () if self._links is None else self._links

    @property
    def interfaces(self):
        """Descriptions of the interfaces, a tuple of InterfaceInfo: one for each of `links`.

        Of packets from a file they are as known when the packets were read: counters may come later.
        """
        if self._interfaces is None:
            self._interfaces = _infos_of(self.links, None)
        return self._interfaces

    @property
    def comments(self):
        """Comments on packets, a new dict from row to str. Several on one packet are joined, one per line.
        """
        return {} if self._annotations is None else self._annotations.comments()

    def with_comments(self, comments):
        """Return a batch of the same packets with other comments, over the same bytes.

        Parameters
        ----------
        comments : mapping of int to str, or to an iterable of str for several comments
            Comments by row. They replace all that the batch has.

        Returns
        -------
        Batch
            It keeps this batch's bytes alive as long as it lives.

        Raises
        ------
        ValueError
            There is no such row, or the batch was released.
        TypeError
            A row is not an int, or a comment is not a str.

        Examples
        --------
        >>> batch.with_comments({0: "retransmitted", 2: "lost"}).comments[2]
        'lost'
        """
        return self._annotated(with_comments(self._annotations, comments, self._count))

    cdef Batch _annotated(self, Annotations annotations):
        """Return a batch of the same packets with other annotations."""
        cdef Batch batch = self[:]
        batch._annotations = annotations
        return batch

    @property
    def blocks(self):
        """Blocks of a pcapng file that are not packets, a tuple of (row, block) in the order of the file.

        Each was before the packet of its row, or after the last one if that is ``len(batch)``. It is an
        `OtherBlock` (decryption secrets, names, custom blocks …), `Statistics`, a SectionInfo where another
        section begins, or an int where the interface of that number is described. `PcapNgWriter` writes them
        in their place. A mask or row numbers keep all blocks, a slice those of its rows.
        """
        return () if self._annotations is None else tuple(self._annotations.blocks)

    def with_blocks(self, blocks):
        """Return a batch of the same packets with other blocks between them, over the same bytes.

        Parameters
        ----------
        blocks : iterable of (int, block)
            Rows and blocks, as in `blocks`.

        Returns
        -------
        Batch
            It keeps this batch's bytes alive as long as it lives.

        Raises
        ------
        ValueError
            There is no such row, or the batch was released.
        TypeError
            A row is not an int, or a block is not as in `blocks`.

        Examples
        --------
        >>> batch.with_blocks(()).blocks
        ()
        """
        return self._annotated(with_blocks(self._annotations, blocks, self._count))

    @property
    def timestamps(self):
        """Capture times, an ndarray of datetime64[ns], shape (N,): a view of `records`."""
        return self.records["timestamp"].view("M8[ns]")

    def payload(self, index):
        """Return the captured bytes of one packet, without a copy.

        Parameters
        ----------
        index : int
            Row number; negative numbers count from the end.

        Returns
        -------
        View
            It keeps the batch's bytes alive as long as it lives.

        Raises
        ------
        IndexError
            The batch has no such row.
        ValueError
            The batch was released, or the row points outside its data.
        """
        cdef const Record* row = self._row(PyNumber_AsSsize_t(index, IndexError))
        return new_view(self._lease._ptr + row.offset, row.cap_len, self._lease.hold)

    def ip_layer(self, index):
        """Return the captured bytes of one packet from its IP header on, without a copy.

        Parameters
        ----------
        index : int
            Row number; negative numbers count from the end.

        Returns
        -------
        IPLayer
            Empty if the packet has no IP header. It keeps the batch's bytes alive as long as it lives.

        Raises
        ------
        IndexError
            The batch has no such row.
        ValueError
            The batch was released, or the row points outside its data.
        """
        cdef const Record* row = self._row(PyNumber_AsSsize_t(index, IndexError))
        cdef uint32_t at = ip_start(row)
        return new_ip_layer(
            self._lease._ptr + row.offset + at, row.cap_len - at, self._lease.hold)

    def gather(self, n, at="link"):
        """Copy `n` bytes of every packet, from the start of a layer on, into an array, padded with zeros.

        Parameters
        ----------
        n : int
            Number of bytes per packet.
        at : {"link", "ip", "l4", "l7"}, default "link"
            Where they start: at the link-layer header, the IP header, the upper-layer header or the upper
            layer's data. Packets without that layer have only zeros.

        Returns
        -------
        ndarray of uint8, shape (N, n)
            A writable array that owns its memory.

        Raises
        ------
        ValueError
            `n` is negative, `at` is not a layer, or the batch was released.
        """
        cdef View view = self._open()
        cdef Py_ssize_t size = integer("n", n)
        if size < 0:
            raise ValueError(f"cannot gather {size} bytes")
        cdef const uint32_t[::1] starts = self._starts_of(at)
        cdef cnp.ndarray out = np.empty((self._count, size), np.uint8)
        cdef uint8_t* to = <uint8_t*> cnp.PyArray_DATA(out)
        cdef Py_ssize_t index
        cdef Record row
        cdef size_t width
        with nogil:
            for index in range(self._count):
                row = self._rows[index]
                width = 0
                if in_bounds(&row, view._len) and starts[index] < row.cap_len:
                    width = min(<size_t> row.cap_len - starts[index], <size_t> size)
                    memcpy(to, view._ptr + row.offset + starts[index], width)
                memset(to + width, 0, size - width)
                to += size
        return out

    cdef object _starts_of(self, object layer):
        """Return the start of a layer in each payload, as uint32; `cap_len` if a packet lacks the layer."""
        if layer == "link":
            return np.zeros(self._count, np.uint32)
        if layer == "ip":
            return self["ip_offset"].astype(np.uint32)
        if layer not in ("l4", "l7"):
            raise ValueError(f"at must be 'link', 'ip', 'l4' or 'l7', not {layer!r}")
        starts = self.headers([f"{layer}_offset"])[f"{layer}_offset"]
        return np.where(starts == 0, self["cap_len"], starts).astype(np.uint32)

    def filter(self, filter=None, *, where=None):
        """Return the packets that match a filter, conditions on their headers, or both.

        Expressions are compiled for the link type of each packet's interface, as for a capture file. No
        packet matches if libpcap cannot compile the expression for its link type. The filter sees VLAN tags
        that the kernel removed where they were on the wire.

        Parameters
        ----------
        filter : str, HostSet, Machine or sequence of (code, jt, jf, k), optional
            A tcpdump expression or a classic BPF program. Default: all packets match.
        where : mapping or slimcap.filter.HeaderFilter, optional
            Conditions on the headers, as options of `HeaderFilter`, which see headers after VLAN tags,
            MPLS labels and PPPoE headers, and in tunnels. For many batches make the HeaderFilter once.
            Default: all packets match.

        Returns
        -------
        Batch
            It keeps this batch's bytes alive as long as it lives.

        Raises
        ------
        FilterError
            The filter is not a valid program, or an expression that is not valid for any link type.
        TypeError
            Neither a filter nor conditions were given, or one has a wrong type.
        ValueError
            The batch was released, or a condition is not valid.

        Examples
        --------
        >>> batch = slimcap.read("trace.pcap")
        >>> web = batch.filter(where={"net": "192.0.2.0/24", "port": [80, 443]})
        """
        from slimcap.filter.matcher import match

        return match(self, filter, where)

    def headers(self, columns=None, inner=False, tunnel_ports=None):
        """Parse the packets' headers, from the link layer to the transport layer.

        A bad packet does not raise: its `status` column, a `HeaderStatus`, tells which columns are known.

        The columns (HEADER_DTYPE, 104 bytes per packet):

        =================== ==== =========================================================================
        status              u1   a `HeaderStatus`
        src_mac, dst_mac    V6   MAC addresses: both for Ethernet, only the source for Linux cooked captures
        ethertype           u2   EtherType after all VLAN tags; 0 if the link layer has none
        vlan_id             u2   VLAN ID of the outermost tag
        inner_vlan_id       u2   VLAN ID of the second tag
        ip_version          u1   the first four bits of the IP header
        src, dst            V16  addresses; IPv4 as IPv4-mapped IPv6 addresses, ``::ffff:192.0.2.1``
        protocol            u1   IANA number of the upper layer, for IPv6 that after the extension headers
        ttl                 u1   time to live (IPv4) or hop limit (IPv6)
        tos                 u1   type of service (IPv4) or traffic class (IPv6)
        flow_label          u4   IPv6 flow label
        ip_len              u4   length of the IP packet by its header, header included (0: not segmented yet)
        ip_id               u4   identification, for IPv6 that of the fragment header
        frag_offset         u2   offset of this fragment in the data of the original packet
        more_fragments      bool True if more fragments follow this one
        src_port, dst_port  u2   ports of TCP, UDP, UDP-Lite, SCTP and DCCP
        tcp_flags           u2   FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, AE 256
        tcp_seq, tcp_ack    u4   sequence and acknowledgement number
        tcp_window          u2   window field, not scaled
        icmp_type           u1   type of an ICMP or ICMPv6 message
        icmp_code           u1   code of an ICMP or ICMPv6 message
        l4_offset           u4   offset of the upper-layer header; 0 if it is not in the payload
        l7_offset           u4   offset of the upper layer's data
        l7_len              u4   length of that data on the wire; fewer bytes may have been captured
        tunnels             u1   number of tunnels entered, with ``inner=True``
        =================== ==== =========================================================================

        Compare addresses with text, ``headers["src"] == "192.0.2.1"``, or with `in_network`, and show them
        with `ip_to_str`.

        Fields that a packet does not have, or that are not known, are zero. Offsets and lengths are in bytes;
        `l4_offset` and `l7_offset` count from the start of the payload, where the link-layer header is.

        Parameters
        ----------
        columns : iterable of str, optional
            Names of the columns, in order; only these are computed. Default: all of HEADER_DTYPE. Besides
            those of HEADER_DTYPE there are:

            - flow_hash, u8: XXH64 with seed 0 over src, dst, src_port, dst_port in network byte order and
              protocol, 37 bytes; 0 if the packet has no complete fixed IP header.
            - flow_hash_symmetric, u8: the same with the smaller (address, port) as source, so that both
              directions of a flow have the same hash.
            - community_id, S30: Community ID version 1 with seed 0; empty if the ports are not known.
        inner : bool, default False
            Enter tunnels, at most 8: the columns from `ip_version` on describe the innermost IP packet, and
            `tunnels` is the number of tunnels around it. Entered are IP-in-IP, EtherIP, MPLS in IP, L2TPv3,
            GRE (also with ERSPAN, PPTP, MPLS, NSH and WCCP) and, over UDP, those of `tunnel_ports`.
        tunnel_ports : mapping of str to iterable of int, optional
            Ports of tunnels over UDP, such as ``{"vxlan": [4789, 8472]}``. Those of a tunnel replace its
            default; an empty list disables it. A tunnel is told by its destination port; gtpu, teredo and
            l2tp by either. Default: vxlan 4789, vxlan_gpe 4790, geneve 6081, gtpu 2152, teredo 3544,
            l2tp 1701 (versions 2 and 3), mpls 6635.

        Returns
        -------
        ndarray of HEADER_DTYPE, or of the given columns, shape (N,)
            One row for each row of `records`. It owns its memory.

        Raises
        ------
        ValueError
            A column does not exist or occurs twice, `columns` is empty, the batch was released, a tunnel
            does not exist, a port is not 1 to 65535, or two tunnels have the same port.
        TypeError
            `columns` is a str, or `tunnel_ports` is not a mapping of names to lists of ports.
        """
        return header_columns(
            self._rows, self._count, self._open(), self._links, columns, inner, tunnel_ports)

    def copy(self):
        """Copy the packets, without the bytes between them.

        Returns
        -------
        Batch
            It owns its memory.

        Raises
        ------
        ValueError
            The batch was released.
        """
        return concat((self,))

    def release(self):
        """Return the packets' bytes to their owner now.

        `records` and its columns stay valid. A second call does nothing.

        Raises
        ------
        BufferError
            Views of the bytes are still alive: packets, payloads, arrays made from `data`, or batches of some
            rows. The rows of such a batch are views of the batch that owns the bytes.
        """
        self._data = None
        if self._lease is not None:
            self._lease.release()

    @property
    def released(self):
        """True after `release()`."""
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
        cdef Batch batch
        cdef View view
        cdef Py_ssize_t start, stop, step
        if isinstance(key, slice):
            view = self._open()  # first: an index of the slice may run Python code
            start, stop, step = key.indices(self._count)
            if step == 1:
                batch = new_batch(
                    self._rows + start, max(stop - start, 0), self._rows_hold, lease_buffer(view), None)
                batch._inherit(self, slice(start, stop))
                return batch
        if isinstance(key, str):
            _check_column(key)
            return self.records[key]
        if PyIndex_Check(key) and not isinstance(key, (bool, np.ndarray)):
            return self._packet(PyNumber_AsSsize_t(key, IndexError))
        view = self._open()
        numbers = self._numbers_of(key)
        batch = new_batch(NULL, 0, None, lease_buffer(view), None)
        batch._take(_rows_at(self._rows, numbers))
        batch._inherit(self, numbers)
        return batch

    cdef object _numbers_of(self, object key):
        """Return the numbers of the rows that a mask, numbers or a slice selects: a new array of int64."""
        are_names = isinstance(key, list) and key and all([isinstance(item, str) for item in key])
        if not are_names:
            numbers = np.arange(self._count, dtype=np.int64)[key]
            if isinstance(numbers, np.ndarray) and numbers.ndim == 1:
                return np.ascontiguousarray(numbers)
        raise TypeError(
            "a batch is indexed by a column's name, a packet's number, a slice, a mask or numbers")

    cdef object _packet(self, Py_ssize_t index):
        cdef const Record* row
        cdef PacketView view
        with cython.critical_section(self):
            row = self._row(index)
            view = new_packet_view(row, self._lease._ptr + row.offset, self._lease.hold)
        if self._annotations is not None:
            view.comment = self._annotations.comment(row - self._rows)
        return view

    cdef const Record* _row(self, Py_ssize_t index) except NULL:
        """Return the row at an index, which may be negative; raise if that or its payload is out of bounds.
        """
        self._check()
        if index < 0:
            index += self._count
        if not 0 <= index < self._count:
            raise IndexError(f"packet {index} of {self._count}")
        if not in_bounds(&self._rows[index], self._lease._size):
            raise ValueError(f"record {index} points outside the batch's data")
        return &self._rows[index]

    cdef View _open(self):
        """Return a view of all bytes. While it lives `release()` raises, also in another thread."""
        with cython.critical_section(self):
            self._check()
            return new_view(self._lease._ptr, self._lease._size, self._lease.hold)

    cdef int _check(self) except -1:
        if self._lease is None:
            raise ValueError("this batch was never made: use Batch(records, data)")
        return self._lease.check()

    # Arrow. The sink layer is above this one, so it is imported only when these are called.

    def to_arrow(self, columns=None, *, payload=True, addresses="text", inner=False, tunnel_ports=None):
        """Convert the packets to a pyarrow Table. Requires `slimcap[arrow]`.

        Parameters
        ----------
        columns : iterable of str, optional
            Names of the columns, in order: those of RECORD_DTYPE, "interface_name", "file_name", "payload",
            and those of `headers`.
            Default: those of RECORD_DTYPE except `offset`, "interface_name" and "payload".
        payload : bool or {"large_binary", "binary_view", "hex"}, default True
            False omits the payload from the default columns; the others set its type.
            "large_binary", the same as True, copies the bytes.
            "binary_view" does not copy them: the batch's bytes stay alive as long as the table, and pyarrow
            cannot filter or sort the column. The bytes of a ring are copied nevertheless.
            "hex" is hexadecimal text.
        addresses : {"text", "binary"}, default "text"
            Type of IP and MAC addresses. "binary" is fixed-size binary: 16 bytes, IPv4 as IPv4-mapped IPv6,
            or 6 bytes. Addresses that a packet does not have are null.
        inner : bool, default False
            As for `headers`.
        tunnel_ports : mapping of str to iterable of int, optional
            As for `headers`.

        Returns
        -------
        pyarrow.Table
            N rows; `timestamp` is timestamp[ns, UTC], and lengths are int64, so that sums are right. The
            other numbers keep their types.
            It owns its memory, except with "binary_view".

        Raises
        ------
        ImportError
            pyarrow is not installed.
        ValueError
            A column does not exist, or the batch was released.
        """
        from slimcap.sink.dataframes import to_arrow
        return to_arrow(self, columns, payload, addresses, {"inner": inner, "tunnel_ports": tunnel_ports})

    def to_pandas(self, columns=None, *, payload=True, addresses="text", inner=False, tunnel_ports=None):
        """Convert the packets to a pandas DataFrame. Requires `slimcap[pandas]`.

        Parameters
        ----------
        columns : iterable of str, optional
            As for `to_arrow`.
        payload : bool or {"large_binary", "binary_view", "hex"}, default True
            As for `to_arrow`.
        addresses : {"text", "binary"}, default "text"
            As for `to_arrow`.
        inner : bool, default False
            As for `headers`.
        tunnel_ports : mapping of str to iterable of int, optional
            As for `headers`.

        Returns
        -------
        pandas.DataFrame
            N rows; `timestamp` is datetime64[ns, UTC]; `payload` has an ArrowDtype whose values are bytes.
            It owns its memory, except with "binary_view".

        Raises
        ------
        ImportError
            pandas or pyarrow is not installed.
        ValueError
            A column does not exist, or the batch was released.
        """
        from slimcap.sink.dataframes import to_pandas
        return to_pandas(self, columns, payload, addresses, {"inner": inner, "tunnel_ports": tunnel_ports})

    def to_polars(self, columns=None, *, payload=True, addresses="text", inner=False, tunnel_ports=None):
        """Convert the packets to a polars DataFrame. Requires `slimcap[polars]`.

        Parameters
        ----------
        columns : iterable of str, optional
            As for `to_arrow`.
        payload : bool or {"binary_view", "large_binary", "hex"}, default True
            As for `to_arrow`, except that True means "binary_view", the layout that polars uses itself.
        addresses : {"text", "binary"}, default "text"
            As for `to_arrow`.
        inner : bool, default False
            As for `headers`.
        tunnel_ports : mapping of str to iterable of int, optional
            As for `headers`.

        Returns
        -------
        polars.DataFrame
            N rows; `timestamp` is Datetime("ns", "UTC"), `payload` Binary. With "binary_view" the batch's
            bytes stay alive as long as the DataFrame; the bytes of a ring are copied.

        Raises
        ------
        ImportError
            polars is not installed.
        ValueError
            A column does not exist, or the batch was released.
        """
        from slimcap.sink.dataframes import to_polars
        return to_polars(self, columns, payload, addresses, {"inner": inner, "tunnel_ports": tunnel_ports})

    def __arrow_c_schema__(self):
        from slimcap.sink.arrow import batch_schema
        return batch_schema()

    def __arrow_c_array__(self, requested_schema=None):
        from slimcap.sink.arrow import array_capsules
        return array_capsules(self, requested_schema)

    def __arrow_c_stream__(self, requested_schema=None):
        from slimcap.sink.arrow import stream_capsule
        return stream_capsule((self,), requested_schema)

    def __reduce__(self):
        cdef Batch own = self.copy()
        return _unpickle, (
            np.array(own.records), np.array(own.data), own._links, own._interfaces, own._annotations)

    def __repr__(self):
        if self._count == 0:
            return "<Batch: 0 packets>"
        what = f"{self._count:,} packets, {self.total_bytes:,} bytes"
        times = self["timestamp"]
        first, last = int(times.min()), int(times.max())
        return f"<Batch: {what}, {(last - first) / NANOSECONDS:.6f} s from {np.datetime64(first, 'ns')}>"

    def _ipython_key_completions_(self):
        """Return the names of the columns, which IPython completes after ``batch["``."""
        return list(RECORD_DTYPE.names)

    def _repr_html_(self):
        """Return the first rows as an HTML table, for notebooks: the records, addresses and the protocol."""
        columns = {name: [str(one) for one in self.records[name][:HTML_ROWS].tolist()]
                   for name in RECORD_DTYPE.names}
        columns["timestamp"] = [str(one) for one in self.timestamps[:HTML_ROWS]]
        columns["pkt_type"] = [PacketType(one).name for one in self["pkt_type"][:HTML_ROWS].tolist()]
        if not self.released:
            columns.update(_shown_headers(self[:HTML_ROWS].headers(["src", "dst", "protocol", "ip_version"])))
        head = "".join(f"<th>{name}</th>" for name in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in zip(*columns.values()))
        more = f"<p>… {self._count - HTML_ROWS:,} more</p>" if self._count > HTML_ROWS else ""
        about = repr(self).strip('<>')
        return f"<p>{about}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


cdef dict _shown_headers(object headers):
    """Return addresses and protocols as text; "" for packets without."""
    pairs = zip(headers["src"].tolist(), headers["dst"].tolist())
    cdef list addressed = [pair != (bytes(16), bytes(16)) for pair in pairs]
    columns = {
        name: [text if known else "" for text, known in zip(ip_to_str(headers[name]).tolist(), addressed)]
        for name in ("src", "dst")}
    columns["protocol"] = [
        PROTOCOL_NAMES.get(number, str(number)) if version in (4, 6) else ""
        for number, version in zip(headers["protocol"].tolist(), headers["ip_version"].tolist())]
    return columns


def _unpickle(records, data, links, interfaces, annotations):
    cdef Batch batch = Batch(records, data, links)
    batch._interfaces, batch._annotations = interfaces, annotations
    return batch


def count_options(Batch batch not None):
    """Return the number of packets that have comments, and the number of other options of packets."""
    return (0, 0) if batch._annotations is None else batch._annotations.count_options()
