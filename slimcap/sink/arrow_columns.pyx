"""Export rows and payloads as Arrow columns, which make up a record batch.

    Layout ── Field, Field …                the columns and their types
      ├─ export_schema(out)                 describes them, once
      └─ export_rows(arrays, batch, out)    the rows of structured arrays, the payloads of a batch

Each exported struct owns its memory through `private_data`. Consumers release it from any thread, so that
does not need Python, except for a column of binary views, which keeps the batch's bytes alive.
"""
cimport cython
cimport numpy as cnp
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from slimcap.abi.arrow_c_data cimport ARROW_FLAG_NULLABLE, VIEW_INLINE, ArrowArray, ArrowSchema, BinaryView
from slimcap.abi.bytes cimport load32
from slimcap.abi.c_library cimport aligned_alloc
from slimcap.abi.foreign_call cimport foreign_call
from slimcap.abi.python cimport Py_IsInitialized
from slimcap.packet.address cimport MAX_TEXT, write_ip
from slimcap.packet.batch cimport Batch
from slimcap.packet.record cimport Record, in_bounds
from slimcap.packet.view cimport View

import numpy as np

from slimcap.errors import suggestion
from slimcap.io.text import valid_text

cnp.import_array()

cdef enum:
    ALIGNMENT = 64          # recommended by the columnar format
    OWNED = 3               # maximum number of buffers that a column owns
    VALIDITY = 2            # of those the bitmap that tells which values are not null
    ROWS_AT_ONCE = 1024     # rows that fit in the L1 cache while their columns are copied
    WINDOW = 1 << 30        # a view's offset has 31 bits: larger data is exported as several buffers
    MAX_VIEW = 0x7fffffff
    IP_LEN = 16
    MAC_LEN = 6
    MAC_STRLEN = 17

# Format strings of the C data interface.
cdef dict NUMBERS = {
    "i1": b"c", "u1": b"C", "i2": b"s", "u2": b"S", "i4": b"i", "u4": b"I", "i8": b"l", "u8": b"L",
    "f4": b"f", "f8": b"g",
}
cdef bytes INT64 = NUMBERS["i8"]

# Lengths that people add up: some programs sum 32-bit numbers in 32 bits.
cdef frozenset ADDED_UP = frozenset(("total_len", "cap_len", "ip_len", "l7_len"))
cdef dict TIMES = {"s": b"tss:UTC", "ms": b"tsm:UTC", "us": b"tsu:UTC", "ns": b"tsn:UTC"}
cdef bytes TIMESTAMP = TIMES["ns"]

cdef dict PAYLOADS = {
    "binary_view": (b"vz", Kind.BINARY_VIEW),
    "large_binary": (b"Z", Kind.LARGE_BINARY),
    "hex": (b"U", Kind.HEX),
}


NAMES = {"interface_name": Kind.INTERFACE_NAME, "file_name": Kind.FILE_NAME}


cdef struct Memory:         # the private_data of an ArrowArray
    void* owned[OWNED]      # buffers to free
    PyObject* owner         # keeps borrowed buffers alive; NULL if there are none
    # The pointers to buffers and children follow, then the children.


cdef struct Strided:        # a column to copy out of the rows
    const char* source
    Py_ssize_t stride, width
    bint widened            # width 4 there, 8 in the target
    char* target


# ---- the columns and their types

@cython.final
cdef class Field:
    """A column: its name, its type, and the location of its value in a row.

    Attributes
    ----------
    name : str
        Name of the column.
    """

    def __init__(self):
        raise TypeError("Field cannot be instantiated: a Layout makes its fields")


cdef Field _field(str name, bytes format, Kind kind, Py_ssize_t array, Py_ssize_t offset, Py_ssize_t width):
    cdef Field field = Field.__new__(Field)
    field.name, field.format, field.kind = name, format, kind
    field.array, field.offset, field.width, field.items = array, offset, width, 1
    field.nullable = kind == Kind.INTERFACE_NAME or kind == Kind.FILE_NAME
    return field


@cython.final
cdef class Layout:
    """The columns of a record batch, from arrays with corresponding rows.

    Parameters
    ----------
    dtypes : tuple of numpy.dtype
        Structured dtypes of the arrays. If several have a field with the same name, the first one is used.
    columns : iterable of str, optional
        Names of fields, in order. Default: all.
    payload : {"binary_view", "large_binary", "hex"}, optional
        Type of the additional column "payload" of a batch, which then also has the columns "interface_name"
        and "file_name". Default: there are no such columns.
    text : collection of str, default ()
        Fields of bytes to convert to text: addresses of 16 (IP) and 6 bytes (MAC), and ASCII (`S30`).
    optional : mapping of str to tuple of str, optional
        Fields of bytes that may be null, each with the one or two fields of the same array and width that
        are all zero if it is. Default: none.

    Attributes
    ----------
    fields : tuple of Field
        The columns, in order.

    Raises
    ------
    ValueError
        A column does not exist or occurs twice, or `payload` is not valid.
    TypeError
        A dtype is not structured, or a field has no Arrow type.
    """

    def __init__(self, dtypes, columns=None, payload=None, text=(), optional=None):
        if self.fields is not None:
            raise TypeError("a Layout is made once")
        if payload is not None and payload not in PAYLOADS:
            raise ValueError(f"payload must be {', '.join(PAYLOADS)}, True or False, not {payload!r}")
        available = _names(dtypes)
        columns = list(available) if columns is None else list(columns)
        duplicates = {name for name in columns if columns.count(name) > 1}
        if duplicates:
            raise ValueError(f"duplicate columns: {', '.join(sorted(duplicates))}")
        if payload is not None:
            available |= dict.fromkeys((*NAMES, "payload"))
        fields = []
        for name in columns:
            if name not in available:
                similar = suggestion(name, available)
                raise ValueError(f"unknown column {name!r}{similar}: use any of {', '.join(available)}")
            location = available[name]
            if location is None:
                fields.append(_field_of_batch(name, payload))
            else:
                field = _field_of(name, location, name in text)
                _set_witnesses(field, available, (optional or {}).get(name, ()))
                fields.append(field)
        self._names = {}
        self.dtypes, self.fields = tuple(dtypes), tuple(fields)
        self.borrows = payload == "binary_view" and "payload" in columns

    cdef int export_schema(self, ArrowSchema* out) except -1:
        """Export the columns and their types."""
        cdef Field field
        cdef Py_ssize_t index
        _start_schema(out, b"+s", b"", len(self.fields))
        try:
            for index, field in enumerate(self.fields):
                _start_schema(out.children[index], field.format, field.name.encode(), field.kind == Kind.LIST)
                out.children[index].flags = ARROW_FLAG_NULLABLE if field.nullable else 0
                if field.kind == Kind.LIST:
                    _start_schema(out.children[index].children[0], field.item_format, b"item", 0)
        except BaseException:
            out.release(out)
            raise
        return 0

    cdef int export_rows(self, tuple arrays, Batch batch, ArrowArray* out) except -1:
        """Export the rows of arrays of these dtypes, all of shape (N,), and the payloads of their batch."""
        cdef Py_ssize_t count = len(arrays[0])
        self._check(arrays, count)
        _start_array(out, count, 1, len(self.fields))  # one buffer, the validity bitmap: omitted, no nulls
        try:
            self._add_fixed(arrays, count, out)
            self._add_others(arrays, batch, out)
        except BaseException:
            out.release(out)
            raise
        return 0

    cdef int _check(self, tuple arrays, Py_ssize_t count) except -1:
        """Raise ValueError if the arrays do not have the layout's dtypes and `count` rows."""
        for array, dtype in zip(arrays, self.dtypes, strict=True):
            if array.dtype != dtype or array.shape != (count,):
                raise ValueError(
                    f"an array must have {count} rows of {dtype}, not {array.shape} of {array.dtype}")
        return 0

    cdef int _add_fixed(self, tuple arrays, Py_ssize_t count, ArrowArray* out) except -1:
        cdef Strided* columns = <Strided*> PyMem_Malloc(max(1, len(self.fields)) * sizeof(Strided))
        cdef Py_ssize_t index, found = 0
        cdef cnp.ndarray array
        cdef ArrowArray* column
        cdef Field field
        if columns is NULL:
            raise MemoryError(f"cannot allocate {len(self.fields)} columns")
        try:
            for index, field in enumerate(self.fields):
                if field.kind == Kind.FIXED or field.kind == Kind.WIDENED or field.kind == Kind.LIST:
                    array = arrays[field.array]
                    column = out.children[index]
                    if field.kind == Kind.LIST:
                        _start_array(column, count, 1, 1)
                        column = column.children[0]
                    _start_array(column, count * field.items, 2, 0)
                    columns[found].source = <const char*> cnp.PyArray_DATA(array) + field.offset
                    columns[found].stride, columns[found].width = array.strides[0], field.width
                    columns[found].widened = field.kind == Kind.WIDENED
                    columns[found].target = <char*> _new_buffer(column, 0, count, field.width)
                    column.buffers[1] = columns[found].target
                    if field.nullable:
                        _add_validity(out.children[index], array, field)
                    found += 1
            with nogil:
                _copy_columns(columns, found, count)
        finally:
            PyMem_Free(columns)
        return 0

    cdef int _add_others(self, tuple arrays, Batch batch, ArrowArray* out) except -1:
        cdef Py_ssize_t index
        cdef Field field
        for index, field in enumerate(self.fields):
            if field.kind == Kind.BOOLEAN:
                _add_booleans(out.children[index], arrays[field.array], field.offset)
            elif field.kind == Kind.ADDRESS or field.kind == Kind.TEXT:
                _add_texts(out.children[index], arrays[field.array], field)
            elif field.kind == Kind.INTERFACE_NAME or field.kind == Kind.FILE_NAME:
                _add_names(out.children[index], batch, self._names_for(field.kind, batch))
            elif field.kind == Kind.BINARY_VIEW:
                _add_views(out.children[index], batch)
            elif field.kind == Kind.LARGE_BINARY or field.kind == Kind.HEX:
                _add_payloads(out.children[index], batch, field.kind == Kind.HEX)
        return 0

    cdef tuple _names_for(self, Kind kind, Batch batch):
        """Return the names for the interfaces of a batch, which are often those of the last one.

        These are what they are the names of; all names, one after the other; and 0 and the end of each.
        """
        cdef tuple names = self._names.get(kind)
        cdef tuple owner = batch.links if kind == Kind.INTERFACE_NAME else batch.interfaces
        if names is None or names[0] is not owner:
            found = [one.name if kind == Kind.INTERFACE_NAME else one.file_name for one in owner]
            texts = [valid_text(name).encode() for name in found]
            ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
            names = self._names[kind] = (owner, b"".join(texts), ends)
        return names

    def __repr__(self):
        return f"<Layout: {', '.join([field.name for field in self.fields])}>"


cdef dict _names(tuple dtypes):
    """Return (type, number of the array, offset) for each field name."""
    found = {}
    for index, dtype in enumerate(dtypes):
        if dtype.names is None:
            raise TypeError(f"array must be structured, not of dtype {dtype}")
        for name in dtype.names:
            found.setdefault(name, (dtype.fields[name][0], index, dtype.fields[name][1]))
    return found


cdef Field _field_of_batch(str name, str payload):
    """Return a column that is not a field of an array."""
    format, kind = PAYLOADS[payload] if name == "payload" else (b"U", NAMES[name])
    return _field(name, format, kind, 0, 0, 0)


cdef int _set_witnesses(Field field, dict available, tuple names) except -1:
    """Make a column null where the fields of these names, one or two, are zero; none: it is never null."""
    if names:
        field.nullable = True
        field.witnesses[0] = available[names[0]][2]
        field.witnesses[1] = available[names[len(names) - 1]][2]
    return 0


cdef Field _field_of(str name, tuple location, bint text):
    column, array, offset = location
    if text and column.kind == "S":
        return _field(name, b"U", Kind.TEXT, array, offset, column.itemsize)
    if text:
        if column.itemsize not in (IP_LEN, MAC_LEN) or not _is_bytes(column):
            raise TypeError(
                f"field {name!r} of type {column} is not an address of {IP_LEN} or {MAC_LEN} bytes")
        return _field(name, b"U", Kind.ADDRESS, array, offset, column.itemsize)
    if column.kind == "b":
        return _field(name, b"b", Kind.BOOLEAN, array, offset, 1)
    if name in ADDED_UP and column.isnative and column.str[1:] == "u4":
        return _field(name, INT64, Kind.WIDENED, array, offset, sizeof(int64_t))
    if column.subdtype is not None and len(column.shape) == 1 and not _is_bytes(column):
        return _list_field(name, column, array, offset)
    return _field(name, _format_of(name, column), Kind.FIXED, array, offset, column.itemsize)


cdef Field _list_field(str name, object column, Py_ssize_t array, Py_ssize_t offset):
    """Return a column of fixed-size lists."""
    cdef Py_ssize_t items = column.shape[0]
    field = _field(name, f"+w:{items}".encode(), Kind.LIST, array, offset, column.itemsize)
    field.items, field.item_format = items, _format_of(name, column.base)
    return field


cdef bytes _format_of(str name, object column):
    """Return the Arrow format string of a field."""
    if column.isnative:
        code = column.str[1:]
        if name == "timestamp" and code == "i8":
            return TIMESTAMP
        if code in NUMBERS:
            return NUMBERS[code]
        if column.kind == "M" and np.datetime_data(column)[1] == 1 and np.datetime_data(column)[0] in TIMES:
            return TIMES[np.datetime_data(column)[0]]
    if _is_bytes(column):
        return f"w:{column.itemsize}".encode()
    raise TypeError(f"field {name!r} of type {column} has no Arrow type")


cdef bint _is_bytes(object column) except -1:
    """Return True for a type of plain bytes, at least one: V16, S16 or an array of u1."""
    if column.subdtype is not None:
        return column.base.str[1:] == "u1" and column.itemsize > 0
    return column.names is None and column.kind in "SV" and column.itemsize > 0


# ---- structs and their memory

cdef int _start_schema(ArrowSchema* out, bytes format, bytes name, Py_ssize_t children) except -1:
    """Initialise a schema with memory for its children. From then on only its release() frees it."""
    cdef Py_ssize_t index, pointers_size = children * (sizeof(ArrowSchema*) + sizeof(ArrowSchema))
    cdef char* memory = <char*> calloc(1, pointers_size + len(format) + 1 + len(name) + 1)
    if memory is NULL:
        raise MemoryError(f"cannot allocate a schema of {children} columns")
    memset(out, 0, sizeof(ArrowSchema))
    out.children = <ArrowSchema**> memory
    for index in range(children):
        out.children[index] = <ArrowSchema*> (out.children + children) + index
    memcpy(memory + pointers_size, <const char*> format, len(format))
    memcpy(memory + pointers_size + len(format) + 1, <const char*> name, len(name))
    out.format = memory + pointers_size
    out.name = memory + pointers_size + len(format) + 1
    out.n_children = children
    out.private_data = memory
    out.release = _release_schema
    return 0


cdef void _release_schema(ArrowSchema* schema) noexcept nogil:
    cdef int64_t index
    for index in range(schema.n_children):
        if schema.children[index].release is not NULL:  # else a consumer has taken ownership
            schema.children[index].release(schema.children[index])
    free(schema.private_data)
    schema.release = NULL


cdef int _start_array(ArrowArray* out, int64_t length, int64_t buffers, int64_t children) except -1:
    """Initialise an array whose buffers are set later. From then on only its release() frees it."""
    cdef int64_t index
    cdef Memory* memory = <Memory*> calloc(
        1, sizeof(Memory) + buffers * sizeof(void*) + children * (sizeof(ArrowArray*) + sizeof(ArrowArray)))
    if memory is NULL:
        raise MemoryError(f"cannot allocate an array of {children} columns")
    memset(out, 0, sizeof(ArrowArray))
    out.length, out.n_buffers, out.n_children = length, buffers, children
    out.buffers = <const void**> (memory + 1)
    out.children = <ArrowArray**> (out.buffers + buffers)
    for index in range(children):
        out.children[index] = <ArrowArray*> (out.children + children) + index
    out.private_data = memory
    out.release = _release_array
    return 0


cdef void _release_array(ArrowArray* array) noexcept nogil:
    cdef Memory* memory = <Memory*> array.private_data
    cdef int64_t index
    for index in range(array.n_children):
        if array.children[index].release is not NULL:  # else a consumer has taken ownership
            array.children[index].release(array.children[index])
    for index in range(OWNED):
        free(memory.owned[index])
    if memory.owner is not NULL:
        drop(memory.owner)
    free(memory)
    array.release = NULL


cdef void drop(PyObject* owner) noexcept nogil:
    """Remove a reference, from any thread; once the interpreter ends, leave it to the end of the process."""
    if Py_IsInitialized():
        foreign_call(_decrement, owner, NULL)


cdef int _decrement(void* owner, void* unused) noexcept with gil:
    Py_DECREF(<object> owner)
    return 0


cdef void* _new_buffer(ArrowArray* array, int slot, uint64_t count, uint64_t width) except NULL:
    """Allocate uninitialised memory for `count` values, which is freed with the array."""
    cdef size_t size = (count * width // ALIGNMENT + 1) * ALIGNMENT
    cdef void* memory = aligned_alloc(ALIGNMENT, size)
    if memory is NULL:
        raise MemoryError(f"cannot allocate {count} values of {width} bytes")
    (<Memory*> array.private_data).owned[slot] = memory
    return memory


# ---- fixed-width columns

cdef void _copy_columns(const Strided* columns, Py_ssize_t number, Py_ssize_t count) noexcept nogil:
    """Copy all columns of some rows at a time, so that each row is loaded into the cache only once."""
    cdef Py_ssize_t index, start = 0
    while start < count:
        for index in range(number):
            _copy_column(columns[index], start, min(<Py_ssize_t> ROWS_AT_ONCE, count - start))
        start += ROWS_AT_ONCE


cdef void _copy_column(Strided column, Py_ssize_t start, Py_ssize_t count) noexcept nogil:
    column.source += start * column.stride
    column.target += start * column.width
    # A width that is constant at compile time makes each copy one load and one store.
    if column.widened:
        _widen_values(column, count)
    elif column.width == 1:
        _copy_values(column, count, 1)
    elif column.width == 2:
        _copy_values(column, count, 2)
    elif column.width == 4:
        _copy_values(column, count, 4)
    elif column.width == 8:
        _copy_values(column, count, 8)
    elif column.width == 16:
        _copy_values(column, count, 16)
    else:
        _copy_values(column, count, column.width)


cdef inline void _copy_values(Strided column, Py_ssize_t count, size_t width) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(count):
        memcpy(column.target + index * width, column.source + index * column.stride, width)


cdef inline void _widen_values(Strided column, Py_ssize_t count) noexcept nogil:
    cdef int64_t* target = <int64_t*> column.target
    cdef Py_ssize_t index
    for index in range(count):
        target[index] = load32(column.source + index * column.stride)


# ---- booleans and texts

cdef int _add_booleans(ArrowArray* out, cnp.ndarray array, Py_ssize_t offset) except -1:
    cdef Py_ssize_t count = array.shape[0], stride = array.strides[0]
    cdef const uint8_t* source = <const uint8_t*> cnp.PyArray_DATA(array) + offset
    cdef uint8_t* bits
    _start_array(out, count, 2, 0)
    bits = <uint8_t*> _new_buffer(out, 0, (count + 7) // 8, 1)
    out.buffers[1] = bits
    with nogil:
        _write_bits(source, stride, count, bits)
    return 0


cdef void _write_bits(const uint8_t* p, Py_ssize_t stride, Py_ssize_t count, uint8_t* bits) noexcept nogil:
    cdef Py_ssize_t index
    memset(bits, 0, (count + 7) // 8)
    for index in range(count):
        bits[index // 8] |= (p[index * stride] != 0) << index % 8


cdef int _add_texts(ArrowArray* out, cnp.ndarray array, Field field) except -1:
    cdef Py_ssize_t count = array.shape[0], stride = array.strides[0], width = field.width
    cdef const uint8_t* source = <const uint8_t*> cnp.PyArray_DATA(array) + field.offset
    cdef Kind kind = field.kind
    cdef const uint8_t* valid
    cdef int64_t* ends
    cdef char* text
    _start_array(out, count, 3, 0)
    if field.nullable:
        _add_validity(out, array, field)
    valid = <const uint8_t*> out.buffers[0]
    ends = <int64_t*> _new_buffer(out, 0, count + 1, sizeof(int64_t))
    text = <char*> _new_buffer(out, 1, count, max(width, MAX_TEXT if kind == Kind.ADDRESS else 0))
    out.buffers[1], out.buffers[2] = ends, text
    with nogil:
        _write_texts(source, stride, count, width, kind, valid, ends, text)
    return 0


cdef void _write_texts(
        const uint8_t* p, Py_ssize_t stride, Py_ssize_t count, Py_ssize_t width, Kind kind,
        const uint8_t* valid, int64_t* ends, char* text) noexcept nogil:
    """Write the texts of a column one after the other; `valid` is its validity bitmap or NULL."""
    cdef Py_ssize_t index
    cdef int64_t end = 0
    ends[0] = 0
    for index in range(count):
        if valid is not NULL and not valid[index // 8] >> index % 8 & 1:
            pass
        elif kind == Kind.TEXT:
            end += _write_ascii(p, width, text + end)
        elif width == MAC_LEN:
            end += _write_mac(p, text + end)
        else:
            end += write_ip(p, text + end)
        ends[index + 1] = end
        p += stride


cdef inline Py_ssize_t _write_ascii(const uint8_t* p, Py_ssize_t width, char* text) noexcept nogil:
    """Write the characters before the first zero; bytes that are not ASCII become "?"."""
    cdef Py_ssize_t length = 0
    while length < width and p[length]:
        text[length] = <char> p[length] if p[length] < 0x80 else b"?"
        length += 1
    return length


cdef inline Py_ssize_t _write_mac(const uint8_t* p, char* text) noexcept nogil:
    """Write a MAC address, such as 02:00:5e:10:00:01."""
    cdef Py_ssize_t index
    for index in range(MAC_LEN):
        _write_hex(p + index, 1, <uint8_t*> text + 3 * index)
        text[3 * index + 2] = b":"
    return MAC_STRLEN


# ---- nulls

cdef int _add_validity(ArrowArray* out, cnp.ndarray array, Field field) except -1:
    """Add the bitmap that tells which values are not null."""
    cdef Py_ssize_t count = array.shape[0], stride = array.strides[0]
    cdef const uint8_t* source = <const uint8_t*> cnp.PyArray_DATA(array)
    cdef const uint8_t* first = source + field.witnesses[0]
    cdef const uint8_t* second = source + field.witnesses[1]
    cdef Py_ssize_t width = field.width
    cdef uint8_t* bits = <uint8_t*> _new_buffer(out, VALIDITY, (count + 7) // 8, 1)
    out.buffers[0] = bits
    with nogil:
        out.null_count = _write_validity(first, second, stride, width, count, bits)
    return 0


cdef int64_t _write_validity(
        const uint8_t* first, const uint8_t* second, Py_ssize_t stride, Py_ssize_t width, Py_ssize_t count,
        uint8_t* bits) noexcept nogil:
    """Set the bits of the rows in which one of two values is not zero; return the number of the others."""
    cdef Py_ssize_t index, byte
    cdef uint8_t found
    cdef int64_t nulls = 0
    memset(bits, 0, (count + 7) // 8)
    for index in range(count):
        found = 0
        for byte in range(width):
            found |= first[byte] | second[byte]
        bits[index // 8] |= (found != 0) << index % 8
        nulls += found == 0
        first += stride
        second += stride
    return nulls


# ---- names of interfaces and files

cdef int _add_names(ArrowArray* out, Batch batch, tuple names) except -1:
    """Export the names of the interfaces of packets; null for an interface without a name."""
    cdef View _held = batch._open()  # while it lives, the rows cannot be replaced
    cdef bytes joined = names[1]
    cdef cnp.ndarray table = names[2]
    cdef Py_ssize_t count = batch._count, known = table.shape[0] - 1
    cdef const int64_t* ends = <const int64_t*> cnp.PyArray_DATA(table)
    cdef const char* source = joined
    cdef uint8_t* bits
    cdef int64_t* out_ends
    cdef char* text
    _start_array(out, count, 3, 0)
    bits = <uint8_t*> _new_buffer(out, VALIDITY, (count + 7) // 8, 1)
    out_ends = <int64_t*> _new_buffer(out, 0, count + 1, sizeof(int64_t))
    with nogil:
        out.null_count = _write_name_ends(batch._rows, count, ends, known, bits, out_ends)
    text = <char*> _new_buffer(out, 1, out_ends[count], 1)
    out.buffers[0], out.buffers[1], out.buffers[2] = bits, out_ends, text
    with nogil:
        _write_names(batch._rows, count, ends, source, out_ends, text)
    return 0


cdef int64_t _write_name_ends(
        const Record* rows, Py_ssize_t count, const int64_t* ends, Py_ssize_t known, uint8_t* bits,
        int64_t* out) noexcept nogil:
    """Write the validity and the end of each name; return the number of nulls."""
    cdef Py_ssize_t index
    cdef int64_t size, end = 0, nulls = 0
    memset(bits, 0, (count + 7) // 8)
    out[0] = 0
    for index in range(count):
        size = 0
        if rows[index].interface < known:
            size = ends[rows[index].interface + 1] - ends[rows[index].interface]
        bits[index // 8] |= (size != 0) << index % 8
        nulls += size == 0
        end += size
        out[index + 1] = end
    return nulls


cdef void _write_names(
        const Record* rows, Py_ssize_t count, const int64_t* ends, const char* source,
        const int64_t* out_ends, char* text) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(count):
        if out_ends[index + 1] > out_ends[index]:
            memcpy(
                text + out_ends[index], source + ends[rows[index].interface],
                out_ends[index + 1] - out_ends[index])


# ---- payloads

cdef int _add_views(ArrowArray* out, Batch batch) except -1:
    """Export the payloads as binary views, without a copy."""
    cdef View view = batch._open()
    cdef uint64_t size = view._len, max_len, count = batch._count
    cdef uint64_t windows = (size + WINDOW - 1) // WINDOW, index
    cdef int64_t* sizes
    cdef BinaryView* views
    with nogil:
        max_len = _max_payload_len(batch._rows, count, size)
    if max_len > MAX_VIEW:
        raise ValueError(f"a payload of {max_len} bytes is too long for binary_view: use large_binary")
    _start_array(out, count, 3 + windows, 0)
    views = <BinaryView*> _new_buffer(out, 0, count, sizeof(BinaryView))
    sizes = <int64_t*> _new_buffer(out, 1, windows, sizeof(int64_t))
    out.buffers[1] = views
    for index in range(windows):
        # A payload that starts in a window may end after it.
        sizes[index] = min(size - index * WINDOW, WINDOW + max_len)
        out.buffers[2 + index] = view._ptr + index * WINDOW
    out.buffers[2 + windows] = sizes
    Py_INCREF(view)
    (<Memory*> out.private_data).owner = <PyObject*> view
    with nogil:
        _write_views(batch._rows, count, view._ptr, size, views)
    return 0


cdef uint64_t _max_payload_len(const Record* rows, Py_ssize_t count, uint64_t size) noexcept nogil:
    cdef Py_ssize_t index
    cdef uint64_t max_len = 0
    for index in range(count):
        if rows[index].cap_len > max_len and in_bounds(&rows[index], size):
            max_len = rows[index].cap_len
    return max_len


cdef void _write_views(
        const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
        BinaryView* out) noexcept nogil:
    cdef Py_ssize_t index
    cdef BinaryView view
    for index in range(count):
        memset(&view, 0, sizeof(view))
        if in_bounds(&rows[index], size):
            view.length = <int> rows[index].cap_len
            if view.length > VIEW_INLINE:
                memcpy(view.prefix, data + rows[index].offset, sizeof(view.prefix))
                view.buffer = <int> (rows[index].offset // WINDOW)
                view.offset = <int> (rows[index].offset % WINDOW)
            elif view.length:
                memcpy(<uint8_t*> &view + sizeof(view.length), data + rows[index].offset, view.length)
        memcpy(&out[index], &view, sizeof(view))


cdef int _add_payloads(ArrowArray* out, Batch batch, bint as_hex) except -1:
    """Export the payloads as one buffer with a copy of all."""
    cdef View view = batch._open()
    cdef Py_ssize_t count = batch._count
    cdef int64_t* ends
    cdef uint8_t* data
    _start_array(out, count, 3, 0)
    ends = <int64_t*> _new_buffer(out, 0, count + 1, sizeof(int64_t))
    with nogil:
        _write_ends(batch._rows, count, view._len, 1 + as_hex, ends)
    data = <uint8_t*> _new_buffer(out, 1, ends[count], 1)
    out.buffers[1], out.buffers[2] = ends, data
    with nogil:
        _write_payloads(batch._rows, count, view._ptr, as_hex, ends, data)
    return 0


cdef void _write_ends(
        const Record* rows, Py_ssize_t count, uint64_t size, int64_t width, int64_t* ends) noexcept nogil:
    """Write the end of each payload; one that points outside the data is empty."""
    cdef Py_ssize_t index
    cdef int64_t end = 0
    ends[0] = 0
    for index in range(count):
        if in_bounds(&rows[index], size):
            end += rows[index].cap_len * width
        ends[index + 1] = end


cdef void _write_payloads(
        const Record* rows, Py_ssize_t count, const uint8_t* data, bint as_hex, const int64_t* ends,
        uint8_t* out) noexcept nogil:
    cdef Py_ssize_t index
    cdef int64_t length
    for index in range(count):
        length = ends[index + 1] - ends[index]
        if length == 0:
            continue
        if as_hex:
            _write_hex(data + rows[index].offset, length // 2, out + ends[index])
        else:
            memcpy(out + ends[index], data + rows[index].offset, length)


cdef inline void _write_hex(const uint8_t* p, int64_t n, uint8_t* out) noexcept nogil:
    cdef const char* digits = "0123456789abcdef"
    cdef int64_t index
    for index in range(n):
        out[2 * index] = digits[p[index] >> 4]
        out[2 * index + 1] = digits[p[index] & 15]
