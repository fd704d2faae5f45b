from typing import Self, final

from typing_extensions import disjoint_base

from slimcap.packet.link import Link

@disjoint_base
class CaptureSocket:
    @property
    def link(self) -> Link: ...

@final
class PacketSocket(CaptureSocket):
    def __new__(cls, link: Link) -> Self: ...
    @property
    def fd(self) -> int: ...
