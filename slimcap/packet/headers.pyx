"""Columns out of protocol headers, for a whole batch at a time."""
cimport numpy as cnp
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from slimcap.packet.batch cimport Batch
from slimcap.packet.record cimport Record, in_bounds, ip_start
from slimcap.packet.view cimport View
from slimcap.wire.ip cimport upper_layer
from slimcap.wire.ipv6 cimport UpperLayer

import numpy as np

cnp.import_array()


cdef void _ip_columns(
        Batch batch, const uint8_t* data, uint64_t size, uint8_t* versions,
        uint8_t* protocols) noexcept nogil:
    cdef Py_ssize_t index
    cdef Record row
    cdef const uint8_t* ip
    cdef UpperLayer upper
    cdef uint32_t start
    for index in range(batch._count):
        row = batch._rows[index]
        versions[index] = protocols[index] = 0
        start = ip_start(&row)
        if start < row.cap_len and in_bounds(&row, size):
            ip = data + row.offset + start
            upper = upper_layer(ip, row.cap_len - start)
            versions[index] = ip[0] >> 4
            protocols[index] = <uint8_t> upper.protocol


def ip_columns(Batch batch not None):
    """IP version and upper-layer protocol of every packet.

    Returns
    -------
    versions, protocols : ndarray of uint8, shape (N,)
        As `IPLayer.type` and `IPLayer.protocol`; 0 where there is no IP layer. Arrays of their own.

    Raises
    ------
    ValueError
        The batch was released.
    """
    cdef View view = batch._open()
    versions = np.empty(batch._count, np.uint8)
    protocols = np.empty(batch._count, np.uint8)
    cdef uint8_t* v = <uint8_t*> cnp.PyArray_DATA(versions)
    cdef uint8_t* p = <uint8_t*> cnp.PyArray_DATA(protocols)
    with nogil:
        _ip_columns(batch, view._ptr, view._len, v, p)
    return versions, protocols
