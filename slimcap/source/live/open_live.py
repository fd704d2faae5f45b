"""Open network interfaces for capturing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from slimcap.source.live.ring_source import RingSource
from slimcap.source.option_docs import with_options_of

if TYPE_CHECKING:
    from slimcap.filter import Direction, Filter, Strategy
    from slimcap.packet.link import Link


@with_options_of(RingSource)
def open_live(
    link: str | Link,
    *,
    snaplen: int | Strategy = 262144,
    promiscuous: bool = False,
    filter: Filter | None = None,
    auto_filter: bool = True,
    ignore_vlans: bool = False,
    reinsert_vlan: bool = False,
    direction: Direction = "both",
    block_size: int = 1048576,
    num_blocks: int = 16,
    block_timeout: float = 0.01,
    smaller_ring: bool = False,
    timeout: float | None = None,
    link_down: Literal["wait", "raise"] = "wait",
) -> RingSource:
    """Capture from a network interface of this host.

    Parameters
    ----------
    link : str or Link
        The interface: its name, as listed by `ip link`, or a Link.
    snaplen, promiscuous, filter, auto_filter, ignore_vlans, reinsert_vlan, direction
        The packets to capture, and how many bytes of each: as for `RingSource`.
    block_size, num_blocks, block_timeout, smaller_ring
        The ring: as for `RingSource`.
    timeout, link_down
        Waiting: as for `RingSource`.

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
    return RingSource(
        link,
        snaplen=snaplen,
        promiscuous=promiscuous,
        filter=filter,
        auto_filter=auto_filter,
        ignore_vlans=ignore_vlans,
        reinsert_vlan=reinsert_vlan,
        direction=direction,
        block_size=block_size,
        num_blocks=num_blocks,
        block_timeout=block_timeout,
        smaller_ring=smaller_ring,
        timeout=timeout,
        link_down=link_down,
    )
