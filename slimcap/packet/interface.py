"""What a capture file says of itself besides its packets."""

from __future__ import annotations

from typing import Literal, NamedTuple

from slimcap.packet.link import Link


class InterfaceInfo(NamedTuple):
    """What a capture file says of one of its interfaces (draft-ietf-opsawg-pcapng, sections 4.2 and 4.6).

    Texts are empty where the file says nothing, counters None.

    Attributes
    ----------
    link : Link
        The interface: its name, description and link type.
    snaplen : int
        Most bytes that were to be captured of a packet; 0 or huge: all.
    ticks_per_second : int
        Units of its timestamps in a second.
    time_offset : int
        Seconds that were taken off its timestamps in the file; they are back in what is read.
    filter : str
        The capture filter.
    os, hardware : str
        What it ran on.
    comment : str
        What somebody wrote about it, several comments on lines of their own.
    received, interface_dropped, os_dropped : int or None
        Packets, as the last statistics say: that came in; lost by the interface, and by the operating system.
    start, end : int or None
        When the capture began and ended, as they say, in nanoseconds since 1970.
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
    """What a pcapng file says of one of its sections (draft-ietf-opsawg-pcapng, section 4.1).

    Of a classic pcap file it is what the header says.

    Attributes
    ----------
    byte_order : str
        "little" or "big".
    version : tuple of int
        Major and minor.
    first_interface : int
        Number of its first interface, as `records["interface"]` has it.
    hardware, os, application : str
        What wrote it; empty if it does not say.
    comment : str
        What somebody wrote about it, several comments on lines of their own.
    """

    byte_order: Literal["little", "big"]
    version: tuple[int, int]
    first_interface: int = 0
    hardware: str = ""
    os: str = ""
    application: str = ""
    comment: str = ""
