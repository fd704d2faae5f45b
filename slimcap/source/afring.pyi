from typing import Literal, final

from slimcap.filter import Filter, Strategy
from slimcap.source.base import ZeroCopySource
from slimcap.source.link import Link

@final
class RingSource(ZeroCopySource):
    def __init__(
        self,
        link: str | Link,
        *,
        snaplen: int | Strategy = 262144,
        promiscuous: bool = False,
        filter: Filter | None = None,
        auto_filter: bool = True,
        ignore_vlans: bool = False,
        block_size: int = 262144,
        num_blocks: int = 16,
        block_timeout: float = 0.01,
        timeout: float | None = None,
        link_down: Literal["wait", "raise"] = "wait",
    ) -> None: ...
    @property
    def link(self) -> Link: ...
