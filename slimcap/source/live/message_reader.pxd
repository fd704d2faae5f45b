from libc.stdint cimport uint8_t, uint32_t, uint64_t

from slimcap.abi.linux cimport iovec, mmsghdr, sockaddr_ll
from slimcap.packet.record cimport Record
from slimcap.source.live.packet_socket cimport CaptureSocket

cdef enum:
    CONTROL_SIZE = 128          # for the control messages of a packet: 72 bytes, and a reserve for others
    CONTROL_WORDS = 16          # of 8 bytes, the alignment of a cmsghdr

cdef struct MessageMetadata:
    # Control messages and address that recvmmsg() returns for a packet.
    uint64_t control[CONTROL_WORDS]
    sockaddr_ll address

cdef class MessageReader:
    cdef readonly Py_ssize_t count, stride
    cdef readonly uint32_t linktype, snaplen
    cdef readonly bint reinsert_vlan
    cdef mmsghdr* _messages
    cdef iovec* _iovecs
    cdef MessageMetadata* _metadata
    cdef Py_ssize_t read(self, CaptureSocket socket, uint8_t* data, Record* rows) except -1
    cdef void _prepare_messages(self, uint8_t* data) noexcept nogil
    cdef void _write(self, Py_ssize_t index, uint8_t* data, Record* row) noexcept nogil
