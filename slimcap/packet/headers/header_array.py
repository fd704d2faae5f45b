"""`HeaderArray`, the array of header columns: its addresses can be compared with text."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any, ClassVar

import numpy as np

from slimcap.errors import suggestion
from slimcap.packet.address import ip_from_str

_IP_LEN = 16
_MAC_LEN = 6


class HeaderArray(np.ndarray[Any, Any]):
    """Structured array of header columns, as `Batch.headers` returns it.

    A column is a plain array, except that those of addresses are an `AddressArray`.
    """

    def __getitem__(self, key: Any) -> Any:
        names = self.dtype.names
        if isinstance(key, str) and names is not None and key not in names:
            raise ValueError(f"there is no column {key!r}{suggestion(key, names) or ': ' + ', '.join(names)}")
        found = super().__getitem__(key)
        if not isinstance(key, str):
            return found
        is_address = found.dtype.kind == "V" and found.dtype.names is None
        return found.view(AddressArray if is_address else np.ndarray)


class AddressArray(np.ndarray[Any, Any]):
    """Column of IP or MAC addresses, in binary, that `==` and `!=` compare with an address in text."""

    __hash__: ClassVar[None]

    def __eq__(self, other: object) -> Any:
        return np.asarray(self) == _as_binary(other, self.dtype.itemsize)

    def __ne__(self, other: object) -> Any:
        return np.asarray(self) != _as_binary(other, self.dtype.itemsize)


def _as_binary(value: object, size: int) -> object:
    """Return an address given as text, or as an object of `ipaddress`, as a column has it."""
    if isinstance(value, (IPv4Address, IPv6Address)):
        value = str(value)
    if not isinstance(value, str) or size not in (_IP_LEN, _MAC_LEN):
        return value
    return ip_from_str(value) if size == _IP_LEN else _mac_from_str(value)


def _mac_from_str(text: str) -> np.void:
    try:
        octets = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        octets = b""
    if len(octets) != _MAC_LEN:
        raise ValueError(f"{text!r} is not a MAC address such as 02:00:00:00:00:01")
    return np.void(octets)
