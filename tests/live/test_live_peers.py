"""Both live sources give the same records, and those of tcpdump."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from slimcap import (
    RECORD_DTYPE,
    RecordFlag,
    RingSource,
    SocketSource,
    read,
)
from support.cli import NeedTool
from support.netns import Veth
from support.peers import listening_tcpdump
from support.traffic import (
    ALL,
    GROUP,
    OTHER,
    LiveSource,
    OpenSource,
    arp,
    collect,
    ethernet,
    frames_of,
    payloads,
    tagged,
    udp,
    udp6,
)


def test_packets_are_those_of_tcpdump(
    veth: Veth, opened: OpenSource, need_tool: NeedTool, tmp_path: Path
) -> None:
    path = tmp_path / "tcpdump.pcap"
    frames = [
        *frames_of(40, 100), arp(), ethernet(udp6(), 0x86DD), tagged(ethernet(udp(1)), 5),
        tagged(tagged(ethernet(udp(2)), 6), 0, 0x88A8), ethernet(udp(3, 300)),
    ]  # fmt: skip
    source = opened(auto_filter=False, snaplen=128)
    options = ("-s", "128", "-c", str(len(frames)))
    with (
        veth.namespace.inside(),
        listening_tcpdump(need_tool("tcpdump"), "right", path, *options) as tcpdump,
    ):
        veth.send(frames)
        got = collect(source, len(frames))
        tcpdump.wait(10)
    theirs = read(path)
    assert len(theirs) == len(got) == len(frames)
    for i, mine in enumerate(got):
        row, data, total = theirs.records[i], mine.data, mine.total_len
        if mine.flags & RecordFlag.VLAN_STRIPPED:  # libpcap puts it back in
            data, total = tagged(data, mine.vlan_tci, mine.vlan_tpid), total + 4
        assert bytes(theirs.payload(i)) == data[:128]
        assert row["total_len"] == total
        assert (row["vlan_tci"], row["vlan_tpid"]) == (mine.vlan_tci, mine.vlan_tpid)
        assert abs(int(row["timestamp"]) - mine.timestamp) < 5 * 10**9


def wait_for_stamps(veth: Veth, sources: Sequence[LiveSource]) -> None:
    """Packets are stamped as they come in only some time after the first socket asks for it; until then, each
    socket does it for itself (net_enable_timestamp, which may leave it to a work queue)."""
    for _ in range(200):
        veth.send(frames_of(1))
        if len({collect(source, 1)[0].timestamp for source in sources}) == 1:
            return
        time.sleep(0.01)
    pytest.fail("packets are not stamped as they come in")


def test_records_of_both_sources_are_equal(veth: Veth) -> None:
    for end in ("left", "right"):
        veth.namespace.ip(f"link set {end} mtu 60000")
    frames = [
        *frames_of(20), arp(), ethernet(udp6(), 0x86DD), tagged(ethernet(udp(1)), 5),
        ethernet(udp(4), dst=OTHER),
        tagged(tagged(ethernet(udp(2)), 6), 0, 0x88A8), ethernet(udp(3, 300)), ethernet(udp(5), dst=ALL),
        ethernet(udp(6), dst=GROUP), ethernet(udp(7, 40_000)), ethernet(b"\0"),
    ]  # fmt: skip
    kinds: list[type[LiveSource]] = [RingSource, SocketSource]
    choices: list[dict[str, Any]] = [{}, {"snaplen": 60}, {"reinsert_vlan": True}]
    for options in [*choices, {"reinsert_vlan": True, "snaplen": 60}]:
        with veth.namespace.inside():
            sources = [kind("right", auto_filter=False, **options) for kind in kinds]
        wait_for_stamps(veth, sources)
        veth.send(frames)
        veth.namespace.send("right", frames)
        mine, theirs = (collect(source, 2 * len(frames)) for source in sources)
        names = [name for name in RECORD_DTYPE.names or () if name != "offset"]
        assert payloads(mine) == payloads(theirs)
        for one, other in zip(mine, theirs, strict=True):
            assert one.record[names].tolist() == other.record[names].tolist()
        for source in sources:
            source.close()
