"""Checks of `slimcap doctor` that do not concern a certain interface.

RLIMIT_MEMLOCK (`ulimit -l`) does not limit a ring, so it is not checked.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from slimcap.errors import FilterError
from slimcap.filter.libpcap import library_version
from slimcap.option_set import options_of
from slimcap.source.live.host.finding import Finding, Status, as_root, loss, write_command
from slimcap.source.live.host.free_memory import available_memory, require_memory
from slimcap.source.live.host.host_files import Backlog, parse_softnet, read_number, read_text
from slimcap.source.live.host.privileges import explain_refusal, grant_command, has_net_raw
from slimcap.source.live.live_options import BUFFER, SocketOptions

# Constants of linux/if_packet.h, asm-generic/socket.h.
_SOL_PACKET: Final = 263
_PACKET_VERSION: Final = 10
_PACKET_FANOUT: Final = 18
_PACKET_IGNORE_OUTGOING: Final = 23
_TPACKET_V3: Final = 2
_SO_RCVBUFFORCE: Final = 33
_SO_NETNS_COOKIE: Final = 71

_STATUS: Final = "proc/thread-self/status"
_MEBIBYTE: Final = 1 << 20
_LITTLE_MEMORY: Final = 128 * _MEBIBYTE  # in a control group, for batches and flow tables
_NO_LIMIT: Final = 1 << 60  # bytes; control groups of version 1 have a number for it
_BACKLOG: Final = "net.core.netdev_max_backlog"


def check_host(before: Backlog | None, interval: float, root: Path) -> Iterator[Finding]:
    """Check the host.

    Parameters
    ----------
    before : Backlog or None
        What `read_backlog` returned `interval` seconds ago.
    interval : float
        Seconds.
    root : Path
        Folder with proc and sys.

    Yields
    ------
    Finding
    """
    privileges, packet_socket = _check_privileges(root)
    yield privileges
    yield _check_kernel(packet_socket)
    if packet_socket is not None:
        packet_socket.close()
    yield _check_libpcap()
    yield _check_ring_memory(root)
    yield from _check_memory_limit(root)
    yield _check_receive_buffer(root)
    yield _check_backlog(before, interval, root)
    yield _check_governor(root)


def read_backlog(root: Path) -> Backlog | None:
    """Return the counters of the queues in which packets wait for a CPU; None if they are not known."""
    text = read_text(root / "proc/net/softnet_stat")
    return None if text is None else parse_softnet(text)


def _check_privileges(root: Path) -> tuple[Finding, socket.socket | None]:
    """Return the finding, and a packet socket that receives nothing if it can be opened."""
    check = "privileges"
    try:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        status = str(root / _STATUS)
        commands = () if has_net_raw(status) else (grant_command(),)
        found = "packet sockets are not permitted"
        return Finding(check, Status.PROBLEM, found, None, explain_refusal(status), commands), None
    except OSError as error:
        found = f"packet sockets cannot be opened: {error.strerror}"
        if error.errno != errno.EAFNOSUPPORT:
            return Finding(check, Status.PROBLEM, found), None
        commands = (as_root("modprobe af_packet"),)
        return Finding(check, Status.PROBLEM, found, None, "the kernel lacks AF_PACKET", commands), None
    return Finding(check, Status.OK, "packet sockets are permitted"), opened


def _check_kernel(packet_socket: socket.socket | None) -> Finding:
    check = "kernel"
    kernel = f"Linux {os.uname().release}"
    if packet_socket is None:
        return Finding(check, Status.UNKNOWN, f"{kernel}: its features are seen with a packet socket only")
    features = {
        "TPACKET_V3": _has_ring(packet_socket),
        "fanout": _has_option(packet_socket, _SOL_PACKET, _PACKET_FANOUT),
        "PACKET_IGNORE_OUTGOING": _has_option(packet_socket, _SOL_PACKET, _PACKET_IGNORE_OUTGOING),
        "SO_NETNS_COOKIE": _has_option(packet_socket, socket.SOL_SOCKET, _SO_NETNS_COOKIE),
    }
    missing = [name for name, is_there in features.items() if not is_there]
    if not missing:
        return Finding(check, Status.OK, f"{kernel}, with {', '.join(features)}")
    found = f"{kernel}, without {', '.join(missing)}"
    if "TPACKET_V3" in missing:
        advice = "rings require TPACKET_V3 (Linux 3.2): capture without a ring, with slimcap.SocketSource"
        return Finding(check, Status.PROBLEM, found, None, advice)
    advice = (
        "a newer kernel has all: fanout divides packets among processes (Linux 3.1), PACKET_IGNORE_OUTGOING "
        "makes --direction in cheaper (4.20), SO_NETNS_COOKIE identifies network namespaces (5.14)"
    )
    return Finding(check, Status.ADVICE, found, None, advice)


def _has_ring(packet_socket: socket.socket) -> bool:
    try:
        packet_socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
    except OSError:
        return False
    return True


def _has_option(packet_socket: socket.socket, level: int, option: int) -> bool:
    try:
        packet_socket.getsockopt(level, option, 8)
    except OSError:
        return False
    return True


def _check_libpcap() -> Finding:
    check = "libpcap"
    try:
        return Finding(check, Status.OK, f"{library_version()}, for filter expressions")
    except FilterError as error:
        commands = (as_root("apt install libpcap0.8"),)
        return Finding(check, Status.ADVICE, "libpcap is not installed", None, str(error), commands)


def _check_ring_memory(root: Path) -> Finding:
    check = "ring_memory"
    found = f"the default ring needs {BUFFER / _MEBIBYTE:,.0f} MiB"
    available = available_memory(str(root), charged=False)
    if not available:
        return Finding(check, Status.UNKNOWN, f"{found}; /proc/meminfo does not say how much is available")
    found += f", {min(available.values()) / _MEBIBYTE:,.0f} MiB of memory are available"
    try:
        require_memory(BUFFER, charged=False, root=str(root))
    except OSError:
        advice = "free memory, or use a smaller ring: buffer (--buffer), smaller_ring"
        return Finding(check, Status.PROBLEM, found, None, advice)
    return Finding(check, Status.OK, found)


def _check_memory_limit(root: Path) -> Iterator[Finding]:
    """Yield a finding if a control group limits the memory; it does not limit the ring."""
    host = available_memory(str(root), charged=False)
    found = available_memory(str(root), charged=True)
    groups = {what: size for what, size in found.items() if what not in host and size < _NO_LIMIT}
    if not groups:
        return
    what, size = min(groups.items(), key=lambda group: group[1])
    text = f"{what}: {max(size, 0) / _MEBIBYTE:,.0f} MiB are left for all but the ring"
    if size >= _LITTLE_MEMORY:
        yield Finding("memory_limit", Status.OK, text)
    else:
        advice = "batches that are kept and flow tables may need more: raise the limit of the control group"
        yield Finding("memory_limit", Status.ADVICE, text, None, advice)


def _check_receive_buffer(root: Path) -> Finding:
    """Check if SocketSource gets its receive buffer: beyond rmem_max only CAP_NET_ADMIN permits it."""
    check = "receive_buffer"
    size = options_of(SocketOptions)["buffer_size"].default
    maximum = read_number(root / "proc/sys/net/core/rmem_max")
    default = read_number(root / "proc/sys/net/core/rmem_default")
    limits = ", ".join(
        f"{name} = {'not visible' if value is None else f'{value:,}'}"
        for name, value in (("rmem_max", maximum), ("rmem_default", default))
    )
    found = f"SocketSource asks for {size:,} bytes; {limits}"
    if _may_exceed_maximum(size):
        return Finding(check, Status.OK, f"{found}; CAP_NET_ADMIN permits more")
    if maximum is None:
        return Finding(check, Status.UNKNOWN, found)
    if maximum >= size:
        return Finding(check, Status.OK, found)
    advice = "without CAP_NET_ADMIN a SocketSource gets rmem_max; a ring does not need it"
    commands = (as_root(f"sysctl -w net.core.rmem_max={size}"),)
    return Finding(check, Status.ADVICE, found, None, advice, commands)


def _may_exceed_maximum(size: int) -> bool:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            any_socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except OSError:
        return False
    return True


def _check_backlog(before: Backlog | None, interval: float, root: Path) -> Finding:
    check = "backlog"
    now = read_backlog(root)
    if now is None or before is None:
        return Finding(check, Status.UNKNOWN, "/proc/net/softnet_stat cannot be read")
    status, found = loss(now.dropped, before.dropped, now.processed, interval)
    limit = read_number(root / "proc/sys/net/core/netdev_max_backlog")
    found += f"; {_BACKLOG} = {'not visible in this network namespace' if limit is None else f'{limit:,}'}"
    if status is Status.OK:
        return Finding(check, status, found)
    larger = max(10_000, 4 * (limit or 0))
    advice = (
        "the queues in which packets of veth, loopback and RPS wait for a CPU were full: make them longer"
    )
    return Finding(check, status, found, None, advice, (as_root(f"sysctl -w {_BACKLOG}={larger}"),))


def _check_governor(root: Path) -> Finding:
    check = "cpu_governor"
    folder = Path("sys/devices/system/cpu")
    files = sorted((root / folder).glob("cpu[0-9]*/cpufreq/scaling_governor"))
    found = {text.strip() for text in map(read_text, files) if text is not None}
    if not found:
        return Finding(check, Status.OK, "no frequency scaling is visible in /sys")
    names = ", ".join(sorted(found))
    if found <= {"performance"}:
        return Finding(check, Status.OK, names)
    advice = "a CPU that first has to speed up loses packets at sudden load"
    command = write_command("performance", f"/{folder}/cpu*/cpufreq/scaling_governor")
    return Finding(check, Status.ADVICE, names, None, advice, (command,))
