"""Open network interfaces for capturing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Unpack, cast, overload

from slimcap.option_set import accepts
from slimcap.source.live.interfaces import are_several
from slimcap.source.live.interfaces_source import InterfacesSource
from slimcap.source.live.live_options import RingOptions
from slimcap.source.live.ring_source import RingSource

if TYPE_CHECKING:
    from slimcap.packet.link import Link
    from slimcap.source.live.interfaces_source import LinkChange


@overload
def open_live(interfaces: Link, **options: Unpack[RingOptions]) -> RingSource: ...
@overload
def open_live(
    interfaces: str,
    *,
    on_change: Callable[[LinkChange], object] | None = None,
    **options: Unpack[RingOptions],
) -> RingSource | InterfacesSource: ...
@overload
def open_live(
    interfaces: Iterable[str | Link],
    *,
    on_change: Callable[[LinkChange], object] | None = None,
    **options: Unpack[RingOptions],
) -> InterfacesSource: ...
@accepts(RingOptions)
def open_live(
    interfaces: str | Link | Iterable[str | Link],
    *,
    on_change: Callable[[LinkChange], object] | None = None,
    **options: Unpack[RingOptions],
) -> RingSource | InterfacesSource:
    """Capture from one network interface of this host, or from several.

    By default only IP packets are captured; ARP and all others require `auto_filter=False` or a `filter`.

    Parameters
    ----------
    interfaces : str, Link or iterable of them
        The interface: its name, as listed by `ip link`, or a Link. A Link with `netns` is opened in that
        network namespace. For several: a pattern such as ``"eth*"``, "any" for all, or an iterable of names,
        patterns, Links, and names or patterns to exclude, such as ``["any", "!docker*"]``. Those that appear
        later and match are captured from, too.
    on_change : callable, optional
        For several interfaces: called with a `LinkChange` when one appears, is removed or renamed, goes down
        or up, or cannot be captured from, as for `InterfacesSource`.
    **options
        Those of `RingOptions`; with several interfaces each has a ring with these.

    Returns
    -------
    RingSource or InterfacesSource
        InterfacesSource for a pattern, "any" and an iterable, even of one name. Close it, or use it as a
        context manager.

    Raises
    ------
    LinkError, FilterError, PermissionError, ValueError, OSError
        As for `RingSource`.

    Examples
    --------
    >>> with slimcap.open_live("eth0", filter="tcp port 443") as source:
    ...     for batch in source.batches():
    ...         print(len(batch), source.stats())
    >>> with slimcap.open_live("any") as source:
    ...     batch = source.next_batch()
    ...     print(batch.links[batch["interface"][0]].name)
    """
    if are_several(interfaces):
        return InterfacesSource(interfaces, on_change=on_change, **options)
    if on_change is not None:
        raise ValueError("on_change is for several interfaces: give a list, a pattern or \"any\"")
    return RingSource(cast("str | Link", interfaces), **options)
