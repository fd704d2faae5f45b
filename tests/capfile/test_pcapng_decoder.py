"""PcapngDecoder: rows from bytes, without a source."""

from __future__ import annotations

import io

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, read
from slimcap.capfile.pcapng_decoder import PcapngDecoder
from support.batches import payloads_of, rows_of
from support.builders.pcap import pcap_header
from support.capfiles import BEGIN, FRAME, NG, PCAPNG_FILES, blocks_of


@pytest.mark.parametrize("capacity", [1, 2, 7])
@pytest.mark.parametrize("name", PCAPNG_FILES)
def test_decoding_continues_after_the_rows_were_full(name, capacity):
    data = PCAPNG_FILES[name]
    decoder, rows, found, at = PcapngDecoder(), np.zeros(capacity, RECORD_DTYPE), [], 0
    while count := decoder.decode(data, rows, at):
        found.append(rows[:count].copy())
        at = decoder.position
    assert decoder.position == len(data)
    assert decoder.fault is None
    whole = read(io.BytesIO(data))
    records = np.concatenate([np.zeros(0, RECORD_DTYPE), *found])
    assert rows_of(records) == rows_of(whole)
    payloads = [data[row["offset"] : row["offset"] + row["cap_len"]] for row in records]
    assert payloads == payloads_of(whole)


def test_decoding_into_no_rows_reads_up_to_a_packet():
    decoder = PcapngDecoder(name="x")
    data = BEGIN + NG.unknown() + NG.packet(FRAME)
    assert decoder.decode(data, np.zeros(0, RECORD_DTYPE)) == 0
    assert decoder.position == blocks_of(data)[3].start
    assert [link.name for link in decoder.links] == ["x"]


def test_needed_bytes_are_reported_at_every_cut_of_a_section_header():
    data = NG.section()
    for cut in range(len(data)):
        decoder = PcapngDecoder()
        assert decoder.decode(data[:cut], np.zeros(1, RECORD_DTYPE)) == 0
        assert (decoder.position, decoder.needed) == (0, 12 if cut < 12 else len(data))
        assert decoder.fault is None


@pytest.mark.parametrize("name", PCAPNG_FILES)
def test_packets_before_a_cut_at_every_byte_are_decoded(name):
    """Decodes the packets of the whole blocks before the cut, and stops where the cut block starts."""
    data, size = PCAPNG_FILES[name], RECORD_DTYPE.itemsize
    rows = np.zeros(len(data) // 16 + 1, RECORD_DTYPE)
    expected = rows[: PcapngDecoder().decode(data, rows)].tobytes()
    blocks, view, tried, index = blocks_of(data), memoryview(data), 0, 0
    # Each block is first cut at each of its bytes, then decoded whole.
    decoder = PcapngDecoder()
    for block in blocks:
        for cut in range(block.start, block.end):
            assert decoder.decode(view[:cut], rows, block.start) == 0, f"cut at byte {cut}"
            needed = 12 if cut - block.start < 12 else block.end - block.start
            state = (decoder.position, decoder.needed, decoder.fault)
            assert state == (block.start, needed, None), f"cut at byte {cut}"
            tried += 1
        count = decoder.decode(view[: block.end], rows, block.start)
        assert count == block.is_packet, f"cut at byte {block.end}"
        assert (decoder.position, decoder.fault) == (block.end, None), f"cut at byte {block.end}"
        assert rows[:count].tobytes() == expected[index * size : (index + count) * size], f"block {block}"
        index += count
    assert tried == len(data)


def test_fault_stays_at_its_block():
    data = BEGIN + NG.packet(FRAME) + NG.block(99, b"", again=16)
    decoder, rows = PcapngDecoder(), np.zeros(4, RECORD_DTYPE)
    assert decoder.decode(data, rows) == 1
    for _ in range(2):
        assert decoder.position == blocks_of(data[:-12])[-1].end
        assert "at its end" in decoder.fault
        assert decoder.decode(data, rows, decoder.position) == 0


def test_pcap_file_is_a_fault():
    decoder = PcapngDecoder()
    assert decoder.decode(pcap_header(), np.zeros(1, RECORD_DTYPE)) == 0
    assert "section header" in decoder.fault


def test_uninitialised_decoder_decodes_as_usual():
    decoder = PcapngDecoder.__new__(PcapngDecoder)
    assert decoder.decode(BEGIN + NG.packet(FRAME), np.zeros(4, RECORD_DTYPE)) == 1


def test_second_thread_is_refused(background):
    """Decoding reallocates the list of interfaces: two threads must never do so at once."""
    data = NG.section() + (NG.interface() + NG.packet(FRAME)) * 500
    decoder, refused = PcapngDecoder(), []

    def decode():
        rows = np.zeros(500, RECORD_DTYPE)
        for _ in range(20):
            try:
                decoder.decode(data, rows)
            except RuntimeError:
                refused.append(True)

    for thread in [background(decode) for _ in range(3)]:
        thread.result(60)
    assert decoder.decode(b"", np.zeros(1, RECORD_DTYPE)) == 0


def test_start_after_the_end_decodes_nothing():
    decoder = PcapngDecoder()
    assert decoder.decode(BEGIN, np.zeros(4, RECORD_DTYPE), 1 << 40) == 0
    assert decoder.position == len(BEGIN)
