"""Fuzz `slimcap convert`: it writes all packets before any damage, and names the damage."""

from __future__ import annotations

import contextlib
import io
import itertools
import tempfile
from pathlib import Path

import slimcap
from corpus import captures
from slimcap.cli.main import main

FORMATS = "pcap", "pcapng"
Packet = tuple[int, int, int, int, bytes]
ZEROS = 1024  # bytes that are never packets
RECORD_LEN = 16


def check(data: bytes, format: str = "pcapng") -> int:
    """Convert a file of these bytes, and compare; return the number of packets that were written."""
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "in"), Path(folder, "out")
        file.write_bytes(data)
        said = io.StringIO()
        # Standard output, too: the command closes it where it cannot write.
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(["convert", "--format", format, str(file), str(out)])
        assert code in (0, 1)
        assert said.getvalue() or not code  # what the output has no place for is named, too
        if not out.exists():
            assert code == 1
            return 0
        types = format == "pcapng"  # pcap has no packet types
        wanted, is_bad = read(file, types)
        assert is_bad == code
        wanted, is_bad = (wanted, False) if types else before_zeros(wanted)
        assert read(out, types) == (wanted, is_bad)
        return len(wanted)


def is_record_of_zeros(packet: Packet) -> bool:
    timestamp, total_len, *_, payload = packet
    return not (timestamp or total_len or payload)


def before_zeros(packets: list[Packet]) -> tuple[list[Packet], bool]:
    """Return the packets that are read back from pcap, and whether damage is found after them.

    A packet of no bytes at the start of 1970 is a record of zeros. At the end, and where there are many, a
    reader takes them for a part of the file that was not written.
    """
    at = 0
    for is_zeros, run in itertools.groupby(packets, key=is_record_of_zeros):
        count = len(list(run))
        if is_zeros and (at + count == len(packets) or count >= ZEROS // RECORD_LEN):
            return packets[:at], True
        at += count
    return packets, False


def read(file: Path, types: bool) -> tuple[list[Packet], bool]:
    """Return the facts of each packet up to the end or to damage, and whether there is damage."""
    found: list[Packet] = []
    try:
        with slimcap.open_file(file) as source:
            for batch in source.batches():
                found += [
                    (
                        packet.timestamp,
                        packet.total_len,
                        packet.type if types else 0,
                        batch.links[packet.interface].type,
                        bytes(packet.payload),
                    )
                    for packet in batch
                ]
    except slimcap.FileFormatError:
        return found, True
    return found, False


def seeds() -> list[bytes]:
    """Return inputs to mutate."""
    return list(captures().values())


def test_one_input(data: bytes) -> None:
    """Convert a file; its length selects the format, so that a capture file is an input as it is."""
    check(data, FORMATS[len(data) % 2])
