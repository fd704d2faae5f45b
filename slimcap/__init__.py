"""slimcap: read packets from network interfaces and capture files into numpy arrays, a batch at a time."""

import importlib

try:
    importlib.import_module("slimcap._cyutility")  # a compiled module that all others import
except ModuleNotFoundError as _error:
    if _error.name != "slimcap._cyutility":
        raise
    raise ImportError(
        f"slimcap is not compiled in {__path__[0]}: you are probably in its source tree. Leave that folder, "
        "or make an editable install as CONTRIBUTING.md says"
    ) from None

from slimcap.capfile.pcap_writer import PcapWriter
from slimcap.capfile.pcapng_writer import PcapNgWriter
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
from slimcap.packet.enums import NO_IP, PACKET_HDR_OFFSET, HeaderStatus, PacketType, RecordFlag
from slimcap.packet.headers.columns import HEADER_DTYPE
from slimcap.packet.interface import InterfaceInfo, SectionInfo
from slimcap.packet.lease import Lease
from slimcap.packet.link import Link
from slimcap.packet.packet import Packet, PacketView
from slimcap.packet.record import RECORD_DTYPE
from slimcap.packet.view import IPLayer, View
from slimcap.sink.arrow import ArrowColumns, ArrowStream
from slimcap.sink.open_writer import open_writer
from slimcap.sink.rotate import RotatingWriter
from slimcap.sink.write import write
from slimcap.source.base import Source, Stats, ZeroCopySource
from slimcap.source.file.followed import RotatedSource
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.open_files import open_file, open_files, read
from slimcap.source.file.pcap_source import PcapSource
from slimcap.source.file.plan import ReadTask, plan
from slimcap.source.live.interfaces import links
from slimcap.source.live.live_source import LiveSource
from slimcap.source.live.open_live import open_live
from slimcap.source.live.ring_source import RingSource
from slimcap.source.live.rtnetlink import LinkDrops
from slimcap.source.live.socket_source import SocketSource
from slimcap.source.mock.mock_sources import MockRingSource, MockSocketSource
from slimcap.source.mock.replay import Jitter, Replay

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
    "write",
]
