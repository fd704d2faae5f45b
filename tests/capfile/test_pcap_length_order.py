"""Version 2.3 of pcap has the two lengths of a record in either order: the smaller one was captured."""

from __future__ import annotations

import io
from itertools import product

import pytest

from slimcap import read
from support.builders.pcap import pcap_header, pcap_record

LENGTHS = [0, 1, 2, 3, 60, 61, 1500]


@pytest.mark.parametrize("big_endian", [False, True])
def test_smaller_length_is_that_of_the_captured_bytes(big_endian):
    data = pcap_header(version=(2, 3), big_endian=big_endian)
    pairs = list(product(LENGTHS, LENGTHS))
    for first, second in pairs:
        captured = bytes([len(LENGTHS)]) * min(first, second)
        data += pcap_record(captured, cap_len=first, orig_len=second, big_endian=big_endian)
    batch = read(io.BytesIO(data))
    assert batch["cap_len"].tolist() == [min(pair) for pair in pairs]
    assert batch["total_len"].tolist() == [max(pair) for pair in pairs]
