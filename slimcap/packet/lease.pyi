from typing import final

from typing_extensions import Buffer, disjoint_base

@final
@disjoint_base
class Lease:
    """Read-only memory on loan to whoever looks at it.

    It is a buffer (``memoryview(lease)``, ``numpy.frombuffer(lease, "u1")``); everything made from it keeps it
    alive, and the memory goes back when the last of them dies.
    """

    def __init__(self, source: Buffer) -> None: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def exports(self) -> int: ...
    @property
    def released(self) -> bool: ...
    def release(self) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
