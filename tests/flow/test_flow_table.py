"""`FlowTable`: options, misuse, threads, forks, and flows whose hashes collide."""

from __future__ import annotations

import pickle
import random
import threading
from typing import Any

import numpy as np
import pytest

import slimcap
from slimcap import FlowBatch, FlowTable
from slimcap.flow import FlowEnd
from support.batches import batch_of
from support.flow_oracle import FlowOracle, assert_equal
from support.flow_traffic import START, batch_at, random_traffic, udp_packet
from support.threads import in_child

MASK = 2**64 - 1
FIRST_SLOTS, MAX_PROBES = 1024, 512  # of flow_store.pxd


def test_a_table_is_made_once() -> None:
    table = FlowTable()
    with pytest.raises(TypeError, match="made once"):
        table.__init__()  # type: ignore[misc]


def test_a_table_that_was_never_made_raises() -> None:
    table = FlowTable.__new__(FlowTable)
    for call in (table.flush, table.expire, lambda: table.update(batch_at(udp_packet(0)))):
        with pytest.raises(ValueError, match="never made"):
            call()
    assert (len(table), table.clock, table.stats.packets) == (0, None, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"idle_timeout": 0}, "idle_timeout must be 1e-9 to 1e\\+09 seconds, not 0"),
        ({"active_timeout": float("nan")}, "active_timeout must be"),
        ({"window": -1}, "window must be"),
        ({"max_flows": 0}, "max_flows must be 1 to 1073741824, not 0"),
        ({"key": ["vlan", "tos"]}, "key may have vlan, interface, tunnel, not 'tos'"),
        ({"timeout": 1}, "did you mean"),
    ],
)
def test_invalid_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        FlowTable(**options)


def test_a_released_batch_raises() -> None:
    batch = batch_at(udp_packet(0))
    batch.release()
    with pytest.raises(ValueError, match="released"):
        FlowTable().update(batch)


def test_a_table_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(FlowTable())


def test_packets_without_a_complete_ip_header_are_counted_apart() -> None:
    batch = batch_of([bytes(60), b"\x45" + bytes(18), b"\x60" + bytes(38), b""], total_len=100)
    table = FlowTable()
    table.update(batch)
    stats = table.stats
    assert (stats.other_packets, stats.other_bytes, stats.packets, len(table)) == (4, 400, 0, 0)


def test_statistics_are_those_of_all_calls() -> None:
    table = FlowTable(idle_timeout=1)
    table.update(batch_at(udp_packet(0), udp_packet(5)))
    stats = table.stats
    assert (stats.active, stats.started, stats.packets) == (1, 2, 2)
    assert {reason.name: count for reason, count in stats.ended.items() if count} == {"IDLE": 1}
    assert table.stats.ended.keys() == set(FlowEnd)
    assert repr(table) == "<FlowTable: 1 flows>"


def test_many_flows_are_found_again_while_the_table_grows() -> None:
    rng = np.random.default_rng(1)
    packets = [udp_packet(0, int(port)) for port in rng.integers(1, 1 << 16, 6000)]
    table, oracle = FlowTable(), FlowOracle()
    for start in range(0, len(packets), 1000):
        batch = batch_at(*packets[start : start + 1000])
        table.update(batch)
        oracle.update(batch)
    oracle.flush()
    assert len(table) > 4 * FIRST_SLOTS
    assert_equal(table.flush(), oracle.ended)


def test_flows_are_found_again_after_others_ended() -> None:
    """Ending a flow moves the slots after its own."""
    rng = random.Random(2)
    table, oracle = FlowTable(max_flows=640), FlowOracle(max_flows=640)
    ended = []
    for _ in range(20):
        batch = batch_at(*(udp_packet(0, rng.randrange(1, 800)) for _ in range(500)))
        ended.append(table.update(batch))
        oracle.update(batch)
    ended.append(table.flush())
    oracle.flush()
    assert_equal(FlowBatch.concat(ended), oracle.ended)


def test_flows_are_found_while_slots_are_doubled() -> None:
    """Old and new slots have flows at the same time, which packets are added to, and which end."""
    rng = random.Random(3)
    table, oracle = FlowTable(idle_timeout=3), FlowOracle(idle_timeout=3)
    ended = []
    for second in range(4):
        ports = [
            port for new in range(1, 700) for port in (new, *(rng.randrange(1, new + 1) for _ in range(8)))
        ]
        batch = batch_at(*(udp_packet(second, 1000 * second + port) for port in ports))
        ended.append(table.update(batch))
        oracle.update(batch)
        assert len(table) == len(oracle.open)
    ended.append(table.flush())
    oracle.flush()
    assert_equal(FlowBatch.concat(ended), oracle.ended)


def fold(a: int, b: int) -> int:
    return (a * b & MASK) ^ (a * b >> 64)


def hash_of(secret: tuple[int, ...], port: int) -> int:
    """Return the hash of the flow of `udp_packet(0, port)`."""
    sides = 0
    for host, number in ((b"\xc0\0\2\1", port), (b"\xc6\x33\x64\7", 53)):
        lower = int.from_bytes(b"\0\0\xff\xff" + host, "little")
        sides += fold(fold(secret[0], lower ^ secret[1]) ^ number, secret[2])
    return fold((sides & MASK) ^ 17, secret[3]) >> 32


def colliding(table: FlowTable, count: int) -> list[int]:
    """Return source ports whose flows have their homes in few slots next to each other."""
    secret: tuple[int, ...] = table._secret  # type: ignore[attr-defined]
    homes = sorted((hash_of(secret, port) * FIRST_SLOTS >> 32, port) for port in range(1, 1 << 16))
    first = next(at for at, (home, _) in enumerate(homes) if home == 300)
    return [port for _, port in homes[first : first + count]]


def test_colliding_flows_are_found_again() -> None:
    table, oracle = FlowTable(max_flows=600), FlowOracle(max_flows=600)
    ports = colliding(table, 400)
    random.Random(3).shuffle(ports)
    ended = []
    for part in (ports[:200], ports[100:], ports[:150]):
        batch = batch_at(*(udp_packet(0, port) for port in part))
        ended.append(table.update(batch))
        oracle.update(batch)
    ended.append(table.flush())
    oracle.flush()
    assert oracle.ended
    assert_equal(FlowBatch.concat(ended), oracle.ended)


def test_too_many_colliding_flows_end_and_no_packet_is_lost() -> None:
    table = FlowTable(max_flows=639)  # so that the slots do not grow
    ports = colliding(table, 630)
    flows = FlowBatch.concat(
        [
            *(table.update(batch_at(*(udp_packet(0, port) for port in ports))) for _ in range(3)),
            table.flush(),
        ]
    )
    ended = table.stats.ended
    assert ended[FlowEnd.LACK_OF_RESOURCES] > 0
    assert ended[FlowEnd.FORCED] >= MAX_PROBES
    assert int(flows["src_packets"].sum()) == 3 * len(ports)


def test_records_have_the_same_ids_in_each_run() -> None:
    traffic = random_traffic(4, 300)
    first, second = (FlowTable(window=2) for _ in range(2))
    assert first._secret != second._secret  # type: ignore[attr-defined]
    found = [FlowBatch.concat([table.update(traffic), table.flush()]) for table in (first, second)]
    assert found[0].records.tobytes() == found[1].records.tobytes()


def test_several_threads_get_an_error_or_all_records() -> None:
    batch = random_traffic(5, 20_000)
    table = FlowTable(max_flows=50)
    done: list[FlowBatch] = []
    errors: list[Exception] = []
    barrier = threading.Barrier(4)

    def run() -> None:
        barrier.wait()
        for _ in range(30):
            try:
                done.append(table.update(batch))
            except RuntimeError as error:
                errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) + len(errors) == 120
    assert {str(error) for error in errors} <= {"another thread is using this table: one at a time"}
    flows = FlowBatch.concat([*done, table.flush()])
    assert int((flows["src_packets"] + flows["dst_packets"]).sum()) == table.stats.packets
    assert table.stats.packets + table.stats.other_packets == len(done) * len(batch)


def test_a_forked_process_has_a_table_of_its_own() -> None:
    table = FlowTable()
    table.update(batch_at(udp_packet(0)))

    def child() -> int:
        table.update(batch_at(udp_packet(1), udp_packet(1, 5)))
        return len(table.flush())

    assert in_child(child) == "2"
    assert len(table) == 1
    assert table.flush()["last"].tolist() == [START]


def test_flows_of_interfaces_are_apart_if_they_are_in_the_key() -> None:
    batch = batch_at(udp_packet(0), udp_packet(1))
    records = np.array(batch.records)
    records["interface"] = [0, 1]
    batch = slimcap.Batch(records, batch.data)
    for key, count in ((["interface"], 2), (["vlan"], 1), ((), 1)):
        table = FlowTable(key=key)
        table.update(batch)
        assert len(table) == count


def test_records_of_an_interrupted_call_are_returned_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during `update` is raised by the first Python code after it, which makes the FlowBatch."""
    table, original = FlowTable(), FlowBatch.__init__
    interrupts = iter([KeyboardInterrupt])

    def interrupted(batch: FlowBatch, records: Any) -> None:
        for error in interrupts:
            raise error
        original(batch, records)

    monkeypatch.setattr(FlowBatch, "__init__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        table.update(batch_at(udp_packet(0), udp_packet(100)))
    assert [FlowEnd(end) for end in table.flush()["end_reason"]] == [FlowEnd.IDLE, FlowEnd.FORCED]
    assert len(table.flush()) == 0
