from libc.stdint cimport uint8_t

from slimcap.packet.lease cimport Pool
from slimcap.packet.record cimport Record
from slimcap.source.live.live_source cimport LiveSource
from slimcap.source.live.message_reader cimport MessageReader

cdef class SocketSource(LiveSource):
    cdef MessageReader _reader
    cdef Pool _data_blocks, _row_blocks
    cdef Py_ssize_t _batch_size, _buffer_size
    cdef bint _queue_empty      # the last read emptied the queue
    cdef Py_ssize_t _read(self, uint8_t* data, Record* rows) except -1
