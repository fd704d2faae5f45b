from typing import Unpack, final

from slimcap.source.file.file_options import SeveralOptions
from slimcap.source.file.open_files import Files
from slimcap.source.file.several import FilesSource

@final
class MergedSource(FilesSource):
    def __init__(self, files: Files, **options: Unpack[SeveralOptions]) -> None: ...
    @property
    def names(self) -> tuple[str, ...]: ...
