from typing import final

from slimcap.source.decoder import Decoder

@final
class PcapngDecoder(Decoder):
    def __init__(self, snaplen: int = 0, name: str = "") -> None: ...
