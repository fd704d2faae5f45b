from typing import Literal

from typing_extensions import disjoint_base

from slimcap.filter import Direction, Filter, Strategy
from slimcap.packet.link import Link
from slimcap.source.live.live_source import LiveSource

@disjoint_base
class RingSource(LiveSource):
    def __init__(
        self,
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
    ) -> None: ...
    @property
    def block_size(self) -> int: ...
    @property
    def num_blocks(self) -> int: ...
