from typing import Unpack

from typing_extensions import disjoint_base

from slimcap.packet.link import Link
from slimcap.source.live.group.ring_group import RingGroup
from slimcap.source.live.live_options import FanoutOptions
from slimcap.source.live.ring_source import RingSource

@disjoint_base
class FanoutSource(RingGroup):
    def __init__(self, link: str | Link, **options: Unpack[FanoutOptions]) -> None: ...
    @property
    def link(self) -> Link: ...
    def workers(self) -> tuple[RingSource, ...]: ...
    def stop(self) -> None: ...
    def unblock(self) -> None: ...
