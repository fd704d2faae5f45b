from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from slimcap.filter.vm cimport Machine
from slimcap.io.event cimport Event
from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport Record
from slimcap.source.live.packet_socket cimport CaptureSocket, LinkState
from slimcap.source.live.ring_source cimport RingSource
from slimcap.source.live.socket_source cimport SocketSource
from slimcap.source.mock.block_writer cimport Arrival, BlockWriter
from slimcap.source.mock.message_queue cimport MessageQueue

cdef class Pace:
    cdef readonly object speed, rate
    cdef readonly uint64_t packets
    cdef bint _by_rate
    cdef double _scale          # ns to wait for one of the capture's, or for one packet
    cdef int64_t _began, _first
    cdef readonly int64_t latest, late
    cdef int64_t due(self, const Record* row) noexcept nogil
    cdef void note(self, int64_t late) noexcept nogil

cdef struct Progress:
    # Where adding rows came to, and why it stopped there.
    Py_ssize_t index, added
    bint stopped                # before a packet that is not due yet, or for want of room
    int64_t due                 # when that packet is; NEVER for want of room

cdef class MockSocket(CaptureSocket):
    cdef PyThread_type_lock _lock   # of all that the producer's and the reader's thread both write to
    cdef Machine _machine           # the filter
    cdef bint on_wire               # it wants tags in line, as in a file
    cdef BlockWriter _blocks        # with a ring
    cdef MessageQueue _messages     # without
    cdef int64_t _block_timeout
    cdef bint _timer                # open blocks are handed over when their time is over
    cdef int _bell                  # an eventfd: something for the reader to look at
    cdef int _room                  # an eventfd: the reader gave something back
    cdef int _pid
    cdef Event _producer            # what stops a producer that waits
    cdef Block _scratch, _wire      # for a packet whose tag was taken out, and put back
    cdef int _ifindex
    cdef uint16_t _hatype
    cdef bint _ethernet
    cdef uint64_t _packets, _drops  # since they were read last
    cdef int _error
    cdef LinkState _state
    cdef bint _frozen               # every packet is dropped
    cdef bint _keeps                # what was added is read again and again
    cdef readonly object added      # what is called for each packet
    cdef public bint drop_when_full
    cdef void _acquire(self) noexcept nogil
    cdef int _enter(self) except -1
    cdef int _ring_bell(self) noexcept nogil
    cdef int _tell_producer(self) noexcept nogil
    cdef bint _has_room(self) noexcept nogil
    cdef int64_t _retire_at(self) noexcept nogil
    cdef bint _retire(self) noexcept nogil
    cdef int _arrive(self, const Record* row, const uint8_t* payload, bint restamp) noexcept nogil
    cdef bint _take_in(self, const Arrival* packet, bint losing) noexcept nogil
    cdef void _describe(self, const Record* row, Arrival* packet) noexcept nogil
    cdef void _take_tag(self, Arrival* packet) noexcept nogil
    cdef uint32_t _filter(self, const Arrival* packet) noexcept nogil
    cdef const uint8_t* _put_tag(self, const Arrival* packet) noexcept nogil
    cdef int _add(
        self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size, Pace pace,
        bint restamp, int64_t deadline, Progress* progress) except -1
    cdef void _add_some(
        self, const Record* rows, Py_ssize_t stop, const uint8_t* data, uint64_t size, Pace pace,
        bint restamp, Progress* progress) noexcept nogil
    cdef int _wait_for_reader(self, int64_t due, int64_t deadline) except -1

cdef class RingMock(RingSource):
    cdef readonly MockSocket device

cdef class SocketMock(SocketSource):
    cdef readonly MockSocket device
