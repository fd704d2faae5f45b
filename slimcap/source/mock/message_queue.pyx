# cython: nonecheck=False
# With nonecheck, `self.x += 1` needs the GIL.
"""A packet socket's receive queue, for a socket that is not filled by the kernel.

It follows packet_rcv() and packet_recvmsg(), net/packet/af_packet.c.
"""
cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport (
    CMSG_DATA,
    CMSG_FIRSTHDR,
    CMSG_LEN,
    CMSG_NXTHDR,
    CMSG_SPACE,
    EAGAIN,
    MSG_TRUNC,
    PACKET_AUXDATA,
    SCM_TIMESTAMPNS,
    SOL_PACKET,
    SOL_SOCKET,
    TP_STATUS_USER,
    cmsghdr,
    msghdr,
    sockaddr_ll,
    timespec,
    tpacket_auxdata,
)
from slimcap.source.mock.block_writer cimport write_address

cdef enum:
    OVERHEAD = 768      # counted in addition to a packet's bytes: SKB_TRUESIZE(64) is 832


@cython.final
@cython.no_gc
cdef class MessageQueue:
    """First-in-first-out queue with a maximum number of bytes. Calls of two threads must not overlap.

    Parameters
    ----------
    buffer_size : int
        Bytes, as given to SO_RCVBUF; doubled, as the kernel does.
    """

    def __cinit__(self, uint64_t buffer_size):
        self.capacity = 2 * buffer_size

    def __dealloc__(self):
        cdef Message* message
        while self._first is not NULL:
            message = self._first
            self._first = message.next
            free(message)

    cdef bint is_empty(self) noexcept nogil:
        return self._first is NULL

    cdef bint has_space(self) noexcept nogil:
        """Return True if another packet of any size would be accepted.

        As in sock_queue_rcv_skb, the last packet may exceed the maximum.
        """
        return self.charged < self.capacity

    cdef bint add(self, const Arrival* packet) noexcept nogil:
        """Append a copy of a packet; return False if the queue is full."""
        cdef Message* message
        if not self.has_space():
            return False
        message = <Message*> malloc(sizeof(Message) + packet.cap_len)
        if message is NULL:
            return False
        message.packet = packet[0]
        message.packet.data = <uint8_t*> (message + 1)
        memcpy(message + 1, packet.data, packet.cap_len)
        self.charged += OVERHEAD + packet.cap_len
        self._append(message)
        return True

    cdef void _append(self, Message* message) noexcept nogil:
        message.next = NULL
        if self._first is NULL:
            self._first = message
        else:
            self._last.next = message
        self._last = message

    cdef int take(self, mmsghdr* messages, unsigned int count, int ifindex, uint16_t hatype) noexcept nogil:
        """Do the same as recvmmsg(): return the number of messages, or a negative error number."""
        cdef unsigned int taken = 0
        cdef Message* message
        while taken < count and self._first is not NULL:
            message = self._first
            _fill_message(&message.packet, &messages[taken], ifindex, hatype)
            self._first = message.next
            taken += 1
            if self.repeats:
                self._append(message)
            else:
                self.charged -= OVERHEAD + message.packet.cap_len
                free(message)
        return <int> taken if taken else -EAGAIN


cdef void _fill_message(const Arrival* packet, mmsghdr* out, int ifindex, uint16_t hatype) noexcept nogil:
    """Write what recvmmsg() returns for a packet."""
    cdef msghdr* message = &out.msg_hdr
    cdef uint32_t size = min(packet.cap_len, <uint32_t> message.msg_iov[0].iov_len)
    memcpy(message.msg_iov[0].iov_base, packet.data, size)
    out.msg_len = size
    message.msg_flags = MSG_TRUNC if size < packet.cap_len else 0
    if message.msg_namelen >= sizeof(sockaddr_ll):
        memset(message.msg_name, 0, sizeof(sockaddr_ll))
        write_address(<sockaddr_ll*> message.msg_name, packet, ifindex, hatype)
    if message.msg_controllen >= CMSG_SPACE(sizeof(timespec)) + CMSG_SPACE(sizeof(tpacket_auxdata)):
        _fill_control(packet, message)
    else:
        message.msg_controllen = 0


cdef void _fill_control(const Arrival* packet, msghdr* message) noexcept nogil:
    cdef tpacket_auxdata aux
    cdef timespec time
    cdef cmsghdr* control
    memset(&aux, 0, sizeof(aux))
    aux.tp_status = TP_STATUS_USER | packet.status
    aux.tp_len, aux.tp_snaplen, aux.tp_net = packet.total_len, packet.cap_len, packet.maclen
    aux.tp_vlan_tci, aux.tp_vlan_tpid = packet.vlan_tci, packet.vlan_tpid
    time.tv_sec = packet.timestamp // NANOSECONDS
    time.tv_nsec = packet.timestamp % NANOSECONDS
    memset(message.msg_control, 0, message.msg_controllen)
    control = CMSG_FIRSTHDR(message)
    control.cmsg_level, control.cmsg_type = SOL_SOCKET, SCM_TIMESTAMPNS
    control.cmsg_len = CMSG_LEN(sizeof(time))
    memcpy(CMSG_DATA(control), &time, sizeof(time))
    control = CMSG_NXTHDR(message, control)
    control.cmsg_level, control.cmsg_type = SOL_PACKET, PACKET_AUXDATA
    control.cmsg_len = CMSG_LEN(sizeof(aux))
    memcpy(CMSG_DATA(control), &aux, sizeof(aux))
    message.msg_controllen = CMSG_SPACE(sizeof(time)) + CMSG_SPACE(sizeof(aux))
