# cython: nonecheck=False
# With nonecheck, `self.x += 1` needs the GIL.
"""A socket that a producer in this process fills in place of the kernel, and the sources that read from it.

    producer ──► filter ──► BlockWriter ──► blocks ──► BlockWalker ──► RingSource      the same
                       └──► MessageQueue ──► recvmmsg's messages ──► SocketSource      reading code

Producer and reader may be two threads or one. A lock protects the state that both use; a producer releases
it after some packets.
"""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cimport slimcap.wire.ethernet as ethernet
from slimcap.abi.atomic cimport load_bits
from slimcap.abi.bytes cimport be16
from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport (
    CLOCK_REALTIME,
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    ENETDOWN,
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
    c_read,
    c_write,
    clock_gettime,
    eventfd,
    fcntl,
    mmsghdr,
    timespec,
)
from slimcap.abi.lock cimport acquire, init_lock, release
from slimcap.abi.python cimport PyThreadState_Get, PyThreadState_GetID
from slimcap.capfile.decoder cimport MAX_CAPLEN
from slimcap.filter.vm cimport PacketMeta, execute
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
from slimcap.source.base cimport Counters
from slimcap.source.live.packet_socket cimport LINK_DOWN, LINK_GONE, LINK_UP
from slimcap.source.live.ring cimport Ring
from slimcap.wire.vlan cimport LEN as VLAN_LEN, TAG_OFFSET, TPID_CUSTOMER, TPID_SERVICE, put_tag
from slimcap.wire.walk_link cimport LINKTYPE_ETHERNET

import struct

from slimcap.errors import FilterError, number, wrong_type
import slimcap.filter.program as bpf
from slimcap.filter.alternatives import match_both
from slimcap.filter.compile import build_program, without_sets
from slimcap.packet.enums import PacketType
from slimcap.packet.link import Link
from slimcap.source.live.rtnetlink import LinkDrops
from slimcap.source.mock.mock_link import MockLink

cdef enum:
    ROWS_PER_LOCK = 1024    # packets to add before releasing the lock
    OUTGOING = 4
    IP = 0x0800
    IPV6 = 0x86dd
    # Results of adding a packet.
    IGNORED = 0
    ADDED = 1
    NO_SPACE = 2

cdef str NEVER_HANDED_OVER = (
    "the packets that were added are in a block that is still open: call run() once, so that blocks are "
    "handed over after the block timeout, or finalize_block() after adding")

if bpf.MAX_SNAPLEN != MAX_CAPLEN or PacketType.OUTGOING != OUTGOING:
    raise ImportError("the compiled constants do not match the Python constants: rebuild slimcap")


@cython.final
@cython.no_gc
cdef class Schedule:
    """Computes when each packet of a replay is due, and records delays.

    Parameters
    ----------
    speed : float, optional
        Factor by which to replay faster than the packets' timestamps. Default: `rate` is given.
    rate : float, optional
        Packets per second. Default: `speed` is given. Exactly one of the two must be given; both are from
        1e-9 to 1e12.

    Attributes
    ----------
    packets : int
        Number of packets so far.
    total_delay : int
        Sum of their delays in nanoseconds.
    max_delay : int
        Maximum delay in nanoseconds.
    """

    def __cinit__(self, speed=None, rate=None):
        if (speed is None) == (rate is None):
            raise ValueError("exactly one of speed and rate must be given")
        self.speed, self.rate = speed, rate
        name, value = ("rate", rate) if speed is None else ("speed", speed)
        if not 1e-9 <= number(name, value) <= 1e12:
            raise ValueError(f"{name} must be 1e-9 to 1e12, not {value}")
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

    cdef void record(self, int64_t delay) noexcept nogil:
        self.packets += 1
        self.total_delay += delay
        self.max_delay = max(self.max_delay, delay)


@cython.final
cdef class MockSocket(CaptureSocket):
    """The socket that a mock source reads from, and a producer writes to."""

    def __cinit__(self, link):
        self._reader_fd = self._producer_fd = -1
        self.link = link
        self._made = True
        init_lock(&self._lock)
        self._reader_fd = _eventfd()
        self._producer_fd = _eventfd()
        self._producer, self._replays = Event(), []
        self._producer.open()
        self._scratch, self._wire = new_block(VLAN_LEN + MAX_CAPLEN), new_block(VLAN_LEN + MAX_CAPLEN)
        self._ifindex = link.index
        self._ethernet = link.type == LINKTYPE_ETHERNET
        self._hatype = link.arphrd if link.arphrd is not None else 1 if self._ethernet else 65534
        self._state = LINK_UP
        self._machine = Machine(bpf.DROP)
        self._program = self._machine._steps

    def __dealloc__(self):
        if not self._made:  # __cinit__ did not run, because it was given other arguments
            return
        if self._reader_fd >= 0:
            c_close(self._reader_fd)
        if self._producer_fd >= 0:
            c_close(self._producer_fd)

    cdef int _check_process(self) except -1:
        """Raise RuntimeError in a forked process, where the lock may be locked forever."""
        self._owner.check("this source")
        return 0

    cdef int _wake_reader(self) noexcept nogil:
        cdef uint64_t one = 1
        # If the counter is full, the descriptor is readable anyway.
        return c_write(self._reader_fd, &one, sizeof(one)) < 0

    cdef int _wake_producer(self) noexcept nogil:
        """Wake the producer, since space was freed."""
        cdef uint64_t one = 1
        return c_write(self._producer_fd, &one, sizeof(one)) < 0

    # The reader's side, in place of the kernel.

    cdef object compile(self, dict options):
        sets, rest = without_sets(options)
        try:
            return self._compile(options)
        except FilterError:
            if not sets:
                raise
        # More addresses than the kernel's classic programs can have.
        program, on_wire = self._compile(rest)
        program = struct.iter_unpack("=HBBI", program)
        for hosts in sets:
            program = match_both(hosts.program(self.link.type), tuple(program))
        return bpf.pack(program, loops=True), on_wire

    cdef object _compile(self, dict options):
        expressions = [one for one in (options["filter"], options["extra_filter"]) if isinstance(one, str)]
        if expressions and self._ethernet:
            for name in (self.link.name, "lo"):  # either may not exist, or be down
                try:
                    return bpf.pack(build_program(self.link.type, interface=name, **options)), False
                except FilterError:
                    continue
        # Raises if an expression is not valid at all.
        program = bpf.pack(build_program(self.link.type, interface=None, **options))
        return program, self._ethernet and any("vlan" in one for one in expressions)

    cdef int set_promiscuous(self) except -1:
        return 0

    cdef object count_drops(self):
        return _Drops()

    cdef int drop_all(self) except -1:
        return self.attach((bpf.pack(bpf.DROP), False))

    cdef int attach(self, object program) except -1:
        cdef Machine machine = Machine(struct.iter_unpack("=HBBI", program[0]))
        cdef bint on_wire = program[1]
        self._check_process()
        with nogil:
            acquire(&self._lock)
            self._program = machine._steps
            self.on_wire = on_wire
            release(&self._lock)
        self._machine = machine  # the former one is not used any more
        return 0

    cdef int ignore_outgoing(self) except -1:
        return 0

    cdef Ring open_ring(self, Py_ssize_t block_size, Py_ssize_t num_blocks, unsigned int timeout_ms):
        cdef Ring ring = Ring(block_size, num_blocks)
        ring.map(MAP_SHARED | MAP_ANONYMOUS, -1)
        ring.wakeup_fd = fcntl(self._producer_fd, F_DUPFD_CLOEXEC, 3)
        if ring.wakeup_fd < 0:
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
        cdef int64_t until
        cdef uint64_t count
        cdef Situation now
        while True:
            self._assess(&now)
            if now.error:
                return POLLERR
            if now.retire_at != NEVER and monotonic_ns() >= now.retire_at:
                self._retire()
                return POLLIN
            until = now.retire_at if deadline == NEVER or 0 <= now.retire_at < deadline else deadline
            event.check()
            if until == NEVER and now.waits_for_itself:
                raise RuntimeError(NEVER_HANDED_OVER)
            if now.retire_at != NEVER:
                event.look_again(now.retire_at)
            try:
                events = event.wait(self._reader_fd, POLLIN, until)
            except TimeoutError:
                if until == deadline:
                    self._assess(&now)
                    if now.waits_for_itself:
                        raise TimeoutError(NEVER_HANDED_OVER) from None
                    raise
                continue
            if events:
                c_read(self._reader_fd, &count, sizeof(count))
            return events

    cdef int fileno(self) noexcept:
        return self._reader_fd

    cdef bint clear_reports(self) noexcept:
        cdef uint64_t count
        cdef bint is_more
        c_read(self._reader_fd, &count, sizeof(count))
        with nogil:
            acquire(&self._lock)
            is_more = self._error != 0
            if self._messages is not None:
                is_more |= not self._messages.is_empty()
            elif self._blocks is not None:
                is_more |= self._blocks.open and self._timer  # the next read learns the time
            release(&self._lock)
        return is_more

    cdef void _assess(self, Situation* now) noexcept:
        """Tell the reader what to wait for."""
        cdef uint64_t thread = PyThreadState_GetID(PyThreadState_Get())
        cdef bint is_open
        with nogil:
            acquire(&self._lock)
            is_open = self._blocks is not None and self._blocks.open
            now.error = self._error
            now.retire_at = self._blocks.opened_at + self._block_timeout if is_open and self._timer else NEVER
            now.waits_for_itself = is_open and not self._timer and self._adder == thread
            release(&self._lock)

    cdef int read_statistics(self, Counters* found) noexcept nogil:
        acquire(&self._lock)
        found.received, found.dropped, found.freezes = self._packets, self._drops, 0
        if self.counter_range:
            found.received %= self.counter_range
            found.dropped %= self.counter_range
        self._packets = self._drops = 0
        if self._blocks is not None:
            found.freezes, self._blocks.freezes = self._blocks.freezes, 0
        release(&self._lock)
        return 0

    cdef int take_error(self) except -1:
        cdef int error
        with nogil:
            acquire(&self._lock)
            error, self._error = self._error, 0
            release(&self._lock)
        return error

    cdef int receive(self, mmsghdr* messages, unsigned int count) noexcept nogil:
        cdef int received
        acquire(&self._lock)
        received, self._error = -self._error, 0
        if received == 0:
            received = self._messages.take(messages, count, self._ifindex, self._hatype)
        release(&self._lock)
        if received > 0:
            self._wake_producer()
        return received

    cdef LinkState link_state(self) noexcept:
        return self._state

    cdef void detach(self) noexcept:
        cdef Event producer
        self._producer.raise_signal(SIGNAL_STOP)
        for producer in self._replays.copy():
            producer.raise_signal(SIGNAL_STOP)

    # The producer's side.

    cdef bint _has_space(self) noexcept nogil:
        if self._messages is not None:
            return self._messages.has_space()
        return self._blocks is not None and self._blocks.has_space()

    cdef bint _retire(self) noexcept:
        """Hand over the open block; return False if there is none."""
        cdef bint retired = False
        if self._blocks is not None:
            with nogil:
                acquire(&self._lock)
                retired = self._blocks.open
                self._blocks.retire(self._drops > 0)
                release(&self._lock)
        if retired:
            self._wake_reader()
        return retired

    cdef int _arrive(self, const Record* row, const uint8_t* payload, bint restamp) noexcept nogil:
        """Process an arriving packet as the kernel does; return ADDED, IGNORED or NO_SPACE."""
        cdef Arrival packet
        cdef timespec now
        cdef bint losing = self._drops > 0
        if self._state != LINK_UP:
            return IGNORED
        packet.data = payload
        packet.cap_len = min(row.cap_len, <uint32_t> MAX_CAPLEN)
        packet.total_len = max(row.total_len, row.cap_len)
        packet.timestamp = max(row.timestamp, <int64_t> 0)
        packet.pkt_type = row.pkt_type
        if restamp or row.timestamp <= 0:
            clock_gettime(CLOCK_REALTIME, &now)
            packet.timestamp = <int64_t> now.tv_sec * NANOSECONDS + now.tv_nsec
        self._describe(row, &packet)
        packet.cap_len = min(packet.cap_len, self._filter(&packet))
        if packet.cap_len == 0:
            return IGNORED
        if self._frozen or not self._enqueue(&packet, losing):
            if not (self._frozen or self.drop_when_full):
                return NO_SPACE
            self._drops += 1
        self._packets += 1
        return ADDED

    cdef bint _enqueue(self, const Arrival* packet, bint losing) noexcept nogil:
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
        elif ethernet.check(packet.data, packet.cap_len):
            packet.maclen, packet.protocol = ethernet.LEN, ethernet.ethertype(packet.data)
            if not flags & FLAG_VLAN_STRIPPED and (
                    packet.protocol == TPID_CUSTOMER or packet.protocol == TPID_SERVICE):
                self._strip_tag(packet)

    cdef void _strip_tag(self, Arrival* packet) noexcept nogil:
        """Remove the VLAN tag as skb_vlan_untag() does, which requires two bytes after it.

        An outgoing packet keeps its tag and has a longer link-layer header instead.
        """
        cdef uint8_t* to = self._scratch.ptr + VLAN_LEN
        if packet.cap_len < ethernet.LEN + VLAN_LEN + 2:
            if packet.total_len < ethernet.LEN + VLAN_LEN + 2 and packet.pkt_type != OUTGOING:
                packet.cap_len = 0  # skb_vlan_untag() frees such a packet
            return
        if packet.pkt_type == OUTGOING:
            packet.maclen += VLAN_LEN
            return
        packet.status |= TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID
        packet.vlan_tpid = packet.protocol
        packet.vlan_tci = be16(packet.data + ethernet.LEN)
        packet.protocol = be16(packet.data + ethernet.LEN + 2)
        packet.cap_len -= VLAN_LEN
        packet.total_len -= VLAN_LEN
        memcpy(to, packet.data, TAG_OFFSET)
        memcpy(to + TAG_OFFSET, packet.data + TAG_OFFSET + VLAN_LEN, packet.cap_len - TAG_OFFSET)
        packet.data = to

    cdef uint32_t _filter(self, const Arrival* packet) noexcept nogil:
        """Return the number of bytes of the packet that the filter accepts; 0 drops it."""
        cdef PacketMeta meta
        cdef bint stripped = packet.status & TP_STATUS_VLAN_VALID != 0
        if self.on_wire:
            if stripped and packet.cap_len >= TAG_OFFSET:
                return execute(
                    self._program, self._reinsert_tag(packet), packet.cap_len + VLAN_LEN,
                    packet.total_len + VLAN_LEN, NULL)
            return execute(self._program, packet.data, packet.cap_len, packet.total_len, NULL)
        meta.ifindex, meta.network, meta.protocol = self._ifindex, packet.maclen, packet.protocol
        meta.hatype, meta.pkt_type = self._hatype, packet.pkt_type
        meta.vlan_tci, meta.vlan_tpid, meta.vlan_present = packet.vlan_tci, packet.vlan_tpid, stripped
        return execute(self._program, packet.data, packet.cap_len, packet.total_len, &meta)

    cdef const uint8_t* _reinsert_tag(self, const Arrival* packet) noexcept nogil:
        """Copy the packet with its tag put back, as it was on the wire, and return the copy.

        A packet in the scratch memory is not changed.
        """
        cdef uint8_t* to = self._wire.ptr + VLAN_LEN
        memcpy(to, packet.data, packet.cap_len)
        put_tag(to, packet.vlan_tpid, packet.vlan_tci)
        return to - VLAN_LEN

    cdef int _add(
            self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size, Schedule schedule,
            bint restamp, Event producer, int64_t deadline, Progress* progress) except -1:
        """Add rows from `progress.index` on, waiting if necessary, with the producer's event."""
        self._check_process()
        progress.adder = PyThreadState_GetID(PyThreadState_Get())
        try:
            while progress.index < count:
                producer.check()
                with nogil:
                    self._add_chunk(
                        rows, min(count, progress.index + ROWS_PER_LOCK), data, size, schedule, restamp,
                        progress)
                if progress.refused:
                    raise ValueError("packets cannot be added after run(drain=False)")
                if progress.stopped:
                    self._wait_for_reader(progress, producer, deadline)
                elif progress.index < count:
                    PyErr_CheckSignals()
        finally:
            if progress.woken:
                self._wake_producer()  # another one may be waiting for the space that is left
        return 0

    cdef void _add_chunk(
            self, const Record* rows, Py_ssize_t stop, const uint8_t* data, uint64_t size, Schedule schedule,
            bint restamp, Progress* progress) noexcept nogil:
        cdef Record row
        cdef int result
        cdef int64_t now = 0
        cdef Py_ssize_t index = progress.index
        progress.due, progress.stopped = NEVER, False
        acquire(&self._lock)
        self._adder, progress.refused = progress.adder, self._repeats
        while index < stop and not progress.refused and not progress.stopped:
            row = rows[index]
            if not in_bounds(&row, size):
                row.offset = row.cap_len = 0
            if schedule is not None:
                progress.due, now = schedule.due(&row), monotonic_ns()
                if progress.due > now:
                    progress.stopped = True
                    break
            result = self._arrive(&row, data + row.offset, restamp)
            if result == NO_SPACE:
                progress.due, progress.stopped = NEVER, True
                break
            progress.added += result == ADDED
            index += 1
            if schedule is not None:
                schedule.record(now - progress.due)
        release(&self._lock)
        if index > progress.index:
            self._wake_reader()
        progress.index = index

    cdef int _wait_for_reader(self, Progress* progress, Event producer, int64_t deadline) except -1:
        """Wait until space is freed, or the next packet is due."""
        cdef uint64_t count
        cdef int64_t due = progress.due, until = due if due != NEVER else deadline
        try:
            if producer.wait(self._producer_fd if due == NEVER else -1, POLLIN, until):
                c_read(self._producer_fd, &count, sizeof(count))
                progress.woken = True
        except TimeoutError:
            if due == NEVER:
                raise TimeoutError(
                    "no space was freed within the timeout: read packets, and delete their views") from None
        return 0

    def add_batch(
            self, Batch batch not None, Schedule schedule=None, bint restamp=False, timeout=None,
            Event replay=None):
        """Add a batch's packets; return the number that passed the filter.

        A replay gives its event, by which it can be stopped.
        Raises CaptureStopped, CaptureUnblocked, TimeoutError, or the exception of a signal handler.
        """
        cdef View guard = batch._open()  # keeps the bytes alive even if the batch is released meanwhile
        cdef Hold _rows_hold = batch._rows_hold
        cdef const Record* rows = batch._rows
        cdef const uint8_t* data = guard._ptr
        cdef uint64_t size = guard._len
        cdef Py_ssize_t count = batch._count, step = count if self.added is None else 1
        cdef int64_t deadline = deadline_after(timeout)
        cdef Progress progress
        memset(&progress, 0, sizeof(progress))
        while progress.index < count:
            before = progress.added
            self._add(
                rows, progress.index + step, data, size, schedule, restamp,
                self._producer if replay is None else replay, deadline, &progress)
            if progress.added > before and self.added is not None:
                self.added(batch[progress.index - 1])
        return progress.added

    def add_packet(self, Packet packet not None, timeout=None):
        """Add one packet; return True if it passed the filter."""
        cdef Progress progress
        cdef Record row
        packet.read(&row)
        memset(&progress, 0, sizeof(progress))
        self._add(
            &row, 1, packet._ptr, row.cap_len, None, False, self._producer, deadline_after(timeout),
            &progress)
        if progress.added and self.added is not None:
            self.added(packet)
        return bool(progress.added)

    @property
    def has_space(self):
        """True if a packet could be added without waiting."""
        cdef bint space
        self._check_process()
        with nogil:
            acquire(&self._lock)
            space = not self._repeats and self._has_space()
            release(&self._lock)
        return space

    # Controls for tests.

    def start(self):
        """Start the block timer: open blocks are handed over when they time out."""
        self._check_process()
        with nogil:
            acquire(&self._lock)
            self._timer = True
            release(&self._lock)
        self._wake_reader()

    def finalize(self):
        """Hand over the open block; return False if there is none."""
        self._check_process()
        return self._retire()

    def add_empty_block(self):
        """Hand over the open block, then a block without packets; return False if all blocks are full.
        """
        if self._blocks is None:
            raise TypeError("add_empty_block() requires a ring: use MockRingSource")
        cdef bint done
        self._check_process()
        with nogil:
            acquire(&self._lock)
            done = self._blocks.add_empty()
            release(&self._lock)
        self._wake_reader()
        return done

    def drop(self, uint64_t count):
        """Count packets as received and dropped."""
        self._check_process()
        with nogil:
            acquire(&self._lock)
            self._packets += count
            self._drops += count
            release(&self._lock)

    def wrap_counters(self, uint64_t at):
        """Let the counters of packets wrap to 0 at a number, as the kernel's do at 2^32."""
        if at == 0:
            raise ValueError("a counter wraps at 1 or more, not at 0")
        self.counter_range = at

    def freeze(self, bint frozen):
        """Start or end dropping all packets as if the buffer was full."""
        self._check_process()
        with nogil:
            acquire(&self._lock)
            if frozen and not self._frozen and self._blocks is not None:
                self._blocks.freezes += 1
            self._frozen = frozen
            release(&self._lock)

    def set_link(self, state):
        """Set the state of the interface: "up", "down" or "gone"."""
        cdef LinkState new
        states = {"up": LINK_UP, "down": LINK_DOWN, "gone": LINK_GONE}
        if state not in states:
            raise ValueError(f'state must be "up", "down" or "gone", not {state!r}')
        new = states[state]
        self._check_process()
        with nogil:
            acquire(&self._lock)
            if new != LINK_UP and self._state == LINK_UP:
                self._error = ENETDOWN
            self._state = new
            release(&self._lock)
        if isinstance(self.link, MockLink):
            self.link.simulate(state)
        self._wake_reader()

    def set_added(self, fn):
        """Set the callback for each packet that was added; None removes it."""
        if fn is not None and not callable(fn):
            raise wrong_type("fn", "callable or None", fn)
        self.added = fn

    # Replays, each of which is stopped on its own.

    def begin_replay(self):
        """Return an event for `add_batch`; the mock stops it when it is closed."""
        cdef Event replay = Event()
        self._replays.append(replay)
        if load_bits(&self._producer.signal) & SIGNAL_STOP:
            replay.raise_signal(SIGNAL_STOP)
        return replay

    def stop_replay(self, Event replay not None):
        """Make `add_batch` raise CaptureUnblocked: the call that waits, or else the next one."""
        replay.raise_signal(SIGNAL_UNBLOCK)

    def end_replay(self, Event replay not None):
        """Forget the event of a replay."""
        self._replays.remove(replay)


cdef int _eventfd() except -1:
    cdef int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if fd < 0:
        raise_errno("eventfd", None)
    return fd


cdef object _mock_link(link):
    """Return the Link for a name; the interface need not exist."""
    return link if isinstance(link, Link) else MockLink(link)


cdef class RingMock(RingSource):
    """Compiled base class of MockRingSource.

    Attributes
    ----------
    device : MockSocket
        The socket that the producer writes to.
    """

    cdef object _look_up(self, link, netns):
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
        cdef Ring ring = self._ring
        cdef Py_ssize_t index
        if ring is None:
            return  # closed
        device._check_process()
        self._enter()
        index = self._index
        with nogil:
            acquire(&device._lock)
            ring.discard_ready()
            device._blocks.open = False
            device._blocks.index = index
            release(&device._lock)
        self._leave()
        device._wake_producer()

    def _repeat(self):
        """From now on return the same filled blocks again and again."""
        cdef MockSocket device = self.device
        cdef Ring ring = self._ring
        cdef Py_ssize_t filled = 0
        self._check_open()
        if ring is not None and self._index == ring.lent == 0:
            device._check_process()
            self._enter()
            with nogil:
                acquire(&device._lock)
                device._blocks.retire(device._drops > 0)
                filled = device._blocks.filled()
                if filled:
                    ring.repeat_first(filled)
                    device._repeats = True
                    device.counter_range = 0  # packets that are returned again are not counted
                release(&device._lock)
            self._leave()
            device._wake_reader()
        if filled == 0:
            raise ValueError("run(drain=False) requires that packets were added, and none was read")


cdef class SocketMock(SocketSource):
    """Compiled base class of MockSocketSource.

    Attributes
    ----------
    device : MockSocket
        The socket that the producer writes to.
    """

    cdef object _look_up(self, link, netns):
        return _mock_link(link)

    cdef CaptureSocket _new_socket(self, link):
        self.device = MockSocket(link)
        return self.device

    def _repeat(self):
        """From now on return the same messages again and again."""
        cdef MockSocket device = self.device
        cdef bint repeats = False
        self._check_open()
        if device is not None and device._messages is not None:
            device._check_process()
            with nogil:
                acquire(&device._lock)
                repeats = not device._messages.is_empty()
                if repeats:
                    device._messages.repeats = device._repeats = True
                    device.counter_range = 0
                release(&device._lock)
        if not repeats:
            raise ValueError("run(drain=False) requires packets: add them first")


@cython.final
cdef class _Drops:
    """Drop counter of an interface that does not exist: always zero."""

    def read(self):
        return LinkDrops(0, 0, 0)

    def read_all(self):
        return None

    def close(self):
        pass
