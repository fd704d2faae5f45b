"""A cable of our own: a network namespace with a veth pair in it, silent but for what we send.

The namespace has no name: it ends with this process and its children, who inherit it, and the pair with it.
"""

import array
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from common import Unavailable

CLONE_NEWNET = 0x40000000
SIOCETHTOOL, ETHTOOL_SGRO = 0x8946, 0x2C
SENDING, RECEIVING = "left", "right"


def lay() -> None:
    """Move this process into a new network namespace, and make the pair."""
    if shutil.which("ip") is None:
        raise Unavailable("ip is not installed (Debian: apt install iproute2)")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):  # os.unshare() comes with Python 3.12
        reason = os.strerror(ctypes.get_errno())
        raise Unavailable(f"no network namespace: {reason}; run it as root, or under `unshare -Urn`")
    _ip(f"link add {SENDING} type veth peer name {RECEIVING}")
    for end in (SENDING, RECEIVING):
        _ip(f"link set dev {end} addrgenmode none")  # without an IPv6 address it asks for no router
        _ip(f"link set dev {end} up")
    _receive_in_batches(RECEIVING)


def lay_pairs(sending: Sequence[str], receiving: Sequence[str]) -> None:
    """Make more pairs, with these names."""
    commands = [
        f"link add {one} type veth peer name {other}" for one, other in zip(sending, receiving, strict=True)
    ]
    for name in (*sending, *receiving):
        commands += [f"link set dev {name} addrgenmode none", f"link set dev {name} up"]
    ip_batch(commands)
    for name in receiving:
        _receive_in_batches(name)


def ip_batch(commands: Iterable[str]) -> None:
    """Run several commands of ip in one process."""
    _ip("-batch -", "\n".join(commands))


def arrived(*names: str) -> int:
    """Return the number of packets that arrived at these interfaces, by default at the receiving end."""
    wanted, found = set(names or (RECEIVING,)), 0
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() in wanted:
            wanted.remove(name.strip())
            found += int(numbers.split()[1])
    if wanted:
        raise LookupError(f"/proc/thread-self/net/dev has no {', '.join(wanted)}")
    return found


def sending_socket() -> socket.socket:
    """A socket that sends frames out of the sending end."""
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    out.bind((SENDING, 0))
    return out


def _ip(arguments: str, lines: str = "") -> None:
    command = ["ip", *arguments.split()]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise Unavailable(f"ip {arguments}: {done.stderr.strip()}")


def _receive_in_batches(name: str) -> None:
    """Turn GRO on, as `ethtool -K NAME gro on` does: without, a veth takes no redirected XDP packets."""
    value = array.array("I", [ETHTOOL_SGRO, 1])
    request = struct.pack("16sP16x", name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)
