from typing import Self, final

from slimcap.source.ring import Ring

@final
class BlockWriter:
    def __new__(cls, ring: Ring) -> Self: ...
