# cython: nonecheck=False
# With nonecheck, `self.x += 1` needs the GIL.
"""A socket that a producer in this process fills in place of the kernel, and the sources that read from it.

    producer ──► filter ──► BlockWriter ──► blocks ──► BlockWalker ──► RingSource      the same
                       └──► MessageQueue ──► recvmmsg's messages ──► SocketSource      reading code

Producer and reader may be two threads or one. A lock protects the state that both write to. It is held
without the GIL, and released after some packets.
"""
cimport cython
from cpython.pythread cimport (
    WAIT_LOCK,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_release_lock,
)
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from slimcap.abi.bytes cimport be16
from slimcap.abi.linux cimport (
    CLOCK_REALTIME,
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    F_DUPFD_CLOEXEC,
    MAP_ANONYMOUS,
    MAP_SHARED,
    POLLERR,
    POLLIN,
    TP_STATUS_CSUM_VALID,
    TP_STATUS_CSUMNOTREADY,
    TP_STATUS_GSO_TCP,
    TP_STATUS_VLAN_TPID_VALID,
    TP_STATUS_VLAN_VALID,
    c_close,
    c_getpid,
    c_read,
    c_write,
    clock_gettime,
    eventfd,
    fcntl,
    mmsghdr,
    timespec,
)
from slimcap.filter.vm cimport PacketMeta
from slimcap.io.event cimport (
    NEVER,
    SIGNAL_STOP,
    SIGNAL_UNBLOCK,
    deadline_after,
    monotonic_ns,
    raise_errno,
)
from slimcap.packet.batch cimport Batch
from slimcap.packet.lease cimport Hold, new_block
from slimcap.packet.packet cimport Packet
from slimcap.packet.record cimport (
    FLAG_CHECKSUM_NOT_READY,
    FLAG_CHECKSUM_VALID,
    FLAG_GSO,
    FLAG_VLAN_STRIPPED,
    in_bounds,
)
from slimcap.packet.view cimport View
from slimcap.source.live.packet_socket cimport LINK_DOWN, LINK_GONE, LINK_UP
from slimcap.source.live.ring cimport Ring
from slimcap.wire.ethernet cimport ETHERNET_LEN, ETHERNET_TYPE
from slimcap.wire.vlan cimport TPID_CUSTOMER, TPID_SERVICE, VLAN_AT, VLAN_LEN, put_tag
from slimcap.wire.walk_link cimport LINKTYPE_ETHERNET

import errno
import struct

from slimcap.errors import FilterError, number, wrong_type
import slimcap.filter.program as bpf
from slimcap.packet.enums import PacketType
from slimcap.packet.link import Link
from slimcap.source.live.rtnetlink import LinkDrops

cdef enum:
    NANOSECONDS = 1_000_000_000
    SOME = 1024             # packets to add before releasing the lock
    MAX_SNAPLEN = 262144    # maximum length of a packet on Linux
    OUTGOING = 4
    IP = 0x0800
    IPV6 = 0x86dd
    # Results of adding a packet.
    PASSED_OVER = 0
    CAME_IN = 1
    NO_ROOM = 2

cdef str FORKED = "this mock belongs to the process that this one was forked from: make one here"

if bpf.MAX_SNAPLEN != MAX_SNAPLEN or PacketType.OUTGOING != OUTGOING:
    raise ImportError("slimcap was built for another snaplen: build it again")


@cython.final
@cython.no_gc
cdef class Pace:
    """Computes when each packet of a replay is due, and records delays.

    Parameters
    ----------
    speed : float, optional
        Factor by which to replay faster than the packets' timestamps.
    rate : float, optional
        Packets per second. Exactly one of `speed` and `rate` must be given, from 1e-9 to 1e12.

    Attributes
    ----------
    packets : int
        Number of packets so far.
    late : int
        Sum of their delays in nanoseconds.
    latest : int
        Maximum delay in nanoseconds.
    """

    def __cinit__(self, speed=None, rate=None):
        if (speed is None) == (rate is None):
            raise ValueError("a pace is a speed or a rate")
        self.speed, self.rate = speed, rate
        given = number("rate", rate) if speed is None else number("speed", speed)
        if not 1e-9 <= given <= 1e12:
            raise ValueError(f"a pace is from 1e-9 to 1e12, not {given}")
        self._by_rate = rate is not None
        self._scale = NANOSECONDS / rate if self._by_rate else 1 / speed

    cdef int64_t due(self, const Record* row) noexcept nogil:
        """Return the time at which the next packet is due, monotonic ns."""
        cdef double after
        if self.packets == 0:
            self._began, self._first = monotonic_ns(), row.timestamp
        if self._by_rate:
            after = <double> self.packets * self._scale
        else:
            after = (<double> row.timestamp - <double> self._first) * self._scale
        return self._began + <int64_t> min(max(after, 0.0), 9e18 - self._began)

    cdef void note(self, int64_t late) noexcept nogil:
        self.packets += 1
        self.late += late
        self.latest = max(self.latest, late)


@cython.final
cdef class MockSocket(CaptureSocket):
    """The socket that a mock source reads from, and a producer writes to."""

    def __cinit__(self, link):
        self._bell = self._room = -1
        self.link = link
        self._pid = c_getpid()
        self._lock = PyThread_allocate_lock()
        if self._lock is NULL:
            raise MemoryError("no lock can be had")
        self._bell, self._room = _eventfd(), _eventfd()
        self._producer = Event()
        self._scratch, self._wire = new_block(VLAN_LEN + MAX_SNAPLEN), new_block(VLAN_LEN + MAX_SNAPLEN)
        self._ifindex = link.index
        self._ethernet = link.type == LINKTYPE_ETHERNET
        self._hatype = link.arphrd if link.arphrd is not None else 1 if self._ethernet else 65534
        self._state = LINK_UP
        self._machine = Machine(bpf.DROP)

    def __dealloc__(self):
        if self._bell >= 0:
            c_close(self._bell)
        if self._room >= 0:
            c_close(self._room)
        if self._lock is not NULL:
            PyThread_free_lock(self._lock)

    cdef void _acquire(self) noexcept nogil:
        PyThread_acquire_lock(self._lock, WAIT_LOCK)

    cdef int _enter(self) except -1:
        """Take the lock; raise RuntimeError in a forked process, where it may be locked for ever."""
        if not self.is_ours():
            raise RuntimeError(FORKED)
        with nogil:
            self._acquire()
        return 0

    cdef int _ring_bell(self) noexcept nogil:
        cdef uint64_t one = 1
        return c_write(self._bell, &one, sizeof(one)) < 0  # if the counter is full, it is readable anyway

    cdef int _tell_producer(self) noexcept nogil:
        """Wake the producer, since space was freed."""
        cdef uint64_t one = 1
        return c_write(self._room, &one, sizeof(one)) < 0

    # The reader's side, in place of the kernel.

    cdef object compile(self, object filter, object build):
        if isinstance(filter, str) and self._ethernet:
            for name in (self.link.name, "lo"):  # either may not exist, or be down
                try:
                    return build(interface=name)
                except FilterError:
                    continue
            self.on_wire = "vlan" in filter
            # Raises if the expression is not valid at all.
        return build(interface=None)

    cdef int set_promiscuous(self) except -1:
        return 0

    cdef object count_drops(self):
        return _Drops()

    cdef int attach(self, bytes program) except -1:
        cdef Machine machine = Machine(struct.iter_unpack("=HBBI", program))
        self._enter()
        self._machine = machine
        PyThread_release_lock(self._lock)
        return 0

    cdef int ignore_outgoing(self) except -1:
        return 0

    cdef Ring open_ring(self, Py_ssize_t block_size, Py_ssize_t num_blocks, unsigned int timeout_ms):
        cdef Ring ring = Ring(block_size, num_blocks)
        ring._map(MAP_SHARED | MAP_ANONYMOUS, -1)
        ring.bell = fcntl(self._room, F_DUPFD_CLOEXEC, 3)
        if ring.bell < 0:
            raise_errno("fcntl", None)
        self._blocks = BlockWriter(ring)
        self._block_timeout = <int64_t> timeout_ms * 1_000_000
        return ring

    cdef int set_messages(self, Py_ssize_t buffer_size) except -1:
        self._messages = MessageQueue(buffer_size)
        return 0

    cdef int bind(self) except -1:
        return 0

    cdef short wait(self, Event event, int64_t deadline) except -1:
        cdef short events
        cdef int64_t until, retire_at
        cdef uint64_t count
        while True:
            if self._error:
                return POLLERR
            retire_at = self._retire_at()
            if retire_at != NEVER and monotonic_ns() >= retire_at:
                self._retire()
                return POLLIN
            until = retire_at if deadline == NEVER or 0 <= retire_at < deadline else deadline
            try:
                events = event.wait(self._bell, POLLIN, until)
            except TimeoutError:
                if until == deadline:
                    raise
                continue
            if events:
                c_read(self._bell, &count, sizeof(count))
            return events

    cdef object read_statistics(self):
        self._enter()
        found = self._packets, self._drops, self._blocks.freezes if self._blocks is not None else 0
        self._packets = self._drops = 0
        if self._blocks is not None:
            self._blocks.freezes = 0
        PyThread_release_lock(self._lock)
        return found

    cdef int take_error(self) except -1:
        cdef int error = self._error
        self._error = 0
        return error

    cdef int receive(self, mmsghdr* messages, unsigned int count) noexcept nogil:
        cdef int received = -self._error
        self._error = 0
        if received == 0:
            self._acquire()
            received = self._messages.take(messages, count, self._ifindex, self._hatype)
            PyThread_release_lock(self._lock)
            self._tell_producer()
        return received

    cdef LinkState link_state(self) noexcept:
        return self._state

    cdef bint is_ours(self) noexcept:
        return self._pid == c_getpid()

    cdef void detach(self) noexcept:
        self._producer.raise_signal(SIGNAL_STOP)

    # The producer's side.

    cdef bint _has_room(self) noexcept nogil:
        if self._messages is not None:
            return self._messages.has_room()
        return self._blocks is not None and self._blocks.has_room()

    cdef int64_t _retire_at(self) noexcept nogil:
        """Return when the open block times out, monotonic ns; NEVER if there is no open block or no timer."""
        if self._blocks is None or not (self._timer and self._blocks.open):
            return NEVER
        return self._blocks.opened_at + self._block_timeout

    cdef bint _retire(self) noexcept nogil:
        """Hand over the open block; return False if there is none."""
        cdef bint retired = False
        if self._blocks is not None:
            self._acquire()
            retired = self._blocks.open
            self._blocks.retire(self._drops > 0)
            PyThread_release_lock(self._lock)
        if retired:
            self._ring_bell()
        return retired

    cdef int _arrive(self, const Record* row, const uint8_t* payload, bint restamp) noexcept nogil:
        """Process an arriving packet as the kernel does; return CAME_IN, PASSED_OVER or NO_ROOM."""
        cdef Arrival packet
        cdef timespec now
        cdef bint losing = self._drops > 0
        if self._state != LINK_UP:
            return PASSED_OVER
        packet.data = payload
        packet.cap_len = min(row.cap_len, <uint32_t> MAX_SNAPLEN)
        packet.total_len = max(row.total_len, row.cap_len)
        packet.timestamp = max(row.timestamp, <int64_t> 0)
        packet.pkt_type = row.pkt_type
        if restamp or row.timestamp <= 0:
            clock_gettime(CLOCK_REALTIME, &now)
            packet.timestamp = <int64_t> now.tv_sec * NANOSECONDS + now.tv_nsec
        self._describe(row, &packet)
        packet.cap_len = min(packet.cap_len, self._filter(&packet))
        if packet.cap_len == 0:
            return PASSED_OVER
        if self._frozen or not self._take_in(&packet, losing):
            if not (self._frozen or self.drop_when_full):
                return NO_ROOM
            self._drops += 1
        self._packets += 1
        return CAME_IN

    cdef bint _take_in(self, const Arrival* packet, bint losing) noexcept nogil:
        if self._messages is None:
            return self._blocks.add(packet, self._ifindex, self._hatype, losing)
        return self._messages.add(packet)

    cdef void _describe(self, const Record* row, Arrival* packet) noexcept nogil:
        """Fill in the metadata that the kernel has of a packet.

        As in the kernel, the outermost VLAN tag of a received packet is removed.
        """
        cdef uint32_t flags = row.flags
        packet.status = packet.vlan_tci = packet.vlan_tpid = packet.maclen = packet.protocol = 0
        if flags & FLAG_CHECKSUM_NOT_READY:
            packet.status |= TP_STATUS_CSUMNOTREADY
        if flags & FLAG_CHECKSUM_VALID:
            packet.status |= TP_STATUS_CSUM_VALID
        if flags & FLAG_GSO:
            packet.status |= TP_STATUS_GSO_TCP
        if flags & FLAG_VLAN_STRIPPED:
            packet.status |= TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID
            packet.vlan_tci, packet.vlan_tpid = row.vlan_tci, row.vlan_tpid
        if not self._ethernet:
            if packet.cap_len:
                packet.protocol = IPV6 if packet.data[0] >> 4 == 6 else IP
        elif packet.cap_len >= ETHERNET_LEN:
            packet.maclen, packet.protocol = ETHERNET_LEN, be16(packet.data + ETHERNET_TYPE)
            if not flags & FLAG_VLAN_STRIPPED and (
                    packet.protocol == TPID_CUSTOMER or packet.protocol == TPID_SERVICE):
                self._take_tag(packet)

    cdef void _take_tag(self, Arrival* packet) noexcept nogil:
        """Remove the VLAN tag as skb_vlan_untag() does, which requires two bytes after it.

        An outgoing packet keeps its tag and has a longer link-layer header instead.
        """
        cdef uint8_t* to = self._scratch.ptr + VLAN_LEN
        if packet.cap_len < ETHERNET_LEN + VLAN_LEN + 2:
            if packet.total_len < ETHERNET_LEN + VLAN_LEN + 2 and packet.pkt_type != OUTGOING:
                packet.cap_len = 0  # skb_vlan_untag() frees such a packet
            return
        if packet.pkt_type == OUTGOING:
            packet.maclen += VLAN_LEN
            return
        packet.status |= TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID
        packet.vlan_tpid = packet.protocol
        packet.vlan_tci = be16(packet.data + ETHERNET_LEN)
        packet.protocol = be16(packet.data + ETHERNET_LEN + 2)
        packet.cap_len -= VLAN_LEN
        packet.total_len -= VLAN_LEN
        memcpy(to, packet.data, VLAN_AT)
        memcpy(to + VLAN_AT, packet.data + VLAN_AT + VLAN_LEN, packet.cap_len - VLAN_AT)
        packet.data = to

    cdef uint32_t _filter(self, const Arrival* packet) noexcept nogil:
        """Return the number of bytes of the packet that the filter accepts; 0 drops it."""
        cdef PacketMeta meta
        cdef bint stripped = packet.status & TP_STATUS_VLAN_VALID != 0
        if self.on_wire:
            if stripped and packet.cap_len >= VLAN_AT:
                return self._machine._run(
                    self._put_tag(packet), packet.cap_len + VLAN_LEN, packet.total_len + VLAN_LEN, NULL)
            return self._machine._run(packet.data, packet.cap_len, packet.total_len, NULL)
        meta.ifindex, meta.network, meta.protocol = self._ifindex, packet.maclen, packet.protocol
        meta.hatype, meta.pkt_type = self._hatype, packet.pkt_type
        meta.vlan_tci, meta.vlan_tpid, meta.vlan_present = packet.vlan_tci, packet.vlan_tpid, stripped
        return self._machine._run(packet.data, packet.cap_len, packet.total_len, &meta)

    cdef const uint8_t* _put_tag(self, const Arrival* packet) noexcept nogil:
        """Copy the packet with its tag put back, as it was on the wire, and return the copy.

        A packet in the scratch memory is not changed.
        """
        cdef uint8_t* to = self._wire.ptr + VLAN_LEN
        memcpy(to, packet.data, packet.cap_len)
        put_tag(to, packet.vlan_tpid, packet.vlan_tci)
        return to - VLAN_LEN

    cdef int _add(
            self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size, Pace pace,
            bint restamp, int64_t deadline, Progress* progress) except -1:
        """Add rows from `progress.index` on, waiting if necessary."""
        if not self.is_ours():
            raise RuntimeError(FORKED)
        if self._keeps:
            raise ValueError("what this mock holds is read again and again: nothing can be added any more")
        while progress.index < count:
            self._producer.check()
            with nogil:
                self._add_some(rows, min(count, progress.index + SOME), data, size, pace, restamp, progress)
            if progress.stopped:
                self._wait_for_reader(progress.due, deadline)
        return 0

    cdef void _add_some(
            self, const Record* rows, Py_ssize_t stop, const uint8_t* data, uint64_t size, Pace pace,
            bint restamp, Progress* progress) noexcept nogil:
        cdef Record row
        cdef int became
        cdef int64_t now = 0
        cdef Py_ssize_t index = progress.index
        progress.due, progress.stopped = NEVER, False
        self._acquire()
        while index < stop and not progress.stopped:
            row = rows[index]
            if not in_bounds(&row, size):
                row.offset = row.cap_len = 0
            if pace is not None:
                progress.due, now = pace.due(&row), monotonic_ns()
                if progress.due > now:
                    progress.stopped = True
                    break
            became = self._arrive(&row, data + row.offset, restamp)
            if became == NO_ROOM:
                progress.due, progress.stopped = NEVER, True
                break
            progress.added += became == CAME_IN
            index += 1
            if pace is not None:
                pace.note(now - progress.due)
        PyThread_release_lock(self._lock)
        if index > progress.index:
            self._ring_bell()
        progress.index = index

    cdef int _wait_for_reader(self, int64_t due, int64_t deadline) except -1:
        """Wait until space is freed, or the next packet is due."""
        cdef uint64_t count
        cdef int64_t until = due if due != NEVER else deadline
        try:
            if self._producer.wait(self._room if due == NEVER else -1, POLLIN, until):
                c_read(self._room, &count, sizeof(count))
        except TimeoutError:
            if due == NEVER:
                raise TimeoutError(
                    "there was no room in time: nobody reads, or what was read is still held") from None
        return 0

    def add_batch(self, Batch batch not None, Pace pace=None, bint restamp=False, timeout=None):
        """Add a batch's packets; return the number that passed the filter.

        Raises CaptureStopped, CaptureUnblocked, TimeoutError, or the exception of a signal handler.
        """
        cdef View _guard = batch._open()  # keeps the bytes alive even if the batch is released meanwhile
        cdef Hold _rows_hold = batch._rows_hold
        cdef const Record* rows = batch._rows
        cdef const uint8_t* data = batch._lease._ptr
        cdef uint64_t size = batch._lease._size
        cdef Py_ssize_t count = batch._count, step = count if self.added is None else 1
        cdef int64_t deadline = deadline_after(timeout)
        cdef Progress progress
        memset(&progress, 0, sizeof(progress))
        while progress.index < count:
            before = progress.added
            self._add(rows, progress.index + step, data, size, pace, restamp, deadline, &progress)
            if progress.added > before and self.added is not None:
                self.added(batch[progress.index - 1])
        return progress.added

    def add_packet(self, Packet packet not None, timeout=None):
        """Add one packet; return True if it passed the filter."""
        cdef Progress progress
        cdef Record row = packet._row
        memset(&progress, 0, sizeof(progress))
        row.offset = 0
        self._add(&row, 1, packet._ptr, row.cap_len, None, False, deadline_after(timeout), &progress)
        if progress.added and self.added is not None:
            self.added(packet)
        return bool(progress.added)

    @property
    def has_room(self):
        """True if a packet could be added without waiting."""
        self._enter()
        room = not self._keeps and self._has_room()
        PyThread_release_lock(self._lock)
        return room

    # Controls for tests.

    def start(self):
        """Start the block timer: open blocks are handed over when they time out."""
        self._timer = True
        self._ring_bell()

    def finalize(self):
        """Hand over the open block; return False if there is none."""
        if not self.is_ours():
            raise RuntimeError(FORKED)
        return self._retire()

    def add_empty_block(self):
        """Hand over the open block, then a block without packets; return False if there is no room for that.
        """
        if self._blocks is None:
            raise TypeError("there are no blocks without a ring")
        self._enter()
        done = self._blocks.add_empty()
        PyThread_release_lock(self._lock)
        self._ring_bell()
        return done

    def drop(self, uint64_t count):
        """Count packets as received and dropped."""
        self._enter()
        self._packets += count
        self._drops += count
        PyThread_release_lock(self._lock)

    def freeze(self, bint frozen):
        """Start or end dropping all packets as if the buffer was full."""
        self._enter()
        if frozen and not self._frozen and self._blocks is not None:
            self._blocks.freezes += 1
        self._frozen = frozen
        PyThread_release_lock(self._lock)

    def set_link(self, state):
        """Set the state of the interface: "up", "down" or "gone"."""
        states = {"up": LINK_UP, "down": LINK_DOWN, "gone": LINK_GONE}
        if state not in states:
            raise ValueError(f'an interface is "up", "down" or "gone", not {state!r}')
        if states[state] != LINK_UP and self._state == LINK_UP:
            self._error = errno.ENETDOWN
        self._state = states[state]
        self._ring_bell()

    def set_added(self, fn):
        """Set the callback for each packet that was added; None removes it."""
        if fn is not None and not callable(fn):
            raise wrong_type("fn", "callable or None", fn)
        self.added = fn

    def unblock(self):
        """Make the waiting producer, or else the next one, raise CaptureUnblocked."""
        self._producer.raise_signal(SIGNAL_UNBLOCK)


cdef int _eventfd() except -1:
    cdef int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if fd < 0:
        raise_errno("eventfd", None)
    return fd


cdef object _mock_link(link):
    """Return the Link for a name; the interface need not exist."""
    return link if isinstance(link, Link) else Link(link, 1, LINKTYPE_ETHERNET, 1)


cdef class RingMock(RingSource):
    """Compiled base class of MockRingSource."""

    cdef object _look_up(self, link):
        return _mock_link(link)

    cdef CaptureSocket _new_socket(self, link):
        self.device = MockSocket(link)
        return self.device

    cdef int64_t _delay(self) noexcept:
        self.device._retire()
        return 0

    def _release_blocks(self):
        """Discard the blocks that were handed over and not read. Lent blocks are returned as usual."""
        cdef MockSocket device = self.device
        if self._ring is None:
            return  # closed
        device._enter()
        self._ring.forget()
        device._blocks.open = False
        device._blocks.index = self._index
        PyThread_release_lock(device._lock)
        device._tell_producer()

    def _keep(self):
        """From now on return the same filled blocks again and again."""
        cdef MockSocket device = self.device
        cdef Py_ssize_t filled = 0
        self._check_open()
        if self._ring is not None and self._index == self._ring.lent == 0:
            device.finalize()
            filled = device._blocks.filled()
        if filled == 0:
            raise ValueError(
                "a ring that is read again and again is filled before it is read: no block with a packet was")
        self._ring.keep(filled)
        device._keeps = True


cdef class SocketMock(SocketSource):
    """Compiled base class of MockSocketSource."""

    cdef object _look_up(self, link):
        return _mock_link(link)

    cdef CaptureSocket _new_socket(self, link):
        self.device = MockSocket(link)
        return self.device

    def _keep(self):
        """From now on return the same messages again and again."""
        cdef MockSocket device = self.device
        self._check_open()
        if device is None or device._messages is None or device._messages.is_empty():
            raise ValueError("there is nothing to be read again and again: add packets before")
        device._enter()
        device._messages.keeps = device._keeps = True
        PyThread_release_lock(device._lock)


@cython.final
cdef class _Drops:
    """Drop counter of an interface that does not exist: always zero."""

    def read(self):
        return LinkDrops(0, 0, 0)

    def close(self):
        pass
