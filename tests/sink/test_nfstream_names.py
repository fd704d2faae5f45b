"""Flow records with the names and units of nfstream; all values are as nfstream computes them."""

from __future__ import annotations

import pytest

import slimcap
from slimcap import FlowBatch
from slimcap.mock import build_packet
from support.flow_traffic import START, A, B, batch_at, random_traffic

pyarrow = pytest.importorskip("pyarrow")

MS = 1_000_000
FEATURES = ("lengths", "iat", "flags")
STATISTICS = [
    f"{direction}_{name}"
    for direction in ("bidirectional", "src2dst", "dst2src")
    for name in (
        *("min_ps", "mean_ps", "stddev_ps", "max_ps"),
        *("min_piat_ms", "mean_piat_ms", "stddev_piat_ms", "max_piat_ms"),
        *(f"{flag}_packets" for flag in ("syn", "cwr", "ece", "urg", "ack", "psh", "rst", "fin")),
    )
]


def test_values_are_those_of_nfstream() -> None:
    there, back = (A, B, 40000, 443, 6), (B, A, 443, 40000, 6)
    packets = [
        build_packet(*there, timestamp=START, tcp_flags=0x02),
        build_packet(*back, timestamp=START + 10 * MS, tcp_flags=0x12),
        build_packet(*there, bytes(100), timestamp=START + 20 * MS, tcp_flags=0x18),
        build_packet(*there, bytes(300), timestamp=START + 50 * MS, tcp_flags=0x18),
    ]
    flows = FlowBatch.concat(slimcap.flows(batch_at(*packets), features=FEATURES, splt=5))
    (row,) = flows.to_arrow(names="nfstream").to_pylist()
    expected = {
        "expiration_id": 0,
        "src_ip": A,
        "src_port": 40000,
        "dst_ip": B,
        "dst_port": 443,
        "protocol": 6,
        "bidirectional_first_seen_ms": START // MS,
        "bidirectional_last_seen_ms": START // MS + 50,
        "bidirectional_duration_ms": 50,
        "src2dst_duration_ms": 50,
        "dst2src_first_seen_ms": START // MS + 10,
        "bidirectional_packets": 4,
        "dst2src_packets": 1,
        "src2dst_bytes": 54 + 154 + 354,
        "bidirectional_min_ps": 54,
        "bidirectional_max_ps": 354,
        "src2dst_mean_ps": pytest.approx((54 + 154 + 354) / 3),
        "src2dst_stddev_ps": pytest.approx(152.7525231651947),
        "dst2src_stddev_ps": 0,
        "bidirectional_mean_piat_ms": pytest.approx(50 / 3),
        "bidirectional_stddev_piat_ms": pytest.approx(11.547005383792515),
        "src2dst_min_piat_ms": 20,
        "src2dst_max_piat_ms": 30,
        "dst2src_mean_piat_ms": 0,
        "bidirectional_syn_packets": 2,
        "bidirectional_ack_packets": 3,
        "src2dst_psh_packets": 2,
        "dst2src_psh_packets": 0,
        "splt_direction": [0, 1, 0, 0, -1],
        "splt_ps": [54, 54, 154, 354, -1],
        "splt_piat_ms": [0, 10, 10, 30, -1],
    }
    assert {name: row[name] for name in expected} == expected


def test_columns_are_those_of_the_features() -> None:
    traffic = random_traffic(2, 300)
    plain = FlowBatch.concat(slimcap.flows(traffic)).to_arrow(names="nfstream")
    assert plain.column_names[:5] == ["expiration_id", "src_ip", "src_port", "dst_ip", "dst_port"]
    assert not set(plain.column_names) & {*STATISTICS, "splt_ps", "src2dst_first_seen_ms"}
    full = FlowBatch.concat(slimcap.flows(traffic, features=FEATURES, splt=3)).to_arrow(names="nfstream")
    assert set(full.column_names) - set(plain.column_names) == {
        *STATISTICS,
        *("splt_direction", "splt_ps", "splt_piat_ms"),
        *(
            f"{side}_{what}_ms"
            for side in ("src2dst", "dst2src")
            for what in ("first_seen", "last_seen", "duration")
        ),
    }
    assert len(STATISTICS) == 48


def test_reasons_are_those_of_nfstream() -> None:
    flows = FlowBatch.concat(slimcap.flows(random_traffic(0, 800), window=10, active_timeout=3, max_flows=20))
    table = flows.to_arrow(["expiration_id"], names="nfstream")
    expected = [{1: 0, 4: 0, 2: 1}.get(reason, -1) for reason in flows["end_reason"].tolist()]
    assert table["expiration_id"].to_pylist() == expected
    assert set(expected) == {0, 1, -1}


def test_all_libraries_have_the_names() -> None:
    flows = FlowBatch.concat(slimcap.flows(random_traffic(2, 100), splt=2))
    names = flows.to_arrow(names="nfstream", addresses="binary").column_names
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    assert (
        list(flows.to_pandas(names="nfstream").columns) == names == flows.to_polars(names="nfstream").columns
    )
    assert flows.to_polars(["splt_ps"], names="nfstream").columns == ["splt_ps"]
    with pytest.raises(ValueError, match="names must be 'slimcap' or 'nfstream', not 'netflow'"):
        flows.to_arrow(names="netflow")  # type: ignore[arg-type]
