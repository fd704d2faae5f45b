"""Opening network interfaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from slimcap.source.live.ring_source import RingSource

if TYPE_CHECKING:
    from slimcap.filter import Direction, Filter, Strategy
    from slimcap.packet.link import Link


class LiveOptions(TypedDict, total=False):
    """The options that every live source has."""

    snaplen: int | Strategy
    promiscuous: bool
    filter: Filter | None
    auto_filter: bool
    ignore_vlans: bool
    reinsert_vlan: bool
    direction: Direction
    timeout: float | None
    link_down: Literal["wait", "raise"]


class RingOptions(LiveOptions, total=False):
    """The options of `RingSource`."""

    block_size: int
    num_blocks: int
    block_timeout: float
    smaller_ring: bool


class SocketOptions(LiveOptions, total=False):
    """The options of `SocketSource`."""

    buffer_size: int
    batch_size: int


def open_live(link: str | Link, **options: Unpack[RingOptions]) -> RingSource:
    """Capture from a network interface of this host, as `ip link` lists them.

    Parameters
    ----------
    link : str or Link
        The interface.
    **options
        As `RingSource` takes them.

    Returns
    -------
    RingSource
        Close it, or use it as a context manager.

    Raises
    ------
    LinkError, FilterError, PermissionError, ValueError, OSError
        As `RingSource` does.
    """
    return RingSource(link, **options)
