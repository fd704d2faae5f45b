from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from slimcap.abi.linux cimport sock_filter
from slimcap.abi.lock cimport Lock
from slimcap.filter.vm cimport Machine
from slimcap.io.event cimport Event
from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport Record
from slimcap.source.base cimport Counters
from slimcap.source.live.packet_socket cimport CaptureSocket, LinkState
from slimcap.source.live.ring_source cimport RingSource
from slimcap.source.live.socket_source cimport SocketSource
from slimcap.source.mock.block_writer cimport Arrival, BlockWriter
from slimcap.source.mock.message_queue cimport MessageQueue

cdef class Schedule:
    cdef readonly object speed, rate
    cdef readonly uint64_t packets
    cdef bint _by_rate
    cdef double _scale          # ns to wait per ns of the capture, or per packet
    cdef int64_t _began, _first
    cdef readonly int64_t max_delay, total_delay
    cdef int64_t due(self, const Record* row) noexcept nogil
    cdef void record(self, int64_t delay) noexcept nogil

cdef struct Progress:
    # Result of adding rows: how many were added, and why it stopped.
    Py_ssize_t index, added
    bint stopped                # before a packet that is not due yet, or for which there is no space
    int64_t due                 # when that packet is due; NEVER if there is no space
    bint refused                # no packets can be added any more
    bint woken                  # it has waited for space, and took the signal
    uint64_t adder              # the thread

cdef struct Situation:
    # What a reader that found nothing has to know.
    int error
    int64_t retire_at           # when the open block times out, monotonic ns; NEVER: no block, or no timer
    bint waits_for_itself       # only its own thread would hand over the open block

cdef class MockSocket(CaptureSocket):
    cdef Lock _lock                 # for all state that both the producer and the reader use
    cdef const sock_filter* _program    # the filter,
    cdef Machine _machine           # and its owner
    cdef object _compile(self, dict options)
    cdef bint on_wire               # the filter expects VLAN tags in the bytes, as in a file
    cdef BlockWriter _blocks        # with a ring
    cdef MessageQueue _messages     # without
    cdef int64_t _block_timeout
    cdef bint _timer                # open blocks are handed over when they time out
    cdef int _reader_fd             # an eventfd that wakes the reader
    cdef int _producer_fd           # an eventfd that wakes the producer: space was freed
    cdef bint _made                 # __cinit__ ran: the descriptors are valid
    cdef Event _producer            # stops waiting producers
    cdef list _replays              # events of those that are replays
    cdef Block _scratch, _wire      # for a packet without its tag, and with the tag put back
    cdef uint64_t _adder            # the thread that added packets last
    cdef int _ifindex
    cdef uint16_t _hatype
    cdef bint _ethernet
    cdef uint64_t _packets, _drops  # since the counters were last read
    cdef int _error
    cdef LinkState _state
    cdef bint _frozen               # every packet is dropped
    cdef bint _repeats              # the packets that were added are returned again and again
    cdef readonly object added      # callback for each added packet, or None
    cdef public bint drop_when_full
    cdef int _check_process(self) except -1
    cdef void _assess(self, Situation* now) noexcept
    cdef int _wake_reader(self) noexcept nogil
    cdef int _wake_producer(self) noexcept nogil
    cdef bint _has_space(self) noexcept nogil
    cdef bint _retire(self) noexcept
    cdef int _arrive(self, const Record* row, const uint8_t* payload, bint restamp) noexcept nogil
    cdef bint _enqueue(self, const Arrival* packet, bint losing) noexcept nogil
    cdef void _describe(self, const Record* row, Arrival* packet) noexcept nogil
    cdef void _strip_tag(self, Arrival* packet) noexcept nogil
    cdef uint32_t _filter(self, const Arrival* packet) noexcept nogil
    cdef const uint8_t* _reinsert_tag(self, const Arrival* packet) noexcept nogil
    cdef int _add(
        self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size, Schedule schedule,
        bint restamp, Event producer, int64_t deadline, Progress* progress) except -1
    cdef void _add_chunk(
        self, const Record* rows, Py_ssize_t stop, const uint8_t* data, uint64_t size, Schedule schedule,
        bint restamp, Progress* progress) noexcept nogil
    cdef int _wait_for_reader(self, Progress* progress, Event producer, int64_t deadline) except -1

cdef class RingMock(RingSource):
    cdef readonly MockSocket device

cdef class SocketMock(SocketSource):
    cdef readonly MockSocket device
