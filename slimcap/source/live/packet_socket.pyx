"""`PacketSocket`: the AF_PACKET socket, opened without a protocol, set up, and bound last.

With protocol 0 a packet socket receives nothing (packet(7)). So no packet can get in from before the filter
or from another interface; `bind` then sets interface and protocol at once.
"""
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from slimcap.abi.bytes cimport network16
from slimcap.abi.linux cimport (
    AF_PACKET,
    EAGAIN,
    EBADF,
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
    PACKET_FANOUT,
    PACKET_FANOUT_DATA,
    PACKET_FANOUT_FLAG_UNIQUEID,
    PACKET_IGNORE_OUTGOING,
    PACKET_MR_PROMISC,
    PACKET_RX_RING,
    PACKET_STATISTICS,
    PACKET_VERSION,
    POLLERR,
    POLLHUP,
    POLLIN,
    SIOCGIFFLAGS,
    SIOCGIFNAME,
    SO_ATTACH_BPF,
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
from slimcap.io.owner cimport Owner

import errno as errors
import functools

from slimcap.errors import FilterError
from slimcap.filter.compile import build_program, without_sets
from slimcap.filter.program import DROP, pack
from slimcap.source.live.host.ebpf_program import load_ebpf
from slimcap.source.live.host.kernel_stamps import wait_until_on
from slimcap.source.live.host.net_namespace import inside
from slimcap.source.live.host.privileges import explain_refusal
from slimcap.source.live.rtnetlink import LinkCounter, namespace

cdef enum:
    FRAME_SIZE = 2048           # V3 packs packets without frames; it only has to divide the block size
    MIN_FRAME_SIZE = 128
    # Not in the headers of all supported systems.
    SO_NETNS_COOKIE = 71        # asm-generic/socket.h
    SIOCGSKNS = 0x894c          # linux/sockios.h: a descriptor of the socket's network namespace


cdef int _fail(str call, str interface) except -1:
    """Raise OSError for a failed call on an interface; the message tells how to fix it if that is known."""
    cdef int number = errno
    if number == errors.EPERM:
        raise PermissionError(number, f"{call}: {explain_refusal()}", interface)
    return raise_errno(call, interface)


cdef class CaptureSocket:
    """Base class of what live sources read from: the kernel's socket, or a mock.

    The methods are called in the order in which they are defined, and none after `detach`. `compile` and
    `attach` are called again to change the filter, by any thread; the caller locks for `attach`.
    """

    def __cinit__(self, *args, **kwargs):
        self._owner = Owner()
        self.counter_range = 1 << 32  # struct tpacket_stats has unsigned int

    cdef object compile(self, dict options):
        """Return what `attach` accepts for these options of `build_program`. May be called at any time."""
        raise NotImplementedError

    cdef int attach(self, object program) except -1:
        """Attach a program in place of the previous one. No packet gets in without a filter meanwhile."""
        raise NotImplementedError

    cdef int drop_all(self) except -1:
        """Attach a filter that drops all packets."""
        raise NotImplementedError

    cdef int ignore_outgoing(self) except -1:
        """Do not receive outgoing packets, if the kernel supports that; the filter must drop them anyway."""
        raise NotImplementedError

    cdef Ring open_ring(self, Py_ssize_t block_size, Py_ssize_t num_blocks, unsigned int timeout_ms):
        """Allocate and map a TPACKET_V3 ring."""
        raise NotImplementedError

    cdef int set_messages(self, Py_ssize_t buffer_size) except -1:
        """Receive messages, with the metadata that a ring would have, and a receive buffer of this size."""
        raise NotImplementedError

    cdef int set_promiscuous(self) except -1:
        """Receive packets for other hosts, too, as long as the socket is open."""
        raise NotImplementedError

    cdef object count_drops(self):
        """Return a counter of the interface's packets from now on, with the methods of `LinkCounter`."""
        raise NotImplementedError

    cdef int bind(self) except -1:
        """Start receiving."""
        raise NotImplementedError

    cdef short wait(self, Event event, int64_t deadline) except -1:
        """Wait for packets, an error (POLLERR) or the source's event; see `Event.wait`."""
        raise NotImplementedError

    cdef int fileno(self) noexcept:
        """Return the descriptor that `wait` waits for; -1 if it is closed."""
        return -1

    cdef bint clear_reports(self) noexcept:
        """Have the descriptor report only what arrives from now on, or is still to be received.

        Return True if there is something that it will not report: an error, which the next `wait` returns.
        The caller looks for blocks afterwards.
        """
        return False

    cdef int read_statistics(self, Counters* found) noexcept nogil:
        """Get the counters since the last call; return 0 or an error number."""
        return EBADF

    cdef void end_statistics(self) noexcept nogil:
        """Let `read_statistics` find no more, since the socket gets closed."""

    cdef int take_error(self) except -1:
        """Return the pending error number and clear it; 0 if there is none."""
        raise NotImplementedError

    cdef int receive(self, mmsghdr* messages, unsigned int count) noexcept nogil:
        """Receive the available messages; return their number, or a negative error number."""
        return -EAGAIN

    cdef LinkState link_state(self) noexcept:
        """Return the state of the interface."""
        return LINK_GONE

    cdef bint is_ours(self) noexcept:
        """Return True if the socket is open and was opened by this process."""
        return self._owner.is_here()

    cdef void detach(self) noexcept:
        """Close the socket. A mapped ring stays mapped, and is no longer written to.

        In a forked process only the copies of the descriptors are closed.
        """


@cython.final
cdef class PacketSocket(CaptureSocket):
    """Packet socket for one interface, opened in the network namespace of the calling thread.

    After that, its methods work from any thread. Those that need another socket or libpcap enter the
    namespace of this one.
    """

    def __cinit__(self, link):
        self.link = link
        self.fd = self._epoll = -1
        self._made = True
        self.fd = c_socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)
        if self.fd < 0:
            _fail("socket", link.name)

    cdef int _option(self, int level, int option, const void* value, unsigned int size, str name) except -1:
        cdef int fd = self.fd, failed
        with nogil:  # for a ring this takes milliseconds (synchronize_net)
            failed = setsockopt(fd, level, option, value, size)
        if failed:
            _fail(f"setsockopt({name})", self.link.name)
        return 0

    cdef object compile(self, dict options):
        sets, rest = without_sets(options)
        try:
            return pack(self._build(options))
        except FilterError:
            if not sets:
                raise
        # More addresses than a classic program can have, or what is an error in the rest, too.
        return load_ebpf(sets, self.link.type, self._build(rest))

    cdef object _build(self, dict options):
        """Return the classic program for these options."""
        build = functools.partial(build_program, self.link.type, interface=self.link.name, **options)
        if isinstance(options["filter"], str) or isinstance(options["extra_filter"], str):
            return self._inside(build)  # libpcap may open the interface, and asks for its netmask
        return build()

    cdef object _inside(self, call):
        """Return the result of a call in the network namespace of the socket, whatever thread calls."""
        cdef uint64_t cookie = 0
        cdef socklen_t size = sizeof(cookie)
        cdef int fd
        if getsockopt(self.fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0:  # before Linux 5.14
            return inside(self.link.netns, call)
        if cookie == namespace():
            return call()
        fd = ioctl(self.fd, SIOCGSKNS)
        if fd < 0:  # requires CAP_NET_ADMIN
            return inside(self.link.netns, call)
        try:
            return inside(f"/proc/self/fd/{fd}", call)
        finally:
            c_close(fd)

    cdef object count_drops(self):
        return self._inside(functools.partial(LinkCounter, self.link.index))

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

    cdef int drop_all(self) except -1:
        return self.attach(pack(DROP))

    cdef uint32_t start_fanout(self, uint32_t kind) except? 0:
        """Make this bound socket the first of a fanout group; return the group, to join it.

        `kind` is a PACKET_FANOUT_ number and PACKET_FANOUT_FLAG_ bits. The kernel chooses an unused number.
        """
        cdef uint32_t group = (kind | <uint32_t> PACKET_FANOUT_FLAG_UNIQUEID) << 16
        cdef socklen_t size = sizeof(group)
        self.join_fanout(group)
        if getsockopt(self.fd, SOL_PACKET, PACKET_FANOUT, &group, &size) < 0:
            _fail("getsockopt(PACKET_FANOUT)", self.link.name)
        return group

    cdef int join_fanout(self, uint32_t group) except -1:
        """Share the packets of the interface with the other sockets of a group."""
        return self._option(SOL_PACKET, PACKET_FANOUT, &group, sizeof(group), "PACKET_FANOUT")

    cdef int choose_worker(self, object program) except -1:
        """Let a BPF program choose the socket of the group that gets a packet."""
        cdef sock_fprog fprog
        fprog.len = <unsigned short> (len(program) // sizeof(sock_filter))
        fprog.filter = <sock_filter*> <char*> <bytes> program
        return self._option(SOL_PACKET, PACKET_FANOUT_DATA, &fprog, sizeof(fprog), "PACKET_FANOUT_DATA")

    cdef int attach(self, object program) except -1:
        cdef sock_fprog fprog
        cdef int fd
        if not isinstance(program, bytes):  # the descriptor of an eBPF program
            with program:
                fd = program.fileno()
                return self._option(SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof(fd), "SO_ATTACH_BPF")
        fprog.len = <unsigned short> (len(program) // sizeof(sock_filter))
        fprog.filter = <sock_filter*> <char*> <bytes> program
        return self._option(SOL_SOCKET, SO_ATTACH_FILTER, &fprog, sizeof(fprog), "SO_ATTACH_FILTER")

    cdef int ignore_outgoing(self) except -1:
        cdef int on = 1
        setsockopt(self.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on))  # since Linux 4.20
        return 0

    cdef Ring open_ring(self, Py_ssize_t block_size, Py_ssize_t num_blocks, unsigned int timeout_ms):
        cdef Ring ring = Ring(block_size, num_blocks)
        cdef int version = TPACKET_V3
        self._option(SOL_PACKET, PACKET_VERSION, &version, sizeof(version), "PACKET_VERSION")
        self._set_ring(block_size, num_blocks, timeout_ms)
        try:
            ring.map_socket(self.fd)
        except BaseException:
            self._set_ring(0, 0, 0)  # free it, or the socket could not have another
            raise
        self._open_epoll()
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
        # SO_RCVBUF needs no CAP_NET_ADMIN, but is limited to rmem_max.
        if setsockopt(self.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0:
            self._option(SOL_SOCKET, SO_RCVBUF, &size, sizeof(size), "SO_RCVBUF")
        wait_until_on()
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
        cdef short events = self._error_reported
        if self._epoll < 0:
            return event.wait(self.fd, POLLIN, deadline)
        self._error_reported = 0
        if events or not event.wait(self._epoll, POLLIN, deadline):
            return events
        return self._take_report()

    cdef short _take_report(self) noexcept:
        """Return the events that the epoll reports, which it does once."""
        cdef epoll_event reported
        return <short> reported.events if epoll_wait(self._epoll, &reported, 1, 0) > 0 else 0

    cdef bint clear_reports(self) noexcept:
        if self._epoll >= 0:
            self._error_reported |= self._take_report() & (POLLERR | POLLHUP)
        return self._error_reported != 0

    cdef int fileno(self) noexcept:
        return self.fd if self._epoll < 0 else self._epoll

    cdef int _open_epoll(self) except -1:
        """Create an epoll that reports each block that is handed over, and each error, once.

        poll() reports the socket as readable as long as the block before the kernel's current one was not
        returned (packet_poll, packet_previous_rx_frame). While a caller waits for the next block it usually
        still has that one.
        """
        cdef epoll_event interest
        memset(&interest, 0, sizeof(interest))
        interest.events = EPOLLIN | <uint32_t> EPOLLET
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0 or epoll_ctl(self._epoll, EPOLL_CTL_ADD, self.fd, &interest) < 0:
            _fail("epoll", self.link.name)
        return 0

    cdef int read_statistics(self, Counters* found) noexcept nogil:
        cdef tpacket_stats_v3 stats
        cdef socklen_t size = sizeof(stats)
        memset(&stats, 0, sizeof(stats))
        if not self._uncounted and getsockopt(self.fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) < 0:
            return errno
        found.received, found.dropped = stats.tp_packets, stats.tp_drops
        found.freezes = stats.tp_freeze_q_cnt
        return 0

    cdef void end_statistics(self) noexcept nogil:
        self._uncounted = True

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
        """Return the state of the interface.

        The socket is queried, so the thread's network namespace does not matter.
        """
        cdef sockaddr_ll address
        cdef socklen_t size = sizeof(address)
        cdef ifreq request
        memset(&address, 0, sizeof(address))
        memset(&request, 0, sizeof(request))
        # The kernel unbinds the socket from an interface that is deleted or moved (packet_notifier).
        if getsockname(self.fd, <sockaddr*> &address, &size) < 0 or address.sll_ifindex <= 0:
            return LINK_GONE
        request.ifr_ifindex = address.sll_ifindex
        if ioctl(self.fd, SIOCGIFNAME, &request) < 0 or ioctl(self.fd, SIOCGIFFLAGS, &request) < 0:
            return LINK_GONE
        return LINK_UP if request.ifr_flags & IFF_UP else LINK_DOWN

    cdef bint is_ours(self) noexcept:
        return self.fd >= 0 and self._owner.is_here()

    cdef void detach(self) noexcept:
        """Close the socket.

        Before that, attach a filter that drops everything, since the kernel would continue to fill a ring
        that is still mapped. Also end promiscuous mode, which would last as long as a forked process has the
        socket open.
        """
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
        if self._epoll >= 0:
            c_close(self._epoll)
            self._epoll = -1
        with nogil:
            c_close(fd)

    def __dealloc__(self):
        if self._made:  # else __cinit__ did not run, because it was given other arguments
            self.detach()
