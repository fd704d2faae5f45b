"""`Source.fileno`: a descriptor that polls readable when a read would not wait."""

from __future__ import annotations

import contextlib
import gc
import gzip
import select
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from make_samples import pcap_header
from slimcap import CaptureStopped, CaptureUnblocked, PcapSource, Source, open_files
from support.files import Fifo, Growing
from support.mocks import KINDS, Mock, hand_over, packet
from support.numbered import numbered, rest_of
from support.threads import Background, in_child, wait_until
from support.traffic import ethernet, udp


@pytest.fixture(params=KINDS)
def mock(request: pytest.FixtureRequest) -> Mock:
    """A mock of each kind."""
    return KINDS[request.param]()


def is_readable(source: Source, timeout: float = 0) -> bool:
    return bool(select.select([source], [], [], timeout)[0])


def add(mock: Mock, count: int = 1) -> None:
    for number in range(count):
        mock.add_packet(packet(ethernet(udp(number))))
    hand_over(mock)


def find_nothing(source: Source) -> None:
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0)


def test_it_is_readable_exactly_if_packets_are_available(mock: Mock) -> None:
    with mock as source:
        assert not is_readable(source)
        held = []
        for _ in range(3):
            add(mock, 3)
            assert is_readable(source)
            held.append(source.next_batch(2))
            assert is_readable(source), "one is left"
            source.next_packet()
            assert not is_readable(source)
        find_nothing(source)
        assert not is_readable(source)


def test_it_is_readable_while_a_full_batch_leaves_some() -> None:
    with KINDS["socket"](batch_size=4) as source:
        assert source.fileno() >= 0
        add(source, 10)
        sizes = []
        while is_readable(source):
            sizes.append(len(source.next_batch(timeout=0)))
        assert sizes == [4, 4, 2]


def test_it_is_readable_if_packets_came_before_the_first_call(mock: Mock) -> None:
    with mock as source:
        add(mock, 2)
        source.next_packet()
        assert is_readable(source)
        source.next_packet()
        assert not is_readable(source)


def test_unblock_makes_it_readable_once(mock: Mock) -> None:
    with mock as source:
        assert not is_readable(source)
        source.unblock()
        assert is_readable(source)
        with pytest.raises(CaptureUnblocked):
            source.next_batch(timeout=0)
        find_nothing(source)
        assert not is_readable(source)


def test_stop_makes_it_readable_for_ever(mock: Mock) -> None:
    with mock as source:
        assert not is_readable(source)
        source.stop()
        for _ in range(3):
            assert is_readable(source)
            with pytest.raises(EOFError):
                source.next_batch(timeout=0)


def test_stop_is_not_forgotten_by_the_read_of_the_last_packet(mock: Mock) -> None:
    with mock as source:
        add(mock, 2)
        assert is_readable(source)
        source.next_packet()
        source.stop()
        source.next_packet()
        assert is_readable(source)
        with pytest.raises(EOFError):
            source.next_batch(timeout=0)


def test_close_wakes_another_thread_and_leaves_it_open(mock: Mock, background: type[Background]) -> None:
    fd = mock.fileno()
    waiting = background(lambda: is_readable(mock, 10))
    waiting.wait_until_blocked()
    mock.close()
    assert waiting.result(within=2)
    assert mock.fileno() == fd
    assert is_readable(mock)
    with pytest.raises(CaptureStopped):
        mock.next_batch(timeout=0)
    assert is_readable(mock)


def test_it_is_closed_with_the_source(open_descriptors: Callable[[], int]) -> None:
    gc.collect()
    before = open_descriptors()
    source = KINDS["ring"]()
    opened = open_descriptors()
    assert source.fileno() == source.fileno()
    assert open_descriptors() == opened + 2
    source.close()
    del source
    gc.collect()
    assert open_descriptors() == before


def test_it_cannot_be_had_of_a_closed_source(mock: Mock) -> None:
    mock.close()
    with pytest.raises(CaptureStopped):
        mock.fileno()


def test_the_block_timer_of_a_mock_makes_it_readable() -> None:
    with KINDS["ring"](block_timeout=0.2) as source:
        source.run()
        source.add_packet(packet(ethernet(udp(1))))
        wait_until(lambda: is_readable(source))
        find_nothing(source)
        assert not is_readable(source)
        assert is_readable(source, 5), "nothing else wakes the reader"
        assert len(source.next_batch(timeout=0)) == 1


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_is_readable_to_its_end(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "some.pcap"
    data = pcap_header() + numbered(100) * 1000
    path.write_bytes(gzip.compress(data, 1) if compressed else data)
    count = 0
    with PcapSource(path, block_size=4096) as source:
        while True:
            assert is_readable(source, 10)
            try:
                count += len(source.next_batch(timeout=0))
            except TimeoutError:
                assert compressed
            except EOFError:
                break
        assert is_readable(source)
    assert count == 100_000


def test_a_fifo_is_readable_after_each_write(fifo_source: PcapSource, fifo: Fifo) -> None:
    assert is_readable(fifo_source), "not known yet"
    for _ in range(3):
        find_nothing(fifo_source)
        assert not is_readable(fifo_source)
        fifo.write(numbered(1)[:-1])
        assert is_readable(fifo_source)
        find_nothing(fifo_source)
        assert not is_readable(fifo_source)
        fifo.write(numbered(1)[-1:])
        assert is_readable(fifo_source)
        assert len(fifo_source.next_batch(timeout=0)) == 1
    find_nothing(fifo_source)
    fifo.close()
    assert is_readable(fifo_source)
    with pytest.raises(EOFError):
        fifo_source.next_batch(timeout=0)


def test_a_followed_file_is_readable_when_it_grows(tmp_path: Path) -> None:
    file = Growing(tmp_path / "some.pcap", pcap_header())
    with PcapSource(file.path, follow=True) as source:
        assert is_readable(source), "not known yet"
        find_nothing(source)
        assert not is_readable(source)
        file.write(numbered(2))
        assert is_readable(source)
        assert len(source.next_batch(timeout=0)) == 2
        find_nothing(source)
        source.stop()
        assert is_readable(source)
        assert rest_of(source) == []


def test_followed_files_are_readable_when_a_new_one_appears(tmp_path: Path) -> None:
    Growing(tmp_path / "cap1", pcap_header() + numbered(1))
    with open_files(tmp_path / "cap*", follow=True) as source:
        assert is_readable(source)
        assert len(source.next_batch(timeout=0)) == 1
        find_nothing(source)
        for number in (2, 3):
            assert not is_readable(source)
            Growing(tmp_path / f"cap{number}", pcap_header() + numbered(1, number))
            wait_until(lambda: is_readable(source))
            end = time.monotonic() + 5
            while time.monotonic() < end:  # the folder is reported before the content
                assert is_readable(source, 5)
                try:
                    assert len(source.next_batch(timeout=0)) == 1
                    break
                except TimeoutError:
                    pass
            find_nothing(source)


@pytest.mark.slow
def test_followed_files_are_looked_for_from_time_to_time(tmp_path: Path) -> None:
    """Not all file systems report new files. Nor is it reported that a link leads to another folder."""
    for number, name in enumerate(("first", "second")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"cap{number}").write_bytes(pcap_header() + numbered(1, number))
    (tmp_path / "link").symlink_to("first")
    with open_files(tmp_path / "link" / "cap*", follow=True) as source:
        assert is_readable(source)
        assert len(source.next_batch(timeout=0)) == 1
        find_nothing(source)
        (tmp_path / "new").symlink_to("second")
        (tmp_path / "new").replace(tmp_path / "link")
        assert not is_readable(source)
        assert is_readable(source, 5)
        assert len(source.next_batch(timeout=0)) == 1


def test_merged_fifos_are_readable_when_the_next_packet_is_known(tmp_path: Path) -> None:
    fifos = [Fifo(tmp_path / name) for name in "ab"]
    for fifo in fifos:
        fifo.write(pcap_header())
    with open_files([fifo.path for fifo in fifos]) as source:
        find_nothing(source)
        seen = 0
        for number, fifo in enumerate(fifos * 2):
            fifo.write(numbered(1, number))
            while is_readable(source):
                with contextlib.suppress(TimeoutError):
                    seen += len(source.next_batch(timeout=0))
        for fifo in fifos:
            fifo.close()
        assert is_readable(source)
        assert seen + len(rest_of(source)) == 4


def test_a_forked_process_neither_has_nor_wakes_it(mock: Mock) -> None:
    with mock as source:
        assert not is_readable(source)

        def use() -> str:
            source.unblock()
            source.close()
            return str(source.fileno())

        assert "open it again in this process" in in_child(use)
        assert not is_readable(source)
        add(mock)
        assert is_readable(source)
        assert len(source.next_batch(timeout=0)) == 1
