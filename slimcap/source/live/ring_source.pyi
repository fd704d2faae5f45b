from typing import Unpack

from typing_extensions import disjoint_base

from slimcap.packet.link import Link
from slimcap.source.live.live_options import RingOptions
from slimcap.source.live.live_source import LiveSource

@disjoint_base
class RingSource(LiveSource):
    def __init__(self, link: str | Link, **options: Unpack[RingOptions]) -> None: ...
    @property
    def block_size(self) -> int: ...
    @property
    def num_blocks(self) -> int: ...
    @property
    def latency(self) -> float: ...
