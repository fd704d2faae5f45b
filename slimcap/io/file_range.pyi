from typing import final

from slimcap.io.input import Input

@final
class FileRange(Input):
    def __init__(
        self, fd: int, name: str, preamble: bytes, start: int, stop: int, extent: str = "the file"
    ) -> None: ...
