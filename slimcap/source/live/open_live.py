"""Open network interfaces for capturing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, Unpack, cast, overload

from slimcap.option_set import accepts, options_of
from slimcap.source.live.group.fanout_source import FanoutSource, open_in_group
from slimcap.source.live.group.interfaces_source import InterfacesSource
from slimcap.source.live.interfaces import are_several
from slimcap.source.live.live_options import FanoutOptions, RingOptions, SharingOptions
from slimcap.source.live.ring_source import RingSource

if TYPE_CHECKING:
    from slimcap.packet.link import Link
    from slimcap.source.live.group.interfaces_source import LinkChange

LiveCapture: TypeAlias = RingSource | InterfacesSource | FanoutSource
"""The sources that `open_live` opens."""

_OF_RING: Final = options_of(RingOptions)


@overload
def open_live(interfaces: Link, **options: Unpack[RingOptions]) -> RingSource: ...
@overload
def open_live(  # type: ignore[overload-overlap]  # a str is an iterable of str, too
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
@overload
def open_live(interfaces: str | Link, *, workers: int, **options: Unpack[SharingOptions]) -> FanoutSource: ...
@overload
def open_live(
    interfaces: str | Link, *, fanout_group: int, **options: Unpack[SharingOptions]
) -> RingSource: ...
@accepts(FanoutOptions)
def open_live(
    interfaces: str | Link | Iterable[str | Link],
    *,
    on_change: Callable[[LinkChange], object] | None = None,
    **options: Unpack[FanoutOptions],
) -> RingSource | InterfacesSource | FanoutSource:
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
        Those of `FanoutOptions`. Each interface, and each worker, has a ring with these.

    Returns
    -------
    RingSource, InterfacesSource or FanoutSource
        FanoutSource with `workers`; InterfacesSource for a pattern, "any" and an iterable, even of one name.
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
    >>> with slimcap.open_live("any") as source:
    ...     batch = source.next_batch()
    ...     print(batch.links[batch["interface"][0]].name)
    """
    several = are_several(interfaces)
    if on_change is not None and not several:
        raise ValueError('on_change is for several interfaces: give a list, a pattern or "any"')
    of_group = [name for name in options if name in options_of(FanoutOptions) and name not in _OF_RING]
    given: Any = {name: value for name, value in options.items() if value is not None}
    if of_group and several:
        raise ValueError(f"{of_group[0]} is for one interface: open a source for each")
    if "workers" in given:
        return FanoutSource(cast("str | Link", interfaces), **given)
    if "fanout_group" in given:
        return open_in_group(cast("str | Link", interfaces), **given)
    if of_group and of_group[0] in given:
        raise ValueError(f"{of_group[0]} requires workers or fanout_group")
    if several:
        return InterfacesSource(interfaces, on_change=on_change, **given)
    return RingSource(cast("str | Link", interfaces), **given)
