from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, Unpack

from typing_extensions import disjoint_base

from slimcap.packet.link import Link
from slimcap.source.base import Stats
from slimcap.source.live.account import Account
from slimcap.source.live.group.ring_group import RingGroup
from slimcap.source.live.live_options import RingOptions

class LinkChange(NamedTuple):
    kind: Literal["added", "removed", "renamed", "up", "down", "failed"]
    link: Link
    error: Exception | None = None

@disjoint_base
class InterfacesSource(RingGroup):
    def __init__(
        self,
        interfaces: str | Link | Iterable[str | Link],
        *,
        on_change: Callable[[LinkChange], object] | None = None,
        **options: Unpack[RingOptions],
    ) -> None: ...
    @property
    def buffer(self) -> int: ...
    @property
    def account_by_interface(self) -> dict[str, Account]: ...
    @property
    def stats_by_interface(self) -> dict[str, Stats]: ...
