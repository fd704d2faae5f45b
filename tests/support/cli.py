"""The `slimcap` command: run as a program, and what its output is compared with.

`ip_of` reads packets by itself, so that lines and summaries are not compared with slimcap's own reading.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

import slimcap
from support.batches import facts_of
from support.samples import DATA

COMMAND = str(Path(sysconfig.get_path("scripts")) / "slimcap")
PATIENCE = 30  # seconds until something that should happen at once has failed: machines may be busy
MIXED = 195  # packets of mixed.pcap

NeedTool: TypeAlias = Callable[[str], str]  # the fixture `need_tool`
RunConvert: TypeAlias = Callable[..., Path]  # the fixture `convert`
Facts: TypeAlias = list[tuple[int, int, bytes]]  # timestamp, length on the wire and payload of each packet

JSON_KEYS = (
    *("timestamp", "timestamp_ns", "interface", "type", "cap_len", "total_len", "vlan", "ip_offset"),
    *("ip_version", "protocol", "src", "dst", "src_port", "dst_port"),
)

SUMMARY_OF_MIXED = """\
packets         195
bytes           31,579
captured bytes  31,579
first packet    2024-03-01 12:00:00.000004000 UTC
last packet     2024-03-01 12:00:04.500447000 UTC
duration        4.500443000 s
average size    161.9 bytes
average rate    43.3 packets/s
                56.1 kbit/s
truncated       0
VLAN-tagged     26
link type       ETHERNET

size                     packets    share               bytes
0-63                          59    30.3%               3,358
64-127                       102    52.3%               8,377
128-255                       19     9.7%               3,085
256-511                        3     1.5%               1,062
512-1023                       2     1.0%               1,166
1024-1518                     10     5.1%              14,531
1519-                          0     0.0%                   0

IP version               packets    share               bytes
4                            162    83.1%              24,347
6                             26    13.3%               6,837
none                           7     3.6%                 395

protocol                 packets    share               bytes
TCP                          104    53.3%              19,145
UDP                           45    23.1%               7,207
ICMP                          25    12.8%               2,734
ICMPv6                        11     5.6%               1,842
IGMP                           1     0.5%                  46
IPv4-in-IP                     1     0.5%                  95
IPv6-in-IP                     1     0.5%                 115
"""


# ---- the samples


def sample_path(name: str) -> str:
    return str(DATA / name)


def bad_path(name: str) -> str:
    return str(DATA / "bad" / name)


def facts_in(file: Path | BinaryIO) -> Facts:
    """Return timestamp, length on the wire and payload of each packet of a capture file."""
    return facts_of(slimcap.read(file))


# ---- the program


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment, without what changes how writing fails, or what rich draws."""
    left_out = ("PYTHONUNBUFFERED", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"TERM": "xterm"} | changes


def run_slimcap(*args: str | bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run `slimcap` to its end, with captured output."""
    options = {"capture_output": True, "env": environment(), "timeout": PATIENCE} | options
    run: Callable[..., subprocess.CompletedProcess[bytes]] = subprocess.run
    return run([COMMAND, *args], check=False, **options)


def start_slimcap(*args: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start `slimcap` with pipes for its standard streams."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    options = {"env": environment()} | pipes | options
    start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen
    return start([COMMAND, *args], **options)


# ---- reading packets without slimcap


def ip_of(frame: bytes) -> tuple[str, int]:
    """Return IP version and upper-layer protocol of an Ethernet frame, after tags and IPv6 extension headers.

    Without an IP layer they are "none" and -1.
    """
    at = 12
    while frame[at : at + 2] in (b"\x81\0", b"\x88\xa8", b"\x91\0"):
        at += 4
    kind, ip = frame[at : at + 2], frame[at + 2 :]
    if kind == b"\x08\0":
        return "4", ip[9]
    if kind != b"\x86\xdd":
        return "none", -1
    number, at = ip[6], 40
    while number in (0, 44, 60):
        later_fragment = number == 44 and struct.unpack_from(">H", ip, at + 2)[0] >> 3
        number, at = ip[at], at + (8 if number == 44 else 8 + 8 * ip[at + 1])
        if later_fragment:
            break
    return "6", number


def iso(ns: int, digits: int) -> str:
    """Return a time as `2024-03-01 12:00:00.000004`, with `digits` digits of the fraction."""
    seconds, fraction = divmod(ns, 10**9)
    text = str(np.datetime64(seconds, "s")).replace("T", " ")
    return f"{text}.{fraction:09}"[: len(text) + 1 + digits]
