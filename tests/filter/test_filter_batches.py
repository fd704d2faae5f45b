"""Filters on batches: the rows that match, and the buffer they keep alive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slimcap import (
    RECORD_DTYPE,
    Batch,
    FilterError,
    read,
)
from slimcap.filter import DROP, Machine, accept, check, compile_expression
from slimcap.filter import program as bpf


@pytest.fixture
def mixed(data_path: Path) -> Batch:
    return read(data_path / "mixed.pcap")


def test_matched_rows_keep_the_buffer_alive(mixed: Batch) -> None:
    udp = mixed.filter("udp")
    assert 0 < len(udp) < len(mixed)
    assert udp.data.ctypes.data == mixed.data.ctypes.data
    assert udp.links == mixed.links
    assert all(packet.ip_layer.protocol == 17 for packet in udp)
    with pytest.raises(BufferError):
        mixed.release()
    assert len(udp.filter("tcp")) == 0
    assert len(udp.filter("")) == len(udp)
    del udp
    mixed.release()
    with pytest.raises(ValueError, match="released"):
        mixed.filter("udp")


def test_programs_and_machines_do_not_need_links(mixed: Batch) -> None:
    bare = Batch(mixed.records, mixed.data)
    program = compile_expression("udp", 1)
    wanted = mixed.filter("udp").records
    for batch in (mixed, bare):
        for one in (program, list(program), Machine(program)):
            assert np.array_equal(batch.filter(one).records, wanted)
    assert len(bare.filter(DROP)) == 0
    assert len(bare.filter(accept(1))) == len(bare)
    with pytest.raises(FilterError, match="no links"):
        bare.filter("udp")
    with pytest.raises(FilterError, match="instruction 0"):
        bare.filter([(0xFF, 0, 0, 0)])
    for none in (None, 7):
        with pytest.raises(TypeError):
            bare.filter(none)


def test_expression_is_compiled_for_each_link_type(data_path: Path) -> None:
    first, second = read(data_path / "mixed.pcap"), read(data_path / "raw101.pcap")
    records = np.concatenate([first.records, second.records, second.records])
    records["offset"][len(first) :] += len(first.data)
    records["interface"][len(first) :] = 1
    records["interface"][len(first) + len(second) :] = 2  # an interface without a link
    batch = Batch(records, first.data.tobytes() + second.data.tobytes(), first.links + second.links)
    udp = batch.filter("ip and udp")
    assert len(udp) == len(first.filter("ip and udp")) + len(second.filter("ip and udp"))
    assert set(udp["interface"].tolist()) == {0, 1}
    vlans = batch.filter("ether[0] & 1 = 0 and vlan")  # raw packets have no VLAN tag
    assert len(vlans) == len(first.filter("ether[0] & 1 = 0 and vlan")) > 0


def test_bsd_loopback_matches_in_both_byte_orders(data_path: Path) -> None:
    one, other = read(data_path / "null.pcap"), read(data_path / "null_be.pcap")
    records = np.concatenate([one.records, other.records])
    records["offset"][len(one) :] += len(one.data)
    both = Batch(records, one.data.tobytes() + other.data.tobytes(), one.links)
    for expression in ("ip", "ip6", "udp", "ip6 and udp", "not ip"):
        matched = both.filter(expression)["timestamp"].tolist()
        wanted = one.filter(expression)["timestamp"].tolist()
        assert matched == wanted + wanted, expression
        assert 0 < len(wanted) < len(one)


def test_empty_batch_matches_nothing(data_path: Path) -> None:
    assert len(read(data_path / "empty.pcap").filter("udp")) == 0
    assert len(Batch([], b"").filter(accept())) == 0


def test_matched_rows_are_copies_of_the_records(mixed: Batch) -> None:
    before = mixed.records.tobytes()
    matched = mixed.filter("udp")
    assert mixed.records.tobytes() == before
    assert not matched.records.flags.writeable
    size = RECORD_DTYPE.itemsize
    rows = [before[at : at + size] for at in range(0, len(before), size)]
    found = matched.records.tobytes()
    assert {found[at : at + size] for at in range(0, len(found), size)} < set(rows)


def test_program_may_return_a_computed_length(mixed: Batch) -> None:
    program = check(((bpf.LD | bpf.B | bpf.ABS, 0, 0, 23), (bpf.RET | bpf.A, 0, 0, 0)))
    wanted = [
        len(payload) > 23 and payload[23] > 0 for payload in map(bytes, map(mixed.payload, range(len(mixed))))
    ]
    assert mixed.filter(program)["timestamp"].tolist() == mixed["timestamp"][wanted].tolist()
