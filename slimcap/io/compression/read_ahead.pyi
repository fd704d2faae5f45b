from collections.abc import Callable
from typing import Final, final

from slimcap.io.compression.stream_reader import Chunk, Reader

MAX_QUEUED: Final[int]

@final
class Queue: ...

@final
class ReadAhead:
    def __init__(self, reader: Reader, close: Callable[[], object]) -> None: ...
    def take(self, size: int) -> list[Chunk] | None: ...
    def close(self) -> None: ...
