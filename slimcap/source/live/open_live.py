"""Open network interfaces for capturing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from slimcap.option_set import accepts
from slimcap.source.live.live_options import RingOptions
from slimcap.source.live.ring_source import RingSource

if TYPE_CHECKING:
    from slimcap.packet.link import Link


@accepts(RingOptions)
def open_live(link: str | Link, **options: Unpack[RingOptions]) -> RingSource:
    """Capture from a network interface of this host.

    By default only IP packets are captured; ARP and all others require `auto_filter=False` or a `filter`.

    Parameters
    ----------
    link : str or Link
        The interface: its name, as listed by `ip link`, or a Link.
    **options
        Those of `RingOptions`.

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
