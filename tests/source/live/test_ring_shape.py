"""Options of a ring in words of its user: `buffer` and `latency` give its blocks and their timeout."""

from __future__ import annotations

from typing import Any

import pytest

from slimcap.filter.program import MAX_SNAPLEN
from slimcap.mock import MockRingSource
from slimcap.option_set import parse, parse_size
from slimcap.source.live.live_options import BLOCK_SIZE, RingOptions, RingShape, ring_shape
from support.batches import payloads_of
from support.mocks import packet
from support.traffic import ethernet

KIB, MIB = 1 << 10, 1 << 20


def shape(**options: Any) -> RingShape:
    return ring_shape(parse(RingOptions, options))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (512 * KIB, 128, 20)),
        ({"buffer": None, "latency": None}, (512 * KIB, 128, 20)),
        ({"buffer": 32 * MIB}, (512 * KIB, 64, 20)),
        ({"buffer": "32MiB"}, (512 * KIB, 64, 20)),
        ({"buffer": "32MB"}, (512 * KIB, 61, 20)),
        ({"buffer": "1MiB"}, (512 * KIB, 2, 20)),
        ({"buffer": "1TiB"}, (512 * KIB, 1 << 21, 20)),
        ({"latency": 0.01}, (512 * KIB, 128, 10)),
        ({"latency": 1}, (512 * KIB, 128, 1000)),
        ({"latency": 0.0001}, (512 * KIB, 128, 1)),
        ({"block_timeout": 0.1}, (512 * KIB, 128, 100)),
        ({"block_size": 1 << 14}, (1 << 14, 4096, 20)),
        ({"block_size": 1 << 30}, (1 << 30, 2, 20)),
        ({"num_blocks": 5}, (512 * KIB, 5, 20)),
        ({"num_blocks": 1}, (512 * KIB, 1, 20)),
        ({"block_size": MIB, "num_blocks": 16, "latency": 0.01}, (MIB, 16, 10)),
        ({"buffer": "2MiB", "block_timeout": 0.01}, (512 * KIB, 4, 10)),
    ],
    ids=str,
)
def test_blocks_of_the_options(options: dict[str, Any], expected: tuple[int, int, int]) -> None:
    assert shape(**options) == expected
    if options.get("buffer") != "1TiB" and options.get("block_size") != 1 << 30:
        with MockRingSource(**options) as source:
            assert (source.block_size, source.num_blocks, source.latency * 1000) == expected


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"buffer": "32 apples"}, ValueError, "\"32MiB\".*not '32 apples'"),
        ({"buffer": ""}, ValueError, "buffer must be bytes"),
        ({"buffer": "0"}, ValueError, "buffer must be bytes"),
        ({"buffer": 0}, ValueError, "1 MiB to 1 TiB, not 0"),
        ({"buffer": -1}, ValueError, "1 MiB to 1 TiB"),
        ({"buffer": MIB - 1}, ValueError, "1 MiB to 1 TiB.*use block_size and num_blocks"),
        ({"buffer": "2TiB"}, ValueError, "1 MiB to 1 TiB"),
        ({"buffer": 1.5}, TypeError, "buffer must be an integer or a str"),
        ({"latency": 0}, ValueError, "latency must be more than 0"),
        ({"latency": -1}, ValueError, "latency"),
        ({"latency": 3601}, ValueError, "latency"),
        ({"latency": float("nan")}, ValueError, "latency"),
        ({"latency": "1ms"}, TypeError, "latency"),
        ({"buffer": MIB, "block_size": 4096}, ValueError, "buffer and block_size were both given"),
        ({"buffer": MIB, "num_blocks": 16}, ValueError, "buffer and num_blocks were both given"),
        ({"latency": 0.01, "block_timeout": 0.01}, ValueError, "latency and block_timeout were both given"),
        ({"block_size": 1 << 30, "num_blocks": 1025}, ValueError, "at most 1024 blocks.*1 TiB"),
        ({"ring_exhausted": "hang"}, ValueError, 'ring_exhausted must be "wait" or "raise"'),
    ],
    ids=str,
)
def test_invalid_options_are_explained(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        MockRingSource(**options)


def test_default_blocks_hold_the_largest_packet() -> None:
    """The kernel allocates powers of two, and half of this one would cut the last bytes."""
    assert BLOCK_SIZE // 2 < MAX_SNAPLEN + 48 + 82 <= BLOCK_SIZE
    frame = ethernet(bytes(range(256)) * (MAX_SNAPLEN // 256))[:MAX_SNAPLEN]
    with MockRingSource(auto_filter=False) as source:
        source.add_packet(packet(frame))
        source.finalize_block()
        assert payloads_of(source.next_batch()) == [frame]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("500k", 500_000),
        ("1KiB", 1024),
        ("64MiB", 64 << 20),
        ("64Mi", 64 << 20),
        ("2GB", 2 * 10**9),
        ("1T", 10**12),
        *((text, 0) for text in ("", "MiB", "-1", "1.5MiB", "1 MiB", "1mib", "1MiB ", "\u0661")),
    ],
)
def test_parse_size(text: str, size: int) -> None:
    assert parse_size(text) == size
