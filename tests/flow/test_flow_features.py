"""Features of flows besides those of the oracle, their tables of Arrow libraries, and their limits."""

from __future__ import annotations

import numpy as np
import pytest

import slimcap
from slimcap import FLOW_DTYPE, FlowBatch, FlowTable
from slimcap.mock import build_packet
from support.builders.layers import icmp, ip
from support.builders.links import ethernet
from support.flow_traffic import START, A, B, batch_at, random_traffic, udp_packet
from support.packets import decoded_batch
from support.samples import DATA, GOOD

ICMP = (1, 58)


@pytest.mark.parametrize("name", GOOD)
def test_community_id_is_that_of_the_packets(name: str) -> None:
    """Each packet that has an ID has that of its flow. That of an ICMP flow is that of its first message."""
    headers = slimcap.read(DATA / name).headers(["community_id", "protocol"])
    flows = FlowBatch.concat(slimcap.flows(DATA / name, features=["community_id"]))
    for is_icmp in (False, True):
        of_packets, of_flows = (
            set(one["community_id"][np.isin(one["protocol"], ICMP) == is_icmp].tolist())
            for one in (headers, flows)
        )
        if not is_icmp:
            assert of_packets - {b""} <= of_flows
        elif b"" not in of_packets:  # all messages were captured as far as their code
            assert of_flows <= of_packets


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("kinds", [(8, 0), (13, 14)])
def test_community_id_of_icmp_is_the_same_from_both_sides(kinds: tuple[int, int], first: int) -> None:
    there, back = (
        ethernet(ip(icmp(kind, 0, bytes(8)), 1, *ends))
        for ends, kind in zip(((A, B), (B, A)), kinds, strict=True)
    )
    batch = decoded_batch([back, there] if first else [there, back], timestamp=[START, START])
    table = FlowTable(features=["community_id"])
    (flow,) = FlowBatch.concat([table.update(batch), table.flush()])
    assert set(batch.headers(["community_id"])["community_id"].tolist()) == {bytes(flow["community_id"])}


def test_state_is_cleared_between_records_and_flows() -> None:
    """Sequence numbers are remembered as long as the flow lasts, everything else as long as the record."""
    table = FlowTable(
        features=["lengths", "iat", "payload"], splt=2, first_bytes=4, window=10, idle_timeout=60, max_flows=1
    )
    one = build_packet(A, B, 40000, 80, 6, b"abcd", timestamp=START, tcp_flags=0x18)
    again = build_packet(A, B, 40000, 80, 6, b"abcd", timestamp=START + 20_000_000_000, tcp_flags=0x18)
    flows = FlowBatch.concat(
        [table.update(batch_at(one, again)), table.update(batch_at(udp_packet(21))), table.flush()]
    )
    assert flows["src_retransmissions"].tolist() == [0, 1, 0]
    assert flows["src_payload_bytes"].tolist() == [4, 4, 0]
    assert flows["src_first_len"].tolist() == [4, 4, 0]
    assert flows["src_first_bytes"].tolist() == [list(b"abcd"), list(b"abcd"), [0] * 4]
    assert flows["splt_len"][:, 1].tolist() == [0, 0, 0]
    assert flows["iat_max"].tolist() == [0, 0, 0]
    assert (flows["len_min"] == flows["src_bytes"]).all()


def test_a_constant_gap_of_a_large_time_has_no_deviation() -> None:
    table = FlowTable(features=["iat"], idle_timeout=1e9, active_timeout=1e9)
    gap = 100_000_000_000_000_003  # three years, odd: its square has 114 bits
    packets = [udp_packet(0)]
    for _ in range(5):
        packets.append(build_packet(A, B, 40000, 53, 17, timestamp=packets[-1].timestamp + gap))
    (flow,) = FlowBatch.concat([table.update(batch_at(*packets)), table.flush()])
    assert (flow["iat_min"], flow["iat_max"], flow["iat_std"]) == (gap, gap, 0)
    assert flow["iat_mean"] == float(gap)


def test_tables_have_the_features() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    options = {"features": ["iat", "flags", "community_id"], "splt": 3, "first_bytes": 5}
    flows = FlowBatch.concat(slimcap.flows(random_traffic(3, 300), **options))
    table = pyarrow.table(flows)
    table.validate(full=True)
    assert table.equals(flows.to_arrow())
    assert table.column_names == list(flows.records.dtype.names or ())
    assert table["splt_len"].type == pyarrow.list_(pyarrow.field("item", pyarrow.int32(), nullable=False), 3)
    assert table["splt_len"].to_pylist() == flows["splt_len"].tolist()
    assert table["splt_iat"].to_pylist() == flows["splt_iat"].tolist()
    assert table["dst_first_bytes"].to_pylist() == [bytes(row) for row in flows["dst_first_bytes"]]
    assert table["community_id"].to_pylist() == [text.decode() for text in flows["community_id"].tolist()]
    assert table["dst_first"].is_null().to_pylist() == (flows["dst_packets"] == 0).tolist()
    stream = pyarrow.table(slimcap.flows(random_traffic(3, 300), **options))
    assert stream.combine_chunks().equals(table.combine_chunks())


def test_batches_of_other_columns_are_not_concatenated() -> None:
    one = FlowBatch.concat(slimcap.flows(random_traffic(3, 10)))
    other = FlowBatch.concat(slimcap.flows(random_traffic(3, 10), splt=1))
    with pytest.raises(ValueError, match="batches have different columns: concatenate those of tables"):
        FlowBatch.concat([one, other])
    with pytest.raises(ValueError, match="unknown column 'splt_ia', did you mean 'splt_iat'"):
        other["splt_ia"]
    assert other[:1].records.dtype == other.records.dtype


@pytest.mark.parametrize("limit", [1, 7, 10**9])
def test_flush_in_parts_gives_the_same_records(limit: int) -> None:
    traffic = random_traffic(4, 400)
    table, other = FlowTable(), FlowTable()
    other.update(traffic)
    table.update(traffic)
    parts = []
    while len(table):
        parts.append(table.flush(limit))
        assert len(parts[-1]) <= limit
    assert table.clock is None
    assert FlowBatch.concat(parts).records.tobytes() == other.flush().records.tobytes()


def test_options_have_limits() -> None:
    with pytest.raises(ValueError, match="features may have lengths, iat, flags, payload, community_id, not"):
        FlowTable(features=["length"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="features must be a list of names"):
        FlowTable(features="iat")  # type: ignore[arg-type]
    for options in ({"splt": 4097}, {"splt": -1}, {"first_bytes": 4097}):
        with pytest.raises(ValueError, match="must be 0 to 4096"):
            FlowTable(**options)
    with pytest.raises(ValueError, match="'vxlam' is not a tunnel over UDP: did you mean 'vxlan'"):
        FlowTable(tunnel_ports={"vxlam": [1]})
    with pytest.raises(ValueError, match="limit must be 1 to"):
        FlowTable().flush(0)
    with pytest.raises(MemoryError, match="cannot reserve memory for"):
        FlowTable(max_flows=1 << 30, splt=4096, first_bytes=4096)
    assert FlowTable().dtype == FLOW_DTYPE
