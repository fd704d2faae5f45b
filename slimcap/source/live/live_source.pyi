from typing_extensions import disjoint_base

from slimcap.packet.link import Link
from slimcap.source.base import ZeroCopySource
from slimcap.source.live.rtnetlink import LinkDrops

@disjoint_base
class LiveSource(ZeroCopySource):
    @property
    def link(self) -> Link: ...
    @property
    def link_drops(self) -> LinkDrops: ...
    @property
    def reinsert_vlan(self) -> bool: ...
    def stop(self) -> None: ...
