from cpython.object cimport PyObject

from slimcap.abi.arrow_c_data cimport ArrowArray, ArrowSchema
from slimcap.packet.batch cimport Batch

cdef enum Kind:
    FIXED           # fixed-width values, copied unchanged
    WIDENED         # uint32, as int64
    LIST            # several numbers, as a list of fixed size
    BOOLEAN         # bytes, as bits
    ADDRESS         # addresses of 16 or 6 bytes, as text
    TEXT            # ASCII padded with zeros, as text
    INTERFACE_NAME  # name of a packet's interface, as text
    FILE_NAME       # path of a packet's file, as text
    BINARY_VIEW     # payloads, not copied
    LARGE_BINARY    # payloads, copied
    HEX             # payloads as hexadecimal text

# Columns of batches that are names, and null for packets without one.
cdef dict NAMES

cdef class Field:
    cdef readonly str name
    cdef bytes format           # format string of the C data interface
    cdef Kind kind
    cdef Py_ssize_t array       # number of the array that has the field
    cdef Py_ssize_t offset, width   # of the value in a row
    cdef Py_ssize_t items       # numbers of a list, which are of the type
    cdef bytes item_format
    cdef bint nullable
    cdef Py_ssize_t witnesses[2]    # offsets of the values that are all zero if this one is null

cdef class Layout:
    cdef readonly tuple fields
    cdef tuple dtypes
    cdef bint borrows           # a column shows the batch's bytes without a copy
    cdef dict _names            # tables of names by kind, of the last batch
    cdef int export_schema(self, ArrowSchema* out) except -1
    cdef int export_rows(self, tuple arrays, Batch batch, ArrowArray* out) except -1
    cdef int _check(self, tuple arrays, Py_ssize_t count) except -1
    cdef int _add_fixed(self, tuple arrays, Py_ssize_t count, ArrowArray* out) except -1
    cdef int _add_others(self, tuple arrays, Batch batch, ArrowArray* out) except -1
    cdef tuple _names_for(self, Kind kind, Batch batch)

cdef void drop(PyObject* owner) noexcept nogil
