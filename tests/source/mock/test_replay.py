"""Replays: the packets of one source into a mock, at once or at a pace."""

from __future__ import annotations

import contextlib
import functools
import io
import time
from itertools import pairwise

import pytest

from make_samples import SAMPLES, pcap_header, pcap_record
from slimcap import Packet, TruncatedFileError, open_file
from slimcap.mock import Jitter, MockRingSource, MockSocketSource
from slimcap.source.mock.mock_socket import Schedule
from support.mocks import drained, fill
from support.numbered import FRAME

BEGAN = 1_700_000_000
LATE = 0.5  # seconds that a packet may be late on a busy machine
LITTLE_ROOM = {
    MockRingSource: {"block_size": 1 << 14, "num_blocks": 3},
    MockSocketSource: {"buffer_size": 1 << 14},
}


@pytest.fixture
def opened(kind):
    """Opens mocks that accept all packets and leave their tags in place."""
    with contextlib.ExitStack() as stack:
        options = {"auto_filter": False, "timeout": 10, "reinsert_vlan": True}
        yield lambda *link, **more: stack.enter_context(kind(*link, **options | more))


@pytest.fixture
def file_of(tmp_path):
    """Opens a file of numbered packets with these timestamps, in seconds since the first."""
    with contextlib.ExitStack() as stack:

        def make(times, cut=0):
            records = [
                pcap_record(FRAME + bytes([i % 256]), BEGAN + int(at), round(at % 1 * 1e6))
                for i, at in enumerate(times)
            ]
            data = pcap_header() + b"".join(records)
            path = tmp_path / "replayed.pcap"
            path.write_bytes(data[: len(data) - cut])
            return stack.enter_context(open_file(path))

        yield make


def is_cut_tag(row):
    return row.total_len < 20 and row.data[12:14] in (b"\x81\x00", b"\x88\xa8")


def numbered_frames(count, start=0):
    return [FRAME + i.to_bytes(4, "big") for i in range(start, start + count)]


def numbers(mock):
    """Read a mock to its end; return the numbers of the packets."""
    return [int.from_bytes(bytes(packet.payload)[-4:], "big") for packet in mock]


def arrivals(mock):
    """Read a mock to its end; return the time of each read on the monotonic clock."""
    return [time.monotonic() for _ in mock]


# ---- packets


def test_every_sample_is_replayed_unchanged(opened, sample_of, drain):
    """Except packets that no interface delivers: those without bytes, or too short for their tag."""
    names = [name for name in SAMPLES if not name.startswith("bad/")]
    assert names
    for sample in map(sample_of, names):
        rows = [row for row in sample.rows if row.data and not (sample.linktype == 1 and is_cut_tag(row))]
        with open_file(sample.path) as file:
            mock = opened() if file.link.type == 1 else opened(file.link)
            replay = mock.pipe(file)
            got = drain(mock)
            assert replay.wait(5) == replay.packets == len(rows), sample.name
        most = 262144 if isinstance(mock, MockSocketSource) else mock.block_size - 48 - 82
        assert got.error is None
        assert got.payloads == [row.data[:most] for row in rows]
        assert got.records["total_len"].tolist() == [row.total_len for row in rows]
        seconds = 2**32 * 10**9  # timestamps of a ring have 32 bits of seconds
        for (at, _, _), row in zip(got.facts, rows, strict=True):
            assert at % seconds == row.timestamp % seconds or row.timestamp == 0  # 0 becomes the current time
        assert not replay.running
        assert replay.jitter == Jitter(0.0, 0.0)
        assert mock.total_stats[:2] == (len(rows), 0)
        mock.close()


def test_records_of_a_file_are_replayed_unchanged(opened, sample_of, drain):
    sample = sample_of("mixed.pcap")
    with open_file(sample.path) as file, open_file(sample.path) as again:
        mock = opened()
        mock.pipe(file)
        mine, theirs = drain(mock).records, drain(again).records
    assert len(mine) == len(sample.rows) > 0
    for name in set(mine.dtype.names) - {"offset"}:
        assert mine[name].tolist() == theirs[name].tolist(), name


def test_a_chain_of_mocks_loses_no_packet(opened, drain, sample_of):
    sample = sample_of("mixed.pcap")
    with open_file(sample.path) as file:
        chain = [opened() for _ in range(4)]
        replays = [after.pipe(before) for before, after in pairwise([file, *chain])]
        got = drain(chain[-1])
        assert [replay.wait(5) for replay in replays] == [len(sample.rows)] * 4
    assert got.payloads == [row.data for row in sample.rows]
    assert [at for at, _, _ in got.facts] == [row.timestamp for row in sample.rows]
    assert [mock.total_stats[:2] for mock in chain] == [(len(sample.rows), 0)] * 4


@pytest.mark.parametrize("other", [MockRingSource, MockSocketSource])
def test_a_full_mock_holds_up_the_one_before_it(opened, other, kind, background):
    """Nothing is lost."""
    count = 10_000
    first = opened(**LITTLE_ROOM[kind])
    first.run()
    with other(timeout=10, **LITTLE_ROOM[other]) as second:
        replay = second.pipe(first)
        reading = background(lambda: numbers(second))
        for data in numbered_frames(count):
            first.add_packet(Packet.from_payload(data), timeout=10)
        first.done()
        assert reading.result(20) == list(range(count))
        assert replay.wait(5) == count


def test_the_filter_of_the_mock_applies_to_a_replay(opened, file_of):
    mock = opened(filter="len > 100000")
    replay = mock.pipe(file_of([0] * 9))
    assert replay.wait(5) == 0
    assert list(mock) == []


def test_when_full_drop_applies_to_a_replay(opened, kind, file_of):
    mock = opened(when_full="drop", **LITTLE_ROOM[kind])
    assert mock.pipe(file_of([0] * 1000)).wait(5) == 1000
    stats = mock.total_stats
    assert stats.packets_received == 1000
    assert 0 < stats.packets_dropped < 1000
    assert len(list(mock)) == 1000 - stats.packets_dropped


def test_on_packet_added_is_called_for_each_packet_of_a_replay(opened, file_of):
    mock = opened()
    seen = []
    mock.on_packet_added(lambda packet: seen.append(packet.payload[-1]))
    mock.pipe(file_of([0] * 5)).wait(5)
    assert seen == list(range(5))


def test_restamp_replaces_timestamps_by_the_current_time(opened, file_of):
    before = time.time_ns()
    mock = opened()
    mock.pipe(file_of([0, 1, 2]), restamp=True).wait(5)
    times = [packet.timestamp for packet in mock]
    assert len(times) == 3
    assert before <= times[0] <= times[1] <= times[2] <= time.time_ns()


# ---- pace


@pytest.mark.parametrize(
    ("times", "pace", "due"),
    [
        ([0, 0.04, 0.06, 0.06, 0.12], {"speed": 1}, [0, 0.04, 0.06, 0.06, 0.12]),
        ([0, 4, 6, 6, 12], {"speed": 100}, [0, 0.04, 0.06, 0.06, 0.12]),
        ([0, 0.004, 0.006, 0.012], {"speed": 0.1}, [0, 0.04, 0.06, 0.12]),
        ([0, 0, 0, 0, 0, 0, 0], {"rate": 50}, [0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12]),
        ([0, 10, 20], {"rate": 20}, [0, 0.05, 0.1]),
        ([5, 5.04, 0, 5.1], {"speed": 1}, [0, 0.04, 0.04, 0.1]),  # the clock was set back
    ],
)
def test_packets_arrive_at_their_time(opened, file_of, times, pace, due):
    mock = opened()
    file = file_of(times)
    began = time.monotonic()
    replay = mock.pipe(file, **pace)
    got = [at - began for at in arrivals(mock)]
    assert replay.wait(5) == len(times) == len(got)
    for at, wanted in zip(got, due, strict=True):
        assert wanted <= at < wanted + LATE
    assert 0 <= replay.jitter.mean <= replay.jitter.max < LATE


def test_jitter_shows_that_a_reader_held_up_the_replay(opened, kind, file_of):
    mock = opened(**LITTLE_ROOM[kind])
    replay = mock.pipe(file_of([0] * 1000), rate=1_000_000)
    time.sleep(0.15)
    assert len(list(mock)) == 1000
    assert replay.wait(5) == 1000
    assert replay.jitter.max > 0.1
    assert replay.jitter.mean < replay.jitter.max


def test_a_high_rate_is_kept(opened, file_of):
    mock = opened()
    began = time.monotonic()
    replay = mock.pipe(file_of([0] * 2000), rate=20_000)
    assert len(list(mock)) == replay.wait(5) == 2000
    assert 1999 / 20_000 <= time.monotonic() - began < 1999 / 20_000 + LATE


@pytest.mark.parametrize(
    "pace",
    [{"speed": 1, "rate": 1}, {"speed": 0}, {"rate": -1}, {"speed": float("nan")}, {"rate": 1e13}],
    ids=str,
)
def test_an_invalid_speed_or_rate_raises_value_error(opened, file_of, pace):
    with pytest.raises(ValueError, match=r"exactly one of speed and rate|(speed|rate) must be 1e-9 to 1e12"):
        opened().pipe(file_of([0]), **pace)


def test_a_schedule_requires_a_speed_or_a_rate():
    with pytest.raises(ValueError, match="exactly one of speed and rate"):
        Schedule()
    pace = Schedule(rate=3)
    assert (pace.speed, pace.rate, pace.packets, pace.total_delay, pace.max_delay) == (None, 3, 0, 0, 0)


# ---- end


def test_the_end_of_the_source_ends_the_mock(opened, file_of, background):
    mock = opened()
    reading = background(lambda: len(list(mock)))
    replay = mock.pipe(file_of([0] * 9))
    assert reading.result(3) == 9
    assert replay.wait() == 9
    with pytest.raises(EOFError):
        mock.next_packet()


@pytest.mark.parametrize("cut", [1, 17])
def test_wait_raises_the_error_of_the_source_each_time(opened, file_of, cut):
    """The packets before the error are delivered."""
    mock = opened()
    replay = mock.pipe(file_of([0] * 9, cut=cut))
    assert [packet.payload[-1] for packet in mock] == list(range(8))
    for _ in range(2):
        with pytest.raises(TruncatedFileError):
            replay.wait(5)
    assert replay.packets == 8


def test_wait_raises_the_error_of_the_callback(opened, file_of):
    mock = opened()
    mock.on_packet_added(lambda packet: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mock.pipe(file_of([0] * 9)).wait(5)
    assert len(list(mock)) == 1


@pytest.mark.parametrize("pace", [{}, {"speed": 1}], ids=["room", "time"])
def test_closing_the_mock_ends_the_replay(opened, kind, file_of, pace):
    mock = opened(**LITTLE_ROOM[kind])
    file = file_of([0, *[1000] * 1000] if pace else [0] * 1000)
    replay = mock.pipe(file, **pace)
    time.sleep(0.05)
    assert replay.running
    mock.close()
    replay.wait(2)
    assert not file.closed


def test_closing_the_source_ends_the_replay(opened):
    source, mock = opened(), opened()
    source.run()
    replay = mock.pipe(source)
    source.add_packet(Packet.from_payload(FRAME))
    assert bytes(mock.next_packet().payload) == FRAME
    source.close()
    assert replay.wait(2) == 1
    assert list(mock) == []


def test_unblocking_the_source_ends_the_replay(opened):
    source, mock = opened(), opened()
    replay = mock.pipe(source)
    source.unblock()
    assert replay.wait(2) == 0


def test_wait_raises_the_timeout_of_the_source(opened):
    source, mock = opened(timeout=0.01), opened()
    replay = mock.pipe(source)
    with pytest.raises(TimeoutError, match="no packet"):
        replay.wait(2)
    assert list(mock) == []


def test_reading_the_source_during_a_replay_raises_runtime_error(opened, background):
    source = opened()
    mock = opened()
    replay = mock.pipe(source)
    time.sleep(0.05)
    with pytest.raises(RuntimeError, match="one reader"):
        source.next_packet()
    replay.stop()
    replay.wait(2)


def test_a_replay_into_its_own_source_ends_with_close(opened):
    """It is not useful, but must not hang."""
    mock = opened()
    mock.run()
    replay = mock.pipe(mock)
    mock.add_packet(Packet.from_payload(FRAME))
    time.sleep(0.05)
    mock.close()
    replay.wait(2)


def test_a_replay_into_a_closed_mock_ends_at_once(opened, file_of):
    mock = opened()
    mock.close()
    assert mock.pipe(file_of([0] * 9)).wait(2) == 0


# ---- stop


def test_stop_ends_a_wait_for_the_next_time(opened, file_of):
    mock, file = opened(), file_of([0, 1000, 2000])
    replay = mock.pipe(file, speed=1)
    time.sleep(0.05)
    with pytest.raises(TimeoutError, match="still running"):
        replay.wait(0.01)
    assert replay.running
    replay.stop()
    replay.wait(2)
    assert not replay.running
    assert [packet.payload[-1] for packet in mock] == [0]


def test_stop_ends_a_wait_for_the_source(opened):
    source, mock = opened(), opened()
    replay = mock.pipe(source)
    time.sleep(0.05)
    replay.stop()
    assert replay.wait(2) == 0
    assert list(mock) == []
    assert not source.closed


def test_stop_ends_a_wait_for_space(opened, kind, file_of):
    mock = opened(**LITTLE_ROOM[kind])
    replay = mock.pipe(file_of([0] * 1000))
    time.sleep(0.05)
    assert replay.running
    replay.stop()
    replay.wait(2)
    assert 10 < len(list(mock)) < 1000


@pytest.mark.parametrize("pace", [{}, {"rate": 1}], ids=["reads", "adds"])
def test_the_source_can_be_read_after_stop(opened, pace):
    """`stop` does not unblock the next reader of the source."""
    source, mock = opened(), opened()
    source.run()
    replay = mock.pipe(source, **pace)
    source.add_packet(Packet.from_payload(FRAME))
    source.add_packet(Packet.from_payload(FRAME))
    time.sleep(0.05)
    replay.stop()
    replay.wait(2)
    replay.stop()
    source.add_packet(Packet.from_payload(FRAME + b"!"))
    assert bytes(source.next_packet().payload) == FRAME + b"!"


def test_stop_at_any_time_loses_at_most_the_packet_being_added(opened):
    """The source can be read on."""
    source = opened()
    source.run()
    read = 0
    for i in range(100):
        mock = opened()
        replay = mock.pipe(source)
        for _ in range(i % 4):
            source.add_packet(Packet.from_payload(FRAME))
        replay.stop()
        replay.wait(2)
        read += len(list(mock))
    source.done()
    assert read <= len(list(source)) + read <= 150


def test_stop_after_a_read_discards_what_was_read(opened):
    class StopsReplay(io.BytesIO):
        def readinto1(self, buffer):
            while self.tell() and not replays:
                time.sleep(0.001)
            for replay in replays:
                replay.stop()
            return super().readinto(memoryview(buffer)[: 200 if replays else 24])

    replays = []
    mock = opened()
    with open_file(StopsReplay(pcap_header() + pcap_record(FRAME) * 1000)) as source:
        replays.append(mock.pipe(source))
        assert replays[0].wait(5) == 0
        assert list(mock) == []
        assert len(list(source)) < 1000


def test_stop_does_not_disturb_other_producers(opened, kind, file_of, background):
    for _ in range(5):
        mock = opened(**LITTLE_ROOM[kind])
        fill(mock)
        add = functools.partial(mock.add_packet, Packet.from_payload(FRAME), timeout=20)
        waiting = [background(add) for _ in range(3)]
        replay = mock.pipe(file_of([0] * 10))
        for thread in waiting:
            thread.wait_until_blocked()
        replay.stop()
        assert replay.wait(5) == 0
        reading = background(functools.partial(drained, mock))
        assert all(thread.result(5) in (True, False) for thread in waiting)
        reading.result()
