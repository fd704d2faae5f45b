from typing import Literal, final

from slimcap.capfile.writer import Writer
from slimcap.io.compression.encoders import Compression
from slimcap.io.target import Target
from slimcap.packet.batch import Batch
from slimcap.packet.packet import Packet

@final
class PcapWriter(Writer):
    def __init__(
        self,
        file: Target,
        link_type: int = 1,
        *,
        snaplen: int = 262144,
        compression: Compression | Literal["infer"] | None = "infer",
        level: int | None = None,
        atomic: bool = False,
    ) -> None: ...
    def write_batch(self, batch: Batch) -> None: ...
    def write_packet(self, packet: Packet) -> None: ...
