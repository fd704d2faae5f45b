"""slimcap: packets from capture files and network interfaces into numpy, a block at a time."""

from slimcap.errors import (
    CaptureStopped,
    CaptureUnblocked,
    FileFormatError,
    FilterError,
    LinkDown,
    LinkError,
    LinkGone,
    LinkNotFound,
    RingExhausted,
    SlimcapError,
    TruncatedFileError,
)
from slimcap.packet.address import in_network, ip_from_str, ip_to_str
from slimcap.packet.batch import Batch, concat
from slimcap.packet.build import build_packet
from slimcap.packet.headers import HEADER_DTYPE
from slimcap.packet.lease import Lease
from slimcap.packet.packet import Packet, PacketView
from slimcap.packet.record import RECORD_DTYPE
from slimcap.packet.types import NO_IP, PACKET_HDR_OFFSET, HeaderStatus, PacketType, RecordFlag
from slimcap.packet.view import IPLayer, View
from slimcap.sink.arrow import ArrowColumns, ArrowStream
from slimcap.sink.files import open_writer
from slimcap.sink.pcap import PcapWriter
from slimcap.sink.pcapng import PcapNgWriter
from slimcap.sink.rotate import RotatingWriter
from slimcap.source.about import InterfaceInfo, SectionInfo
from slimcap.source.afpacket import SocketSource
from slimcap.source.afring import RingSource
from slimcap.source.base import Source, Stats, ZeroCopySource
from slimcap.source.files import open_file, open_files, read
from slimcap.source.link import Link, links
from slimcap.source.live import open_live
from slimcap.source.livebase import LiveSource
from slimcap.source.merge import MergedSource
from slimcap.source.mock import MockRingSource, MockSocketSource
from slimcap.source.pcapfile import PcapSource
from slimcap.source.plan import ReadTask, plan
from slimcap.source.replay import Jitter, Replay
from slimcap.source.rotated import RotatedSource
from slimcap.source.rtnetlink import LinkDrops

__version__ = "0.1.0"

__all__ = [
    "HEADER_DTYPE",
    "NO_IP",
    "PACKET_HDR_OFFSET",
    "RECORD_DTYPE",
    "ArrowColumns",
    "ArrowStream",
    "Batch",
    "CaptureStopped",
    "CaptureUnblocked",
    "FileFormatError",
    "FilterError",
    "HeaderStatus",
    "IPLayer",
    "InterfaceInfo",
    "Jitter",
    "Lease",
    "Link",
    "LinkDown",
    "LinkDrops",
    "LinkError",
    "LinkGone",
    "LinkNotFound",
    "LiveSource",
    "MergedSource",
    "MockRingSource",
    "MockSocketSource",
    "Packet",
    "PacketType",
    "PacketView",
    "PcapNgWriter",
    "PcapSource",
    "PcapWriter",
    "ReadTask",
    "RecordFlag",
    "Replay",
    "RingExhausted",
    "RingSource",
    "RotatedSource",
    "RotatingWriter",
    "SectionInfo",
    "SlimcapError",
    "SocketSource",
    "Source",
    "Stats",
    "TruncatedFileError",
    "View",
    "ZeroCopySource",
    "build_packet",
    "concat",
    "in_network",
    "ip_from_str",
    "ip_to_str",
    "links",
    "open_file",
    "open_files",
    "open_live",
    "open_writer",
    "plan",
    "read",
]
