"""`InterfacesSource`: several interfaces as one source, a ring for each; they may come and go.

    rtnetlink: something changed ──► list the interfaces ──► open, rename, or read to the end and close rings
"""
from libc.stdint cimport int64_t

from slimcap.abi.linux cimport c_close
from slimcap.io.event cimport deadline_after
from slimcap.packet.record cimport MAX_INTERFACES
from slimcap.packet.rows cimport Rows
from slimcap.source.base cimport Counters, stats_of
from slimcap.source.live.packet_socket cimport LINK_GONE
from slimcap.source.live.group.ring_group cimport member_of
from slimcap.source.live.ring_source cimport RingSource

import errno
import os
import warnings
from collections import deque
from contextlib import suppress
from functools import partial
from operator import add
from typing import NamedTuple

from slimcap.errors import LinkNotFound, SlimcapError, wrong_type
from slimcap.filter import program as bpf, resolve
from slimcap.option_set import parse
from slimcap.packet.enums import LinkType
from slimcap.packet.link import link_of
from slimcap.source.base import Stats
from slimcap.source.live.account import sum_of
from slimcap.source.live.host.net_namespace import inside
from slimcap.source.live.interfaces import InterfaceChoice
from slimcap.source.live.live_options import BUFFER, RingOptions, ring_shape
from slimcap.source.live.rtnetlink import LinkMonitor, check as check_link, namespace


cdef enum:
    SHARED_BUFFER = 512 << 20   # bytes of all rings
    MIN_BUFFER = 8 << 20        # bytes of each ring


class LinkChange(NamedTuple):
    """A change of the interfaces that an `InterfacesSource` captures from.

    Attributes
    ----------
    kind : {"added", "removed", "renamed", "up", "down", "failed"}
        "added": the interface has appeared, and its packets are captured from now on. "failed": it has
        appeared, but cannot be captured from; this is tried again when it changes, such as when it goes up.
        "removed": it no longer exists, or its name no longer matches, and all its packets were returned.
    link : Link
        The interface, with its new name.
    error : Exception or None, default None
        The exception that made it fail; None for all other kinds.

    Examples
    --------
    >>> def show(change):
    ...     print(change.kind, change.link.name)
    >>> source = slimcap.open_live("any", on_change=show)
    """

    kind: str
    link: object
    error: object = None


cdef class InterfacesSource(RingGroup):
    """Capture packets from several network interfaces. `open_live` opens it for more than one.

    Each interface has its own ring, with the options given and the interface's link type, so that link
    layers are complete. A batch has packets of one interface, whose number is in column `interface`: an index
    into the `links` and `interfaces` of the batch. Packets of different interfaces are not in order of time.

    `buffer` is the memory of each ring. By default it is 64 MiB for up to 8 interfaces. If there are more at
    the opening, they share 512 MiB, but each ring has at least 8 MiB; later ones are as large.
    CPU time depends on the number of blocks, and each interface with packets hands over at least one every
    `latency`: give a larger `latency` for many interfaces with few packets each.
    Each interface needs four descriptors, and five more are needed once (`ulimit -n`).

    Interfaces that appear later and match are captured from as soon as the thread that reads has opened their
    ring, which takes milliseconds; while no thread reads, none is opened. Those that are removed are read to
    their end. While an interface is down, the source waits for it. A name keeps its number: an interface that
    is removed and created again has the same one.

    Parameters
    ----------
    interfaces : str, Link or iterable of them
        Names, which must exist; patterns such as ``"eth*"``, which need not match any interface yet; "any",
        all interfaces; and names or patterns to exclude, such as ``"!docker*"``. All are of one network
        namespace: that of the option `netns`, or that of the Links if there are only Links. A name with a
        ``*``, ``?`` or ``[`` is a pattern, so give such an interface as a Link.
    on_change : callable, optional
        Called with a `LinkChange` when an interface appears, is removed or renamed, goes down or up, or
        cannot be captured from. It is called by the thread that reads, during the read; so it may call
        `stop`, `close` and `account`, but not read. An exception that it raises is raised by the read, and no
        packet is lost. Default: a RuntimeWarning if an interface cannot be captured from.
    **options
        Those of `RingOptions`, for each ring. `link_down` must be "wait".

    Raises
    ------
    LinkNotFound, LinkGone, FilterError, PermissionError, RingExhausted, ValueError, OSError
        As for `RingSource`, for any of the interfaces that exist.

    Examples
    --------
    >>> with slimcap.open_live(["eth*", "!eth9"]) as source:
    ...     for batch in source.batches():
    ...         print(batch.links[batch["interface"][0]].name, len(batch))
    """

    def __cinit__(self, *args, **kwargs):
        self._home = -1
        self._found, self._by_index, self._numbers, self._infos = {}, {}, {}, []
        self._past_stats, self._past_accounts, self._changes = {}, {}, deque()

    def __dealloc__(self):
        if self._home > 0:      # 0 if __cinit__ did not run
            c_close(self._home)

    def __init__(self, interfaces, *, on_change=None, **options: Unpack[RingOptions]):
        given = parse(RingOptions, options)
        if given["link_down"] == "raise":
            raise ValueError('link_down must be "wait" for several interfaces: they may come and go')
        if on_change is not None and not callable(on_change):
            raise wrong_type("on_change", "callable", on_change)
        deadline_after(given["timeout"])
        self._begin_opening()
        self._initialised = True
        try:
            self._choice, self._on_change, self._options = InterfaceChoice(interfaces), on_change, options
            self._timeout, self._latency = given["timeout"], ring_shape(given).timeout_ms / 1000
            self._netns = self._choice.netns(given["netns"])
            for link in self._choice.links:
                check = partial(check_link, link.name, link.index, link.arphrd, link.namespace)
                inside(self._netns, check)
            self._open_epoll()
            if self._netns is None:
                with suppress(OSError):     # /proc may not be mounted
                    self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            self._monitor = inside(self._netns, LinkMonitor)
            self._monitor_fd = self._monitor.fileno()
            self._register(self._monitor_fd, False)
            self._update(True)
        except BaseException:
            self._shut_down()
            raise
        finally:
            self._leave()

    # Interfaces.

    cdef int _on_monitor(self) except -1:
        self._update(False)
        return self._tell()

    cdef int _update(self, bint is_first) except -1:
        """Compare the interfaces that there are with those that there were.

        An exception, as from Ctrl-C, may come at any point: then the next read continues from there.
        """
        cdef Member member
        self._is_outdated = True
        listed = self._monitor.interfaces()
        chosen = {one.ifindex: one for one in listed if self._choice.has(one)}
        if is_first:
            self._set_buffer(len(chosen))
            self._check_names({name for one in listed for name in (one.name, *one.other_names)})
        renamed = {one.ifindex for one in listed} - chosen.keys()
        for index, member in list(self._by_index.items()):
            # After a removal another interface may have the index, and the socket is not bound to it. That it
            # is not listed is not enough: a list may be incomplete if interfaces change meanwhile.
            if index in renamed or member.ring.socket.link_state() == LINK_GONE:
                self._drain(member)
                del self._by_index[index]
                self._found.pop(index, None)
        for index in [one for one in self._found if one not in chosen and one not in self._by_index]:
            del self._found[index]
        for index, interface in chosen.items():
            self._compare(interface, self._found.get(index), is_first)
            self._found[index] = interface
        self._is_outdated = False
        return 0

    cdef int _check_names(self, set names) except -1:
        for name in self._choice.names:
            if name not in names:
                raise LinkNotFound(errno.ENODEV, f"no interface {name!r}: `ip link` lists all interfaces")
        return 0

    cdef int _set_buffer(self, Py_ssize_t count) except -1:
        """Set the memory of each ring, unless an option does."""
        if all(self._options.get(name) is None for name in ("buffer", "block_size", "num_blocks")):
            buffer = min(BUFFER, max(SHARED_BUFFER // max(count, 1), MIN_BUFFER))
            self._options = {**self._options, "buffer": buffer}
        return 0

    cdef int _compare(self, interface, former, bint is_first) except -1:
        """Open the ring of an interface, or note how it has changed."""
        cdef Member member = self._by_index.get(interface.ifindex)
        if member is None:
            if interface != former and not self._draining:   # else it has failed before
                self._open_ring(interface, is_first)
            return 0
        if former is None:      # an exception came just after it was opened
            return 0
        if interface.name != former.name:
            link = self._link_of(interface)
            change = LinkChange("renamed", link)
            self._number(member, link)
            self._changes.append(change)
        if interface.is_up != former.is_up:
            change = "up" if interface.is_up else "down"
            self._changes.append(LinkChange(change, self._link_of(interface)))
        return 0

    cdef object _link_of(self, interface):
        """Return the Link of an interface, for any thread: one may read that is in another namespace."""
        netns = self._netns
        if netns is None and self._home >= 0 and namespace() != self._monitor.namespace:
            netns = f"/proc/{os.getpid()}/fd/{self._home}"
        return link_of(interface, netns)

    cdef int _open_ring(self, interface, bint is_first) except -1:
        """Open the ring of an interface, unless it is gone by now: then the monitor reports that."""
        cdef RingSource ring
        link = self._link_of(interface)
        added = LinkChange("added", link)
        with self._filtering:   # no other thread changes the filter meanwhile
            options = self._options
            try:
                ring = RingSource(link, **options)
            except (SlimcapError, OSError, ValueError, MemoryError) as error:   # not those of signal handlers
                if getattr(error, "errno", None) != errno.ENODEV:
                    if is_first:
                        raise
                    self._changes.append(LinkChange("failed", link, error))
                return 0
            self._add_ring(ring, link)
            if options is not self._options:    # but a signal handler may
                ring.set_filter(self._options["filter"])
                self._describe()
        if not is_first:
            self._changes.append(added)
        return 0

    cdef int _add_ring(self, RingSource ring, link) except -1:
        cdef Member member
        try:
            member = member_of(ring)
            self._number(member, link)
            self._add(member)
        except BaseException:
            ring.close()
            raise
        self._by_index[link.index] = member
        return 0

    cdef int _number(self, Member member, link) except -1:
        """Give a ring the number of its interface: that which its name had before, or the next one."""
        cdef Member other
        with self._filtering:
            number = self._numbers.get(link.name, len(self._infos))
            if number == MAX_INTERFACES:
                used = {other.ring.walker.interface for other in self._members.values()}
                number = next(free for free in range(MAX_INTERFACES) if free not in used)
                self._numbers.pop(self._infos[number].link.name, None)
            info = member.ring.interfaces[0]._replace(link=link)
            if number == len(self._infos):
                self._infos.append(info)
            self._infos[number], self._numbers[link.name] = info, number
            self._links = tuple([one.link for one in self._infos])
            self._interfaces = tuple(self._infos)
            member.ring.walker.interface = number
        return 0

    cdef int _describe(self) except -1:
        cdef Member member
        for member in self._members.values():
            number = member.ring.walker.interface
            self._infos[number] = self._infos[number]._replace(filter=member.ring.interfaces[0].filter)
        self._interfaces = tuple(self._infos)
        return 0

    cdef object _summary_of(self, Member member):
        """Return the new sums of the rings that were closed, by name, and the change to report or None."""
        cdef Counters totals
        link = self._links[member.ring.walker.interface]
        member.ring.count(&totals)
        past = self._past_stats.get(link.name, Stats(0, 0, 0))
        accounts = [self._account_of(member)]
        if link.name in self._past_accounts:
            accounts.append(self._past_accounts[link.name])
        return (
            {**self._past_stats, link.name: Stats(*map(add, past, stats_of(&totals)))},
            {**self._past_accounts, link.name: sum_of(accounts)},
            None if self._draining else LinkChange("removed", link))

    cdef int _on_removed(self, Member member, object summary) except -1:
        self._past_stats, self._past_accounts, change = summary
        if change is not None:
            self._changes.append(change)
        return self._tell()

    cdef Rows _fill(self, int64_t deadline):
        if self._is_outdated:   # an exception came meanwhile
            self._update(False)
        self._tell()    # what an exception of `on_change` has left
        return RingGroup._fill(self, deadline)

    cdef int _tell(self) except -1:
        """Report the changes."""
        while self._changes:
            change = self._changes.popleft()
            if self._on_change is not None:
                self._on_change(change)
            elif change.error is not None:
                warnings.warn(
                    f"cannot capture from {change.link.name!r}, which has appeared: {change.error}",
                    RuntimeWarning, stacklevel=1)
        return 0

    cdef void _tear_down(self) noexcept:
        RingGroup._tear_down(self)
        if self._home >= 0:
            c_close(self._home)
            self._home = -1
        if self._monitor is not None:
            self._monitor.close()

    cdef Py_ssize_t _snaplen(self) except -1:
        """Return the maximum of all interfaces, also of those to come."""
        snaplen = self._options and self._options.get("snaplen")
        return resolve(snaplen, LinkType.ETHERNET) if isinstance(snaplen, int) else bpf.MAX_SNAPLEN

    @property
    def buffer(self):
        """Memory of each ring in bytes."""
        shape = ring_shape(parse(RingOptions, self._options))
        return shape.block_size * shape.num_blocks

    @property
    def stats_by_interface(self):
        """Counters since the source was opened, a dict: name of the interface → Stats. They are never reset.

        The counters of an interface that is renamed move to its new name.
        """
        cdef Member member
        cdef Counters found
        # Together, so that each ring is among the members or among the past ones.
        cdef dict members = self._members, totals = dict(self._past_stats)
        for member in members.values():
            member.ring.count(&found)
            name = self._links[member.ring.walker.interface].name
            totals[name] = Stats(*map(add, totals.get(name, (0, 0, 0)), stats_of(&found)))
        return totals

    @property
    def account_by_interface(self):
        """The account of each interface, a dict: name of the interface → Account.

        The counters of an interface that was removed are gone: its `link_packets` is None. The account of one
        that is renamed moves to its new name.
        """
        cdef Member member
        cdef dict members = self._members, past = self._past_accounts
        cdef dict found = {name: [account] for name, account in past.items()}
        for member in members.values():
            name = self._links[member.ring.walker.interface].name
            found.setdefault(name, []).append(self._account_of(member))
        return {name: sum_of(accounts) for name, accounts in found.items()}

    cdef object _sum_of_accounts(self):
        return sum_of(self.account_by_interface.values())

    def __repr__(self):
        cdef Member member
        names = sorted([self._links[member.ring.walker.interface].name for member in self._members.values()])
        shown = ", ".join(names) or "no interface"
        return f"<InterfacesSource: {shown}{', closed' if self.closed else ''}>"
