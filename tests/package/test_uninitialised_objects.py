"""No call on an object whose `__init__` never ran, or ran several times, crashes or hangs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "support/uninitialised.py"
PUBLIC = {
    "slimcap.capfile.pcap_writer.PcapWriter",
    "slimcap.capfile.pcapng_writer.PcapNgWriter",
    "slimcap.filter.header_filter.HeaderFilter",
    "slimcap.filter.vm.Machine",
    "slimcap.flow.flow_batch.FlowBatch",
    "slimcap.flow.flow_table.FlowTable",
    "slimcap.packet.batch.Batch",
    "slimcap.packet.link.Link",
    "slimcap.packet.packet.Packet",
    "slimcap.packet.packet.PacketView",
    "slimcap.packet.view.IPLayer",
    "slimcap.packet.view.View",
    "slimcap.sink.rotate.RotatingWriter",
    "slimcap.source.base.Source",
    "slimcap.source.file.merged.MergedSource",
    "slimcap.source.file.pcap_source.PcapSource",
    "slimcap.source.file.plan.ReadTask",
    "slimcap.source.live.group.fanout_source.FanoutSource",
    "slimcap.source.live.group.interfaces_source.InterfacesSource",
    "slimcap.source.live.ring_source.RingSource",
    "slimcap.source.live.socket_source.SocketSource",
    "slimcap.source.mock.mock_sources.MockRingSource",
    "slimcap.source.mock.mock_sources.MockSocketSource",
    "slimcap.source.mock.replay.Replay",
}
INTERNAL = {
    "slimcap.capfile.boundaries.BlockBoundaries",
    "slimcap.capfile.boundaries.RecordBoundaries",
    "slimcap.capfile.pcap_decoder.PcapDecoder",
    "slimcap.capfile.pcapng_decoder.PcapngDecoder",
    "slimcap.io.file_range.FileRange",
    "slimcap.io.input._Decompressed",
    "slimcap.io.output.PlainOutput",
    "slimcap.packet.lease.Lease",
    "slimcap.sink.arrow._Reader",
    "slimcap.source.base._Batches",
    "slimcap.source.file.followed.RotatedSource",
    "slimcap.source.live.block_walker.BlockWalker",
    "slimcap.source.mock.mock_socket.MockSocket",
}


def test_objects_without_init_raise_or_are_empty() -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM], capture_output=True, text=True, timeout=300, check=True
    ).stdout.splitlines()
    found = dict(line.split(" ", 1) for line in done if line.startswith("slimcap."))
    assert {name: how for name, how in found.items() if not how.startswith("ok ")} == {}
    assert set(found) >= PUBLIC | INTERNAL
    few = {name for name in PUBLIC | INTERNAL if int(found[name].split()[1]) < 50}
    assert few == set()
