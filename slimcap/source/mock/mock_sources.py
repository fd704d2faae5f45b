"""Mock sources: RingSource and SocketSource whose packets this process adds, and no kernel.

They read with the code that reads the kernel's: `MockRingSource` has real TPACKET_V3 blocks in a ring,
`MockSocketSource` real messages with their control data. Filters, snaplen, VLAN tags, counters, blocks on
loan, waiting and the end are as live; only the interface need not be there, and no privilege is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, Unpack

from slimcap.packet.batch import Batch
from slimcap.packet.link import Link
from slimcap.packet.packet import Packet
from slimcap.source.base import Source
from slimcap.source.live.open_live import RingOptions, SocketOptions
from slimcap.source.mock.mock_socket import MockSocket, Pace, RingMock, SocketMock
from slimcap.source.mock.replay import Replay

WhenFull = Literal["wait", "drop"]


class _Compiled(Protocol):
    """What RingMock and SocketMock have, and `_Mock` needs."""

    @property
    def device(self) -> MockSocket: ...
    def stop(self) -> None: ...
    def done(self) -> None: ...
    def _keep(self) -> None: ...


class _Mock:
    """What both mocks let a producer do. Its thread may be the reader's or another."""

    def _begin(self: _Compiled, when_full: WhenFull) -> None:
        if when_full not in ("wait", "drop"):
            raise ValueError(f'when_full is "wait" or "drop", not {when_full!r}')
        self.device.drop_when_full = when_full == "drop"

    def add_packet(self: _Compiled, packet: Packet, timeout: float | None = None) -> bool:
        """Add a packet, as if it had come to the interface.

        What came in gets its VLAN tag taken out, as by the kernel; a packet of type OUTGOING keeps it. A
        timestamp of 0 becomes the time now.

        Parameters
        ----------
        packet : Packet
            From the link-layer header on.
        timeout : float, optional
            Seconds to wait for room, if it is to wait.

        Returns
        -------
        bool
            Whether it passed the filter.

        Raises
        ------
        CaptureStopped
            The mock is closed.
        TimeoutError
            There was no room: nobody reads, or what was read is still held.
        """
        return self.device.add_packet(packet, timeout)

    def add_batch(self: _Compiled, batch: Batch, timeout: float | None = None) -> int:
        """Add a batch's packets, without the GIL; see `add_packet`.

        Returns
        -------
        int
            How many passed the filter.
        """
        return self.device.add_batch(batch, timeout=timeout)

    def add_packet_from(self: _Compiled, source: Source, timeout: float | None = None) -> bool:
        """Add the next packet of another source, whose exceptions go through; see `add_packet`."""
        return self.device.add_batch(source.next_batch(1, timeout), timeout=timeout) == 1

    @property
    def can_add_packets(self: _Compiled) -> bool:
        """Whether the next packet would find room at once, if it is no longer than those before it."""
        return self.device.has_room

    def on_packet_added(self: _Compiled, fn: Callable[[Packet], object] | None) -> None:
        """Have `fn` called with each packet that came in, in the producer's thread; None: no more."""
        self.device.set_added(fn)

    def run(self: _Compiled, *, drain: bool = True) -> None:
        """Let time pass: from now on an open block is handed over a block timeout after its first packet.

        Parameters
        ----------
        drain : bool
            False: what was added up to now is read again and again, for ever, for benchmarks. Nothing can be
            added any more.
        """
        if drain:
            self.device.start()
        else:
            self._keep()

    def pipe(
        self: _Compiled,
        source: Source,
        *,
        speed: float | None = None,
        rate: float | None = None,
        restamp: bool = False,
    ) -> Replay:
        """Add all packets of another source, in a thread of their own; `run` comes with it.

        Parameters
        ----------
        source : Source
            A file, another mock, a live capture. It stays open.
        speed : float, optional
            Keep the time between the packets' timestamps: 1 is as it was, 2 twice as fast. As fast as can be
            if neither this nor `rate` is given.
        rate : float, optional
            Packets a second.
        restamp : bool
            Give packets the time at which they are added, instead of keeping theirs.

        Returns
        -------
        Replay
            To wait for, to stop, and to ask how late the packets were.
        """
        pace = None if speed is None and rate is None else Pace(speed, rate)
        self.device.start()
        return Replay(source, self.device, pace, self.done, restamp=restamp)

    def done(self: _Compiled) -> None:
        """Add nothing any more: the capture ends when all is read."""
        self.device.finalize()
        self.stop()

    def drop(self: _Compiled, count: int) -> None:
        """Have so many packets counted as come and dropped; blocks say LOSING until the counters are read."""
        self.device.drop(count)

    def freeze(self: _Compiled) -> None:
        """Have no room from now on: packets are dropped, and a ring counts a freeze."""
        self.device.freeze(True)

    def thaw(self: _Compiled) -> None:
        """End `freeze`."""
        self.device.freeze(False)

    def set_link(self: _Compiled, state: Literal["up", "down", "gone"]) -> None:
        """Let the interface go down, come up again, or vanish. While it is not up, what is added is lost."""
        self.device.set_link(state)


class MockRingSource(RingMock, _Mock):
    """A RingSource without an interface: a producer in this process fills its ring.

    A block is handed over when it is full, by `finalize_block()`, and, after `run()`, a block timeout after
    its first packet.

    Without CAP_NET_RAW, or if neither an interface of the link's name nor `lo` is up, an expression with
    `vlan` is matched against packets as they were on the wire, since libpcap compiles the kernel's way of it
    only for interfaces that it can open: a part of it that names no VLAN then does not match tagged packets.
    `inbound` and `outbound` are refused then; the option `direction` is not.

    Parameters
    ----------
    link : str or Link
        What to be the source of; a name is that of an Ethernet interface.
    when_full : {"wait", "drop"}
        What becomes of a packet for which every block is full: the producer waits, or it is dropped and
        counted.
    **options
        As RingSource has them.
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
            Whether there was one.
        """
        return self.device.finalize()

    def add_empty_block(self) -> bool:
        """Hand over a block without packets.

        Returns
        -------
        bool
            Whether there was room for one.
        """
        return self.device.add_empty_block()

    def force_block_release(self) -> None:
        """Forget what was handed over and not read, to make room. Blocks that views show stay on loan."""
        self._release_blocks()


class MockSocketSource(SocketMock, _Mock):
    """A SocketSource without an interface: a producer in this process writes its messages.

    Parameters
    ----------
    link : str or Link
        What to be the source of; a name is that of an Ethernet interface.
    when_full : {"wait", "drop"}
        What becomes of a packet for which there is no room in the buffer: the producer waits, or it is
        dropped and counted.
    **options
        As SocketSource has them. For expressions see MockRingSource.
    """

    def __init__(
        self, link: str | Link = "mock", *, when_full: WhenFull = "wait", **options: Unpack[SocketOptions]
    ) -> None:
        SocketMock.__init__(self, link, **options)
        self._begin(when_full)
