from typing import Literal, final

from slimcap.filter import Filter, Machine
from slimcap.packet.interface import SectionInfo
from slimcap.source.base import ZeroCopySource
from slimcap.source.file.open_files import File

@final
class PcapSource(ZeroCopySource):
    def __init__(
        self,
        file: File,
        *,
        follow: bool = False,
        snaplen: int | None = None,
        filter: Filter | Machine | None = None,
        block_size: int = 1048576,
        timeout: float | None = None,
    ) -> None: ...
    def stop(self) -> None: ...
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
    def sections(self) -> tuple[SectionInfo, ...]: ...
    @property
    def progress(self) -> tuple[int, int | None]: ...
