"""Batches to Arrow libraries, in this process and without one of them: the PyCapsule protocol.

polars, DuckDB, pandas and pyarrow take any object that has these methods
(arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html):

    __arrow_c_schema__()            the columns
    __arrow_c_array__()             and one record batch
    __arrow_c_stream__()            and record batches, one after the other
"""
cimport cython
cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF
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
from slimcap.packet.batch cimport Batch
from slimcap.packet.view cimport View
from slimcap.sink.arrow_columns cimport Layout

import signal

import numpy as np

from slimcap.packet.record import RECORD_DTYPE

cnp.import_array()

cdef extern from "Python.h":
    bint Py_IsInitialized() nogil
    int PyErr_SetInterruptEx(int signum)

# Where in `batch.data` a packet is tells nothing to who has no `batch.data`.
cdef tuple DEFAULT_COLUMNS = tuple([name for name in RECORD_DTYPE.names if name != "offset"])
cdef dict PAYLOAD_OF_FORMAT = {b"vz": "binary_view", b"Z": "large_binary", b"z": "large_binary"}


# What headers have that is bytes to Arrow and text to people.
cdef set ADDRESSES = {"src", "dst", "src_mac", "dst_mac"}
cdef Batch NO_PACKETS = Batch([], b"")


def batch_layout(columns=None, payload=True, text=False):
    """The Layout of batches: see `ArrowStream`."""
    if columns is None:
        columns = DEFAULT_COLUMNS + ("payload",) if payload else DEFAULT_COLUMNS
    elif isinstance(columns, str):
        raise TypeError(f"columns are a list of names, not the text {columns!r}")
    columns = tuple(columns)
    headers = [name for name in columns if name != "payload" and name not in RECORD_DTYPE.names]
    dtypes = (RECORD_DTYPE, _header_dtype(list(dict.fromkeys(headers)))) if headers else (RECORD_DTYPE,)
    texts = {"community_id"} | (ADDRESSES if text else set())
    return Layout(dtypes, columns, "binary_view" if isinstance(payload, bool) else payload, texts)


cdef object _header_dtype(list names):
    try:
        return NO_PACKETS.headers(names).dtype
    except ValueError as error:
        raise ValueError(f"{error}; and {', '.join(RECORD_DTYPE.names)}, payload") from None


@cython.final
cdef class ArrowColumns:
    """A structured array as an Arrow table: `polars.DataFrame(ArrowColumns(array))`.

    Numbers and booleans keep their types. Fields of bytes (`V16`, `S16`, `("u1", 16)`) become fixed-size
    binary, times (`M8[ns]`, and the integers of a field `timestamp`) timestamps in UTC.

    Parameters
    ----------
    array : structured ndarray, shape (N,)
        Columns are copied when an Arrow library asks for them.
    columns : list of str, optional
        Names of fields, in this order; all of them by default.
    text : collection of str
        Fields of bytes to write as text: addresses of 16 bytes, IPv4-mapped ones as IPv4, and of 6 bytes;
        ASCII (`S30`).

    Raises
    ------
    TypeError
        No structured array, or a field that has no type in Arrow.
    ValueError
        There is no such column; the array has not one dimension.
    """

    cdef object _array
    cdef Layout _layout

    def __init__(self, array, columns=None, *, text=()):
        array = np.asarray(array)
        if array.ndim != 1:
            raise ValueError(f"rows have one dimension, not {array.ndim}")
        self._layout = Layout((array.dtype,), columns, text=text)
        self._array = array

    def __arrow_c_schema__(self):
        return schema_capsule(self._layout)

    def __arrow_c_array__(self, requested_schema=None):
        return schema_capsule(self._layout), _array_capsule(self._layout, self._array)

    def __arrow_c_stream__(self, requested_schema=None):
        return _stream_capsule(self._layout, iter((self._array,)))

    def __len__(self):
        return len(self._array)

    def __repr__(self):
        return f"<ArrowColumns: {len(self)} rows: {', '.join([field.name for field in self._layout.fields])}>"


@cython.final
cdef class ArrowStream:
    """Batches as an Arrow stream: a record batch for each, made when the consumer asks for it.

    `batch` and `source.batches()` are such streams themselves; this one lets choose the columns. What goes
    wrong in between becomes the consumer's exception, with the message of ours.

    Parameters
    ----------
    batches : iterable of Batch
        As `source.batches()`. It is used up by the first consumer.
    columns : list of str, optional
        Names of columns, in this order: those of RECORD_DTYPE, "payload", and those of `Batch.headers`.
        By default those of RECORD_DTYPE but `offset`, and "payload".
    text : bool
        Whether addresses are text, not fixed-size binary.
    payload : bool or {"binary_view", "large_binary", "hex"}
        Whether the payload is among the default columns, and what it is. "binary_view", as True, shows
        the bytes where they are (a ring's are copied: whoever kept them would stop the capture).
        "large_binary" copies them, "hex" makes text of them. pyarrow cannot filter or sort a binary_view.

    Raises
    ------
    ValueError
        There is no such column, or no such payload.
    """

    cdef object _batches
    cdef object _columns, _payload, _text
    cdef Layout _layout

    def __init__(self, batches, columns=None, *, payload=True, text=False):
        self._columns = columns if columns is None or isinstance(columns, str) else tuple(columns)
        self._layout = batch_layout(self._columns, payload, text)
        self._payload, self._text = payload, text
        self._batches = (batches,) if isinstance(batches, Batch) else batches

    def __arrow_c_schema__(self):
        return schema_capsule(self._layout)

    def __arrow_c_stream__(self, requested_schema=None):
        return stream_capsule(self._batches, requested_schema, self._columns, self._payload, self._text)

    def __repr__(self):
        return f"<ArrowStream: {', '.join([field.name for field in self._layout.fields])}>"


# ---- for the methods of Batch and of what source.batches() gives

def schema_capsule(Layout layout not None):
    """The columns as an `arrow_schema` capsule."""
    cdef ArrowSchema* schema = <ArrowSchema*> _clear(sizeof(ArrowSchema))
    capsule = PyCapsule_New(schema, "arrow_schema", _free_schema)
    layout.export_schema(schema)
    return capsule


def array_capsules(batch, requested_schema=None):
    """A batch as an `arrow_schema` and an `arrow_array` capsule."""
    layout = batch_layout(None, _requested_payload(requested_schema, True))
    return schema_capsule(layout), _array_capsule(layout, batch)


def stream_capsule(batches, requested_schema=None, columns=None, payload=True, text=False):
    """Batches as an `arrow_array_stream` capsule."""
    layout = batch_layout(columns, _requested_payload(requested_schema, payload), text)
    return _stream_capsule(layout, iter(batches))


cdef object _requested_payload(object capsule, object payload):
    """What the consumer would rather have as payload. The protocol leaves it to us how far we follow."""
    if capsule is None or payload is False:
        return payload
    cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(capsule, "arrow_schema")
    cdef Py_ssize_t index
    for index in range(schema.n_children):
        if strcmp(schema.children[index].name, "payload") == 0:
            return PAYLOAD_OF_FORMAT.get(<bytes> schema.children[index].format, payload)
    return payload


cdef object _array_capsule(Layout layout, object rows):
    cdef ArrowArray* array = <ArrowArray*> _clear(sizeof(ArrowArray))
    capsule = PyCapsule_New(array, "arrow_array", _free_array)
    _export(layout, rows, array)
    return capsule


cdef object _stream_capsule(Layout layout, object batches):
    cdef ArrowArrayStream* stream = <ArrowArrayStream*> _clear(sizeof(ArrowArrayStream))
    capsule = PyCapsule_New(stream, "arrow_array_stream", _free_stream)
    cdef _Reader reader = _Reader.__new__(_Reader)
    reader.layout, reader.batches = layout, batches
    Py_INCREF(reader)
    stream.private_data = <PyObject*> reader
    stream.get_schema = _get_schema
    stream.get_next = _get_next
    stream.get_last_error = _get_last_error
    stream.release = _release_stream
    return capsule


cdef int _export(Layout layout, object rows, ArrowArray* out) except -1:
    """A batch, or rows without payloads: an array of the layout's dtype."""
    cdef Batch batch
    if isinstance(rows, np.ndarray):
        return layout.export_rows((rows,), None, out)
    if not isinstance(rows, Batch):
        raise TypeError(f"batches are needed, not {type(rows).__name__}")
    batch = rows
    cdef View _held = batch._open()  # so that nobody gives the bytes back, or exchanges the rows
    if batch._lease.scarce and layout.borrows:
        batch = batch.copy()
    arrays = (batch.records,)
    if len(layout.dtypes) > 1:
        arrays += (batch.headers(layout.dtypes[1].names),)
    return layout.export_rows(arrays, batch, out)


cdef void* _clear(size_t size) except NULL:
    """A struct that nobody has to release yet."""
    cdef void* memory = calloc(1, size)
    if memory is NULL:
        raise MemoryError("no memory for an Arrow struct")
    return memory


cdef void _free_schema(object capsule) noexcept:
    cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(capsule, "arrow_schema")
    if schema.release is not NULL:  # else a consumer took it over
        schema.release(schema)
    free(schema)


cdef void _free_array(object capsule) noexcept:
    cdef ArrowArray* array = <ArrowArray*> PyCapsule_GetPointer(capsule, "arrow_array")
    if array.release is not NULL:
        array.release(array)
    free(array)


cdef void _free_stream(object capsule) noexcept:
    cdef ArrowArrayStream* stream = <ArrowArrayStream*> PyCapsule_GetPointer(capsule, "arrow_array_stream")
    if stream.release is not NULL:
        stream.release(stream)
    free(stream)


# ---- the stream; consumers call it from any thread

@cython.final
cdef class _Reader:
    """What an ArrowArrayStream reads from."""

    cdef Layout layout
    cdef object batches     # an iterator
    cdef bytes error        # of the last call that failed


cdef int _get_schema(ArrowArrayStream* stream, ArrowSchema* out) noexcept with gil:
    cdef _Reader reader = <_Reader> stream.private_data
    try:
        reader.layout.export_schema(out)
    except BaseException as error:
        return _failed(reader, error)
    return 0


cdef int _get_next(ArrowArrayStream* stream, ArrowArray* out) noexcept with gil:
    cdef _Reader reader = <_Reader> stream.private_data
    memset(out, 0, sizeof(ArrowArray))  # released, which is how a stream ends
    try:
        for rows in reader.batches:
            _export(reader.layout, rows, out)
            break
    except BaseException as error:
        return _failed(reader, error)
    return 0


cdef const char* _get_last_error(ArrowArrayStream* stream) noexcept with gil:
    cdef _Reader reader = <_Reader> stream.private_data
    if reader.error is None:
        return NULL
    return reader.error


cdef void _release_stream(ArrowArrayStream* stream) noexcept nogil:
    if Py_IsInitialized():
        _drop(<PyObject*> stream.private_data)
    stream.release = NULL


cdef void _drop(PyObject* reader) noexcept with gil:
    Py_DECREF(<object> reader)


cdef int _failed(_Reader reader, object error) noexcept:
    """Keep the message for the consumer; gives the errno, by which some choose an exception."""
    reader.error = None
    try:
        reader.error = f"{type(error).__name__}: {error}".encode(errors="replace").replace(b"\0", b"?")
        if isinstance(error, KeyboardInterrupt):
            PyErr_SetInterruptEx(signal.SIGINT)  # it stays one when the consumer comes back to Python
            return ECANCELED
        if isinstance(error, MemoryError):
            return ENOMEM
        if isinstance(error, OSError):
            return max(error.errno, 0) or EIO  # TimeoutError has none
        return EINVAL if isinstance(error, ValueError) else EIO
    except Exception:  # an exception that cannot even be shown
        return EIO
