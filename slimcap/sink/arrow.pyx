"""Export batches to Arrow libraries through the PyCapsule protocol; no Arrow library is needed.

polars, DuckDB, pandas and pyarrow accept any object that has these methods
(arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html):

    __arrow_c_schema__()            the columns
    __arrow_c_array__()             the columns and one record batch
    __arrow_c_stream__()            the columns and a stream of record batches
"""
cimport cython
cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_INCREF
from libc.signal cimport SIGINT
from libc.stdlib cimport calloc, free
from libc.string cimport memset, strcmp

from slimcap.abi.arrow_c_data cimport (
    ECANCELED,
    EINVAL,
    EIO,
    ENOMEM,
    ArrowArray,
    ArrowArrayStream,
    ArrowSchema,
)
from slimcap.abi.foreign_call cimport call_from_library, foreign_call
from slimcap.abi.python cimport Py_IsInitialized, PyErr_SetInterruptEx
from slimcap.packet.batch cimport Batch
from slimcap.packet.view cimport View
from slimcap.sink.arrow_columns cimport NAMES, Layout, drop

import atexit
import itertools
import os
import time
from collections.abc import Iterable, Mapping

import numpy as np

from slimcap.errors import suggestion, wrong_type
from slimcap.packet.headers.columns import HEADER_COLUMNS
from slimcap.packet.headers.tunnel_ports import fixed_ports
from slimcap.packet.record import RECORD_DTYPE

cnp.import_array()

# `offset` is an offset in `batch.data`, so it is of no use without that.
cdef list _default_columns = [name for name in RECORD_DTYPE.names if name != "offset"]
_default_columns.insert(_default_columns.index("interface") + 1, "interface_name")
cdef tuple DEFAULT_COLUMNS = tuple(_default_columns)
cdef tuple COLUMNS = (*RECORD_DTYPE.names, *NAMES, "payload")
cdef dict PAYLOAD_OF_FORMAT = {b"vz": "binary_view", b"Z": "large_binary", b"z": "large_binary"}

cdef set ADDRESSES = {"src", "dst", "src_mac", "dst_mac"}
# Header columns that a packet may not have: each with those that are all zero then. An IPv6 packet may have
# one address of zeros, but not two.
cdef dict OPTIONAL = {
    "src": ("src", "dst"), "dst": ("dst", "src"), "src_mac": ("src_mac",), "dst_mac": ("dst_mac",),
    "community_id": ("community_id",)}
cdef Batch NO_PACKETS = Batch([], b"")

# The iterators of sources that are being read for a consumer, by the number of the call.
cdef dict _reading = {}
cdef object _calls = itertools.count()
cdef bint _exit_prepared = False
cdef double MAX_WAIT = 1        # seconds at exit until calls that wait for packets have returned,
cdef double NAP = 0.001         # between two checks of that,
cdef double GRACE = 0.1         # and for their consumers to raise the error


def text_addresses(addresses, names):
    """Return the columns of these names that become text, a set, by the parameter of `ArrowStream`."""
    if addresses not in ("text", "binary"):
        raise ValueError(f"addresses must be 'text' or 'binary', not {addresses!r}")
    return set(names) if addresses == "text" else set()


def batch_layout(columns=None, payload=True, addresses="text"):
    """Return the Layout of batches; the parameters are those of `ArrowStream`."""
    texts = {"community_id"} | text_addresses(addresses, ADDRESSES)
    if columns is None:
        columns = DEFAULT_COLUMNS + ("payload",) if payload else DEFAULT_COLUMNS
    columns = _names_of("columns", columns)
    headers = [name for name in columns if name not in COLUMNS]
    # Also those that tell whether one of them is null.
    headers += [one for name in headers for one in OPTIONAL.get(name, ())]
    dtypes = (RECORD_DTYPE, _header_dtype(list(dict.fromkeys(headers)))) if headers else (RECORD_DTYPE,)
    payload = "binary_view" if isinstance(payload, bool) else payload
    return Layout(dtypes, columns, payload, texts, OPTIONAL)


cdef tuple _names_of(str argument, object names):
    """Return an argument that must be a list of column names as a tuple."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise wrong_type(argument, "a list of names", names)
    return tuple(names)


cdef object _header_dtype(list names):
    cdef tuple known = (*HEADER_COLUMNS, *COLUMNS)
    for name in names:
        if name not in HEADER_COLUMNS:
            similar = suggestion(name, known)
            raise ValueError(f"unknown column {name!r}{similar}: use any of {', '.join(known)}")
    return NO_PACKETS.headers(names).dtype


@cython.final
cdef class ArrowColumns:
    """Export a structured array as an Arrow table: `polars.DataFrame(ArrowColumns(array))`.

    Numbers and booleans keep their types, except that lengths of 32 bits (`total_len`, `cap_len`, `ip_len`,
    `l7_len`) become int64, so that sums are right. Several numbers (`("i4", 10)`) become a fixed-size list.
    Fields of bytes (`V16`, `S16`, `("u1", 16)`) become fixed-size binary; times (`M8[ns]`, and an integer
    field named `timestamp`) become timestamps in UTC.

    Parameters
    ----------
    array : structured ndarray, shape (N,)
        Columns are copied when an Arrow library requests them.
    columns : iterable of str, optional
        Names of fields, in order. Default: all.
    text : collection of str, default ()
        Fields of bytes to convert to text: IP addresses of 16 bytes, IPv4-mapped ones as IPv4; MAC addresses
        of 6 bytes; ASCII (`S30`).
    optional : mapping of str to tuple of str, optional
        Fields that may be null, each with the one or two fields of the same width that are zero if it is.
        Default: none.

    Raises
    ------
    TypeError
        `array` is not structured, or a field has no Arrow type.
    ValueError
        A column does not exist, or `array` is not one-dimensional.

    Examples
    --------
    >>> from slimcap.sink.arrow import ArrowColumns
    >>> headers = batch.headers(["src", "dst", "dst_port"])
    >>> frame = polars.DataFrame(ArrowColumns(headers, text=["src", "dst"]))
    """

    cdef object _array
    cdef Layout _layout

    def __init__(self, array, columns=None, *, text=(), optional=None):
        array = np.asarray(array)
        if array.ndim != 1:
            raise ValueError(f"array must have one dimension, not {array.ndim}")
        columns = None if columns is None else _names_of("columns", columns)
        if optional is not None and not isinstance(optional, Mapping):
            raise wrong_type("optional", "a mapping of names to lists of names", optional)
        self._layout = Layout((array.dtype,), columns, text=_names_of("text", text), optional=optional)
        self._array = array

    def __arrow_c_schema__(self):
        return schema_capsule(self._layout)

    def __arrow_c_array__(self, requested_schema=None):
        return schema_capsule(self._layout), call_from_library(_array_of, (self._layout, self._array))

    def __arrow_c_stream__(self, requested_schema=None):
        return _stream_capsule(self._layout, iter((self._array,)), {})

    def __len__(self):
        return len(self._array)

    def __repr__(self):
        return f"<ArrowColumns: {len(self)} rows: {', '.join([field.name for field in self._layout.fields])}>"


@cython.final
cdef class ArrowStream:
    """Export batches as an Arrow stream: one record batch for each, made when the consumer requests it.

    `batch` and `source.batches()` are Arrow streams themselves; ArrowStream allows choosing the columns. If
    an exception occurs in the stream, the consumer raises one of its own with the same message.

    Parameters
    ----------
    batches : Batch or iterable of Batch
        For example `source.batches()`. The first consumer exhausts an iterator.
    columns : iterable of str, optional
        Names of the columns, in order: those of RECORD_DTYPE, "interface_name", "file_name", "payload", and
        those of `Batch.headers`. Default: those of RECORD_DTYPE except `offset`, "interface_name" and
        "payload".
    payload : bool or {"binary_view", "large_binary", "hex"}, default True
        False omits the payload from the default columns; the others set its type. "binary_view", the same as
        True, shows the bytes without a copy. (Those of a ring are copied, since a consumer that keeps them
        would stop the capture.) "large_binary" copies them, "hex" converts them to text. pyarrow cannot
        filter or sort a binary_view.
    addresses : {"text", "binary"}, default "text"
        Type of IP and MAC addresses. "binary" is fixed-size binary: 16 bytes, IPv4 as IPv4-mapped IPv6, or 6
        bytes. Addresses that a packet does not have are null, and so is the Community ID.
    inner : bool, default False
        As for `Batch.headers`.
    tunnel_ports : mapping of str to iterable of int, optional
        As for `Batch.headers`.

    Raises
    ------
    ValueError
        A column does not exist, or `payload`, `addresses` or `tunnel_ports` is not valid.
    TypeError
        `columns` is a str.

    Examples
    --------
    >>> from slimcap.sink.arrow import ArrowStream
    >>> with slimcap.open_file("trace.pcap") as source:
    ...     stream = ArrowStream(source.batches(), ["timestamp", "src", "dst"])
    ...     table = pyarrow.table(stream)
    """

    cdef object _batches
    cdef object _columns, _payload, _addresses
    cdef dict _header_options
    cdef Layout _layout

    def __init__(
            self, batches, columns=None, *, payload=True, addresses="text", inner=False, tunnel_ports=None):
        if not isinstance(batches, Iterable):
            raise wrong_type("batches", "a Batch or an iterable of batches", batches)
        self._columns = None if columns is None else _names_of("columns", columns)
        self._layout = batch_layout(self._columns, payload, addresses)
        self._payload, self._addresses = payload, addresses
        self._header_options = _checked_options(inner, tunnel_ports)
        self._batches = (batches,) if isinstance(batches, Batch) else batches

    def __arrow_c_schema__(self):
        return schema_capsule(self._layout)

    def __arrow_c_stream__(self, requested_schema=None):
        return stream_capsule(
            self._batches, requested_schema, self._columns, self._payload, self._addresses,
            self._header_options)

    def __repr__(self):
        return f"<ArrowStream: {', '.join([field.name for field in self._layout.fields])}>"


# ---- for the methods of Batch and of the iterator that source.batches() returns

def schema_capsule(Layout layout not None):
    """Return the columns as an `arrow_schema` capsule."""
    cdef ArrowSchema* schema = <ArrowSchema*> _allocate_zeroed(sizeof(ArrowSchema))
    capsule = PyCapsule_New(schema, "arrow_schema", _free_schema)
    layout.export_schema(schema)
    return capsule


def batch_schema():
    """Return the default columns of batches as an `arrow_schema` capsule."""
    return call_from_library(_batch_schema, ())


def _batch_schema():
    return schema_capsule(batch_layout())


def array_capsules(batch, requested_schema=None):
    """Return a batch as an `arrow_schema` and an `arrow_array` capsule."""
    return call_from_library(_array_capsules, (batch, requested_schema))


def _array_capsules(batch, requested_schema):
    layout = batch_layout(None, _requested_payload(requested_schema, True))
    return schema_capsule(layout), _array_of(layout, batch)


def stream_capsule(
        batches, requested_schema=None, columns=None, payload=True, addresses="text", header_options=None):
    """Return batches as an `arrow_array_stream` capsule; `header_options` are those of `Batch.headers`."""
    return call_from_library(
        _batches_capsule, (batches, requested_schema, columns, payload, addresses, header_options))


def _batches_capsule(batches, requested_schema, columns, payload, addresses, header_options):
    layout = batch_layout(columns, _requested_payload(requested_schema, payload), addresses)
    return _stream_capsule(layout, iter(batches), header_options or {})


def array_stream_capsule(Layout layout not None, arrays):
    """Return structured arrays of the layout's dtype as an `arrow_array_stream` capsule."""
    return _stream_capsule(layout, iter(arrays), {})


cdef dict _checked_options(object inner, object tunnel_ports):
    """Return these as arguments of `Batch.headers`, checked, and such that each call may use them."""
    options = {"inner": inner, "tunnel_ports": fixed_ports(tunnel_ports)}
    NO_PACKETS.headers(**options)
    return options


cdef object _requested_payload(object capsule, object payload):
    """Return the payload type that the consumer requests, else `payload`.

    The protocol lets the producer decide how far it follows a request.
    """
    if capsule is None or payload is False:
        return payload
    cdef const ArrowSchema* schema = <const ArrowSchema*> PyCapsule_GetPointer(capsule, "arrow_schema")
    cdef const ArrowSchema* child
    cdef Py_ssize_t index
    if schema.release is NULL:
        raise ValueError("requested_schema was released, or another consumer has taken it")
    for index in range(schema.n_children if schema.children is not NULL else 0):
        child = schema.children[index]
        if child is NULL or child.name is NULL or child.format is NULL:  # a name is optional
            continue
        if strcmp(child.name, "payload") == 0:
            return PAYLOAD_OF_FORMAT.get(<bytes> child.format, payload)
    return payload


def _array_of(Layout layout, rows):
    """Return a batch, or an array of the layout's dtype, as an `arrow_array` capsule."""
    cdef ArrowArray* array = <ArrowArray*> _allocate_zeroed(sizeof(ArrowArray))
    capsule = PyCapsule_New(array, "arrow_array", _free_array)
    _export(layout, rows, {}, array)
    return capsule


cdef object _stream_capsule(Layout layout, object batches, dict header_options):
    """Return batches or arrays as a stream; `header_options` are arguments of `Batch.headers`."""
    cdef ArrowArrayStream* stream = <ArrowArrayStream*> _allocate_zeroed(sizeof(ArrowArrayStream))
    capsule = PyCapsule_New(stream, "arrow_array_stream", _free_stream)
    cdef _Reader reader = _Reader.__new__(_Reader)
    reader.layout, reader.batches, reader.header_options = layout, batches, header_options
    reader.waits = hasattr(batches, "unblock")
    if reader.waits:
        _prepare_exit()
    Py_INCREF(reader)
    stream.private_data = <PyObject*> reader
    stream.get_schema = _get_schema
    stream.get_next = _get_next
    stream.get_last_error = _get_last_error
    stream.release = _release_stream
    return capsule


cdef int _export(Layout layout, object rows, dict header_options, ArrowArray* out) except -1:
    """Export a batch, or rows without payloads: an array of the layout's dtype."""
    cdef Batch batch
    if isinstance(rows, np.ndarray):
        return layout.export_rows((rows,), None, out)
    if not isinstance(rows, Batch):
        raise TypeError(f"batches must be Batch objects, not {type(rows).__name__}")
    batch = rows
    cdef View _held = batch._open()  # while it lives, the batch cannot be released
    if batch._lease.scarce and layout.borrows:
        batch = batch.copy()
    arrays = (batch.records,)
    if len(layout.dtypes) > 1:
        arrays += (batch.headers(layout.dtypes[1].names, **header_options),)
    return layout.export_rows(arrays, batch, out)


cdef void* _allocate_zeroed(size_t size) except NULL:
    """Return a zeroed struct, which means that it need not be released yet."""
    cdef void* memory = calloc(1, size)
    if memory is NULL:
        raise MemoryError(f"cannot allocate {size} bytes")
    return memory


cdef void* _pointer_of(object capsule) noexcept:
    """Return the pointer of a capsule of ours, also if a consumer has renamed it."""
    return PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))


cdef void _free_schema(object capsule) noexcept:
    cdef ArrowSchema* schema = <ArrowSchema*> _pointer_of(capsule)
    if schema.release is not NULL:  # else a consumer has taken ownership
        schema.release(schema)
    free(schema)


cdef void _free_array(object capsule) noexcept:
    cdef ArrowArray* array = <ArrowArray*> _pointer_of(capsule)
    if array.release is not NULL:
        array.release(array)
    free(array)


cdef void _free_stream(object capsule) noexcept:
    cdef ArrowArrayStream* stream = <ArrowArrayStream*> _pointer_of(capsule)
    if stream.release is not NULL:
        stream.release(stream)
    free(stream)


# ---- the stream; consumers call it from any thread

@cython.final
cdef class _Reader:
    """State of an ArrowArrayStream."""

    cdef Layout layout
    cdef object batches     # an iterator,
    cdef bint waits         # which may wait for packets
    cdef dict header_options
    cdef bytes error        # message of the last call that failed


cdef int _get_schema(ArrowArrayStream* stream, ArrowSchema* out) noexcept nogil:
    return foreign_call(_schema, stream.private_data, out) if Py_IsInitialized() else ECANCELED


cdef int _get_next(ArrowArrayStream* stream, ArrowArray* out) noexcept nogil:
    return foreign_call(_next, stream.private_data, out) if Py_IsInitialized() else ECANCELED


cdef const char* _get_last_error(ArrowArrayStream* stream) noexcept nogil:
    cdef const char* text = NULL
    if Py_IsInitialized():
        foreign_call(_last_error, stream.private_data, &text)
    return text


cdef void _release_stream(ArrowArrayStream* stream) noexcept nogil:
    drop(<PyObject*> stream.private_data)
    stream.release = NULL


cdef int _schema(void* reader, void* out) noexcept with gil:
    try:
        (<_Reader> reader).layout.export_schema(<ArrowSchema*> out)
    except BaseException as error:
        return _failed(<_Reader> reader, error)
    return 0


cdef int _next(void* private_data, void* out) noexcept with gil:
    cdef _Reader reader = <_Reader> private_data
    cdef object call = next(_calls)
    memset(out, 0, sizeof(ArrowArray))  # a released array marks the end of the stream
    try:
        if reader.waits:
            _reading[call] = reader.batches
        for rows in reader.batches:
            _export(reader.layout, rows, reader.header_options, <ArrowArray*> out)
            break
    except BaseException as error:
        return _failed(reader, error)
    finally:
        _reading.pop(call, None)
    return 0


cdef int _prepare_exit() except -1:
    """Call `_end_waits` at exit, before the function of a library that was imported by now."""
    global _exit_prepared
    if not _exit_prepared:
        _exit_prepared = True
        atexit.register(_end_waits)
        os.register_at_fork(after_in_child=_reading.clear)  # a forked process does not have the threads
    return 0


def _end_waits():
    """Let the calls that wait for packets fail, and wait until they have returned.

    The threads of libraries that make these calls could not return once the interpreter ends, and some
    libraries wait for them.
    """
    waiting = dict(_reading)
    for batches in waiting.values():
        batches.unblock()
    until = time.monotonic() + MAX_WAIT
    while waiting.keys() & _reading.keys() and time.monotonic() < until:
        time.sleep(NAP)
    if waiting:
        time.sleep(GRACE)


cdef int _last_error(void* reader, void* out) noexcept with gil:
    cdef bytes error
    with cython.critical_section(<_Reader> reader):
        error = (<_Reader> reader).error
        if error is not None:
            (<const char**> out)[0] = error  # valid until the next call, as the format says
    return 0


cdef int _failed(_Reader reader, object error) noexcept:
    """Store the message for the consumer, and return an errno, which some consumers map to an exception."""
    cdef bytes message = None
    cdef int number = EIO
    try:
        message = f"{type(error).__name__}: {error}".encode(errors="replace").replace(b"\0", b"?")
        if isinstance(error, KeyboardInterrupt):
            PyErr_SetInterruptEx(SIGINT)  # raise it again once the consumer returns to Python
            number = ECANCELED
        elif isinstance(error, MemoryError):
            number = ENOMEM
        elif isinstance(error, OSError):
            number = max(error.errno, 0) or EIO  # TimeoutError has none
        elif isinstance(error, ValueError):
            number = EINVAL
    except Exception:  # str(error) itself failed
        pass
    with cython.critical_section(reader):
        reader.error = message
    return number
