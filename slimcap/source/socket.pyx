"""The AF_PACKET socket: opened deaf, set up, and bound last.

With protocol 0 a packet socket receives nothing (packet(7)), so no packet from before the filter, and none of
another interface, can get in; `bind` then names interface and protocol at once.
"""
cimport cython
from libc.string cimport memset

from slimcap.abi.bytes cimport bswap16
from slimcap.abi.linux cimport (
    AF_PACKET,
    ETH_P_ALL,
    IFF_UP,
    PACKET_ADD_MEMBERSHIP,
    PACKET_MR_PROMISC,
    PACKET_RX_RING,
    PACKET_STATISTICS,
    PACKET_VERSION,
    SIOCGIFFLAGS,
    SIOCGIFNAME,
    SO_ATTACH_FILTER,
    SO_ERROR,
    SOCK_CLOEXEC,
    SOCK_RAW,
    SOL_PACKET,
    SOL_SOCKET,
    TPACKET_V3,
    c_bind,
    c_close,
    c_socket,
    errno,
    getsockname,
    getsockopt,
    ifreq,
    ioctl,
    packet_mreq,
    setsockopt,
    sock_filter,
    sock_fprog,
    sockaddr,
    sockaddr_ll,
    socklen_t,
    tpacket_req3,
    tpacket_stats_v3,
)
from slimcap.source.event cimport raise_errno

import errno as errors
import sys

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


@cython.final
cdef class PacketSocket:
    """A packet socket for one interface."""

    def __cinit__(self, link):
        self.link = link
        self.fd = c_socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)
        if self.fd < 0:
            _fail("socket", link.name)

    cdef int attach(self, bytes program) except -1:
        """Attach a classic BPF program, an array of struct sock_filter."""
        cdef sock_fprog fprog
        fprog.len = <unsigned short> (len(program) // sizeof(sock_filter))
        fprog.filter = <sock_filter*> <char*> program
        if setsockopt(self.fd, SOL_SOCKET, SO_ATTACH_FILTER, &fprog, sizeof(fprog)) < 0:
            _fail("setsockopt(SO_ATTACH_FILTER)", self.link.name)
        return 0

    cdef int set_ring(self, Py_ssize_t block_size, Py_ssize_t num_blocks, unsigned int timeout_ms) except -1:
        """Have the kernel allocate a TPACKET_V3 ring."""
        cdef int version = TPACKET_V3
        cdef tpacket_req3 request
        cdef Py_ssize_t frame = FRAME_SIZE
        while block_size % frame and frame > MIN_FRAME_SIZE:
            frame //= 2
        memset(&request, 0, sizeof(request))
        request.tp_block_size = block_size
        request.tp_block_nr = num_blocks
        request.tp_frame_size = frame
        request.tp_frame_nr = block_size // frame * num_blocks
        request.tp_retire_blk_tov = timeout_ms
        if setsockopt(self.fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0:
            _fail("setsockopt(PACKET_VERSION)", self.link.name)
        if setsockopt(self.fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) < 0:
            _fail(f"setsockopt(PACKET_RX_RING, {num_blocks} blocks of {block_size} bytes)", self.link.name)
        return 0

    cdef int set_promiscuous(self) except -1:
        """Receive what is for others, too, for as long as the socket is open."""
        cdef packet_mreq request
        memset(&request, 0, sizeof(request))
        request.mr_ifindex = self.link.index
        request.mr_type = PACKET_MR_PROMISC
        if setsockopt(self.fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof(request)) < 0:
            _fail("setsockopt(PACKET_ADD_MEMBERSHIP)", self.link.name)
        return 0

    cdef int bind(self) except -1:
        """Begin to receive."""
        cdef sockaddr_ll address
        memset(&address, 0, sizeof(address))
        address.sll_family = AF_PACKET
        address.sll_protocol = bswap16(ETH_P_ALL) if sys.byteorder == "little" else ETH_P_ALL
        address.sll_ifindex = self.link.index
        if c_bind(self.fd, <const sockaddr*> &address, sizeof(address)) < 0:
            _fail("bind", self.link.name)
        return 0

    cdef object read_statistics(self):
        """Packets received (with those dropped), packets dropped, freezes: all since the last call."""
        cdef tpacket_stats_v3 found
        cdef socklen_t size = sizeof(found)
        memset(&found, 0, sizeof(found))
        if getsockopt(self.fd, SOL_PACKET, PACKET_STATISTICS, &found, &size) < 0:
            _fail("getsockopt(PACKET_STATISTICS)", self.link.name)
        return found.tp_packets, found.tp_drops, found.tp_freeze_q_cnt

    cdef int take_error(self) except -1:
        """The error that is pending on the socket, which clears it; 0 if there is none."""
        cdef int pending = 0
        cdef socklen_t size = sizeof(pending)
        if getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &pending, &size) < 0:
            _fail("getsockopt(SO_ERROR)", self.link.name)
        return pending

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

    cdef void detach(self) noexcept:
        """Close; before that drop all, as the kernel would go on filling a ring that is still mapped."""
        cdef sock_filter drop
        cdef sock_fprog fprog
        if self.fd < 0:
            return
        drop.code, drop.jt, drop.jf, drop.k = 0x06, 0, 0, 0  # ret #0
        fprog.len = 1
        fprog.filter = &drop
        setsockopt(self.fd, SOL_SOCKET, SO_ATTACH_FILTER, &fprog, sizeof(fprog))
        c_close(self.fd)
        self.fd = -1

    def __dealloc__(self):
        self.detach()
