from typing import Unpack, final

from slimcap.io.watch import EndPolicy
from slimcap.source.file.file_options import SeveralOptions
from slimcap.source.file.open_files import Files
from slimcap.source.file.several import FilesSource

@final
class Rotation(EndPolicy): ...

@final
class RotatedSource(FilesSource):
    def __init__(self, files: Files, **options: Unpack[SeveralOptions]) -> None: ...
