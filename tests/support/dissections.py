"""Packets as Wireshark dissects them: one run of tshark for all files, which mergecap puts together."""

from __future__ import annotations

import functools
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from slimcap import NO_IP
from support.builders.pcapng import SECTION
from support.capfiles import PCAPNG_FILES, blocks_of
from support.peers import run_peer
from support.samples import DATA, GOOD

# Headers of each packet, as they are in it: nothing is reassembled.
OPTIONS = (
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
    "tcp.relative_sequence_numbers:FALSE",
)


class Protocol:
    """The fields of a protocol, and of what it encloses, in the order of the packet.

    Attributes
    ----------
    name : str
    offset : int
        Of its header in the packet.
    fields : list of tuple of str
        Name, shown value and hexadecimal value.
    first : dict of str to tuple of str
        Shown and hexadecimal value of the first field of each name.
    """

    def __init__(self, element: ElementTree.Element) -> None:
        self.name = element.get("name") or ""
        self.offset = int(element.get("pos") or 0)
        self.fields = [
            (field.get("name") or "", field.get("show") or "", field.get("value") or "")
            for field in element.iter("field")
        ]
        self.first: dict[str, tuple[str, str]] = {}
        for name, show, value in self.fields:
            self.first.setdefault(name, (show, value))

    def number(self, name: str) -> int:
        """Return the value of a field; 0 if it is not there."""
        show = self.first.get(name, ("0", ""))[0]
        return {"True": 1, "False": 0}[show] if show in {"True", "False"} else int(show, 0)

    def raw(self, name: str) -> bytes:
        """Return the bytes of a field; empty if it is not there."""
        return bytes.fromhex(self.first.get(name, ("", ""))[1])

    def last(self, names: Sequence[str]) -> int:
        """Return the value of the last field that has one of these names; 0 if there is none."""
        return next((int(show, 0) for name, show, _ in reversed(self.fields) if name in names), 0)


class Dissected(NamedTuple):
    """A packet as tshark dissects it."""

    timestamp: int
    total_len: int
    cap_len: int
    ip_offset: int  # of the outermost IP header; NO_IP if it has none
    protocols: list[Protocol]  # after the frame, from the link layer on


def dissect(tshark: str, mergecap: str, paths: Sequence[Path], folder: Path) -> dict[str, list[Dissected]]:
    """Return the packets of pcap files, by the name of the file.

    Parameters
    ----------
    tshark, mergecap : str
        The programs.
    paths : sequence of Path
        Files with one interface each, and different names.
    folder : Path
        For the merged file.
    """
    merged = folder / "merged.pcapng"
    command = [mergecap, "-a", "-I", "none", "-F", "pcapng", "-w", "-"]
    merged.write_bytes(run_peer(*command, *paths, reads=paths).stdout)
    options = [part for option in OPTIONS for part in ("-o", option)]
    done = run_peer(tshark, "-n", "-r", merged, "-T", "pdml", *options, reads=[merged], timeout=120)
    packets: dict[str, list[Dissected]] = {path.name: [] for path in paths}
    names = list(packets)
    assert len(names) == len(paths)
    for _, element in ElementTree.iterparse(io.BytesIO(done.stdout)):
        if element.tag == "packet":
            info, frame, *protocols = map(Protocol, element.findall("proto"))
            packets[names[frame.number("frame.interface_id")]].append(_packet(element, info, protocols))
            element.clear()
    return packets


@functools.cache
def dissect_samples(tshark: str, mergecap: str) -> dict[str, list[Dissected]]:
    """Return the packets of all valid samples, by name."""
    with tempfile.TemporaryDirectory() as folder:
        return dissect(tshark, mergecap, [DATA / name for name in GOOD], Path(folder))


class Seen(NamedTuple):
    """A packet of a pcapng file as tshark reads it."""

    time: int
    total_len: int
    cap_len: int
    interface: tuple[int, int]  # section, and index in it; both count from 0
    comments: str
    data: bytes


@functools.cache
def pcapng_samples(tshark: str) -> dict[str, list[Seen]]:
    """Return the packets of all pcapng samples, by name.

    Sections one after the other are a pcapng file, so that tshark reads all samples at once.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "samples.pcapng")
        path.write_bytes(b"".join(PCAPNG_FILES.values()))
        seen = _read_pcapng(tshark, path)
    packets: dict[str, list[Seen]] = {}
    first = 0
    for name, data in PCAPNG_FILES.items():
        end = first + sum(block.kind == SECTION for block in blocks_of(data))
        packets[name] = [one for one in seen if first <= one.interface[0] < end]
        first = end
    assert sum(map(len, packets.values())) == len(seen)
    return packets


def _read_pcapng(tshark: str, path: Path) -> list[Seen]:
    """Return the packets of a file; tshark gives the numbers and the bytes in two formats."""
    fields = ["time_epoch", "len", "cap_len", "section_number", "interface_id", "comment"]
    arguments = [part for field in fields for part in ("-e", f"frame.{field}")]
    command = (tshark, "-n", "-r", path, "-Y", "frame.interface_id")  # which custom blocks do not have
    table = run_peer(*command, "-T", "fields", "-E", "aggregator=\x1f", *arguments, reads=[path])
    raw = run_peer(*command, "-T", "jsonraw", reads=[path])
    frames = json.loads(raw.stdout, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    packets = []
    for line, frame in zip(table.stdout.decode().splitlines(), frames, strict=True):
        time, total, captured, section, interface, comment = line.split("\t")
        seconds, _, fraction = (time or "0.0").partition(".")
        ns = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
        data = bytes.fromhex(frame["_source"]["layers"]["frame_raw"][0])
        number = (int(section) - 1, int(interface))
        packets.append(Seen(ns, int(total), int(captured), number, comment, data))
    return packets


def _packet(element: ElementTree.Element, info: Protocol, protocols: list[Protocol]) -> Dissected:
    seconds, fraction = info.first["timestamp"][1].split(".")
    cap_len = info.number("caplen")
    headers = (proto for proto in element.iter("proto") if proto.get("name") in {"ip", "ipv6"})
    outermost = next(headers, None)
    ip_offset = NO_IP if outermost is None else int(outermost.get("pos") or 0)
    return Dissected(
        int(seconds) * 10**9 + int(fraction),
        info.number("len"),
        cap_len,
        ip_offset if ip_offset < cap_len else NO_IP,
        protocols,
    )
