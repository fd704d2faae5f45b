"""Query the driver of an interface with the ioctl SIOCETHTOOL, as ethtool(8) does (linux/ethtool.h).

The kernel answers for the network namespace of the calling thread, and answers these requests to every user
(dev_ethtool).
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
from typing import Final, NamedTuple

_SIOCETHTOOL: Final = 0x8946
_GRINGPARAM: Final = 0x10
_GSTRINGS: Final = 0x1B
_GSSET_INFO: Final = 0x37
_GFEATURES: Final = 0x3A
_GCHANNELS: Final = 0x3C
_SS_FEATURES: Final = 4  # the set of the names of features
_NAME_LEN: Final = 32
_MAX_FEATURES: Final = 1024  # the kernel has 64 or so

_IFREQ: Final = struct.Struct("@16sP16x")  # name, address of the request
_SET_INFO: Final = struct.Struct("=IIQI")  # command, reserved, mask of the sets, number of strings
_STRINGS: Final = struct.Struct("=III")  # command, set, number of strings; the strings
_FEATURES: Final = struct.Struct("=II")  # command, number of blocks; the blocks
_BLOCK: Final = struct.Struct("=IIII")  # 32 features: available, requested, active, never changed
_RINGS: Final = struct.Struct(
    "=9I"
)  # command, 4 maxima, 4 sizes: of the receive ring, 2 others, the send ring
_CHANNELS: Final = struct.Struct("=9I")  # command, 4 maxima, 4 numbers: receive, send, other, combined


class Feature(NamedTuple):
    """Feature of an interface, such as an offload."""

    active: bool
    changeable: bool


class DeviceRing(NamedTuple):
    """Number of packets that the receive ring of a device holds."""

    size: int
    maximum: int


def features(name: str) -> dict[str, Feature]:
    """Return the features of an interface by the kernel's names, such as rx-gro (net/ethtool/common.c).

    Parameters
    ----------
    name : str
        Name of the interface.

    Returns
    -------
    dict of str to Feature

    Raises
    ------
    OSError
        The interface does not exist, or the kernel cannot say.
    """
    info = _ask(name, _SET_INFO.pack(_GSSET_INFO, 0, 1 << _SS_FEATURES, 0))
    count = min(_SET_INFO.unpack_from(info)[3], _MAX_FEATURES)
    strings = _ask(name, _STRINGS.pack(_GSTRINGS, _SS_FEATURES, count) + bytes(count * _NAME_LEN))
    blocks = -(-count // 32)
    states = _ask(name, _FEATURES.pack(_GFEATURES, blocks) + bytes(blocks * _BLOCK.size))
    found = {}
    for index in range(count):
        text = strings[_STRINGS.size + index * _NAME_LEN :][:_NAME_LEN].split(b"\0", 1)[0]
        available, _, active, never = _BLOCK.unpack_from(states, _FEATURES.size + index // 32 * _BLOCK.size)
        bit = 1 << index % 32
        found[text.decode("latin-1")] = Feature(bool(active & bit), bool(available & ~never & bit))
    return found


def receive_ring(name: str) -> DeviceRing:
    """Return the size of a device's receive ring; raise OSError if it has none or the kernel cannot say."""
    _, maximum, _, _, _, size, *_ = _RINGS.unpack(_ask(name, _RINGS.pack(_GRINGPARAM, *bytes(8))))
    return DeviceRing(size, maximum)


def receive_channels(name: str) -> tuple[int, int]:
    """Return how many channels of a device receive, and the maximum; raise OSError if that is not known."""
    answer = _CHANNELS.unpack(_ask(name, _CHANNELS.pack(_GCHANNELS, *bytes(8))))
    _, max_receive, _, _, max_combined, receive, _, _, combined = answer
    return receive + combined, max(max_receive + combined, receive + max_combined)


def _ask(name: str, request: bytes) -> bytes:
    """Return the request as the kernel changed it."""
    buffer = array.array("B", request)
    encoded = os.fsencode(name)
    if len(encoded) > 15:  # the kernel would read another name
        raise ValueError(f"{name!r} is not the name of an interface")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, _IFREQ.pack(encoded, buffer.buffer_info()[0]))
    return buffer.tobytes()
