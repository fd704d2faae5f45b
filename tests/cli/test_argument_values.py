"""Times, durations and sizes as arguments of the command."""

from __future__ import annotations

import argparse

import pytest

from slimcap.cli.arguments import duration, mebibytes, size, time_ns
from support.builders.pcap import START

SECOND = 10**9


# ---- times


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("1709294400", START),
        ("1709294400.5", START + SECOND // 2),
        ("1709294400.000000001", START + 1),
        ("2024-03-01T12:00:00", START),
        ("2024-03-01T12:00:00Z", START),
        ("2024-03-01 12:00", START),
        ("2024-03-01T13:30:00+01:30", START),
        ("2024-03-01T07:00:00-0500", START),
        ("2024-03-01T12:00:00.000000001", START + 1),
        ("2024-03-01T12:00:00.25Z", START + SECOND // 4),
        ("2024-03-01", START - 12 * 3600 * SECOND),
        ("1969-12-31T23:59:59.75", -SECOND // 4),
        ("9999-12-31", 253402214400 * SECOND),
    ],
)
def test_time_in_seconds_or_iso_format(text: str, ns: int) -> None:
    assert time_ns(text) == ns


@pytest.mark.parametrize(
    "text",
    ["", "now", "-1", "1.", "1.0000000001", "2024-02-30", "2024-03-01T25:00", "2024-03-01T12:00.5", "12:00",
     "2024-03-01T12:00:00+9", "2024-03-01T12:00:00.Z", "2024-03-01T12:00:00,5",
     "2024-03-01T12:00:00.0000000001", "\u0661"],
)  # fmt: skip
def test_not_a_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a valid time"):
        time_ns(text)


# ---- durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ("1e-3", 0.001),
        ("2s", 2),
        ("0.5m", 30),
        ("5m", 300),
        ("1h", 3600),
        ("7d", 604800),
    ],
)
def test_duration_with_unit(text: str, seconds: float) -> None:
    assert duration(0.001, 10**6)(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "5 m", "5M", "5min", "-5", "nan", "inf", "infs", "1.2.3", "0", "12d", "\u0661"]
)
def test_not_a_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a valid duration.* from 0\.001 to 1e"):
        duration(0.001, 10**6)(text)


# ---- sizes


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("500k", 500_000),
        ("100M", 10**8),
        ("1G", 10**9),
        ("1GiB", 1 << 30),
        ("2KiB", 2048),
        ("3MB", 3 * 10**6),
    ],
)
def test_size_with_unit(text: str, number: int) -> None:
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "k", "1.5M", "1 M", "1m", "1kk", "1P"])
def test_not_a_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a valid size"):
        size(text)


def test_size_within_limits() -> None:
    parse = mebibytes(1, 2)
    assert (parse("1MiB"), parse("1500k"), parse("2097152")) == (1 << 20, 1_500_000, 1 << 21)
    for text in ("1MB", "3MiB", "2TiB", "1048575"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not from 1MiB to 2MiB"):
            parse(text)
    with pytest.raises(argparse.ArgumentTypeError, match="is not a valid size"):
        parse("much")
