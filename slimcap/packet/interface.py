"""Metadata of a capture file: its interfaces and sections."""

from __future__ import annotations

from typing import Literal, NamedTuple

from slimcap.packet.link import Link


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
