"""Captures of other projects compared with Wireshark's library: SLIMCAP_CORPUS names their folder.

editcap opens files with the code of tshark, and writes them as pcapng of one section and one byte order, with
every packet in an enhanced packet block. The decoder below reads only that.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from slimcap import FileFormatError, PcapSource
from support.peers import run_peer

CORPUS = os.environ.get("SLIMCAP_CORPUS", "")
FILES = sorted(path for path in Path(CORPUS).rglob("*") if path.is_file()) if CORPUS else []
pytestmark = pytest.mark.skipif(not CORPUS, reason="SLIMCAP_CORPUS names no folder of capture files")

# Fractions of more than a second, in files of tcpdump's tests: Wireshark 4.0 keeps nanoseconds in 32 bits,
# which overflow. slimcap adds them up, as libpcap does.
OTHER_TIMES = {
    "atm-oam-heapoverflow.pcap",
    "atm-oam-loopback-print-overrun.pcap",
    "heapoverflow-ppp_hdlc_if_print.pcap",
    "rx_serviceid_oobr.pcap",
    "timestamp_invalid_micro.pcap",
    "timestamp_invalid_nano.pcap",
}
# Wireshark writes some link types as another one that means the same.
WRITTEN_LINK_TYPE = {50: 9}
# A fuzzed file of suricata-verify. Wireshark guesses from its only record that record headers are longer.
OTHER_RECORDS = {"bug-6875-01/fuzz.pcap"}
# Wireshark writes only some bits of the first byte of this header.
SUNATM = 123

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
IF_TSRESOL = 9


class Fact(NamedTuple):
    """The facts of a packet that must be equal."""

    timestamp: int
    total_len: int
    link_type: int
    payload: bytes


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and body of each block of a little-endian pcapng file."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        yield kind, data[at + 8 : at + length - 4]
        at += length


def ticks_per_second(options: bytes) -> int:
    """Return the ticks per second that the options of an interface give."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from("<HH", options, at)
        if code == IF_TSRESOL:
            exponent: int = options[at + 4]
            return 2 ** (exponent & 127) if exponent & 128 else 10**exponent
        at += 4 + (length + 3) // 4 * 4
    return 10**6


def decoded(data: bytes) -> list[Fact]:
    """Return the packets of a file that editcap wrote."""
    facts, interfaces = [], []
    for kind, body in blocks(data):
        if kind == INTERFACE:
            interfaces.append((struct.unpack_from("<H", body)[0], ticks_per_second(body[8:])))
        elif kind == PACKET:
            interface, high, low, captured, total = struct.unpack_from("<5I", body)
            link_type, ticks = interfaces[interface]
            time = (high << 32 | low) * 10**9 // ticks
            facts.append(Fact(time, total, link_type, body[20 : 20 + captured]))
    return facts


def as_wireshark_reads(editcap: str, tshark: str, path: Path) -> tuple[list[Fact], bool] | None:
    """Return the packets before the first damage, and True if there is none; None if it refuses the file."""
    done = run_peer(editcap, "-F", "pcapng", path, "-", reads=[path], timeout=120, check=False)
    whole = not done.stderr
    if b"can't be written" in done.stderr:  # the first section has no interface
        done = run_peer(
            tshark, "-n", "-r", path, "-F", "pcapng", "-w", "-", reads=[path], timeout=120, check=False
        )
        whole = done.returncode == 0
    facts = decoded(done.stdout)
    if done.returncode != 0 and not facts:
        return None
    # It accepts an empty file, without packets. It reports damage, and gives the packets before it.
    return facts, whole and path.stat().st_size > 0


def as_we_read(path: Path) -> tuple[list[Fact], FileFormatError | None]:
    """Return the packets before the first damage, and the error there."""
    facts = []
    try:
        with PcapSource(path) as source:
            for batch in source.batches():
                types = [WRITTEN_LINK_TYPE.get(link.type, link.type) for link in batch.links]
                columns = (batch[name].tolist() for name in ("timestamp", "total_len", "interface"))
                facts += [
                    Fact(time, total, types[interface], bytes(batch.payload(row)))
                    for row, (time, total, interface) in enumerate(zip(*columns, strict=True))
                ]
    except FileFormatError as error:
        return facts, error
    return facts, None


def comparable(path: Path, facts: list[Fact]) -> list[Fact]:
    """Remove what is known to differ. Wireshark shows a length on the wire below the captured one."""
    if path.name in OTHER_TIMES:
        facts = [fact._replace(timestamp=0) for fact in facts]
    facts = [fact._replace(payload=fact.payload[fact.link_type == SUNATM :]) for fact in facts]
    return [fact._replace(total_len=max(fact.total_len, len(fact.payload))) for fact in facts]


def test_corpus_has_files() -> None:
    assert FILES, f"no files in {CORPUS}"


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(CORPUS)) for path in FILES])
def test_wireshark_reads_the_same(path, need_tool):
    if "/".join(path.parts[-2:]) in OTHER_RECORDS:
        pytest.skip("Wireshark guesses another record header")
    read = as_wireshark_reads(need_tool("editcap"), need_tool("tshark"), path)
    if read is None:
        pytest.skip("Wireshark does not read it")
    theirs, whole = read
    ours, error = as_we_read(path)
    assert comparable(path, ours) == comparable(path, theirs)
    assert (error is None) == whole
