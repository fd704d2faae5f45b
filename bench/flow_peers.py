"""Run another program over one file: `flow_peers.py NAME FILE PACKETS` prints JSON.

The timeouts are those of slimcap's flow table. What counts is CPU time, of a program with all that it starts:
some have several threads, and argus sleeps. Programs of C write their records to a file or a socket; nfstream
has to hand them to Python. Each has to have seen all packets; its bytes become those of whole frames.
"""

import contextlib
import json
import re
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import common
from flow_readers import MAX_FLOWS

IDLE, ACTIVE = 15, 300  # seconds, the defaults of slimcap.FlowTable
ETHERNET = 14  # bytes of a frame before its IP header


class Found(NamedTuple):
    """The packets and bytes of all records, and what making them took in seconds."""

    packets: int
    sum: int
    cpu: float
    seconds: float


Peer = Callable[[str], Found]


def cpu_of(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def timed(command: Sequence[str]) -> tuple[str, float, float]:
    """Run a program; return what it wrote, its CPU time and how long it ran."""
    before, start = cpu_of(resource.RUSAGE_CHILDREN), perf_counter()
    output = said_by(command)
    return output, cpu_of(resource.RUSAGE_CHILDREN) - before, perf_counter() - start


def said_by(command: Sequence[str]) -> str:
    path = common.find_program(command[0])
    done = subprocess.run(
        [path, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


def number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise AssertionError(f"{pattern!r} is not in {text}")
    return int(found[1])


def nfpcapd(path: str) -> Found:
    """Write records of one direction to a file, which nfdump counts."""
    common.find_program("nfdump")
    with tempfile.TemporaryDirectory() as folder:
        output, cpu, seconds = timed(["nfpcapd", "-r", path, "-w", folder, "-e", f"{ACTIVE},{IDLE}"])
        counted = said_by(["nfdump", "-I", "-R", folder])
    packets = number(r"\nPackets: (\d+)", counted)
    if number(r"Total: Processed: (\d+)", output) != packets:
        raise AssertionError(f"records of {packets:,} packets, but {output}")
    return Found(packets, number(r"\nBytes: (\d+)", counted) + ETHERNET * packets, cpu, seconds)


def softflowd(path: str) -> Found:
    """Send records as NetFlow 9 to a socket that is not read."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector,
        tempfile.TemporaryDirectory() as folder,
    ):
        collector.bind(("127.0.0.1", 0))
        to = f"127.0.0.1:{collector.getsockname()[1]}"
        options = ["-m", str(MAX_FLOWS), "-t", f"udp={IDLE}", "-t", f"maxlife={ACTIVE}", "-v", "9"]
        # It removes its PID file at the end, whatever that is: never name a device here.
        options += ["-d", "-c", "none", "-p", str(Path(folder, "pid"))]
        output, cpu, seconds = timed(["softflowd", "-r", path, "-n", to, *options])
    packets = number(r"\nPackets processed: (\d+)", output)
    size = number(r"\n +udp \(17\): +(\d+) ", output)
    return Found(packets, size + ETHERNET * packets, cpu, seconds)


def argus(path: str) -> Found:
    """Write records to a file, which racount counts."""
    common.find_program("racount")
    with tempfile.TemporaryDirectory() as folder:
        records = str(Path(folder, "records"))
        _, cpu, seconds = timed(["argus", "-X", "-r", path, "-w", records])
        fields = said_by(["racount", "-X", "-r", records]).split("sum")[1].split()
    return Found(int(fields[1]), int(fields[4]), cpu, seconds)


def nfstream(*, statistics: bool) -> Peer:
    """Loop over the flows in Python, without dissection of payloads."""
    module = import_module("nfstream")

    def read(path: str) -> Found:
        both = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
        before, start = sum(map(cpu_of, both)), perf_counter()
        packets = total = 0
        for flow in module.NFStreamer(
            source=path,
            n_dissections=0,
            n_meters=1,
            decode_tunnels=False,  # as slimcap.flows; else packets to the port of GTP-U are lost
            idle_timeout=IDLE,
            active_timeout=ACTIVE,
            statistical_analysis=statistics,
            splt_analysis=10 if statistics else 0,
        ):
            packets += flow.bidirectional_packets
            total += flow.bidirectional_bytes
        return Found(packets, total, sum(map(cpu_of, both)) - before, perf_counter() - start)

    return read


PEERS: dict[str, Callable[[], Peer]] = {
    "nfpcapd": lambda: nfpcapd,
    "softflowd": lambda: softflowd,
    "argus": lambda: argus,
    "nfstream": lambda: nfstream(statistics=False),
    "nfstream, statistics": lambda: nfstream(statistics=True),
}
VERSIONS = {"nfdump": ("nfpcapd", "-V"), "softflowd": ("softflowd", "-h"), "argus": ("argus", "-h")}


def versions() -> dict[str, str]:
    """Return the versions of the programs that are installed."""
    found = {}
    for name, (program, option) in VERSIONS.items():
        try:
            path = common.find_program(program)
        except common.Unavailable:
            continue
        done = subprocess.run([path, option], capture_output=True, text=True, check=False)
        if stated := re.search(r"version:? (\d[\w.]*\w)", done.stdout + done.stderr, re.IGNORECASE):
            found[name] = stated[1]
    return found


def run(name: str, path: str, packets: int) -> None:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # nfstream prints warnings, as that it has one CPU
            found = PEERS[name]()(path)
    except (ModuleNotFoundError, common.Unavailable) as reason:
        common.skip(reason)
    if found.packets != packets:
        raise AssertionError(f"{name} made records of {found.packets:,} packets, not of {packets:,}")
    print(json.dumps(found._asdict()))


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]))
