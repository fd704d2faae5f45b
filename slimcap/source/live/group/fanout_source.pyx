"""`FanoutSource`: the packets of one interface, shared by several rings (PACKET_FANOUT, packet(7)).

    interface ──► kernel: hash, CPU, queue, … of a packet ──► ring of worker 0 ──► thread
                                                         └──► ring of worker 1 ──► thread
"""
from libc.stdint cimport int64_t, uint32_t

from slimcap.abi.linux cimport (
    PACKET_FANOUT_CBPF, PACKET_FANOUT_CPU, PACKET_FANOUT_FLAG_DEFRAG, PACKET_FANOUT_FLAG_ROLLOVER,
    PACKET_FANOUT_HASH, PACKET_FANOUT_QM, PACKET_FANOUT_ROLLOVER)
from slimcap.packet.rows cimport Rows
from slimcap.source.live.packet_socket cimport PacketSocket
from slimcap.source.live.group.ring_group cimport Member, member_of
from slimcap.source.live.ring_source cimport RingSource

import errno
import os

from slimcap.errors import LinkDown, LinkGone
from slimcap.filter import check, pack
from slimcap.option_set import parse
from slimcap.source.live.account import shared_account
from slimcap.source.live.live_options import FanoutOptions, RingOptions, ring_shape
from slimcap.source.live.rtnetlink import LinkDrops

cdef dict KINDS = {
    "hash": PACKET_FANOUT_HASH, "cpu": PACKET_FANOUT_CPU, "qm": PACKET_FANOUT_QM,
    "rollover": PACKET_FANOUT_ROLLOVER, "bpf": PACKET_FANOUT_CBPF,
}


cdef unsigned int _kind_of(dict given) except? 0xffffffff:
    """Return the PACKET_FANOUT_ number and flags for the options."""
    cdef unsigned int kind = KINDS[given["fanout"]]
    if given["defrag"]:
        kind |= PACKET_FANOUT_FLAG_DEFRAG
    if given["rollover"]:
        kind |= PACKET_FANOUT_FLAG_ROLLOVER
    return kind


cdef object _program_of(dict given):
    """Return the program that chooses the worker, in the kernel's layout; None if none does."""
    program = given["fanout_program"]
    if (program is None) == (given["fanout"] == "bpf"):
        raise ValueError('fanout_program and fanout="bpf" require each other')
    return None if program is None else pack(check(program))


cdef dict _of_ring(dict given):
    """Return the options of each ring."""
    return {name: value for name, value in given.items() if name in RingOptions.__annotations__}


cdef RingSource _waiting_ring(link, dict options):
    """Open a ring that drops all packets until `start_now`."""
    cdef RingSource ring = RingSource.__new__(RingSource)
    ring.starts_later = True
    ring.__init__(link, **options)
    return ring


cdef object _refused(object error, RingSource ring):
    """Return what to raise for an error of joining a group."""
    if error.errno == errno.EINVAL and not ring.link.is_up:
        return LinkDown(
            errno.ENETDOWN,
            f"the interface is down, and cannot be shared: `ip link set {ring.link.name} up`", ring.link.name)
    return error


def open_in_group(link, **options: Unpack[FanoutOptions]):
    """Open one ring that shares the packets of an interface with other processes.

    Parameters
    ----------
    link : str or Link
        The interface.
    **options
        Those of `FanoutOptions`, with `fanout_group`.

    Returns
    -------
    RingSource

    Raises
    ------
    LinkDown, LinkNotFound, LinkGone, FilterError, PermissionError, ValueError, OSError
        As for `FanoutSource`.
    """
    cdef RingSource ring
    cdef dict given = parse(FanoutOptions, options)
    cdef uint32_t group = _kind_of(given) << 16 | <uint32_t> given["fanout_group"]
    program = _program_of(given)
    ring = _waiting_ring(link, _of_ring(given))
    try:
        (<PacketSocket> ring.socket).join_fanout(group)
        if program is not None:
            (<PacketSocket> ring.socket).choose_worker(program)
        ring.start_now()
    except OSError as error:
        ring.close()
        if error.errno == errno.EINVAL and ring.link.is_up:
            raise ValueError(
                f"fanout_group {given['fanout_group']} exists with another interface, fanout, defrag or "
                "rollover: give the same, or choose another number") from None
        raise _refused(error, ring) from None
    except BaseException:
        ring.close()
        raise
    return ring


cdef class FanoutSource(RingGroup):
    """Capture packets from one network interface with several workers. `open_live` with `workers` opens it.

    Each worker is a RingSource with its own ring, and captures a part of the packets. `workers` returns
    the workers, to read each of them in its own thread: reading releases the GIL, so that the threads use
    several CPUs. Alternatively, one thread reads the packets of all workers from this source.

    The counters are sums over the workers. `stop`, `unblock` and `close` are for all of them.

    Parameters
    ----------
    link : str or Link
        The interface. Old kernels require that it is up; others wait until it is.
    **options
        Those of `FanoutOptions`.

    Raises
    ------
    LinkDown
        The interface is down, and the kernel cannot share it until it is up.
    LinkNotFound, LinkGone, FilterError, PermissionError, RingExhausted, ValueError, OSError
        As for `RingSource`.

    Examples
    --------
    >>> with slimcap.open_live("eth0", workers=2) as source, ThreadPoolExecutor(2) as pool:
    ...     counts = pool.map(lambda worker: sum(map(len, worker.batches())), source.workers())
    """

    def __cinit__(self, *args, **kwargs):
        self._all = []

    def __init__(self, link, **options: Unpack[FanoutOptions]):
        given = parse(FanoutOptions, options)
        if given["fanout_group"] is not None:
            raise ValueError("fanout_group is for one ring: use open_live without workers")
        self._options = _of_ring(given)
        kind, program = _kind_of(given), _program_of(given)
        self._begin_opening()
        self._initialised = True
        self._timeout, self._latency = given["timeout"], ring_shape(given).timeout_ms / 1000
        try:
            self._open_epoll()
            workers = given["workers"] or len(os.sched_getaffinity(0))
            with self._filtering:   # no other thread changes the filter meanwhile
                self._join(link, self._options, workers, kind, program)
        except BaseException:
            self._shut_down()
            raise
        finally:
            self._leave()

    cdef int _join(self, link, dict options, int count, unsigned int kind, object program) except -1:
        """Open the rings and make a group of them. No packet gets in before all of them are in the group."""
        cdef RingSource ring
        cdef Member member
        cdef uint32_t group = 0
        cdef list rings = [], members = []
        for _ in range(count):
            ring = _waiting_ring(link, options)
            rings.append(ring)
            member = member_of(ring)
            self._add(member)
            members.append(member)
            try:
                if group == 0:
                    group = (<PacketSocket> ring.socket).start_fanout(kind)
                    if program is not None:
                        (<PacketSocket> ring.socket).choose_worker(program)
                else:
                    (<PacketSocket> ring.socket).join_fanout(group)
            except OSError as error:
                raise _refused(error, ring) from None
        for ring in rings:
            ring.start_now()
        self._all = members
        self._links = ring.links
        return self._describe()

    cdef int _describe(self) except -1:
        if self._all:       # else opening has failed meanwhile
            self._interfaces = (<Member> self._all[0]).ring.interfaces
        return 0

    def workers(self):
        """Return the workers, to be read one by one, each by one thread at a time.

        Afterwards this source cannot be read any more. It must be kept, and closed at the end.

        Returns
        -------
        tuple of RingSource
            In the order of the kernel's group: a program chooses a worker by its index.

        Raises
        ------
        CaptureStopped
            The source is closed.
        RuntimeError
            Packets were read from this source already, or another process opened it.
        """
        cdef Member member
        self._owner.check("this source")
        self._check_open()
        if self._is_read:
            raise RuntimeError("this source was read, so its workers cannot be: call workers() first")
        self._are_shared = True
        return tuple([member.ring for member in self._all])

    cdef Rows _fill(self, int64_t deadline):
        cdef Rows rows
        cdef RingSource ring
        if self._are_shared:
            raise RuntimeError("workers() was called: read from the workers")
        self._is_read = True
        rows = RingGroup._fill(self, deadline)
        if rows is None:
            ring = (<Member> self._all[0]).ring
            if ring.gone:
                raise LinkGone(
                    errno.ENODEV, "the interface was removed: open a new source once it exists again",
                    ring.link.name)
        return rows

    cdef int _on_removed(self, Member member, object summary) except -1:
        if member.ring.gone and not self._members:
            self._draining = True   # this is the end
        return 0

    @property
    def link_drops(self):
        """Packets that the interface lost since the source was opened, a LinkDrops.

        They never reached the workers, and are not included in `stats()`.
        """
        return (<Member> self._all[0]).ring.link_drops if self._all else LinkDrops(0, 0, 0)

    cdef object _sum_of_accounts(self):
        cdef Member member
        if not self._all:
            raise RuntimeError("the source was never opened")
        return shared_account([self._account_of(member) for member in self._all])

    def stop(self):
        """Stop capturing, and end the source and its workers once all packets captured before were returned.

        Loops then end, and reads raise EOFError. May be called from any thread.
        """
        cdef Member member
        RingGroup.stop(self)
        for member in self._all:    # also if they are not shared yet
            member.ring.stop()

    def unblock(self):
        """Make the waiting reads of all workers, or else their next ones, raise CaptureUnblocked.

        May be called from any thread.
        """
        cdef Member member
        RingGroup.unblock(self)
        for member in self._all:
            member.ring.unblock()

    def __repr__(self):
        if not self._links:
            return "<FanoutSource: never opened>"
        count, state = len(self._all), ", closed" if self.closed else ""
        return f"<FanoutSource {self.link.name!r}: {count} workers{state}>"
