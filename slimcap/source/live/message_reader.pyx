"""Receive packets as messages with recvmmsg(), and decode the kernel's metadata to rows.

    data     | 4 | packet … | 4 | packet … |      a slot per packet; 4 bytes for a tag to be put back
    metadata   sockaddr_ll: pkttype; control messages: PACKET_AUXDATA (lengths, tag, status), SCM_TIMESTAMPNS

The kernel writes them in packet_recvmsg(), net/packet/af_packet.c. Rows are the same as the ring's walker
writes.
"""
cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport (
    CMSG_DATA,
    CMSG_FIRSTHDR,
    CMSG_LEN,
    CMSG_NXTHDR,
    EAGAIN,
    EINTR,
    PACKET_AUXDATA,
    SCM_TIMESTAMPNS,
    SOL_PACKET,
    SOL_SOCKET,
    TP_STATUS_VLAN_VALID,
    cmsghdr,
    iovec,
    mmsghdr,
    msghdr,
    sockaddr_ll,
    timespec,
    tpacket_auxdata,
)
from slimcap.capfile.decoder cimport fill_row
from slimcap.packet.record cimport Record, set_pkt_type
from slimcap.source.live.kernel_status cimport add_status, stripped_tpid
from slimcap.wire.vlan cimport LEN as VLAN_LEN, TAG_OFFSET, put_tag

import os

cdef enum:
    CACHE_LINE = 64
    PAGE = 4096


@cython.final
@cython.no_gc
cdef class MessageReader:
    """Receives up to `count` packets at a time.

    Parameters
    ----------
    count : int
        Maximum number of packets per call.
    linktype : int
        LINKTYPE_ number of the interface, by which the IP header is found.
    snaplen : int
        Maximum number of bytes of a packet.
    reinsert_vlan : bool
        Put back the VLAN tag that the kernel removed.
    """

    def __cinit__(self, Py_ssize_t count, uint32_t linktype, uint32_t snaplen, bint reinsert_vlan):
        self.count, self.linktype, self.snaplen, self.reinsert_vlan = count, linktype, snaplen, reinsert_vlan
        self.stride = (VLAN_LEN + <Py_ssize_t> snaplen + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE
        if self.stride % PAGE == 0:
            self.stride += CACHE_LINE  # else the first lines of all packets would share a few cache sets
        self._messages = <mmsghdr*> PyMem_Calloc(count, sizeof(mmsghdr))
        self._iovecs = <iovec*> PyMem_Calloc(count, sizeof(iovec))
        self._metadata = <MessageMetadata*> PyMem_Calloc(count, sizeof(MessageMetadata))
        if self._messages is NULL or self._iovecs is NULL or self._metadata is NULL:
            raise MemoryError(f"cannot allocate {count} messages")

    def __dealloc__(self):
        PyMem_Free(self._messages)
        PyMem_Free(self._iovecs)
        PyMem_Free(self._metadata)

    cdef Py_ssize_t read(self, CaptureSocket socket, uint8_t* data, Record* rows) except -1:
        """Receive the available packets into `count` slots of `stride` bytes, with a row for each.

        Returns their number. Raises OSError for an error of the socket.
        """
        cdef Py_ssize_t index
        cdef int received
        with nogil:
            self._prepare_messages(data)
            received = socket.receive(self._messages, self.count)
            for index in range(received):
                self._write(index, data, &rows[index])
        if received >= 0:
            return received
        if received in (-EAGAIN, -EINTR):
            return 0
        raise OSError(-received, f"recvmmsg: {os.strerror(-received)}", socket.link.name)

    cdef void _prepare_messages(self, uint8_t* data) noexcept nogil:
        """Point the messages to the slots.

        This is needed before each call, since the kernel overwrites the lengths.
        """
        cdef Py_ssize_t index
        cdef msghdr* message
        for index in range(self.count):
            self._iovecs[index].iov_base = data + index * self.stride + VLAN_LEN
            self._iovecs[index].iov_len = self.snaplen
            message = &self._messages[index].msg_hdr
            message.msg_name, message.msg_namelen = &self._metadata[index].address, sizeof(sockaddr_ll)
            message.msg_iov, message.msg_iovlen = &self._iovecs[index], 1
            message.msg_control, message.msg_controllen = self._metadata[index].control, CONTROL_SIZE

    cdef void _write(self, Py_ssize_t index, uint8_t* data, Record* row) noexcept nogil:
        """Write the row of a message, and put back the packet's tag if requested."""
        cdef mmsghdr* message = &self._messages[index]
        cdef tpacket_auxdata aux
        cdef uint64_t offset = index * self.stride + VLAN_LEN
        cdef uint32_t cap_len = min(message.msg_len, self.snaplen)
        cdef uint32_t total_len
        memset(&aux, 0, sizeof(aux))
        row.timestamp = 0
        _read_control(&message.msg_hdr, &aux, &row.timestamp)
        total_len = max(aux.tp_len, cap_len)
        if self.reinsert_vlan and aux.tp_status & TP_STATUS_VLAN_VALID and cap_len >= TAG_OFFSET:
            put_tag(data + offset, stripped_tpid(aux.tp_status, aux.tp_vlan_tpid), aux.tp_vlan_tci)
            aux.tp_status &= ~(<uint32_t> TP_STATUS_VLAN_VALID)
            offset -= VLAN_LEN
            cap_len = min(cap_len + VLAN_LEN, self.snaplen)
            total_len = max(total_len, total_len + VLAN_LEN)
        row.offset, row.interface = offset, 0
        fill_row(row, self.linktype, data + offset, cap_len, total_len, cap_len)
        set_pkt_type(row, self._metadata[index].address.sll_pkttype)
        add_status(row, aux.tp_status, aux.tp_vlan_tci, aux.tp_vlan_tpid)


cdef void _read_control(msghdr* message, tpacket_auxdata* aux, int64_t* timestamp) noexcept nogil:
    cdef cmsghdr* control = CMSG_FIRSTHDR(message)
    cdef timespec time
    while control is not NULL:
        if (control.cmsg_level == SOL_PACKET and control.cmsg_type == PACKET_AUXDATA
                and control.cmsg_len >= CMSG_LEN(sizeof(tpacket_auxdata))):
            memcpy(aux, CMSG_DATA(control), sizeof(tpacket_auxdata))
        elif (control.cmsg_level == SOL_SOCKET and control.cmsg_type == SCM_TIMESTAMPNS
                and control.cmsg_len >= CMSG_LEN(sizeof(timespec))):
            memcpy(&time, CMSG_DATA(control), sizeof(timespec))
            timestamp[0] = <int64_t> time.tv_sec * NANOSECONDS + time.tv_nsec
        control = CMSG_NXTHDR(message, control)
