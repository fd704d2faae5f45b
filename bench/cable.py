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


def arrived() -> int:
    """Return the number of packets that arrived at the receiving end."""
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == RECEIVING:
            return int(numbers.split()[1])
    raise LookupError(f"/proc/thread-self/net/dev has no {RECEIVING}")


def sending_socket() -> socket.socket:
    """A socket that sends frames out of the sending end."""
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    out.bind((SENDING, 0))
    return out


def _ip(arguments: str) -> None:
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise Unavailable(f"ip {arguments}: {done.stderr.strip()}")


def _receive_in_batches(name: str) -> None:
    """Turn GRO on, as `ethtool -K NAME gro on` does: without, a veth takes no redirected XDP packets."""
    value = array.array("I", [ETHTOOL_SGRO, 1])
    request = struct.pack("16sP16x", name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)
