from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.io.output cimport Output
from slimcap.io.owner cimport Owner
from slimcap.packet.annotations cimport Annotations
from slimcap.packet.batch cimport Batch
from slimcap.packet.packet cimport Packet
from slimcap.packet.record cimport FLAG_VLAN_STRIPPED, Record, in_bounds
from slimcap.packet.view cimport View
from slimcap.wire.vlan cimport LEN as VLAN_LEN, TAG_OFFSET, put_tag

cdef enum:
    TAGGED = TAG_OFFSET + VLAN_LEN  # bytes from the frame's start to the end of the tag
    MAX_LINK_TYPE = 0xffff          # the bits above are FCS length and reserved
    MAX_LEN = 0xffffffff

cdef struct Frame:
    # A packet as written to a file.
    const uint8_t* payload
    uint32_t cap_len, total_len     # lengths as written
    uint16_t tpid, tci
    bint tagged                     # a VLAN tag must be reinserted

cdef class Writer:
    cdef Owner _owner
    cdef Output _out                # None if closed
    cdef str _name
    cdef uint32_t _link_type, _snaplen
    cdef object _fcs_len        # length of the frame check sequences in bytes, or None
    cdef uint64_t _packets, _bytes
    cdef bint _atomic
    cdef bint _busy                 # a method is running
    cdef int _open(self, object file, object link_type, dict options) except -1
    cdef int _check_new(self) except -1
    cdef int _begin(self, const void* head, Py_ssize_t size) except -1
    cdef int _end(self, bint whole) except -1
    cdef int _enter(self) except -1
    cdef int _put(self, const void* data, Py_ssize_t size) except -1
    cdef int _write_rows(
        self, const Record* rows, Py_ssize_t index, Py_ssize_t count, const uint8_t* data,
        Py_ssize_t size) except -1
    cdef int _write_batch(self, Batch batch) except -1
    cdef int _prepare(self, const Record* row) except -1
    cdef int _annotate(self, Annotations annotations) except -1
    cdef int _write_all(self, Batch batch, View view) except -1
    cdef Py_ssize_t _limit(self, Batch batch, int64_t* room) except -1
    cdef int _check(self, Batch batch) except -1
    cdef bint _is_new(self, const Record* row) noexcept nogil
    cdef Py_ssize_t _size_before(self, const Record* row) except -1
    cdef Py_ssize_t _count_fitting(
        self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
        int64_t room) except -1
    cdef Py_ssize_t _size_of(
        self, const Record* rows, Py_ssize_t index, const uint8_t* data, uint64_t size) noexcept nogil
    cdef Py_ssize_t _pack(
        self, const Record* rows, Py_ssize_t index, Py_ssize_t count, const uint8_t* data, uint64_t size,
        uint8_t* out, Py_ssize_t* at, Py_ssize_t room) noexcept nogil


cdef inline void frame_of(
        const Record* row, const uint8_t* data, uint64_t size, uint32_t snaplen, bint ethernet,
        Frame* frame) noexcept nogil:
    """Fill in `frame` from a row: its VLAN tag reinserted, and no bytes if they are outside `data`."""
    frame.cap_len = row.cap_len if in_bounds(row, size) else 0
    frame.payload = data + row.offset if frame.cap_len else NULL
    frame.total_len = row.total_len
    frame.tagged = (
        ethernet and row.flags & FLAG_VLAN_STRIPPED and TAG_OFFSET <= frame.cap_len <= MAX_LEN - VLAN_LEN)
    if frame.tagged:
        frame.tpid, frame.tci = row.vlan_tpid, row.vlan_tci
        frame.cap_len += VLAN_LEN
        frame.total_len = max(frame.cap_len, min(frame.total_len, <uint32_t> MAX_LEN - VLAN_LEN) + VLAN_LEN)
    frame.cap_len = min(frame.cap_len, snaplen)


cdef inline void put_frame(uint8_t* out, const Frame* frame) noexcept nogil:
    """Write the packet's `cap_len` bytes to `out`."""
    cdef uint8_t head[VLAN_LEN + TAGGED]
    cdef uint32_t first
    if not frame.tagged:
        if frame.cap_len:  # without bytes, the pointer may be NULL
            memcpy(out, frame.payload, frame.cap_len)
        return
    memcpy(head + VLAN_LEN, frame.payload, TAG_OFFSET)
    put_tag(head + VLAN_LEN, frame.tpid, frame.tci)
    first = min(frame.cap_len, <uint32_t> TAGGED)
    memcpy(out, head, first)
    memcpy(out + first, frame.payload + TAG_OFFSET, frame.cap_len - first)
