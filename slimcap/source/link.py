"""Where packets were captured: an interface, or what a capture file says of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_TYPE_NAMES: Final = {
    0: "NULL",
    1: "ETHERNET",
    9: "PPP",
    12: "RAW",
    14: "RAW",
    50: "PPP_HDLC",
    51: "PPP_ETHER",
    101: "RAW",
    104: "C_HDLC",
    105: "IEEE802_11",
    108: "LOOP",
    113: "LINUX_SLL",
    127: "IEEE802_11_RADIOTAP",
    228: "IPV4",
    229: "IPV6",
    231: "DBUS",
    276: "LINUX_SLL2",
}


@dataclass(frozen=True, slots=True)
class Link:
    """An interface that packets were captured on.

    Attributes
    ----------
    name : str
        Its name; of a classic pcap file, which has none, the file's.
    index : int
        Its index in the `interface` column.
    type : int
        Link type, the LINKTYPE_ number (draft-ietf-opsawg-pcaplinktype).
    """

    name: str
    index: int
    type: int

    @property
    def type_name(self) -> str:
        """Name of the link type; its number if it has no name here."""
        return _TYPE_NAMES.get(self.type, str(self.type))
