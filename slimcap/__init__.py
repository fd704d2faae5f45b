"""Read packets from network interfaces and capture files into numpy arrays, a batch at a time.

Sources
    `open_live` captures from an interface; `open_file`, `open_files` and `read` read capture files; `plan`
    splits them into parts to be read in parallel.
Packets
    A source is read in batches (`for batch in source.batches()`) or packet by packet (`for packet in
    source`). The columns of a `Batch` are those of RECORD_DTYPE: `help(slimcap.Batch)`. `Batch.headers`
    parses the packets' headers into the columns of HEADER_DTYPE: `help(slimcap.Batch.headers)`.
Flows
    `flows` gives the flow records of sources and files, `flows_by_file` those of each file apart; `FlowTable`
    those of batches, as FlowBatches.
Outputs
    `write` writes packets and flow records to files of any format; `open_writer` writes capture files packet
    by packet; `Batch.to_arrow`, `to_pandas` and `to_polars` convert batches, and so do those of FlowBatch.

Modules
    slimcap.filter
        Build, check and run filters (BPF programs).
    slimcap.flow
        `FlowEnd` and `FlowInitiator`: values of the columns of flow records.
    slimcap.sink.arrow, slimcap.sink.table_file, slimcap.sink.flow_file, slimcap.sink.rotate
        `ArrowStream`, `ArrowColumns`; files of tables, of packets and of flows; `RotatingWriter`.
    slimcap.mock
        Sources without an interface, and packets for tests.
"""

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
from slimcap.flow.flow_batch import FlowBatch
from slimcap.flow.flow_columns import FLOW_DTYPE
from slimcap.flow.flow_table import FlowTable
from slimcap.packet.address import in_network, ip_from_str, ip_to_str
from slimcap.packet.batch import Batch, concat
from slimcap.packet.enums import NO_IP, HeaderStatus, LinkType, PacketType, RecordFlag
from slimcap.packet.headers.columns import HEADER_DTYPE
from slimcap.packet.interface import InterfaceInfo
from slimcap.packet.link import Link
from slimcap.packet.packet import Packet, PacketView
from slimcap.packet.record import RECORD_DTYPE
from slimcap.packet.view import IPLayer, View
from slimcap.sink.flow_stream import flows, flows_by_file
from slimcap.sink.open_writer import open_writer
from slimcap.sink.write import write
from slimcap.source.base import Source, Stats
from slimcap.source.file.open_files import open_file, open_files, read
from slimcap.source.file.pcap_source import PcapSource
from slimcap.source.file.plan import ReadTask, plan
from slimcap.source.live.account import Account
from slimcap.source.live.group.fanout_source import FanoutSource
from slimcap.source.live.group.interfaces_source import InterfacesSource, LinkChange
from slimcap.source.live.interfaces import links
from slimcap.source.live.open_live import open_live
from slimcap.source.live.ring_source import RingSource
from slimcap.source.live.socket_source import SocketSource

__version__ = "0.1.0"

__all__ = [
    "FLOW_DTYPE",
    "HEADER_DTYPE",
    "NO_IP",
    "RECORD_DTYPE",
    "Account",
    "Batch",
    "CaptureStopped",
    "CaptureUnblocked",
    "FanoutSource",
    "FileFormatError",
    "FilterError",
    "FlowBatch",
    "FlowTable",
    "HeaderStatus",
    "IPLayer",
    "InterfaceInfo",
    "InterfacesSource",
    "Link",
    "LinkChange",
    "LinkDown",
    "LinkError",
    "LinkGone",
    "LinkNotFound",
    "LinkType",
    "Packet",
    "PacketType",
    "PacketView",
    "PcapNgWriter",
    "PcapSource",
    "PcapWriter",
    "ReadTask",
    "RecordFlag",
    "RingExhausted",
    "RingSource",
    "SlimcapError",
    "SocketSource",
    "Source",
    "Stats",
    "TruncatedFileError",
    "View",
    "concat",
    "flows",
    "flows_by_file",
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
