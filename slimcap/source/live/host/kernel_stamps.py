"""Make sure that the kernel stamps packets when they arrive.

A packet that the kernel did not stamp gets the time of its reading (sock_recv_timestamp). The kernel stamps
packets only while a socket has asked for it, and begins to do so some milliseconds after the first one did,
in a work queue (net_enable_timestamp, netstamp_clear). Packets on the loopback interface show if it does.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Final

# asm-generic/socket.h and linux/net_tstamp.h: report the stamps that packets have, without asking for them.
_SO_TIMESTAMPING: Final = 37
_SOF_TIMESTAMPING_SOFTWARE: Final = 1 << 4

LONGEST_WAIT: Final = 0.1  # seconds, if the loopback interface is down; it takes up to 0.02
_SHORTEST_NAP: Final = 0.0002


def wait_until_on() -> None:
    """Wait until the kernel stamps packets, which a socket has asked it to do; at most `LONGEST_WAIT`.

    A few datagrams of this process to itself show it. If the loopback interface is down or delivers none,
    that time has to do.
    """
    end = time.monotonic() + LONGEST_WAIT
    nap = _SHORTEST_NAP
    with contextlib.ExitStack() as stack:
        probe = None
        with contextlib.suppress(OSError):
            probe = stack.enter_context(_probe())
        while time.monotonic() < end:
            if probe is not None and _is_stamped(probe):
                return
            time.sleep(nap)
            nap = min(2 * nap, LONGEST_WAIT / 10)


def _probe() -> socket.socket:
    """Return a UDP socket that sends to itself."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.setblocking(False)
        probe.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _SOF_TIMESTAMPING_SOFTWARE)
        probe.bind(("127.0.0.1", 0))
        probe.connect(probe.getsockname())
    except BaseException:
        probe.close()
        raise
    return probe


def _is_stamped(probe: socket.socket) -> bool:
    """Send a datagram, and return True if it has the kernel's stamp."""
    with contextlib.suppress(OSError):  # nothing comes while the interface is down
        probe.send(b"\0")
        _, control, _, _ = probe.recvmsg(1, 256)
        return any(level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPING for level, kind, _ in control)
    return False
