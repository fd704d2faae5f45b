"""Programs that record what they capture, for live_scale.py: how they are started, and what they took."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

import common

import slimcap

MIB = 64  # of the buffer of each, slimcap's default
PATIENCE = 60  # seconds that one may take
SLIMCAP = (sys.executable, "-P", "-m", "slimcap", "capture", "--everything", f"--buffer={MIB}MiB")


@dataclass(frozen=True)
class Recorder:
    """A program: how it is started, what it prints when it is ready."""

    command: Sequence[str]
    ready: str
    suffix: str
    silence: float  # seconds after the last packet until it has read the last block


RECORDERS: Mapping[str, Recorder] = {
    "slimcap capture, pcap": Recorder((*SLIMCAP, "{interface}", "-w", "{file}"), "listening", ".pcap", 0.3),
    "slimcap capture, pcapng": Recorder(
        (*SLIMCAP, "{interface}", "-w", "{file}"), "listening", ".pcapng", 0.3
    ),
    "slimcap capture, pcapng.zst": Recorder(
        (*SLIMCAP, "{interface}", "-w", "{file}"), "listening", ".pcapng.zst", 0.3
    ),
    "tcpdump": Recorder(
        ("tcpdump", "-Z", "root", "-i", "{interface}", "-B", str(MIB << 10), "-w", "{file}"),
        "listening on",
        ".pcap",
        1.5,
    ),
    "dumpcap": Recorder(
        ("dumpcap", "-q", "-i", "{interface}", "-B", str(MIB), "-w", "{file}"), "File: ", ".pcapng", 0.6
    ),
    "netsniff-ng": Recorder(
        ("netsniff-ng", "-s", "-A", "-S", f"{MIB}MiB", "--in", "{interface}", "--out", "{file}"),
        "Running!",
        ".pcap",
        0.6,
    ),
}


def record(
    recorder: Recorder, interface: str, folder: Path, cpus: set[int], send: Callable[[], Any]
) -> dict[str, Any]:
    """Record what `send` sends; return the packets and the size of the file, and the CPU seconds."""
    common.find_program(recorder.command[0])
    file = folder / f"record{recorder.suffix}"
    names = {"interface": interface, "file": file}
    process = subprocess.Popen(
        [part.format(**names) for part in recorder.command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    killer = threading.Timer(PATIENCE, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        common.wait_for(recorder.ready, process.stdout)
        sleep(0.1)  # dumpcap says so before it reads
        cpu = -common.on_cpu_seconds(process.pid)
        sent = send()
        sleep(recorder.silence)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu += used.ru_utime + used.ru_stime
        return {"packets": packets_in(file), "bytes": file.stat().st_size, "cpu": cpu, "sent": sent}
    finally:
        killer.cancel()
        process.kill()
        process.wait()
        file.unlink(missing_ok=True)


def packets_in(file: Path) -> int:
    with slimcap.open_file(file) as source:
        return sum(map(len, source.batches()))
