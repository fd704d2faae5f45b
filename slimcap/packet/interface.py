"""Metadata of a capture file: its interfaces, its sections, and blocks that are not packets."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, NamedTuple, TypeAlias

from slimcap.packet.link import Link

Options: TypeAlias = tuple[tuple[int, bytes], ...]
"""Code and value of each option of a pcapng block."""


class InterfaceInfo(NamedTuple):
    """One interface described in a capture file (draft-ietf-opsawg-pcapng, sections 4.2 and 4.6).

    Fields that the file does not contain are "" if they are text, None if they are counters or times.

    Attributes
    ----------
    link : Link
        The interface: its name, description and link type.
    snaplen : int
        Maximum number of bytes captured of a packet; 0 or a very large number: no limit.
    ticks_per_second : int
        Resolution of the timestamps in the file, in units per second.
    time_offset : int, default 0
        Seconds to add to the timestamps in the file (if_tsoffset). The timestamps of packets include it.
    filter : str, default ""
        The capture filter.
    os, hardware : str, default ""
        Operating system and hardware of the interface's host.
    comment : str, default ""
        Comments on the interface, one per line.
    received : int or None, default None
        Packets received, by the last interface statistics in the file.
    interface_dropped, os_dropped : int or None, default None
        Packets dropped by the interface and by the operating system, by the last interface statistics.
    start, end : int or None, default None
        Start and end of the capture in nanoseconds since the Unix epoch, by the last interface statistics.
    options : tuple of (int, bytes), or None, default None
        All options of the interface's block in the pcapng file, in order: code and value, with numbers in
        native byte order. None: it is not from a pcapng file. `PcapNgWriter` writes them, with the texts
        above where those differ.
    file_name : str, default ""
        Name of the file that describes the interface; "" if no file or more than one does.

    Examples
    --------
    >>> slimcap.InterfaceInfo(slimcap.Link("eth0", 0, 1), snaplen=65535, ticks_per_second=10**9).filter
    ''
    """

    link: Link
    snaplen: int
    ticks_per_second: int
    time_offset: int = 0
    filter: str = ""
    os: str = ""
    hardware: str = ""
    comment: str = ""
    received: int | None = None
    interface_dropped: int | None = None
    os_dropped: int | None = None
    start: int | None = None
    end: int | None = None
    options: Options | None = None
    file_name: str = ""


class SectionInfo(NamedTuple):
    """One section of a pcapng file (draft-ietf-opsawg-pcapng, section 4.1), or the header of a pcap file.

    Attributes
    ----------
    byte_order : {"little", "big"}
        Byte order of the section.
    version : tuple of int
        Major and minor version of the format.
    first_interface : int, default 0
        Number of the section's first interface, as used in `records["interface"]`.
    hardware, os, application : str, default ""
        Hardware, operating system and application that wrote the section; "" if not given.
    comment : str, default ""
        Comments on the section, one per line.
    options : tuple of (int, bytes), or None, default None
        All options of the section's block, as in InterfaceInfo.

    Examples
    --------
    >>> from slimcap.packet.interface import SectionInfo
    >>> SectionInfo("little", (1, 0)).first_interface
    0
    """

    byte_order: Literal["little", "big"]
    version: tuple[int, int]
    first_interface: int = 0
    hardware: str = ""
    os: str = ""
    application: str = ""
    comment: str = ""
    options: Options | None = None


class Statistics(NamedTuple):
    """Interface statistics between packets of a pcapng file (draft-ietf-opsawg-pcapng, section 4.6).

    Attributes
    ----------
    interface : int
        Number of the interface, an index into the `interfaces` of the batch.
    at : int
        Time in nanoseconds since the Unix epoch.
    options : tuple of (int, bytes or int)
        All options, as in InterfaceInfo, but times are ints: nanoseconds since the Unix epoch.
    """

    interface: int
    at: int
    options: tuple[tuple[int, bytes | int], ...]


class BlockType(IntEnum):
    """Types of blocks that slimcap copies but does not interpret (draft-ietf-opsawg-pcapng, section 4)."""

    NAMES = 4
    JOURNAL = 9
    SECRETS = 10
    CUSTOM = 0xBAD


class OtherBlock(NamedTuple):
    """A block of a pcapng file that slimcap copies but does not interpret, such as decryption secrets.

    Attributes
    ----------
    type : int
        Type of the block, in most cases a `BlockType`.
    body : bytes
        What is between its length and the length that is repeated at its end, in native byte order.
    """

    type: int
    body: bytes


Block: TypeAlias = OtherBlock | Statistics | SectionInfo | int
"""A block between packets; an int: the description of the interface of that number."""
