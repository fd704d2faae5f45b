from typing import final

from slimcap.capfile.decoder import Decoder
from slimcap.packet.lease import _Buffer

@final
class PcapDecoder(Decoder):
    def __init__(self, header: _Buffer, snaplen: int = 0, name: str = "") -> None: ...
    @property
    def linktype(self) -> int: ...
    @property
    def header_len(self) -> int: ...
