"""`LiveSource`: base class of live sources. Options, waiting, link state, counters, shutdown.

    options ──► socket: filter, _set_up(), promiscuous mode, bind
    _fill:      _next_rows() ──► rows
                     └─ none: wait for packets, the interface, the source's event or the deadline; repeat
"""
cimport cython
from libc.stdint cimport int64_t, uint64_t

from slimcap.abi.atomic cimport clear_bits, load_bits, load_i64, store_i64
from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport POLLERR, POLLHUP
from slimcap.abi.lock cimport acquire, init_lock, release
from slimcap.io.event cimport SIGNAL_END, deadline_after, monotonic_ns, sooner
from slimcap.packet.rows cimport Rows
from slimcap.source.live.packet_socket cimport LINK_GONE, LINK_UP, PacketSocket

import errno
import functools
import os
import threading

from slimcap.errors import CaptureStopped, LinkDown, LinkGone, wrong_type
from slimcap.filter import resolve
from slimcap.packet.enums import LinkType
from slimcap.packet.interface import InterfaceInfo
from slimcap.packet.link import Link
from slimcap.source.live.account import account_of
from slimcap.source.live.host.net_namespace import inside
from slimcap.source.live.rtnetlink import LinkDrops, check as check_link

cdef enum:
    COUNT_INTERVAL = NANOSECONDS         # between two readings of the counters, while packets come


cdef class LiveSource(ZeroCopySource):
    """Base class of live sources. Use RingSource or SocketSource.

    In a forked process existing views show the ring, which both processes share, so copy before the fork what
    the child needs.

    Attributes
    ----------
    reinsert_vlan : bool
        True if VLAN tags that the kernel removed are put back; on Ethernet only.
    """

    def __cinit__(self, *args, **kwargs):
        init_lock(&self._counting)
        self._attaching = threading.RLock()

    # Implemented by subclasses.

    cdef object _look_up(self, link, netns):
        """Return the Link for the arguments `link` and `netns`."""
        if not isinstance(link, Link):
            return Link(link, netns=netns)
        check = functools.partial(check_link, link.name, link.index, link.arphrd, link.namespace)
        inside(link.netns if netns is None else netns, check)
        # Its properties have to find the interface again.
        return link if netns is None or netns == link.netns else Link(link.name, netns=netns)

    cdef CaptureSocket _new_socket(self, link):
        """Return the socket to read from."""
        return inside(link.netns, functools.partial(PacketSocket, link))

    cdef int _set_up(self) except -1:
        """Prepare the socket. `_max_len` and `_links` are known; the socket is bound afterwards."""
        raise NotImplementedError

    cdef Rows _next_rows(self):
        """Return the next rows; None if there are none now."""
        raise NotImplementedError

    cdef int64_t _delay(self) noexcept:
        """Return the maximum time in ns from a packet's arrival to the moment `_next_rows` can return it."""
        return 0

    # Opening.

    cdef int _open(self, link, dict options) except -1:
        """Open the socket with the options that all live sources have, and start capturing."""
        if not isinstance(link, (str, Link)):
            raise wrong_type("link", "a str or a Link", link)
        link = self._look_up(link, options["netns"])
        deadline_after(options["timeout"])
        self._timeout = options["timeout"]
        self._raise_down = options["link_down"] == "raise"
        self._direction = options["direction"]
        self.reinsert_vlan = options["reinsert_vlan"] and link.type == LinkType.ETHERNET
        self.max_len = resolve(options["snaplen"], link.type)
        self._links = (link,)
        names = ("filter", "extra_filter", "auto_filter", "ignore_vlans", "direction")
        self.filters = {"snaplen": self.max_len, **{name: options[name] for name in names}}
        self._interfaces = (InterfaceInfo(link, self.max_len, NANOSECONDS, filter=_text_of(self.filters)),)
        self._initialised = True
        try:
            self.socket = self._new_socket(link)  # first, so that missing privileges are reported first
            if self.starts_later:
                self.socket.drop_all()
            else:
                self.socket.attach(self.socket.compile(self.filters))
            if options["direction"] == "in":
                self.socket.ignore_outgoing()
            self._set_up()
            if options["promiscuous"]:
                self.socket.set_promiscuous()
            self._drops = self.socket.count_drops()
            self.socket.bind()
        except BaseException:
            self._shut_down()
            raise
        return 0

    cdef int start_now(self) except -1:
        """Start capturing, if `starts_later` was set before `_open`."""
        self.socket.attach(self.socket.compile(self.filters))
        return 0

    # Reading.

    cdef Rows _fill(self, int64_t deadline):
        cdef Rows rows
        if self.socket is None:
            return None
        while True:
            if load_bits(self._signal) & SIGNAL_END:
                clear_bits(self._signal, SIGNAL_END)
                self.begin_draining()
            rows = self.poll()
            if rows is not None:
                return rows
            if self.is_empty:
                if self.gone:
                    raise LinkGone(
                        errno.ENODEV, "the interface was removed: open a new source once it exists again",
                        self.socket.link.name)
                return None
            self._wait(deadline)

    cdef Rows poll(self):
        """Return the next rows without waiting; None if there are none now. `is_empty` is set at the end."""
        cdef Counters totals
        cdef bint expired = self.draining and monotonic_ns() >= self.drained
        cdef Rows rows = self._next_rows()
        if rows is not None:
            with cython.critical_section(self._event):
                rows.interfaces = self._interfaces
            if monotonic_ns() - load_i64(&self._counted_at) > COUNT_INTERVAL:
                self.count(&totals)
            return rows
        self.is_empty = self.draining and (expired or self._is_drained())
        return None

    cdef void hand_over(self, Rows rows) noexcept:
        """Count rows as read, which `poll` has returned to a group of rings."""
        self._earlier += rows.count

    cdef int begin_draining(self) except -1:
        with self._attaching:
            self.socket.drop_all()
            self.draining = True
        self.drained = monotonic_ns() + self._delay()
        return 0

    cdef bint _is_drained(self) except -1:
        """Return True if every packet that the kernel accepted was returned. There must be no current rows.
        """
        cdef Counters totals
        self.count(&totals)
        return self._earlier + totals.dropped >= totals.received

    cdef int _wait(self, int64_t deadline) except -1:
        """Wait for packets, but not longer than until the link or the end of draining must be checked."""
        cdef int64_t end = deadline
        cdef short events
        if self.check_needed and not self.gone:
            self.check_state()
            if self.gone:
                return 0
            end = sooner(end, self._event.look_again(monotonic_ns() + LINK_CHECK_INTERVAL))
        if self.draining:
            end = sooner(end, self._event.look_again(self.drained))
        try:
            events = self.socket.wait(self._event, end)
        except TimeoutError:
            if end == deadline:
                raise
            return 0
        if events & (POLLERR | POLLHUP):
            # An error that is not read would end every wait at once. Packets in the queue are read before.
            self.on_error(self.socket.take_error())
        return 0

    cdef int _awaited_fd(self) noexcept:
        return -1 if self.socket is None else self.socket.fileno()

    cdef bint _may_have_more(self) noexcept:
        return self.draining or self.check_needed or self.socket is None or self.socket.clear_reports()

    cdef int on_error(self, int pending) except -1:
        """Handle an error of the socket."""
        if pending == errno.ENETDOWN:
            self.check_needed = True
        elif pending:
            raise OSError(pending, f"capture: {os.strerror(pending)}", self.socket.link.name)
        return 0

    cdef int check_state(self) except -1:
        """Check if a link that was down still exists. Once it is up again, it need not be checked any more.
        """
        state = self.socket.link_state()
        if state == LINK_GONE:
            if not self.gone:
                self.gone = True
                self.begin_draining()  # an open block may hold packets
        elif state == LINK_UP:
            self.check_needed = False
        elif self._raise_down:
            name = self.socket.link.name
            raise LinkDown(
                errno.ENETDOWN, f"the interface is down: bring it up with `ip link set {name} up`", name)
        return 0

    # Changing the filter.

    def set_filter(self, filter):
        """Replace the filter while packets come. The kernel applies either the old one or the new one.

        No packet that matches both filters is lost or duplicated. Packets that matched the old one and are
        still in the ring or buffer are returned. All other options stay, such as `extra_filter`, `snaplen`
        and `direction`. The filter in `interfaces` is that of batches that are read from now on; a pcapng
        file has that of its first batch.

        May be called from any thread. The old filter is in effect while an expression is compiled, which
        Ctrl-C interrupts. If several threads set filters at once, one of these is in effect.

        Parameters
        ----------
        filter : str, HostSet, sequence of (code, jt, jf, k) or None
            As the option `filter`: None is the automatic one if the source has `auto_filter`, else all
            packets.

        Raises
        ------
        FilterError
            The filter is not valid. The old one stays.
        CaptureStopped
            The source is closed, was stopped, or its interface was removed.
        RuntimeError
            Another process opened the source.

        Examples
        --------
        >>> source = slimcap.open_live("eth0", filter="udp port 53")
        >>> source.set_filter("udp port 53 or tcp port 53")
        """
        self._check_capturing()
        filters = {**self.filters, "filter": filter}
        program = self.socket.compile(filters)
        with self._attaching:
            self._check_capturing()
            self.socket.attach(program)
            with cython.critical_section(self._event):  # not the source, which a reader may have locked
                self._interfaces = (self._interfaces[0]._replace(filter=_text_of(filters)),)

    cdef int _check_capturing(self) except -1:
        """Raise an exception if no packets are captured any more."""
        self._owner.check("this source")
        self._check_open()
        if self.draining or load_bits(self._signal) & SIGNAL_END:
            raise CaptureStopped("the source was stopped, or its interface removed: it captures no more")
        if self.socket is None:
            raise RuntimeError("the source was never opened")
        return 0

    # Stopping and closing.

    def stop(self):
        """Stop capturing, and end the source once all packets captured before were returned.

        Loops then end, and reads raise EOFError. With a ring that happens when the kernel hands over the
        block it was filling, about one block timeout later. May be called from any thread. Unlike this,
        `close()` ends at once and discards what was not read.
        """
        with cython.critical_section(self._event):  # not the source, which a reader may have locked
            self._event.raise_signal(SIGNAL_END)

    cdef void _tear_down(self) noexcept:
        cdef uint64_t read = self._earlier
        if self.socket is not None:
            if self.socket.is_ours():
                with nogil:
                    acquire(&self._counting)
                    self._add_counters(read)
                    self.socket.end_statistics()
                    release(&self._counting)
                with self._attaching:  # in a forked process it may be locked forever
                    self.socket.detach()
            else:
                self.socket.detach()
        if self._drops is not None and not self._drops_ended:
            self._drops.close()

    cdef int end_drops(self) except -1:
        """Close the counter of the interface's packets. After that, closing the source runs no Python code,
        in which Ctrl-C could only be printed."""
        self._drops.close()
        self._drops_ended = True
        return 0

    # Counters.

    cdef int _totals(self, Counters* totals) except -1:
        return self.count(totals)

    cdef int count(self, Counters* totals) except -1:
        """Get the counters since the source was opened; in a forked process, those at the fork."""
        cdef uint64_t read = self._earlier + self._end
        cdef int error = 0
        if self.socket is None or not self.socket.is_ours():
            totals[0] = self._counters
            return 0
        with nogil:
            acquire(&self._counting)
            error = self._add_counters(read)
            totals[0] = self._counters
            release(&self._counting)
        if error:
            raise OSError(
                error, f"getsockopt(PACKET_STATISTICS): {os.strerror(error)}", self.socket.link.name)
        return 0

    cdef int _add_counters(self, uint64_t read) noexcept nogil:
        """Add the kernel's counters to ours; return 0 or an error number. Reading them resets them.

        They have 32 bits. That they wrapped is seen by the number of packets that were `read`, so it is
        enough to count before 2^32 packets were dropped; fewer than half as many can wait to be read.
        """
        cdef Counters found
        cdef Counters* sums = &self._counters
        cdef uint64_t counter_range = self.socket.counter_range, half = counter_range // 2
        cdef int error
        error = self.socket.read_statistics(&found)
        if error:
            return error
        sums.received += found.received
        sums.dropped += found.dropped
        sums.freezes += found.freezes
        while half and sums.received + half < read + sums.dropped:
            sums.received += counter_range
        store_i64(&self._counted_at, monotonic_ns())
        return 0

    @property
    def interfaces(self):
        """Description of the interface, a tuple of one InterfaceInfo: its link, snaplen and filter."""
        with cython.critical_section(self._event):
            return () if self._interfaces is None else self._interfaces

    @property
    def link_drops(self):
        """Packets that the interface lost since the source was opened, a LinkDrops.

        They never reached the socket, and are not included in `stats()`.
        """
        return LinkDrops(0, 0, 0) if self._drops is None else self._drops.read()

    def account(self):
        """Return where the packets of the interface went, since the source was opened.

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
        >>> with slimcap.open_live("eth0", filter="tcp") as source:
        ...     for batch in source.batches():
        ...         print(source.account())
        """
        return self.account_for(self._count_read())

    cdef object account_for(self, uint64_t delivered):
        """Return the account, given the number of packets that were returned up to now."""
        cdef Counters totals
        # In this order, so that neither what is in flight nor what was filtered can be negative.
        self.count(&totals)
        counters = None if self._drops is None else self._drops.read_all()
        return account_of(counters, self._direction, totals.received, totals.dropped, delivered)

    cdef uint64_t count_returned(self) noexcept:
        """Return the number of packets that were returned or skipped, also those handed over to a group."""
        return self._count_read()

    cdef Py_ssize_t _snaplen(self) except -1:
        return self.max_len

    cdef bint _is_left_open(self) noexcept:
        return not self.is_member and isinstance(self.socket, PacketSocket) and self.socket.is_ours()

    def __repr__(self):
        name = type(self).__name__
        if self.link is None:
            return f"<{name}: never opened>"
        return f"<{name} {self.link.name!r}: {self.link.type_name}{', closed' if self.closed else ''}>"


cdef str _text_of(dict filters):
    """Return the expression that describes the filters; "" if there is none, or a program has no text."""
    given = [one for one in (filters["filter"], filters["extra_filter"]) if one is not None]
    if not all(isinstance(one, str) for one in given):
        return ""
    return given[0] if len(given) == 1 else " and ".join(f"({one})" for one in given)
