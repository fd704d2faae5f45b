"""Fuzz the reader of capture files: any bytes end in bounds, or raise FileFormatError."""

from __future__ import annotations

import io

import slimcap
from corpus import captures, compressed_captures

BLOCK_SIZES = 64, 65, 96, 100, 128, 333, 1000, 4096, 65536


def check(data: bytes, block_size: int = 65536, snaplen: int | None = None) -> int:
    """Read a file of these bytes to its end and check every packet; return the number of packets."""
    count = 0
    try:
        with slimcap.PcapSource(io.BytesIO(data), block_size=block_size, snaplen=snaplen) as source:
            for batch in source.batches():
                check_batch(batch, snaplen)
                assert set(batch.comments) <= set(range(len(batch)))
                count += len(batch)
    except slimcap.FileFormatError as error:
        assert error.packet_index == count, (error, count)
        assert error.offset >= 0
        assert error.reason
    return count


def check_batch(batch: slimcap.Batch, snaplen: int | None = None) -> None:
    """Check that all records of a batch lie within its data."""
    records, size = batch.records, len(batch.data)
    assert len(batch) > 0
    offsets, cap_lens = records["offset"].astype("u8"), records["cap_len"].astype("u8")
    assert (offsets <= size).all()
    assert (cap_lens <= size - offsets).all()
    assert (records["cap_len"] <= records["total_len"]).all()
    assert snaplen is None or (records["cap_len"] <= snaplen).all()
    has_ip = records["ip_offset"] != slimcap.NO_IP
    assert (records["ip_offset"] < records["cap_len"])[has_ip].all()
    assert (records["interface"] < len(batch.links)).all()
    cut = records["flags"] & slimcap.RecordFlag.TRUNCATED != 0
    assert (cut == (records["cap_len"] < records["total_len"])).all()
    for packet in (batch[0], batch[-1]):
        assert len(bytes(packet.payload)) == packet.cap_len
        assert isinstance(str(packet.ip_layer), str)


def seeds() -> list[bytes]:
    """Return inputs to mutate."""
    return [*captures().values(), *compressed_captures()]


def test_one_input(data: bytes) -> None:
    """Read a file; its length selects the block size, so that a capture file is an input as it is."""
    check(data, BLOCK_SIZES[len(data) % len(BLOCK_SIZES)])
