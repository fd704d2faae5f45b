"""Lengths on the wire that writers state for packets whose VLAN tag is restored."""

from __future__ import annotations

import io

import pytest

from slimcap import Link, PcapNgWriter, PcapWriter, RecordFlag, read
from support.batches import batch_of, payloads_of
from support.writing import written

FRAME = bytes(range(12)) + b"\x08\x00" + bytes(46)
LARGEST = 2**32 - 1


@pytest.mark.parametrize("writer_type", [PcapWriter, PcapNgWriter])
def test_length_on_the_wire_of_a_truncated_packet_includes_the_restored_tag(writer_type):
    totals = [60, 61, 64, 100, 1518, LARGEST - 5, LARGEST - 4, LARGEST - 3, LARGEST]
    batch = batch_of(
        [FRAME] * len(totals),
        links=[Link("eth", 0, 1)],
        total_len=totals,
        flags=int(RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED | RecordFlag.TRUNCATED),
        vlan_tci=7,
        vlan_tpid=0x8100,
    )
    after = read(io.BytesIO(written(writer_type, batch)))
    assert payloads_of(after) == [FRAME[:12] + b"\x81\x00\x00\x07" + FRAME[12:]] * len(totals)
    assert after["total_len"].tolist() == [min(total + 4, LARGEST) for total in totals]
