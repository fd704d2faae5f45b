from types import TracebackType
from typing import Self

from typing_extensions import disjoint_base

from slimcap.packet.batch import Batch
from slimcap.packet.interface import InterfaceInfo
from slimcap.packet.link import Link

@disjoint_base
class Writer:
    @property
    def name(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    @property
    def packets_written(self) -> int: ...
    @property
    def bytes_written(self) -> int: ...
    # For RotatingWriter.
    def _fitting(self, batch: Batch, room: int) -> int: ...
    def add_interface(
        self,
        interface: Link | InterfaceInfo,
        *,
        snaplen: int | None = None,
        comment: str | None = None,
        filter: str | None = None,
        hardware: str | None = None,
        os: str | None = None,
    ) -> int: ...
    def write_statistics(
        self,
        interface: int = 0,
        *,
        received: int | None = None,
        dropped: int | None = None,
        interface_dropped: int | None = None,
        filter_accepted: int | None = None,
        start: int | None = None,
        end: int | None = None,
        at: int | None = None,
    ) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def discard(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def __del__(self) -> None: ...
