from typing import final

from typing_extensions import disjoint_base

from slimcap.packet.batch import Batch
from slimcap.packet.interface import SectionInfo
from slimcap.source.base import ZeroCopySource

@final
class Part: ...

@disjoint_base
class FilesSource(ZeroCopySource):
    def stop(self) -> None: ...
    @property
    def sections(self) -> tuple[SectionInfo, ...]: ...
    @property
    def trailer(self) -> Batch: ...
    @property
    def unfilterable(self) -> dict[int, str]: ...
    @property
    def blocks_left_out(self) -> int: ...
    @property
    def progress(self) -> tuple[int, int | None]: ...
