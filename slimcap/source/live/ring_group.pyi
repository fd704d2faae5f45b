from slimcap.packet.link import Link
from slimcap.source.base import ZeroCopySource
from slimcap.source.live.rtnetlink import LinkDrops
from typing_extensions import disjoint_base

@disjoint_base
class RingGroup(ZeroCopySource):
    @property
    def link_drops(self) -> LinkDrops: ...
    def stop(self) -> None: ...
    def __del__(self) -> None: ...
