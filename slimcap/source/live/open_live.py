"""Open network interfaces for capturing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from slimcap.source.live.ring_source import RingSource

if TYPE_CHECKING:
    from slimcap.filter import Direction, Filter, Strategy
    from slimcap.packet.link import Link


class LiveOptions(TypedDict, total=False):
    """Keyword options of every live source."""

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
    """Keyword options of `RingSource`."""

    block_size: int
    num_blocks: int
    block_timeout: float
    smaller_ring: bool


class SocketOptions(LiveOptions, total=False):
    """Keyword options of `SocketSource`."""

    buffer_size: int
    batch_size: int


def open_live(link: str | Link, **options: Unpack[RingOptions]) -> RingSource:
    """Capture from a network interface of this host.

    Parameters
    ----------
    link : str or Link
        The interface: its name, as listed by `ip link`, or a Link.
    **options
        As for `RingSource`: `snaplen`, `promiscuous`, `filter`, `auto_filter`, `ignore_vlans`,
        `reinsert_vlan`, `direction`, `block_size`, `num_blocks`, `block_timeout`, `smaller_ring`, `timeout`
        and `link_down`.

    Returns
    -------
    RingSource
        Close it, or use it as a context manager.

    Raises
    ------
    LinkError, FilterError, PermissionError, ValueError, OSError
        As for `RingSource`.

    Examples
    --------
    >>> with slimcap.open_live("eth0", filter="tcp port 443") as source:
    ...     for batch in source.batches():
    ...         print(len(batch), source.stats())
    """
    return RingSource(link, **options)
