from typing import final

from typing_extensions import disjoint_base

from slimcap.source.base import ZeroCopySource

@final
class Part: ...

@disjoint_base
class FilesSource(ZeroCopySource):
    def stop(self) -> None: ...
    @property
    def progress(self) -> tuple[int, int | None]: ...
