from typing import Unpack, final

from slimcap.capfile.write_options import PcapWriterOptions
from slimcap.capfile.writer import Writer
from slimcap.io.target import Target
from slimcap.packet.batch import Batch
from slimcap.packet.packet import Packet

@final
class PcapWriter(Writer):
    def __init__(self, file: Target, link_type: int = 1, **options: Unpack[PcapWriterOptions]) -> None: ...
    def write_batch(self, batch: Batch) -> None: ...
    def write_packet(self, packet: Packet) -> None: ...
