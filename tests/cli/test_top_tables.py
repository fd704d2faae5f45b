"""The tables of `slimcap top`, compared with a dictionary, and the intervals in which they are made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import slimcap
from slimcap import FLOW_DTYPE, Batch, FlowBatch
from slimcap.cli.packets import top_counter
from slimcap.cli.packets.top_counter import Snapshot, TopCounter
from slimcap.cli.packets.top_tables import COUNTS, DTYPES, TopTable, TopTables, largest
from slimcap.cli.render.top_table import compact, exact, heading, table_lines
from slimcap.mock import build_packet
from support.batches import batch_of
from support.threads import wait_until

SECOND = 10**9
START = 1_700_000_000 * SECOND
HOSTS = [f"192.0.2.{number}" for number in range(1, 9)] + ["2001:db8::1", "2001:db8::2"]
SIDES = ("src", "dst")
Model = dict[tuple[Any, ...], dict[str, int]]


def random_flows(rng: np.random.Generator, count: int) -> FlowBatch:
    records = np.zeros(count, FLOW_DTYPE)
    records["flow_id"] = rng.integers(0, 40, count).astype(np.uint64) << np.uint64(58)
    known = slimcap.ip_from_str(HOSTS)
    # All records of a flow have the same addresses, ports and protocol.
    numbers = (records["flow_id"] >> np.uint64(58)).astype(int)
    records["src"], records["dst"] = known[numbers % len(HOSTS)], known[numbers // 3 % len(HOSTS)]
    records["src_port"], records["dst_port"] = 40000 + numbers, 53 + numbers % 3
    records["protocol"] = np.where(numbers % 2, 6, 17)
    for name in ("src_packets", "dst_packets"):
        records[name] = rng.integers(0, 1000, count)
    for name in ("src_bytes", "dst_bytes"):
        records[name] = rng.integers(0, 1 << 40, count)
    records["first"] = START + rng.integers(0, SECOND, count)
    records["last"] = records["first"] + rng.integers(0, SECOND, count)
    return FlowBatch(records)


def keys_of(kind: str, record: np.void) -> set[tuple[Any, ...]]:
    if kind == "flows":
        return {(int(record["flow_id"]),)}
    if kind == "hosts":
        return {(bytes(record[side]),) for side in SIDES}
    return {(int(record["protocol"]), int(record["dst_port"]))}


def add_to_model(model: Model, kind: str, flows: FlowBatch) -> None:
    for entry in model.values():
        entry["now_packets"] = entry["now_bytes"] = 0
    for record in flows:
        for key in keys_of(kind, record):
            entry = model.setdefault(key, dict.fromkeys(COUNTS, 0) | {"first": 1 << 63, "last": 0})
            for name in ("packets", "bytes"):
                size = sum(int(record[f"{side}_{name}"]) for side in SIDES)
                entry[name] += size
                entry[f"now_{name}"] += size
            entry["first"] = min(entry["first"], int(record["first"]))
            entry["last"] = max(entry["last"], int(record["last"]))


def as_model(kind: str, table: TopTable) -> Model:
    names = {"flows": ("flow_id",), "hosts": ("address",), "ports": ("protocol", "dst_port")}[kind]
    found = {}
    for row in table.rows:
        key = tuple(bytes(row[name]) if name == "address" else int(row[name]) for name in names)
        found[key] = {name: int(row[name]) for name in (*COUNTS, "first", "last")}
    assert len(found) == len(table.rows)
    return found


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("max_entries", [5, 1000])
def test_tables_are_those_of_a_dictionary(kind: str, max_entries: int) -> None:
    rng = np.random.default_rng(max_entries)
    tables, model = TopTables(max_entries), Model()
    left = dict.fromkeys(("entries", *COUNTS), 0)
    for count in (0, 1, 300, 20, 0, 5, 1000):
        flows = random_flows(rng, count)
        found = tables.add(flows, new_interval=True)[kind]
        add_to_model(model, kind, flows)
        left["now_packets"] = left["now_bytes"] = 0
        for key in sorted(model, key=lambda key: model[key]["bytes"])[: max(0, len(model) - max_entries)]:
            entry = model.pop(key)
            left = {name: left[name] + entry.get(name, 1) for name in left}
        assert as_model(kind, found) == model
        assert found.other._asdict() == left
        if kind != "hosts" or max_entries == 1000:
            assert found.total("bytes") == sum(entry["bytes"] for entry in model.values()) + left["bytes"]
    assert (left["entries"] > 0) == (len(model) == max_entries)


def test_records_of_one_interval_may_come_in_parts() -> None:
    rng = np.random.default_rng(1)
    parts = [random_flows(rng, 50) for _ in range(3)]
    tables, whole = TopTables(), TopTables()
    for number, part in enumerate(parts):
        found = tables.add(part, new_interval=number == 0)
    expected = whole.add(FlowBatch.concat(parts), new_interval=True)
    for kind in DTYPES:
        assert as_model(kind, found[kind]) == as_model(kind, expected[kind])


def test_tables_that_were_returned_do_not_change() -> None:
    rng = np.random.default_rng(1)
    tables = TopTables(8)
    found = tables.add(random_flows(rng, 50), new_interval=True)
    before = {kind: as_model(kind, found[kind]) for kind in DTYPES}
    tables.add(random_flows(rng, 50), new_interval=True)
    assert {kind: as_model(kind, found[kind]) for kind in DTYPES} == before


@pytest.mark.parametrize("count", [0, 1, 7, 40, 100])
def test_largest_rows_come_first(count: int) -> None:
    rows = (
        TopTables().add(random_flows(np.random.default_rng(2), 500), new_interval=True)["flows"].rows.copy()
    )
    rows["packets"] = rows["packets"] % 4  # many are equal
    found = largest(rows, "packets", count) if count else rows[:0]
    wanted = sorted(((int(row["packets"]), int(row["bytes"])) for row in rows), reverse=True)[:count]
    assert [(int(row["packets"]), int(row["bytes"])) for row in found] == wanted


# ---- intervals


def packets_at(*times: float, host: str = "192.0.2.1", port: int = 53) -> Batch:
    """Return packets of 46 bytes at these seconds after START."""
    frame = (
        bytes(12) + b"\x08\0" + bytes(build_packet(host, "192.0.2.2", 4000, port, payload=b"data").ip_layer)
    )
    batch = batch_of([frame] * len(times), ip_offset=14)
    records = batch.records.copy()
    records["timestamp"] = [START + round(time * SECOND) for time in times]
    return Batch(records, batch.data, (slimcap.Link("lo"),))


@pytest.fixture
def counter() -> Iterator[TopCounter]:
    made = TopCounter(1, at(0.2))
    yield made
    made.close()


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def advance(counter: TopCounter, seconds: float) -> Snapshot | None:
    """Advance to a time, and return the snapshot of the interval that ended."""
    counter.advance(at(seconds))
    found: list[Snapshot | None] = []

    def has_finished() -> bool:
        found.append(counter.finished())
        return found[-1] is not None or counter._work is None

    wait_until(has_finished)
    return found[-1]


def counts(snapshot: Snapshot | None) -> tuple[float, int, int]:
    """Return the length of the interval, its packets, and the packets so far."""
    assert snapshot is not None
    table = snapshot.tables["flows"]
    return snapshot.seconds, table.total("now_packets"), table.total("packets")


def test_intervals_are_those_of_the_packets_times(counter: TopCounter) -> None:
    counter.add(packets_at(0.3, 0.4, 0.999999999))
    assert advance(counter, 1.01) is None  # packets of before may still come
    counter.add(packets_at(1.0, 1.02))
    assert counts(advance(counter, 1.1)) == (0.8, 3, 3)
    assert advance(counter, 1.9) is None
    counter.add(packets_at(1.5))
    assert counts(advance(counter, 2.1)) == (1, 3, 6)
    assert counts(advance(counter, 5.1)) == (3, 0, 6)  # was not called for a while
    counter.add(packets_at(5.2))
    (last,) = counter.end(at(5.7))
    assert counts(last) == (0.7, 1, 7)


def test_a_short_first_interval_becomes_part_of_the_next() -> None:
    counter = TopCounter(1, at(0.6))
    counter.add(packets_at(0.7))
    assert advance(counter, 1.1) is None
    counter.add(packets_at(1.7))
    assert counts(advance(counter, 2.1)) == (1.4, 2, 2)
    counter.close()


def test_nothing_is_lost_if_the_clock_is_set_back(counter: TopCounter) -> None:
    counter.add(packets_at(0.5))
    assert counts(advance(counter, 1.1)) == (0.8, 1, 1)
    counter.add(packets_at(1.2))
    counter.add(packets_at(-99.5))
    assert counts(advance(counter, -98.9)) == (1, 2, 3)
    counter.add(packets_at(-98.5))
    assert counts(advance(counter, -97.9)) == (1, 1, 4)


def test_many_records_are_grouped_before_the_interval_ends(
    counter: TopCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_counter, "_CHUNK", 4)
    monkeypatch.setattr(top_counter, "_MAX_PENDING", 8)
    monkeypatch.setattr(counter, "_flows", slimcap.FlowTable(window=1, max_flows=1))
    for port in range(1, 101):
        counter.add(packets_at(0.3, port=port))
        assert counter._pending_count < 8
    wait_until(lambda: counter._work is None or counter._work.done())  # an interval ends only after that
    snapshot = advance(counter, 1.1)
    assert counts(snapshot) == (0.8, 100, 100)
    assert snapshot is not None
    assert snapshot.tables["ports"].rows["dst_port"].tolist() == list(range(1, 101))


def test_packets_without_ip_are_counted_apart(counter: TopCounter) -> None:
    counter.add(batch_of([bytes(60)] * 3, ip_offset=slimcap.NO_IP, timestamp=at(0.5)))
    snapshot = advance(counter, 1.1)
    assert snapshot is not None
    assert (snapshot.other_packets, snapshot.other_bytes) == (3, 180)
    assert heading(snapshot, "eth0", 2) == (
        "eth0  0.0 bit/s, 0.0 packets/s in 0.80 s; 2 dropped, 0 packets, 0 bytes, 3 packets without IP"
    )


# ---- lines


@pytest.mark.parametrize(
    ("value", "short", "full"),
    [
        (0, "0", "0"),
        (999.6, "1000", "1,000"),
        (9999.4, "9999", "9,999"),
        (12345, "12.3k", "12,345"),
        (123456, "123k", "123,456"),
        (999_999, "1.0M", "999,999"),
        (10**20, "100E", "100,000,000,000,000,000,000"),
    ],
)
def test_numbers_are_short_on_the_terminal(value: float, short: str, full: str) -> None:
    assert (compact(value), exact(value)) == (short, full)


def test_lines_name_each_kind() -> None:
    records = np.zeros(3, FLOW_DTYPE)
    records["flow_id"] = 1, 2, 3
    records["src"] = slimcap.ip_from_str(["192.0.2.1", "2001:db8::1", "192.0.2.1"])
    records["dst"] = slimcap.ip_from_str(["192.0.2.2", "2001:db8::2", "192.0.2.9"])
    records["src_port"], records["dst_port"] = (4000, 4001, 0), (443, 53, 0)
    records["protocol"] = 6, 17, 1
    records["src_packets"], records["dst_packets"] = (1, 2, 3), (1, 0, 0)
    records["src_bytes"], records["dst_bytes"] = (100, 200, 90), (2000, 0, 0)
    records["first"], records["last"] = START, START + 1_500_000_000
    tables = TopTables(2).add(FlowBatch(records), new_interval=True)
    snapshot = Snapshot(tables, 2.0, 0, 0)
    assert table_lines(snapshot, "flows", "rate", 20) == [
        "flows by rate: 2 active, 2 in all",
        " bit/s  packets/s   bytes  packets  seconds  flow",
        " 8,400          1   2,100        2      1.5  192.0.2.1:4000 => 192.0.2.2:443 TCP",
        "   800          1     200        2      1.5  2001:db8::1:4001 => 2001:db8::2:53 UDP",
        "   360          2      90        3           other: 1 small flows, not kept",
    ]
    whole = Snapshot(TopTables().add(FlowBatch(records), new_interval=True), 2.0, 0, 0)
    names = [line.split("  ")[-1] for line in table_lines(whole, "flows", "packets", 20)[2:]]
    assert names[0] == "192.0.2.1 => 192.0.2.9 ICMP"
    names = [line.split("  ")[-1] for line in table_lines(whole, "hosts", "bytes", 3)[2:]]
    assert names == ["192.0.2.1", "192.0.2.2", "2001:db8::2"]
    names = [line.split("  ")[-1] for line in table_lines(whole, "ports", "rate", 20)[2:]]
    assert names == ["TCP/443", "UDP/53", "ICMP"]
