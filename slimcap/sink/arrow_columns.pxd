from slimcap.abi.arrow_c_data cimport ArrowArray, ArrowSchema
from slimcap.packet.batch cimport Batch

cdef enum Kind:
    FIXED           # values of one width, as they are
    BOOLEAN         # a byte, as a bit
    ADDRESS         # 16 or 6 bytes, as text
    TEXT            # ASCII with zeros behind it, as text
    BINARY_VIEW     # payloads where they are
    LARGE_BINARY    # payloads, copied
    HEX             # payloads as hexadecimal text

cdef class Field:
    cdef readonly str name
    cdef bytes format           # as the C data interface spells types
    cdef Kind kind
    cdef Py_ssize_t array       # which of the arrays has it
    cdef Py_ssize_t offset, width   # of the value in a row

cdef class Layout:
    cdef readonly tuple fields
    cdef tuple dtypes
    cdef bint borrows           # one of them shows the batch's bytes where they are
    cdef int export_schema(self, ArrowSchema* out) except -1
    cdef int export_rows(self, tuple arrays, Batch batch, ArrowArray* out) except -1
    cdef int _check(self, tuple arrays, Py_ssize_t count) except -1
    cdef int _add_fixed(self, tuple arrays, Py_ssize_t count, ArrowArray* out) except -1
    cdef int _add_others(self, tuple arrays, Batch batch, ArrowArray* out) except -1
