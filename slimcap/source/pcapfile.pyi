from typing import Literal, final

from slimcap.filter import Filter, Machine
from slimcap.source.about import InterfaceInfo, SectionInfo
from slimcap.source.base import ZeroCopySource
from slimcap.source.files import File

@final
class PcapSource(ZeroCopySource):
    def __init__(
        self,
        file: File,
        *,
        snaplen: int | None = None,
        filter: Filter | Machine | None = None,
        block_size: int = 1048576,
        timeout: float | None = None,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def snaplen(self) -> int: ...
    @property
    def version(self) -> tuple[int, int]: ...
    @property
    def byte_order(self) -> Literal["little", "big"]: ...
    @property
    def resolution(self) -> int: ...
    @property
    def format(self) -> Literal["pcap", "pcapng"]: ...
    @property
    def compression(self) -> Literal["gzip", "bzip2", "xz", "zstd", "lz4"] | None: ...
    @property
    def interfaces(self) -> tuple[InterfaceInfo, ...]: ...
    @property
    def sections(self) -> tuple[SectionInfo, ...]: ...
    @property
    def comments(self) -> dict[int, str]: ...
    @property
    def progress(self) -> tuple[int, int | None]: ...
