"""Other people's captures as Wireshark's library reads them: SLIMCAP_CORPUS names their folder.

editcap opens files with the code of tshark, and writes what it read as pcapng, of one section and one byte
order, every packet in an enhanced packet block. The decoder of just that, below, tells what is in it.
"""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.peers import peer_environment

from slimcap import FileFormatError, PcapSource

CORPUS = os.environ.get("SLIMCAP_CORPUS", "")
FILES = sorted(path for path in Path(CORPUS).rglob("*") if path.is_file()) if CORPUS else []
pytestmark = pytest.mark.skipif(not CORPUS, reason="SLIMCAP_CORPUS names no folder of capture files")

# Fractions of more than a second, in files of tcpdump's tests: Wireshark 4.0 keeps nanoseconds in 32 bits,
# and makes other times of them. We add them up, as libpcap does.
OTHER_TIMES = {
    "atm-oam-heapoverflow.pcap",
    "atm-oam-loopback-print-overrun.pcap",
    "heapoverflow-ppp_hdlc_if_print.pcap",
    "rx_serviceid_oobr.pcap",
    "timestamp_invalid_micro.pcap",
    "timestamp_invalid_nano.pcap",
}
# What several link types are one and the same to Wireshark, this is the one that it writes.
WRITTEN_LINK_TYPE = {50: 9}
# A fuzzed file of suricata-verify, whose only record seems to Wireshark to have one of the longer headers.
OTHER_RECORDS = {"bug-6875-01/fuzz.pcap"}
# Of the first byte of this header Wireshark keeps some bits, and writes those.
SUNATM = 123

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
IF_TSRESOL = 9


class Fact(NamedTuple):
    """What has to be the same of a packet."""

    timestamp: int
    total_len: int
    link_type: int
    payload: bytes


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each block of a little-endian pcapng file."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        yield kind, data[at + 8 : at + length - 4]
        at += length


def ticks_a_second(options: bytes) -> int:
    """What the options of an interface say of its clock."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from("<HH", options, at)
        if code == IF_TSRESOL:
            exponent: int = options[at + 4]
            return 2 ** (exponent & 127) if exponent & 128 else 10**exponent
        at += 4 + (length + 3) // 4 * 4
    return 10**6


def decoded(data: bytes) -> list[Fact]:
    """The packets of what editcap wrote."""
    facts, interfaces = [], []
    for kind, body in blocks(data):
        if kind == INTERFACE:
            interfaces.append((struct.unpack_from("<H", body)[0], ticks_a_second(body[8:])))
        elif kind == PACKET:
            interface, high, low, captured, total = struct.unpack_from("<5I", body)
            link_type, ticks = interfaces[interface]
            time = (high << 32 | low) * 10**9 // ticks
            facts.append(Fact(time, total, link_type, body[20 : 20 + captured]))
    return facts


def as_wireshark_reads(editcap: str, tshark: str, path: Path) -> tuple[list[Fact], bool] | None:
    """The packets up to the first bad place, and whether that is the end; None if it opens none."""
    done = run(editcap, "-F", "pcapng", path, "-")
    whole = not done.stderr
    if b"can't be written" in done.stderr:  # the first section has no interface
        done = run(tshark, "-n", "-r", path, "-F", "pcapng", "-w", "-")
        whole = done.returncode == 0
    facts = decoded(done.stdout)
    if done.returncode != 0 and not facts:
        return None
    # It takes an empty file for one without packets. Of damage it speaks, and gives what is before it.
    return facts, whole and path.stat().st_size > 0


def run(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, timeout=120, check=False, env=peer_environment())


def as_we_read(path: Path) -> tuple[list[Fact], FileFormatError | None]:
    """The packets up to the first bad place, and what is bad there."""
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
    """Without what is known to differ. Wireshark shows a wire length below the captured one."""
    if path.name in OTHER_TIMES:
        facts = [fact._replace(timestamp=0) for fact in facts]
    facts = [fact._replace(payload=fact.payload[fact.link_type == SUNATM :]) for fact in facts]
    return [fact._replace(total_len=max(fact.total_len, len(fact.payload))) for fact in facts]


def test_there_is_a_corpus() -> None:
    assert FILES, f"no files in {CORPUS}"


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(CORPUS)) for path in FILES])
def test_wireshark_reads_the_same(path, need_tool):
    if "/".join(path.parts[-2:]) in OTHER_RECORDS:
        pytest.skip("Wireshark takes its records for others")
    read = as_wireshark_reads(need_tool("editcap"), need_tool("tshark"), path)
    if read is None:
        pytest.skip("Wireshark does not read it")
    theirs, whole = read
    ours, error = as_we_read(path)
    assert comparable(path, ours) == comparable(path, theirs)
    assert (error is None) == whole
