from typing import final

from typing_extensions import disjoint_base

from slimcap.filter import Filter
from slimcap.source.base import ZeroCopySource
from slimcap.source.live.rtnetlink import LinkDrops

@final
class Member: ...

@disjoint_base
class RingGroup(ZeroCopySource):
    @property
    def latency(self) -> float: ...
    @property
    def link_drops(self) -> LinkDrops: ...
    def set_filter(self, filter: Filter | None) -> None: ...
    def stop(self) -> None: ...
    def __del__(self) -> None: ...
