"""Mock sources: RingSource and SocketSource whose packets come from this process, not from the kernel.

They are read by the same code as the kernel's data: `MockRingSource` has real TPACKET_V3 blocks in a ring,
`MockSocketSource` real messages with their control data. Filters, snaplen, VLAN tags, counters, lent blocks,
waiting and the end of the capture work as in live capture. Only the interface need not exist, and no
privileges are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, Unpack

from slimcap.errors import integer, wrong_type
from slimcap.option_set import accepts
from slimcap.packet.batch import Batch
from slimcap.packet.link import Link
from slimcap.packet.packet import Packet
from slimcap.source.base import Source
from slimcap.source.live.live_options import RingOptions, SocketOptions
from slimcap.source.mock.mock_socket import MockSocket, RingMock, Schedule, SocketMock
from slimcap.source.mock.replay import Replay

WhenFull = Literal["wait", "drop"]


class _Compiled(Protocol):
    """The attributes of RingMock and SocketMock that `_Mock` uses."""

    @property
    def device(self) -> MockSocket: ...
    def stop(self) -> None: ...
    def done(self) -> None: ...
    def _repeat(self) -> None: ...


class _Mock:
    """Producer methods of both mocks. The producer may run in the reader's thread or in another one."""

    def _begin(self: _Compiled, when_full: WhenFull) -> None:
        if when_full not in ("wait", "drop"):
            raise ValueError(f'when_full must be "wait" or "drop", not {when_full!r}')
        self.device.drop_when_full = when_full == "drop"

    def add_packet(self: _Compiled, packet: Packet, timeout: float | None = None) -> bool:
        """Add a packet, as if it had arrived at the interface.

        As in the kernel, the VLAN tag of a received packet is removed; a packet of type OUTGOING keeps it. A
        timestamp of 0 is replaced by the current time.

        Parameters
        ----------
        packet : Packet
            The packet, from the link-layer header on.
        timeout : float, optional
            Maximum time in seconds to wait for space, with `when_full="wait"`. Default: no maximum.

        Returns
        -------
        bool
            True if the packet passed the filter.

        Raises
        ------
        CaptureStopped
            The mock is closed.
        TimeoutError
            There was no space in time: no reader, or its views still use the memory.
        ValueError
            After `run(drain=False)`.
        """
        return self.device.add_packet(packet, timeout)

    def add_batch(self: _Compiled, batch: Batch, timeout: float | None = None) -> int:
        """Add a batch's packets, without the GIL; see `add_packet`.

        Parameters
        ----------
        batch : Batch
            The packets to add.
        timeout : float, optional
            Maximum time in seconds to wait for space for all of them. Default: no maximum.

        Returns
        -------
        int
            Number of packets that passed the filter.
        """
        return self.device.add_batch(batch, timeout=timeout)

    def add_packet_from(self: _Compiled, source: Source, timeout: float | None = None) -> bool:
        """Add the next packet of another source; see `add_packet`.

        Parameters
        ----------
        source : Source
            Its exceptions, such as EOFError, are propagated.
        timeout : float, optional
            Maximum time in seconds to wait for the packet, and then for space. Default: that of `source`, and
            no maximum.

        Returns
        -------
        bool
            True if the packet passed the filter.
        """
        _check_source(source)
        return self.device.add_batch(source.next_batch(1, timeout), timeout=timeout) == 1

    @property
    def can_add_packets(self: _Compiled) -> bool:
        """True if the next packet has space at once, provided it is no longer than those before it."""
        return self.device.has_space

    def on_packet_added(self: _Compiled, fn: Callable[[Packet], object] | None) -> None:
        """Set the callback for added packets.

        Parameters
        ----------
        fn : callable or None
            Called in the producer's thread with each packet that was added and passed the filter. None: no
            callback.
        """
        self.device.set_added(fn)

    def run(self: _Compiled, *, drain: bool = True) -> None:
        """Start the block timer: an open block is handed over one block timeout after its first packet.

        Parameters
        ----------
        drain : bool, default True
            False: return the packets added so far again and again, for benchmarks. Nothing can be added any
            more.

        Raises
        ------
        ValueError
            With `drain=False`: no packets were added, or a ring was read before.
        """
        if drain:
            self.device.start()
        else:
            self._repeat()

    def pipe(
        self: _Compiled,
        source: Source,
        *,
        speed: float | None = None,
        rate: float | None = None,
        restamp: bool = False,
    ) -> Replay:
        """Start a thread that adds all packets of another source.

        Also starts the block timer, as `run()` does.

        Parameters
        ----------
        source : Source
            A file, another mock, a live capture. It stays open.
        speed : float, optional
            Replay the intervals between the packets' timestamps, this many times faster: 1 keeps them, 2
            halves them. Default: as fast as possible, unless `rate` is given.
        rate : float, optional
            Packets per second; not together with `speed`. Default: as fast as possible.
        restamp : bool, default False
            Replace the packets' timestamps by the times at which they are added.

        Returns
        -------
        Replay
            To wait for the end, to stop it, and to get the packets' delays.

        Raises
        ------
        ValueError
            Both `speed` and `rate` are given, or they are out of range.
        """
        _check_source(source)
        schedule = None if speed is None and rate is None else Schedule(speed, rate)
        self.device.start()
        return Replay(source, self.device, schedule, self.done, restamp=restamp)

    def done(self: _Compiled) -> None:
        """End the input: the capture ends once everything was read."""
        self.device.finalize()
        self.stop()

    def drop(self: _Compiled, count: int) -> None:
        """Count packets as received and dropped.

        Blocks are marked LOSING until the counters are read.

        Parameters
        ----------
        count : int
            Number of packets.
        """
        self.device.drop(integer("count", count))

    def freeze(self: _Compiled) -> None:
        """Simulate a full buffer from now on: packets are dropped, and a ring counts a freeze."""
        self.device.freeze(True)

    def thaw(self: _Compiled) -> None:
        """End `freeze`."""
        self.device.freeze(False)

    def set_link(self: _Compiled, state: Literal["up", "down", "gone"]) -> None:
        """Simulate a change of the interface. Packets that are added while it is not up are lost.

        Parameters
        ----------
        state : {"up", "down", "gone"}
            The new state; "gone" is a removed interface.

        Raises
        ------
        ValueError
            `state` is not one of these.
        """
        self.device.set_link(state)


def _check_source(source: object) -> None:
    if not isinstance(source, Source):
        raise wrong_type("source", "a Source", source)


@accepts(RingOptions)
class MockRingSource(RingMock, _Mock):
    """A RingSource without an interface: a producer in this process fills the ring.

    A block is handed over when it is full, by `finalize_block()`, and, after `run()`, one block timeout after
    its first packet.

    libpcap compiles `vlan` for live capture only for an interface that it can open. Without CAP_NET_RAW, or
    if neither an interface with the link's name nor `lo` is up, a filter expression with `vlan` is matched
    against packets as they were on the wire. Then a part of it that does not name a VLAN does not match
    tagged packets, and `inbound` and `outbound` raise FilterError; the option `direction` still works.

    Parameters
    ----------
    link : str or Link, default "mock"
        The simulated interface; a name stands for an Ethernet interface.
    when_full : {"wait", "drop"}, default "wait"
        What happens to a packet when all blocks are full: the producer waits, or it is dropped and counted.
    **options
        Those of `RingOptions`. `netns` is checked, but not entered.

    Raises
    ------
    ValueError
        An option is out of range.
    FilterError
        The filter cannot be compiled, or is not a valid program.

    Examples
    --------
    >>> from slimcap.mock import MockRingSource, build_packet
    >>> packet = build_packet("192.0.2.1", "192.0.2.2", 1234, 53, payload=b"x")
    >>> with MockRingSource() as source:
    ...     print(source.add_packet(packet), source.finalize_block(), source.next_packet().total_len)
    True True 43
    """

    def __init__(
        self, link: str | Link = "mock", *, when_full: WhenFull = "wait", **options: Unpack[RingOptions]
    ) -> None:
        RingMock.__init__(self, link, **options)
        self._begin(when_full)

    def finalize_block(self) -> bool:
        """Hand over the open block.

        Returns
        -------
        bool
            True if there was an open block.
        """
        return self.device.finalize()

    def add_empty_block(self) -> bool:
        """Hand over a block without packets.

        Returns
        -------
        bool
            True if there was space for it.
        """
        return self.device.add_empty_block()

    def force_block_release(self) -> None:
        """Discard the blocks that were handed over and not read. Blocks that views show stay lent.

        Raises
        ------
        RuntimeError
            Another thread is reading.
        """
        self._release_blocks()


@accepts(SocketOptions)
class MockSocketSource(SocketMock, _Mock):
    """A SocketSource without an interface: a producer in this process writes the messages.

    Parameters
    ----------
    link : str or Link, default "mock"
        The simulated interface; a name stands for an Ethernet interface.
    when_full : {"wait", "drop"}, default "wait"
        What happens to a packet when the buffer is full: the producer waits, or it is dropped and counted.
    **options
        Those of `SocketOptions`. `netns` is checked, but not entered.

    Raises
    ------
    ValueError
        An option is out of range.
    FilterError
        The filter cannot be compiled, or is not a valid program.

    Examples
    --------
    >>> from slimcap.mock import MockSocketSource, build_packet
    >>> packet = build_packet("192.0.2.1", "192.0.2.2", 1234, 53, payload=b"x")
    >>> with MockSocketSource() as source:
    ...     print(source.add_packet(packet), source.next_packet().total_len)
    True 43
    """

    def __init__(
        self, link: str | Link = "mock", *, when_full: WhenFull = "wait", **options: Unpack[SocketOptions]
    ) -> None:
        SocketMock.__init__(self, link, **options)
        self._begin(when_full)
