from typing import Any, Self, TypeAlias, final

from numpy.typing import NDArray
from typing_extensions import Buffer, disjoint_base

# numpy's stubs declare arrays as buffers only for Python 3.12 and later.
_Buffer: TypeAlias = Buffer | NDArray[Any]

@final
class Lease:
    def __init__(self, source: _Buffer) -> None: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def exports(self) -> int: ...
    @property
    def released(self) -> bool: ...
    def release(self) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

# The parts of a lease, of use to C code only.

@disjoint_base
class Home: ...

@final
class Pool(Home):
    def __new__(cls, size: int) -> Self: ...
    @property
    def size(self) -> int: ...

@final
class Block:
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Window:
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Borrowed: ...

@final
class Hold: ...
