"""Arrow's C data interface and C stream interface: the structs that exchange Arrow data within a process.

Structs: arrow.apache.org/docs/format/CDataInterface.html. Content of the buffers:
arrow.apache.org/docs/format/Columnar.html.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef extern from "errno.h" nogil:
    enum: ECANCELED, EINVAL, EIO, ENOMEM  # return values of a stream's functions

cdef extern from * nogil:
    """
    #include <stdint.h>

    /* The guards are those of the specification: another header may define the same structs. */
    #ifndef ARROW_C_DATA_INTERFACE
    #define ARROW_C_DATA_INTERFACE
    struct ArrowSchema {
        const char* format;
        const char* name;
        const char* metadata;
        int64_t flags;
        int64_t n_children;
        struct ArrowSchema** children;
        struct ArrowSchema* dictionary;
        void (*release)(struct ArrowSchema*);
        void* private_data;
    };
    #define ARROW_FLAG_NULLABLE 2
    struct ArrowArray {
        int64_t length;
        int64_t null_count;
        int64_t offset;
        int64_t n_buffers;
        int64_t n_children;
        const void** buffers;
        struct ArrowArray** children;
        struct ArrowArray* dictionary;
        void (*release)(struct ArrowArray*);
        void* private_data;
    };
    #endif

    #ifndef ARROW_C_STREAM_INTERFACE
    #define ARROW_C_STREAM_INTERFACE
    struct ArrowArrayStream {
        int (*get_schema)(struct ArrowArrayStream*, struct ArrowSchema* out);
        int (*get_next)(struct ArrowArrayStream*, struct ArrowArray* out);
        const char* (*get_last_error)(struct ArrowArrayStream*);
        void (*release)(struct ArrowArrayStream*);
        void* private_data;
    };
    #endif

    /* Columnar format, "Variable-size Binary View Layout":
     *
     *   | length | up to 12 bytes, padded with zeros         |
     *   | length | first 4 bytes | buffer index    | offset  |     if there are more
     */
    struct slimcap_binary_view {
        int32_t length;
        uint8_t prefix[4];
        int32_t buffer;
        int32_t offset;
    };
    _Static_assert(sizeof(struct slimcap_binary_view) == 16, "binary view");
    #define SLIMCAP_VIEW_INLINE 12
    """
    enum: ARROW_FLAG_NULLABLE

    struct ArrowSchema:
        const char* format
        const char* name
        const char* metadata
        int64_t flags
        int64_t n_children
        ArrowSchema** children
        ArrowSchema* dictionary
        void (*release)(ArrowSchema*) noexcept nogil
        void* private_data

    struct ArrowArray:
        int64_t length
        int64_t null_count
        int64_t offset
        int64_t n_buffers
        int64_t n_children
        const void** buffers
        ArrowArray** children
        ArrowArray* dictionary
        void (*release)(ArrowArray*) noexcept nogil
        void* private_data

    struct ArrowArrayStream:
        int (*get_schema)(ArrowArrayStream*, ArrowSchema* out) noexcept nogil
        int (*get_next)(ArrowArrayStream*, ArrowArray* out) noexcept nogil
        const char* (*get_last_error)(ArrowArrayStream*) noexcept nogil
        void (*release)(ArrowArrayStream*) noexcept nogil
        void* private_data

    ctypedef struct BinaryView "struct slimcap_binary_view":
        int32_t length
        uint8_t prefix[4]
        int32_t buffer
        int32_t offset

    enum: VIEW_INLINE "SLIMCAP_VIEW_INLINE"
