from libc.stdint cimport int64_t

from slimcap.packet.annotations cimport Annotations
from slimcap.packet.batch cimport Batch
from slimcap.packet.lease cimport Block, Hold

cdef class Rows:
    cdef Block block            # the Records, `count` of them
    cdef Py_ssize_t count
    cdef Block data             # the bytes that they describe: data[:data_size]
    cdef Py_ssize_t data_size
    cdef int64_t total_bytes    # sum of total_len; -1: not known
    cdef tuple links
    cdef tuple interfaces       # an InterfaceInfo for each link; None: only the links are known
    cdef Annotations annotations    # of the packets, and blocks between them; None: there are none
    cdef Hold _block_hold, _data_hold
    cdef Batch batch(self, Py_ssize_t start, Py_ssize_t count)
    cdef Hold lend(self)
    cdef object comment(self, Py_ssize_t row)

cdef Batch blocks_batch(Annotations annotations, tuple links, tuple interfaces)
cdef Rows new_rows(Block block, Py_ssize_t count, Block data, Py_ssize_t data_size, tuple links)
