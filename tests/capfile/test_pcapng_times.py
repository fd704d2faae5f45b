"""pcapng timestamps: every resolution and offset, exact to the nanosecond."""

from __future__ import annotations

import io
from fractions import Fraction

import pytest

from slimcap import FileFormatError, PcapSource, concat, read
from support.builders.pcap import START
from support.builders.pcapng import Ng
from support.builders.pcapng_captures import RESOLUTIONS
from support.capfiles import BEGIN, FRAME, NG, blocks_of, outcome_of, source_of


def test_interfaces_report_the_ticks_of_every_resolution(data_path):
    with PcapSource(data_path / "resolutions.pcapng") as source:
        concat(source.batches())
        ticks = [interface.ticks_per_second for interface in source.interfaces]
    expected = [2 ** (power & 0x7F) if power & 0x80 else 10**power for power in RESOLUTIONS]
    assert ticks[::2] == ticks[1::2] == expected  # without an offset, and with one


@pytest.mark.parametrize(
    ("resolution", "tick"),
    [(0, 10**9), (3, 10**6), (6, 1000), (9, 1), (12, 1), (0x80, 10**9), (0x81, 5 * 10**8)],
)
def test_source_reports_the_resolution_in_nanoseconds(resolution, tick):
    with source_of(NG.section() + NG.interface(resolution=resolution)) as source:
        assert source.resolution == tick


def exact(ticks, resolution, offset):
    """Return nanoseconds, rounded down and clamped to int64."""
    per_second = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    ns = (Fraction(ticks, per_second) * 10**9).__floor__() + offset * 10**9
    return max(-(1 << 63), min(ns, (1 << 63) - 1))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("offset", [0, 1, -1, 1_700_000_000, -(1 << 63), (1 << 63) - 1])
def test_timestamps_are_exact(big_endian, offset):
    """At every resolution, with the largest ticks, and offsets that move times into and out of the range."""
    ng = Ng(big_endian=big_endian)
    ticks = [0, 1, 999_999_999, 1_000_000_000, START, (1 << 53) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
    data = ng.section()
    for resolution in RESOLUTIONS:
        data += ng.interface(resolution=resolution, offset=offset)
    expected = []
    for index, resolution in enumerate(RESOLUTIONS):
        for tick in ticks:
            data += ng.packet(b"", tick, index)
            expected.append(exact(tick, resolution, offset))
    assert read(io.BytesIO(data))["timestamp"].tolist() == expected
    assert len(set(expected)) > 1 or offset > 1 << 62


@pytest.mark.parametrize("resolution", [20, 127, 0x80 | 64, 0xFF])
def test_resolutions_that_are_too_fine_raise(resolution):
    data = BEGIN + NG.packet(FRAME) + NG.interface(resolution=resolution)
    facts, error = outcome_of(data)
    assert len(facts) == 1
    assert type(error) is FileFormatError
    assert f"if_tsresol {resolution}" in error.reason
    assert (error.offset, error.packet_index) == (blocks_of(data)[3].start, 1)
