"""`RingSource`: live capture through the TPACKET_V3 ring, a block a batch, nothing copied."""
cimport cython
from libc.stdint cimport uint8_t

from slimcap.abi.linux cimport POLLERR, POLLHUP, POLLIN, TP_STATUS_LOSING
from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport FLAG_LOSING
from slimcap.source.event cimport deadline_after, monotonic_ns
from slimcap.source.socket cimport LINK_GONE, LINK_UP

import errno
import os

from slimcap.errors import LinkDown, LinkGone, RingExhausted, SlimcapError
from slimcap.filter import build_program, pack, resolve
from slimcap.source.base import Stats
from slimcap.source.link import Link

cdef enum:
    NEVER = -1
    SHORTEST_NAP = 200_000      # ns
    LOOK_AGAIN = 100_000_000    # ns between two looks whether a link that went down still exists
    BYTES_A_PACKET = 72         # of a block, at least: header, address, a byte, padding (BlockWalker)


@cython.final
cdef class RingSource(ZeroCopySource):
    """Packets from a network interface, through a ring of memory that the kernel fills.

    A batch is one block of the ring. A block goes back to the kernel when the last view of it dies; the
    kernel takes them strictly in order, so one view that is kept for long stops the ring when its block's
    turn comes round: the next read then raises RingExhausted. Keep copies (`batch.copy()`), not views.

    Parameters
    ----------
    link : str or Link
        The interface.
    snaplen : int or strategy
        Most bytes to capture of a packet, or a strategy of `slimcap.filter`.
    promiscuous : bool
        Receive what is for other hosts, too.
    filter : str or sequence of (code, jt, jf, k), optional
        A tcpdump expression or a classic BPF program: what passes is captured.
    auto_filter : bool
        Without a filter, capture IP packets only. False: everything.
    ignore_vlans : bool
        Leave out packets with a VLAN tag.
    block_size, num_blocks : int
        The ring: bytes of a block, a multiple of the page size, and number of blocks. Every `block_timeout`
        uses up a block, however few packets it holds: many blocks are patience, large ones are not.
    block_timeout : float
        Seconds after which the kernel hands over a block that is not full: the longest delay of a packet.
    timeout : float, optional
        Seconds that a read waits at most.
    link_down : {"wait", "raise"}
        What a read does while the interface is down: wait until it is up again, or raise LinkDown.

    Raises
    ------
    LinkNotFound, LinkGone
        There is no such interface, or it vanished.
    FilterError
        The filter cannot be compiled, or is no program the kernel takes.
    PermissionError
        Capturing needs CAP_NET_RAW; the message says how to get it.
    RingExhausted
        From reads: the next block is still on loan.
    ValueError, OSError
        An option that cannot be, and whatever else the kernel refuses.
    """

    def __init__(
            self, link, *, snaplen=262144, promiscuous=False, filter=None, auto_filter=True,
            ignore_vlans=False, block_size=1 << 18, num_blocks=16, block_timeout=0.01, timeout=None,
            link_down="wait"):
        if self._socket is not None:
            raise TypeError("a source is opened once")
        link = link if isinstance(link, Link) else Link(link)
        _check_options(block_size, num_blocks, block_timeout, link_down)
        deadline_after(timeout)
        self._timeout = timeout
        self._raise_down = link_down == "raise"
        self._counted = Stats(0, 0, 0)
        self._nap = max(<int64_t> (block_timeout * 1e9 / 4), SHORTEST_NAP)
        self._most = resolve(snaplen, link.type)
        self._walker = BlockWalker(link.type)
        self._row_blocks = Pool((block_size // BYTES_A_PACKET + 1) * sizeof(Record))
        self._links = (link,)
        try:
            self._socket = PacketSocket(link)  # first: whoever may not capture is told so
            program = build_program(
                link.type, filter, snaplen=self._most, auto_filter=auto_filter, ignore_vlans=ignore_vlans,
                interface=link.name)
            self._socket.attach(pack(program))
            self._socket.set_ring(block_size, num_blocks, max(1, round(block_timeout * 1000)))
            self._ring = Ring(block_size, num_blocks)
            self._ring.open(self._socket.fd)
            if promiscuous:
                self._socket.set_promiscuous()
            self._socket.bind()
        except BaseException:
            self._shut_down()
            raise

    cdef bint _fill(self, int64_t deadline) except -1:
        if self._socket is None:
            return False
        if self._walker.bad:
            raise SlimcapError("the ring holds a block that makes no sense: close this source, open another")
        while True:
            if self._ring.is_ready(self._index):
                if self._take():
                    return True
            elif self._ring._lent[self._index]:
                raise RingExhausted(
                    f"{self._ring.lent} of {self._ring.num_blocks} blocks are on loan, the next one for "
                    f"{self._ring.held_for(self._index):.3f} s: drop the views of its packets, "
                    "or keep batch.copy() instead")
            else:
                self._wait(deadline)

    cdef bint _take(self) except -1:
        """Make the next block the current one; False if there is no packet in it."""
        cdef Block block = self._ring.lend(self._index)
        cdef Block rows = self._row_blocks.take()
        cdef Record[::1] out = <Record[:rows.size // sizeof(Record)]> <Record*> rows.ptr
        cdef Py_ssize_t count
        self._index = (self._index + 1) % self._ring.num_blocks
        self._walker._start(block.ptr, block.size)
        losing = self._walker.status & TP_STATUS_LOSING
        count = self._walker._write(<uint8_t[:block.size]> block.ptr, out, 0)
        if count == 0:
            return False
        if losing:
            (<Record*> rows.ptr).flags |= FLAG_LOSING
        self._show(rows, count, block, block.size)
        return True

    cdef int _wait(self, int64_t deadline) except -1:
        """Wait for a block, or for a while if something else has to be looked at meanwhile."""
        cdef int64_t until = deadline
        cdef int64_t nap = NEVER
        cdef short events = POLLIN
        if self._doubtful:
            self._check_link()
            nap = LOOK_AGAIN
        if self._ring.lent:
            # As long as the block before is not given back, poll() would say at once that there is something
            # to read (packet_poll, packet_previous_rx_frame), and the caller mostly still has that block.
            events = 0
            nap = self._nap
        if nap != NEVER:
            until = monotonic_ns() + nap
            if deadline != NEVER and deadline < until:
                until = deadline
        try:
            events = self._event.wait(self._socket.fd, events, until)
        except TimeoutError:
            if until == deadline:
                raise
            return 0
        if events & (POLLERR | POLLHUP) and not self._ring.is_ready(self._index):
            self._on_error()
        return 0

    cdef int _on_error(self) except -1:
        """Take the socket's error: unread, it would end every wait at once."""
        cdef int pending = self._socket.take_error()
        if pending == errno.ENETDOWN:
            self._doubtful = True
            self._check_link()
        elif pending:
            raise OSError(pending, f"capture: {os.strerror(pending)}", self._socket.link.name)
        return 0

    cdef int _check_link(self) except -1:
        """Whether a link that was down exists; and is up again, which ends all doubt."""
        link = self._socket.link
        state = self._socket.link_state()
        if state == LINK_GONE:
            raise LinkGone(
                errno.ENODEV, "the interface is gone: open a new source when it is there again", link.name)
        if state == LINK_UP:
            self._doubtful = False
        elif self._raise_down:
            raise LinkDown(errno.ENETDOWN, "the interface is down: `ip link set up` brings it up", link.name)
        return 0

    cdef int _count(self) except -1:
        """Add the kernel's counters, which are cleared by reading them, to ours."""
        if self._socket is not None and self._socket.fd >= 0:
            found = self._socket.read_statistics()
            self._counted = Stats(*(sum(pair) for pair in zip(self._counted, found, strict=True)))
        return 0

    cdef object _totals(self):
        self._count()
        return self._counted

    cdef void _tear_down(self) noexcept:
        if self._socket is not None:
            try:
                self._count()
            except OSError:
                pass
            self._socket.detach()
        self._ring = None

    cdef Py_ssize_t _snaplen(self) except -1:
        return self._most

    def __repr__(self):
        if self.link is None:
            return "<RingSource: never opened>"
        return f"<RingSource {self.link.name!r}: {self.link.type_name}{', closed' if self.closed else ''}>"


cdef int _check_options(
        object block_size, object num_blocks, object block_timeout, object link_down) except -1:
    """Raise ValueError for what cannot be, before the kernel says no more than EINVAL."""
    page = os.sysconf("SC_PAGESIZE")
    if block_size <= 0 or block_size % page or block_size >= 1 << 31:
        raise ValueError(f"block_size is a multiple of the page size, {page}, below 2 GiB: not {block_size}")
    if num_blocks <= 0 or num_blocks * block_size > 1 << 40:
        raise ValueError(f"num_blocks is from 1 on, and the ring below 1 TiB: not {num_blocks}")
    if not 0 < block_timeout <= 3600:
        raise ValueError(f"block_timeout is from above 0 to 3600 seconds, not {block_timeout}")
    if link_down not in ("wait", "raise"):
        raise ValueError(f'link_down is "wait" or "raise", not {link_down!r}')
    return 0
