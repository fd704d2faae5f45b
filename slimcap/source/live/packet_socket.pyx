"""The AF_PACKET socket: opened deaf, set up, and bound last.

With protocol 0 a packet socket receives nothing (packet(7)), so no packet from before the filter, and none of
another interface, can get in; `bind` then names interface and protocol at once.
"""
cimport cython
from libc.stdint cimport uint32_t
from libc.string cimport memset

from slimcap.abi.bytes cimport network16
from slimcap.abi.linux cimport (
    AF_PACKET,
    EAGAIN,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLLET,
    EPOLLIN,
    ETH_P_ALL,
    IFF_UP,
    MSG_DONTWAIT,
    PACKET_ADD_MEMBERSHIP,
    PACKET_AUXDATA,
    PACKET_DROP_MEMBERSHIP,
    PACKET_IGNORE_OUTGOING,
    PACKET_MR_PROMISC,
    PACKET_RX_RING,
    PACKET_STATISTICS,
    PACKET_VERSION,
    POLLIN,
    SIOCGIFFLAGS,
    SIOCGIFNAME,
    SO_ATTACH_FILTER,
    SO_ERROR,
    SO_RCVBUF,
    SO_RCVBUFFORCE,
    SO_TIMESTAMPNS,
    SOCK_CLOEXEC,
    SOCK_RAW,
    SOL_PACKET,
    SOL_SOCKET,
    TPACKET_V3,
    c_bind,
    c_close,
    c_getpid,
    c_socket,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    errno,
    getsockname,
    getsockopt,
    ifreq,
    ioctl,
    mmsghdr,
    packet_mreq,
    recvmmsg,
    setsockopt,
    sock_filter,
    sock_fprog,
    sockaddr,
    sockaddr_ll,
    socklen_t,
    tpacket_req3,
    tpacket_stats_v3,
)
from slimcap.io.event cimport raise_errno

import errno as errors
import sys

from slimcap.source.live.rtnetlink import DropCounter

cdef enum:
    FRAME_SIZE = 2048           # V3 packs packets as they come; it only has to divide well
    MIN_FRAME_SIZE = 128


cdef int _fail(str call, str interface) except -1:
    """Raise for a failed call on an interface, and say what helps where that is known."""
    if errno == errors.EPERM:
        raise PermissionError(
            errno,
            f"{call}: capturing needs CAP_NET_RAW: run as root (sudo), or grant it to the interpreter with "
            f"`sudo setcap cap_net_raw,cap_net_admin=eip {sys.executable}`",
            interface)
    return raise_errno(call, interface)


cdef class CaptureSocket:
    """What a live source reads from: the kernel's socket, or one that behaves like it.

    The calls come in the order in which they stand here; none after `detach`.
    """

    cdef object compile(self, object filter, object build):
        """The program of `filter`, made by `build(interface=…)`: for an interface, or for a file if None."""
        raise NotImplementedError

    cdef int attach(self, bytes program) except -1:
        """Attach a classic BPF program, an array of struct sock_filter, in place of the one before."""
        raise NotImplementedError

    cdef int ignore_outgoing(self) except -1:
        """Do not even look at what goes out, if the kernel can do that; a filter still has to drop it."""
        raise NotImplementedError

    cdef Ring open_ring(self, Py_ssize_t block_size, Py_ssize_t num_blocks, unsigned int timeout_ms):
        """Have a TPACKET_V3 ring allocated, and map it."""
        raise NotImplementedError

    cdef int set_messages(self, Py_ssize_t buffer_size) except -1:
        """Receive messages, with all that a ring would tell beside, and this much room for those to come."""
        raise NotImplementedError

    cdef int set_promiscuous(self) except -1:
        """Receive what is for others, too, for as long as the socket is open."""
        raise NotImplementedError

    cdef object count_drops(self):
        """What counts the packets that the interface loses from now on: has `read` and `close`."""
        raise NotImplementedError

    cdef int bind(self) except -1:
        """Begin to receive."""
        raise NotImplementedError

    cdef short wait(self, Event event, int64_t deadline) except -1:
        """Wait for packets, an error (POLLERR), or the source's own event; see `Event.wait`."""
        raise NotImplementedError

    cdef object read_statistics(self):
        """Packets received (with those dropped), packets dropped, freezes: all since the last call."""
        raise NotImplementedError

    cdef int take_error(self) except -1:
        """The error that is pending, which clears it; 0 if there is none."""
        raise NotImplementedError

    cdef int receive(self, mmsghdr* messages, unsigned int count) noexcept nogil:
        """Take messages that are there; how many, or the error number, negative."""
        return -EAGAIN

    cdef LinkState link_state(self) noexcept:
        """What became of the interface."""
        return LINK_GONE

    cdef bint is_ours(self) noexcept:
        """Whether it is open, and by this process, not by one that we were forked from."""
        return True

    cdef void detach(self) noexcept:
        """Close; what is mapped stays, and is no longer written to."""


@cython.final
cdef class PacketSocket(CaptureSocket):
    """A packet socket for one interface."""

    def __cinit__(self, link):
        self.link = link
        self._edges = -1
        self._pid = c_getpid()
        self.fd = c_socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)
        if self.fd < 0:
            _fail("socket", link.name)

    cdef int _option(self, int level, int option, const void* value, unsigned int size, str name) except -1:
        cdef int fd = self.fd, failed
        with nogil:  # a ring's takes milliseconds (synchronize_net)
            failed = setsockopt(fd, level, option, value, size)
        if failed:
            _fail(f"setsockopt({name})", self.link.name)
        return 0

    cdef object compile(self, object filter, object build):
        return build(interface=self.link.name)

    cdef object count_drops(self):
        return DropCounter(self.link.index)

    cdef int set_promiscuous(self) except -1:
        cdef packet_mreq request = self._promiscuity()
        self._option(SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof(request), "PACKET_ADD_MEMBERSHIP")
        self._promiscuous = True
        return 0

    cdef packet_mreq _promiscuity(self) noexcept:
        cdef packet_mreq request
        memset(&request, 0, sizeof(request))
        request.mr_ifindex = self.link.index
        request.mr_type = PACKET_MR_PROMISC
        return request

    cdef int attach(self, bytes program) except -1:
        cdef sock_fprog fprog
        fprog.len = <unsigned short> (len(program) // sizeof(sock_filter))
        fprog.filter = <sock_filter*> <char*> program
        return self._option(SOL_SOCKET, SO_ATTACH_FILTER, &fprog, sizeof(fprog), "SO_ATTACH_FILTER")

    cdef int ignore_outgoing(self) except -1:
        cdef int on = 1
        setsockopt(self.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on))  # from Linux 4.20 on
        return 0

    cdef Ring open_ring(self, Py_ssize_t block_size, Py_ssize_t num_blocks, unsigned int timeout_ms):
        cdef Ring ring = Ring(block_size, num_blocks)
        cdef int version = TPACKET_V3
        self._option(SOL_PACKET, PACKET_VERSION, &version, sizeof(version), "PACKET_VERSION")
        self._set_ring(block_size, num_blocks, timeout_ms)
        try:
            ring.map_socket(self.fd)
        except BaseException:
            self._set_ring(0, 0, 0)  # or there could be no other
            raise
        self._tell_edges()
        return ring

    cdef int _set_ring(
            self, Py_ssize_t block_size, Py_ssize_t num_blocks, unsigned int timeout_ms) except -1:
        cdef tpacket_req3 request
        cdef Py_ssize_t frame = FRAME_SIZE
        while block_size % frame and frame > MIN_FRAME_SIZE:
            frame //= 2
        memset(&request, 0, sizeof(request))
        request.tp_block_size = block_size
        request.tp_block_nr = num_blocks
        request.tp_frame_size = frame if num_blocks else 0
        request.tp_frame_nr = block_size // frame * num_blocks
        request.tp_retire_blk_tov = timeout_ms
        return self._option(
            SOL_PACKET, PACKET_RX_RING, &request, sizeof(request),
            f"PACKET_RX_RING, {num_blocks} blocks of {block_size} bytes")

    cdef int set_messages(self, Py_ssize_t buffer_size) except -1:
        cdef int on = 1, size = buffer_size
        self._option(SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on), "PACKET_AUXDATA")
        self._option(SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on), "SO_TIMESTAMPNS")
        # Without CAP_NET_ADMIN the kernel's rmem_max is the limit.
        if setsockopt(self.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0:
            self._option(SOL_SOCKET, SO_RCVBUF, &size, sizeof(size), "SO_RCVBUF")
        return 0

    cdef int bind(self) except -1:
        cdef sockaddr_ll address
        cdef int fd = self.fd, failed
        memset(&address, 0, sizeof(address))
        address.sll_family = AF_PACKET
        address.sll_protocol = network16(ETH_P_ALL)
        address.sll_ifindex = self.link.index
        with nogil:
            failed = c_bind(fd, <const sockaddr*> &address, sizeof(address))
        if failed:
            _fail("bind", self.link.name)
        return 0

    cdef short wait(self, Event event, int64_t deadline) except -1:
        cdef epoll_event told
        if self._edges < 0:
            return event.wait(self.fd, POLLIN, deadline)
        if event.wait(self._edges, POLLIN, deadline) and epoll_wait(self._edges, &told, 1, 0) > 0:
            return <short> told.events
        return 0

    cdef int _tell_edges(self) except -1:
        """Be told once of every block that is handed over, and of every error.

        poll() says "readable" for as long as the block before the kernel's is not given back (packet_poll,
        packet_previous_rx_frame), and a caller mostly still has that one while it waits for the next.
        """
        cdef epoll_event wanted
        memset(&wanted, 0, sizeof(wanted))
        wanted.events = EPOLLIN | <uint32_t> EPOLLET
        self._edges = epoll_create1(EPOLL_CLOEXEC)
        if self._edges < 0 or epoll_ctl(self._edges, EPOLL_CTL_ADD, self.fd, &wanted) < 0:
            _fail("epoll", self.link.name)
        return 0

    cdef object read_statistics(self):
        cdef tpacket_stats_v3 found
        cdef socklen_t size = sizeof(found)
        memset(&found, 0, sizeof(found))
        if getsockopt(self.fd, SOL_PACKET, PACKET_STATISTICS, &found, &size) < 0:
            _fail("getsockopt(PACKET_STATISTICS)", self.link.name)
        return found.tp_packets, found.tp_drops, found.tp_freeze_q_cnt

    cdef int take_error(self) except -1:
        cdef int pending = 0
        cdef socklen_t size = sizeof(pending)
        if getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &pending, &size) < 0:
            _fail("getsockopt(SO_ERROR)", self.link.name)
        return pending

    cdef int receive(self, mmsghdr* messages, unsigned int count) noexcept nogil:
        cdef int received = recvmmsg(self.fd, messages, count, MSG_DONTWAIT, NULL)
        return received if received >= 0 else -errno

    cdef LinkState link_state(self) noexcept:
        """What became of the interface; the socket knows, whatever network namespace the thread is in."""
        cdef sockaddr_ll address
        cdef socklen_t size = sizeof(address)
        cdef ifreq request
        memset(&address, 0, sizeof(address))
        memset(&request, 0, sizeof(request))
        # The kernel takes the socket off an interface that is deleted or moved (packet_notifier).
        if getsockname(self.fd, <sockaddr*> &address, &size) < 0 or address.sll_ifindex <= 0:
            return LINK_GONE
        request.ifr_ifindex = address.sll_ifindex
        if ioctl(self.fd, SIOCGIFNAME, &request) < 0 or ioctl(self.fd, SIOCGIFFLAGS, &request) < 0:
            return LINK_GONE
        return LINK_UP if request.ifr_flags & IFF_UP else LINK_DOWN

    cdef bint is_ours(self) noexcept:
        return self.fd >= 0 and self._pid == c_getpid()

    cdef void detach(self) noexcept:
        """Close. Before that drop all, as the kernel would go on filling a ring that is still mapped, and end
        promiscuity, which would last as long as a forked process has the socket, too."""
        cdef sock_filter drop
        cdef sock_fprog fprog
        cdef packet_mreq request
        cdef int fd = self.fd
        if fd < 0:
            return
        if self.is_ours():
            drop.code, drop.jt, drop.jf, drop.k = 0x06, 0, 0, 0  # ret #0
            fprog.len = 1
            fprog.filter = &drop
            setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &fprog, sizeof(fprog))
            if self._promiscuous:
                request = self._promiscuity()
                setsockopt(fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &request, sizeof(request))
        self.fd = -1
        if self._edges >= 0:
            c_close(self._edges)
            self._edges = -1
        with nogil:
            c_close(fd)

    def __dealloc__(self):
        self.detach()
