from typing import Literal

from typing_extensions import disjoint_base

from slimcap.filter import Direction, Filter, Strategy
from slimcap.packet.link import Link
from slimcap.source.live.live_source import LiveSource

@disjoint_base
class SocketSource(LiveSource):
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
        buffer_size: int = 4194304,
        batch_size: int = 64,
        timeout: float | None = None,
        link_down: Literal["wait", "raise"] = "wait",
    ) -> None: ...
