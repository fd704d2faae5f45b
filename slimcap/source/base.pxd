cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

from slimcap.io.event cimport Event
from slimcap.io.owner cimport Owner
from slimcap.packet.batch cimport Batch
from slimcap.packet.lease cimport Borrowed
from slimcap.packet.record cimport Record
from slimcap.packet.rows cimport Rows
from slimcap.packet.view cimport View

cdef struct Counters:
    uint64_t received, dropped, freezes     # as in Stats

cdef object stats_of(const Counters* counters)

cdef class Source:
    # Rows that were decoded and not yet returned are _rows[_next:_end], over the bytes at _data.
    cdef Rows _current          # owns both; None: there are none
    cdef const Record* _rows
    cdef Py_ssize_t _next, _end
    cdef const uint8_t* _data

    cdef Event _event
    cdef Owner _owner           # the event's
    cdef int* _signal           # the event's pending signals
    cdef bint _busy             # a reader holds the source
    cdef unsigned long _reader  # thread of the last reader that did not find a row ready
    cdef int _closers           # threads in close() that wait for the reader, to tear down themselves
    cdef bint _shut
    cdef bint _ended            # a read found the end
    cdef bint _initialised      # `__init__` must not run again
    cdef object _timeout
    cdef tuple _links
    cdef object _turn           # lock of the task that reads; None: none has
    cdef object _given          # the last buffer that a caller gave; _target is its export
    cdef Borrowed _target
    cdef uint64_t _earlier      # packets of earlier rows
    cdef Counters _cleared      # what calls of stats() have returned

    # For subclasses, which implement the first three.
    cdef Rows _fill(self, int64_t deadline)
    cdef void _tear_down(self) noexcept
    cdef bint _is_left_open(self) noexcept
    cdef int _awaited_fd(self) noexcept
    cdef bint _may_have_more(self) noexcept
    cdef Py_ssize_t _snaplen(self) except -1
    cdef int _totals(self, Counters* totals) except -1
    @cython.final
    cdef uint64_t _count_read(self) noexcept

    @cython.final
    cdef int _begin_opening(self) except -1
    cdef int _enter(self) except -1
    @cython.final
    cdef const Record* _begin(self, object timeout) except NULL
    @cython.final
    cdef bint _ready(self) noexcept
    @cython.final
    cdef const Record* _begin_by(self, int64_t deadline) except NULL
    @cython.final
    cdef const Record* _begin_ip(self, object timeout) except NULL
    @cython.final
    cdef const Record* _begin_iteration(self) except? NULL
    @cython.final
    cdef void _leave(self) noexcept
    @cython.final
    cdef void _show(self, Rows rows) noexcept
    @cython.final
    cdef void _drop_rows(self) noexcept
    @cython.final
    cdef void _run_out(self) noexcept
    cdef void _shut_down(self) noexcept
    cdef int _wait_for_reader(self) except -1
    @cython.final
    cdef View _write_to(self, object buf, const uint8_t* p, Py_ssize_t n, bint ip_layer)
    @cython.final
    cdef Batch _next_batch(self, object max_packets, object timeout)
    @cython.final
    cdef int _check_open(self) except -1

cdef class ZeroCopySource(Source):
    pass
