from typing import Unpack, final

from slimcap.capfile.write_options import PcapNgWriterOptions
from slimcap.capfile.writer import Writer
from slimcap.io.target import Target
from slimcap.packet.batch import Batch
from slimcap.packet.interface import InterfaceInfo
from slimcap.packet.link import Link
from slimcap.packet.packet import Packet

@final
class PcapNgWriter(Writer):
    def __init__(self, file: Target, link_type: int = 1, **options: Unpack[PcapNgWriterOptions]) -> None: ...
    @property
    def interfaces(self) -> tuple[Link | None, ...]: ...
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
    def write_batch(self, batch: Batch) -> None: ...
    def write_packet(self, packet: Packet, *, interface: int = 0, comment: str | None = None) -> None: ...
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
