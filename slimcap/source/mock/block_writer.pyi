from typing import Self, final

from slimcap.source.live.ring import Ring

@final
class BlockWriter:
    def __new__(cls, ring: Ring) -> Self: ...
