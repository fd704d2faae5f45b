from typing import final

from slimcap.capfile.decoder import Decoder

@final
class PcapngDecoder(Decoder):
    def __init__(self, snaplen: int = 0, name: str = "") -> None: ...
