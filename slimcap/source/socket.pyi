from typing import Self, final

from slimcap.source.link import Link

@final
class PacketSocket:
    def __new__(cls, link: Link) -> Self: ...
    @property
    def fd(self) -> int: ...
    @property
    def link(self) -> Link: ...
