"""Network namespaces, veth pairs and tun devices of a test's own, and frames on them.

Nothing has a name outside of this process: a namespace is held by a descriptor, and the kernel removes it
with all that is in it when that is closed, or when the tests die.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias

import pytest

from support.threads import wait_until

OWN_NAMESPACE = "/proc/thread-self/ns/net"
CLONE_NEWNET = 0x40000000
TUNSETIFF, TUNSETLINK = 0x400454CA, 0x400454CD
IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 1, 2, 0x1000, 0x4000

libc = ctypes.CDLL(None, use_errno=True)


def lacking(reason: str) -> NoReturn:
    """Skip; with SLIMCAP_REQUIRE_LIVE=1, fail."""
    if os.environ.get("SLIMCAP_REQUIRE_LIVE") == "1":
        pytest.fail(f"{reason}, and SLIMCAP_REQUIRE_LIVE=1 asks for it")
    pytest.skip(reason)


def call(name: str, *arguments: int) -> None:
    """A function of libc that gives 0; Python has setns() and unshare() from 3.12 on."""
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@contextlib.contextmanager
def coming_back() -> Iterator[None]:
    """Put the calling thread back into the network namespace that it is in now."""
    home = os.open(OWN_NAMESPACE, os.O_RDONLY)
    try:
        yield
    finally:
        try:
            call("setns", home, CLONE_NEWNET)
        finally:
            os.close(home)


class Namespace:
    """A network namespace in which nothing is up, and without IPv6."""

    def __init__(self) -> None:
        with coming_back():
            call("unshare", CLONE_NEWNET)
            self._fd = os.open(OWN_NAMESPACE, os.O_RDONLY)
        self._devices: list[int] = []
        with self.inside(), contextlib.suppress(OSError):  # /proc/sys may be read-only
            self.sysctl("net/ipv6/conf/default/disable_ipv6", 1)

    @property
    def path(self) -> str:
        """For `ip link set NAME netns PATH`."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Have the calling thread in this namespace; sockets and threads that it makes there stay in it."""
        with coming_back():
            call("setns", self._fd, CLONE_NEWNET)
            yield

    def ip(self, arguments: str) -> str:
        """Run `ip` in here; what it wrote."""
        with self.inside():
            done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, f"ip {arguments}: {done.stderr}"
        return done.stdout

    def ip_batch(self, *commands: str) -> None:
        """Run several commands of `ip` in one process, which is much faster than one process each."""
        with self.inside():
            done = subprocess.run(
                ["ip", "-batch", "-"], input="\n".join(commands), capture_output=True, text=True, timeout=20
            )
        assert done.returncode == 0, f"ip {commands}: {done.stderr}"

    def sysctl(self, path: str, value: object) -> None:
        """Write to /proc/sys as this namespace sees it."""
        with self.inside():
            Path("/proc/sys", path).write_text(str(value))

    def send(self, name: str, frames: Iterable[bytes]) -> int:
        """Send frames as they are out of an interface; how many."""
        count = 0
        with self.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
            out.bind((name, 0))
            for frame in frames:
                out.send(frame)
                count += 1
        return count

    def tun(
        self,
        name: str,
        *,
        tap: bool = False,
        arphrd: int | None = None,
        up: bool = True,
        vnet_hdr: bool = False,
    ) -> int:
        """Make a tun or tap device. What is written to the descriptor is a packet that comes in.

        With `arphrd` it says that its packets are of that type; with `vnet_hdr`, a struct virtio_net_hdr
        comes before each.
        """
        with self.inside():
            try:
                fd = os.open("/dev/net/tun", os.O_RDWR)
            except OSError as error:
                lacking(f"there are no tun devices ({error})")
            self._devices.append(fd)
            flags = (IFF_TAP if tap else IFF_TUN) | IFF_NO_PI | (IFF_VNET_HDR if vnet_hdr else 0)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", os.fsencode(name), flags))
            if arphrd is not None:
                fcntl.ioctl(fd, TUNSETLINK, arphrd)
        self.quiet(name)
        if up:
            self.ip(f"link set dev {name} up")
        return fd

    def wait_until_up(self, *names: str) -> None:
        """Wait until interfaces with a carrier, such as both ends of a veth pair, deliver what is sent.

        The kernel sets the operational state and activates the queues in one step (linkwatch_do_dev). Until
        then frames are lost in silence, although a queueing discipline is shown already (dev_activate).
        """
        waiting = set(names)

        def are_up() -> bool:
            shown = json.loads(self.ip("-json link show"))
            return waiting <= {link["ifname"] for link in shown if link["operstate"] == "UP"}

        wait_until(are_up)

    def close_tun(self, fd: int) -> None:
        """Take a tun device away."""
        self._devices.remove(fd)
        os.close(fd)

    def quiet(self, name: str) -> None:
        """Keep the kernel from sending anything out of an interface by itself."""
        # Without an IPv6 address it looks for no router, even where /proc/sys is read-only.
        self.ip(f"link set dev {name} addrgenmode none")

    def close(self) -> None:
        while self._devices:
            os.close(self._devices.pop())
        os.close(self._fd)


NewNamespace: TypeAlias = Callable[[], Namespace]  # the fixture `new_namespace`


class Veth(NamedTuple):
    """A cable: what is sent out of one end comes in at the other."""

    namespace: Namespace
    left: str
    right: str
    left_mac: bytes
    right_mac: bytes

    def send(self, frames: Iterable[bytes]) -> int:
        """Send frames out of the left end, to come in at the right one."""
        return self.namespace.send(self.left, frames)
