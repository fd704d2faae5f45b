"""Mock sources and packets for them: for tests without a network interface and without privileges."""

from slimcap.packet.build import build_go_packet, build_packet
from slimcap.source.mock.mock_sources import MockRingSource, MockSocketSource
from slimcap.source.mock.replay import Jitter, Replay

__all__ = ["Jitter", "MockRingSource", "MockSocketSource", "Replay", "build_go_packet", "build_packet"]
