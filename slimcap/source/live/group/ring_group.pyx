"""`RingGroup`: base class of sources with several rings, and one wait for all of them.

    ring ─┐ a block is handed over                    ┌─► _poll() ──► rows ──► the end of the queue
    ring ─┼────────────────────────► epoll ──► queue ─┤
    ring ─┘                                           └─► _poll() ──► none: out, until the next block
"""
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from slimcap.abi.atomic cimport clear_bits, load_bits
from slimcap.abi.linux cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLET, EPOLLIN, POLLERR, POLLHUP, POLLIN, c_close, epoll_create1,
    epoll_ctl, epoll_event, epoll_wait)
from slimcap.io.event cimport SIGNAL_END, monotonic_ns, raise_errno, sooner
from slimcap.packet.rows cimport Rows
from slimcap.source.live.live_source cimport LINK_CHECK_INTERVAL
from slimcap.source.live.packet_socket cimport LINK_GONE, PacketSocket

import threading
from collections import deque
from operator import add

from slimcap.errors import CaptureStopped, FilterError, RingExhausted
from slimcap.filter.program import MAX_SNAPLEN
from slimcap.source.live.rtnetlink import LinkDrops

cdef enum:
    EVENTS = 64                             # of one epoll_wait


@cython.final
cdef class Member:
    """One of the rings of a group."""


cdef Member member_of(RingSource ring):
    """Return a ring as a member, to be added."""
    cdef Member member = Member.__new__(Member)
    member.ring, member.fd = ring, (<PacketSocket> ring.socket).fd
    ring.is_member = True
    return member


cdef class RingGroup(ZeroCopySource):
    """Base class of sources with several rings."""

    def __cinit__(self, *args, **kwargs):
        self._epoll = self._monitor_fd = -1
        self._members, self._ready, self._watched, self._held = {}, deque(), [], []
        self._past_drops, self._interfaces = LinkDrops(0, 0, 0), ()
        self._filtering = threading.RLock()

    def __dealloc__(self):
        if self._epoll > 0:     # 0 if __cinit__ did not run
            c_close(self._epoll)

    # Implemented by subclasses.

    cdef int _on_monitor(self) except -1:
        """Handle what the monitor's descriptor reports."""
        raise NotImplementedError

    cdef object _summary_of(self, Member member):
        """Return what `_on_removed` needs of a ring that is closed."""
        return None

    cdef int _on_removed(self, Member member, object summary) except -1:
        """Handle that a ring was read to its end and removed. No exception may come before all is stored."""
        raise NotImplementedError

    cdef int _describe(self) except -1:
        """Update `_interfaces` after a change of filters. The caller holds `_filtering`."""
        raise NotImplementedError

    # Members.

    cdef int _open_epoll(self) except -1:
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise_errno("epoll_create1", None)
        return 0

    cdef int _register(self, int fd, bint once) except -1:
        """Wait for a descriptor, too. `once`: report each event once, as PacketSocket does for a ring."""
        cdef epoll_event interest
        memset(&interest, 0, sizeof(interest))
        interest.events = EPOLLIN | (<uint32_t> EPOLLET if once else 0)
        interest.data.fd = fd
        if epoll_ctl(self._epoll, EPOLL_CTL_ADD, fd, &interest) < 0:
            raise_errno("epoll_ctl", None)
        return 0

    cdef int _add(self, Member member) except -1:
        self._register(member.fd, True)
        self._members = {**self._members, member.fd: member}    # a new one: other threads iterate over it
        return self._queue(member)

    cdef int _drain(self, Member member) except -1:
        """Let a ring receive no more, and read it to its end."""
        member.ring.begin_draining()
        if member not in self._watched:
            self._watched.append(member)
        self._queue(member)
        return 0

    cdef int _remove(self, Member member) except -1:
        """Close a ring that is read to its end, and keep its counters."""
        cdef Counters totals
        cdef dict members = self._members.copy()
        del members[member.fd]
        try:
            member.ring.end_drops()
            member.ring.close()
            drops = LinkDrops(*map(add, self._past_drops, member.ring.link_drops))
            summary = self._summary_of(member)
            member.ring.count(&totals)
        except BaseException:   # as from Ctrl-C: the next read does the same again
            self._queue(member)
            raise
        # C only from here: another thread that counts sees the ring, or its counters among the past ones.
        for listed in (self._watched, self._held):
            if member in listed:
                listed.remove(member)
        self._past.received += totals.received
        self._past.dropped += totals.dropped
        self._past.freezes += totals.freezes
        self._past_drops = drops
        self._members = members
        return self._on_removed(member, summary)

    # Reading.

    cdef Rows _fill(self, int64_t deadline):
        cdef Rows rows
        while True:
            if load_bits(self._signal) & SIGNAL_END:
                clear_bits(self._signal, SIGNAL_END)
                self._draining = True
                for member in list(self._members.values()):
                    self._drain(member)
            rows = self._next_rows()
            if rows is not None or self._draining and not self._members:
                return rows
            self._wait(deadline)

    cdef Rows _next_rows(self):
        """Return the next rows of the next ring that has some; None if none has."""
        cdef Member member
        cdef Rows rows = None
        cdef list exhausted = []
        cdef object failure = None
        try:
            while rows is None and self._ready:
                member = self._ready.popleft()
                member.is_queued = False
                try:
                    rows = member.ring.poll()
                except RingExhausted as error:
                    failure = error
                    exhausted.append(member)
                if rows is not None:
                    member.ring.hand_over(rows)
                    self._handed_over += rows.count
                    self._shown = member
                    rows.links, rows.interfaces = self._links, self._interfaces
                    self._queue(member)
                elif member.ring.is_empty:
                    self._remove(member)
                elif member.ring.is_held() and member not in self._held:
                    self._held.append(member)
        finally:
            for member in exhausted:
                self._queue(member)
        if rows is None and failure is not None:
            raise failure
        return rows

    cdef int _queue(self, Member member) except -1:
        if not member.is_queued:
            member.is_queued = True
            self._ready.append(member)
        return 0

    cdef int _wait(self, int64_t deadline) except -1:
        """Wait for a block of any ring, or until a watched ring must be looked at."""
        cdef Member member
        cdef int64_t end = self._look_after(deadline)
        if self._ready:
            return 0
        try:
            self._event.wait(self._epoll, POLLIN, end)
        except TimeoutError:
            if end == deadline:
                raise
            for member in self._held:
                member.ring.check_held()
        for member in self._watched:
            if member.ring.draining:
                self._queue(member)
        return self._collect()

    cdef int64_t _look_after(self, int64_t end) except? -2:
        """Check the interfaces that were down; return the time by which the listed rings need a look."""
        cdef Member member
        for member in list(self._watched):
            if member.ring.check_needed and not member.ring.draining:
                member.ring.check_state()
                if member.ring.gone:
                    self._queue(member)
                elif member.ring.check_needed:
                    end = sooner(end, self._event.look_again(monotonic_ns() + LINK_CHECK_INTERVAL))
                else:
                    self._watched.remove(member)
            if member.ring.draining:
                end = sooner(end, self._event.look_again(member.ring.drained))
        for member in list(self._held):
            if member.ring.draining or not member.ring.is_held():
                self._held.remove(member)
            else:
                end = sooner(end, self._event.look_again(member.ring.held_limit()))
        return end

    cdef int _awaited_fd(self) noexcept:
        return self._epoll

    cdef bint _may_have_more(self) noexcept:
        return self._epoll < 0 or self._draining or bool(self._ready) or bool(self._watched)

    cdef int _collect(self) except -1:
        """Queue the rings that have got a block."""
        cdef epoll_event events[EVENTS]
        cdef Member member
        cdef list failed = []
        cdef bint is_monitored = False
        cdef int count = EVENTS, index
        while count == EVENTS and not is_monitored:     # which is reported as long as it is not read
            count = epoll_wait(self._epoll, events, EVENTS, 0)
            for index in range(count):
                member = self._members.get(events[index].data.fd)
                is_monitored |= events[index].data.fd == self._monitor_fd
                if member is not None:
                    self._queue(member)
                    if events[index].events & (POLLERR | POLLHUP):
                        failed.append(member)
        for member in failed:   # after all are queued, which the epoll reports once
            self._on_error(member)
        return self._on_monitor() if is_monitored else 0

    cdef int _on_error(self, Member member) except -1:
        member.ring.on_error(member.ring.socket.take_error())
        # With a monitor, that tells of interfaces that are removed.
        if member.ring.check_needed and self._monitor_fd < 0 and member not in self._watched:
            self._watched.append(member)
        return 0

    # Changing the filter.

    def set_filter(self, filter):
        """Replace the filter of all interfaces while packets come, as `RingSource.set_filter` does.

        Parameters
        ----------
        filter : str, HostSet, sequence of (code, jt, jf, k) or None
            As the option `filter`.

        Raises
        ------
        FilterError
            The filter is not valid for one of the interfaces. The old one stays for all.
        CaptureStopped
            The source is closed or was stopped.
        RuntimeError
            Another process opened the source.

        Examples
        --------
        >>> source = slimcap.open_live("any", filter="udp port 53")
        >>> source.set_filter("udp port 53 or tcp port 53")
        """
        cdef Member member
        self._owner.check("this source")
        self._check_open()
        if self._draining or load_bits(self._signal) & SIGNAL_END:
            raise CaptureStopped("the source was stopped: it captures no more")
        if self._options is None:
            raise RuntimeError("the source was never opened")
        for member in self._members.values():
            self._set_filter_of(member, filter, False)
        with self._filtering:
            self._options = {**self._options, "filter": filter}
            for member in self._members.values():   # again: there may be new ones
                self._set_filter_of(member, filter, True)
            self._describe()

    cdef int _set_filter_of(self, Member member, object filter, bint attach) except -1:
        """Compile a filter for a ring, and attach it if asked to; not if its interface was removed."""
        try:
            if attach:
                member.ring.set_filter(filter)
            else:
                member.ring.socket.compile({**member.ring.filters, "filter": filter})
        except CaptureStopped:
            pass
        except FilterError:
            if member.ring.socket.link_state() != LINK_GONE:
                raise
        return 0

    # Stopping and closing.

    def stop(self):
        """Stop capturing, and end the source once all packets captured before were returned.

        Loops then end, and reads raise EOFError, about one block timeout later. May be called from any
        thread. Unlike this, `close()` ends at once and discards what was not read.
        """
        with cython.critical_section(self._event):  # not the source, which a reader may have locked
            self._event.raise_signal(SIGNAL_END)

    cdef void _tear_down(self) noexcept:
        cdef Member member
        for member in self._members.values():
            member.ring.close()     # another thread may read from it
        if self._epoll >= 0:
            c_close(self._epoll)
            self._epoll = -1

    cdef bint _is_left_open(self) noexcept:
        return self._epoll >= 0 and self._owner.is_here()

    # Counters and properties.

    cdef int _totals(self, Counters* totals) except -1:
        cdef Member member
        cdef Counters found
        cdef dict members = self._members
        totals[0] = self._past
        for member in members.values():
            member.ring.count(&found)
            totals.received += found.received
            totals.dropped += found.dropped
            totals.freezes += found.freezes
        return 0

    cdef object _account_of(self, Member member):
        """Return the account of a ring."""
        cdef uint64_t handed_over = member.ring.count_returned(), returned = self._count_read()
        cdef uint64_t left = 0
        if member is self._shown and returned < self._handed_over:
            left = self._handed_over - returned
        return member.ring.account_for(handed_over - min(left, handed_over))

    cdef object _sum_of_accounts(self):
        """Return the account of all rings together."""
        raise NotImplementedError

    def account(self):
        """Return where the packets of all rings together went, since the source was opened.

        For several interfaces these are the sums of `account_by_interface`.

        May be called from any thread, and after `close()`.

        Returns
        -------
        Account

        Raises
        ------
        OSError
            The kernel's counters cannot be read.

        Examples
        --------
        >>> with slimcap.open_live("any") as source:
        ...     batch = source.next_batch()
        ...     print(source.account())
        """
        return self._sum_of_accounts()

    cdef Py_ssize_t _snaplen(self) except -1:
        cdef Member member
        cdef Py_ssize_t longest = 0
        for member in self._members.values():
            longest = max(longest, member.ring.max_len)
        return longest or <Py_ssize_t> MAX_SNAPLEN

    @property
    def interfaces(self):
        """Descriptions of the interfaces, a tuple of InterfaceInfo: one for each of `links`."""
        return self._interfaces

    @property
    def latency(self):
        """Maximum delay of a packet in seconds, while the reader waits for it."""
        return self._latency

    @property
    def link_drops(self):
        """Packets that the interfaces lost while they were captured from, a LinkDrops: their sums.

        They never reached the sockets, and are not included in `stats()`.
        """
        cdef Member member
        cdef dict members = self._members
        found = [self._past_drops, *[member.ring.link_drops for member in members.values()]]
        return LinkDrops(*map(sum, zip(*found)))
