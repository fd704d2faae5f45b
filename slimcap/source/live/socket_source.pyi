from typing import Unpack

from typing_extensions import disjoint_base

from slimcap.packet.link import Link
from slimcap.source.live.live_options import SocketOptions
from slimcap.source.live.live_source import LiveSource

@disjoint_base
class SocketSource(LiveSource):
    def __init__(self, link: str | Link, **options: Unpack[SocketOptions]) -> None: ...
