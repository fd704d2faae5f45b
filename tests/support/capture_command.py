"""Running `slimcap` on a veth pair: frames to send, the command, and the files that it writes."""

from __future__ import annotations

import ctypes
import signal
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

import slimcap
from support.batches import payloads_of
from support.cli import COMMAND, PATIENCE
from support.netns import Veth
from support.traffic import ALL, GROUP

PR_CAPBSET_DROP, CAP_NET_RAW = 24, 13

# ---- frames


def numbered_udp(number: int, size: int = 20) -> bytes:
    """Build an IPv4 packet with `size` bytes in UDP, which start with a number."""
    data = struct.pack("!I", number).ljust(size, b"\xaa")
    addresses = b"\xc0\0\2\1\xc0\0\2\2"
    ip = struct.pack("!BBHHHBBH8s", 0x45, 0, 28 + len(data), number & 0xFFFF, 0, 64, 17, 0, addresses)
    return ip + struct.pack("!HHHH", 4000, 5000, 8 + len(data), 0) + data


def numbered_frames(veth: Veth, count: int, size: int = 20) -> list[bytes]:
    """Build frames of different lengths for the right end."""
    head = veth.right_mac + veth.left_mac + b"\x08\0"
    return [head + numbered_udp(n, size + n % 7) for n in range(count)]


def all_kinds(veth: Veth) -> list[bytes]:
    """Build frames with IP, with one tag and with two, and without IP, to all kinds of addresses."""
    kinds = []
    for n, target in enumerate((veth.right_mac, ALL, GROUP, b"\2" * 6)):
        head = target + veth.left_mac
        kinds += [
            head + b"\x08\0" + numbered_udp(n, 20 + 300 * n),
            head + b"\x81\0\0\7\x08\0" + numbered_udp(n),
            head + b"\x88\xa8\0\x08\x81\0\0\x09\x08\0" + numbered_udp(n),
            head + b"\x88\xb5" + bytes(range(60)),
        ]
    return kinds


# ---- the command


class CaptureCommand:
    """A running `slimcap capture`, or another command, which captures what is sent from now on."""

    def __init__(
        self,
        veth: Veth,
        *args: str | Path,
        link: str = "right",
        command: Sequence[str] = ("capture",),
        **options: Any,
    ) -> None:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        options = (
            {"bufsize": 0} | pipes | options
        )  # unbuffered: `communicate` reads what follows the first line
        start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen
        with veth.namespace.inside():
            self.process = start([COMMAND, *command, link, *args], **options)
        if self.process.stderr:
            self.first = self.process.stderr.readline().decode()

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def stderr(self) -> IO[bytes]:
        """The pipe from its standard error."""
        assert self.process.stderr is not None
        return self.process.stderr

    def interrupt(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, bytes, str]:
        """Wait for the end; return exit status, standard output, standard error."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err.decode()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in filter(None, (self.process.stdout, self.process.stderr)):
            pipe.close()


StartCapture: TypeAlias = Callable[..., CaptureCommand]  # the fixture `capture`


def drop_net_raw() -> None:
    """Drop CAP_NET_RAW from what is executed next; for `preexec_fn`."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_NET_RAW)


# ---- what it writes


def totals(captured: int, received: int | None = None, dropped: int = 0) -> str:
    """Return the lines that end a capture."""
    counts = {"captured": captured, "received by filter": captured if received is None else received}
    counts["dropped by kernel"] = dropped
    return "".join(f"{n} packet{'s' * (n != 1)} {what}\n" for what, n in counts.items())


def payloads_in(path: Path) -> list[bytes]:
    return payloads_of(slimcap.read(path))


def holds_packets(path: Path, count: int, size: int) -> bool:
    """Return True if a capture file is long enough for `count` packets of at least `size` bytes."""
    return path.exists() and path.stat().st_size >= 24 + count * (16 + size)
