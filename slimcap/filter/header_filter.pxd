from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport Record
from slimcap.wire.walk_tunnel cimport TunnelPorts

cdef struct Keys:
    const uint8_t* first    # sorted keys of the same size; NULL: no condition
    Py_ssize_t count

cdef struct Conditions:
    # Sets of numbers are bit arrays; NULL: no condition.
    Keys hosts, nets        # ranges of addresses: first (16) | last (16)
    Keys flows              # as hashed for flow_hash_symmetric
    Keys community_ids
    const uint8_t* ports
    const uint8_t* protocols
    const uint8_t* vlans
    uint32_t parts          # of a packet that must be parsed
    bint inner
    TunnelPorts tunnel_ports

cdef class HeaderFilter:
    cdef dict _options
    cdef list _sets             # for each condition its name and its set in memory
    cdef bytes _tunnels         # the memory of the tunnel ports, or None
    cdef Conditions _conditions
    cdef int _add(self, str name, object values) except -1
    cdef const uint8_t* _keep_alive(self, str name, bytes memory) except NULL
    cdef Keys _keys(self, str name, object keys) except *
    cdef tuple _state(self)

cdef class HeaderMatcher:
    cdef HeaderFilter _filter
    cdef Block _linktypes       # array of uint32, one for each of _count interfaces
    cdef Py_ssize_t _count
    cdef int learn(self, tuple links) except -1
    cdef Py_ssize_t keep(
        self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
        Record* kept, Block numbers=*) except -1

cdef HeaderMatcher header_matcher(object where)
