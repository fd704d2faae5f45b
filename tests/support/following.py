"""Captures of packets that tell their number, and a thread that reads them as they are written."""

from __future__ import annotations

from collections.abc import Iterator

import make_samples
from make_samples import pcap_header, pcap_record
from slimcap import PcapSource, Source, View
from slimcap.source.file.followed import RotatedSource
from support.threads import Background, wait_until

FRAME = make_samples.ethernet(make_samples.packet4())


def frame(number: int) -> bytes:
    """Return the payload of the packet of this number."""
    return FRAME + number.to_bytes(4, "big")


def records(*numbers: int) -> bytes:
    """Return pcap records, which tell their number in the payload and in the seconds of the timestamp."""
    return b"".join(pcap_record(frame(number), number) for number in numbers)


def capture(*numbers: int) -> bytes:
    """Return a pcap file of `records`."""
    return pcap_header() + records(*numbers)


def number_of(payload: bytes | View) -> int:
    """Return the number of a packet; fail if any other byte of it is wrong."""
    number = int.from_bytes(payload[-4:], "big")
    assert payload == frame(number)
    return number


def next_number(source: Source, timeout: float | None = -1) -> int:
    """Read one packet; return its number. Default of `timeout`: that of the source."""
    return number_of((source.next_payload() if timeout == -1 else source.next_payload(timeout=timeout))[0])


def numbers(source: Source) -> Iterator[int]:
    """Read a source to its end; yield the numbers of the packets."""
    for packet in source:
        number = number_of(packet.payload)
        assert packet.timestamp == number * 10**9
        yield number


class FollowingReader:
    """A thread that reads a source to its end.

    Parameters
    ----------
    source : PcapSource or RotatedSource

    Attributes
    ----------
    numbers : list of int
        The packets that have come.
    """

    def __init__(self, source: PcapSource | RotatedSource) -> None:
        self.source = source
        self.numbers: list[int] = []
        self._call = Background(self._read)

    def _read(self) -> list[int]:
        for number in numbers(self.source):
            self.numbers.append(number)
        return self.numbers

    def wait_for(self, count: int, within: float = 10) -> None:
        """Wait until so many packets have come; raise the reader's error if it ends before."""
        wait_until(lambda: len(self.numbers) >= count or not self._call.is_alive(), within)
        if not self._call.is_alive():
            self._call.result()
        assert len(self.numbers) >= count

    def wait_until_blocked(self) -> None:
        """Wait until the reader waits for packets."""
        self._call.wait_until_blocked()

    def end(self, within: float = 5) -> list[int]:
        """Wait until the source ends by itself; return all packets."""
        ended: list[int] = self._call.result(within)
        return ended

    def finish(self, within: float = 5) -> list[int]:
        """Stop the source when the reader waits; return all packets."""
        self.wait_until_blocked()
        return self.stop(within)

    def stop(self, within: float = 5) -> list[int]:
        """Stop the source at once; return all packets."""
        self.source.stop()
        return self.end(within)
