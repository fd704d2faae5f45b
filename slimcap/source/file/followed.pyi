from typing import final

from slimcap.filter import Filter, Machine
from slimcap.io.watch import EndPolicy
from slimcap.source.file.open_files import Files
from slimcap.source.file.several import FilesSource

@final
class Rotation(EndPolicy): ...

@final
class RotatedSource(FilesSource):
    def __init__(
        self,
        files: Files,
        *,
        snaplen: int | None = None,
        filter: Filter | Machine | None = None,
        block_size: int = 1048576,
        timeout: float | None = None,
    ) -> None: ...
