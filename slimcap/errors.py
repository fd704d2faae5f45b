"""The exceptions slimcap raises. Each says what to do next; none prints anything."""

from __future__ import annotations


class SlimcapError(Exception):
    """Base of every exception of this package."""


class CaptureStopped(SlimcapError):
    """The source was closed: before the call, or by another thread while it waited."""


class CaptureUnblocked(SlimcapError):
    """`unblock()` was called: the source is as it was, and reading may go on."""


class RingExhausted(SlimcapError):
    """Every block of the ring is on loan to views that are still alive."""


class LinkError(SlimcapError, OSError):
    """A network interface cannot be used."""


class LinkNotFound(LinkError):
    """There is no interface of that name."""


class LinkDown(LinkError):
    """The interface is down."""


class LinkGone(LinkError):
    """The interface vanished while it was captured from."""


class FilterError(SlimcapError, ValueError):
    """A capture filter cannot be compiled or was refused."""


class FileFormatError(SlimcapError, ValueError):
    """A capture file says something that cannot be true.

    Raised after every good packet before the bad place was delivered.

    Attributes
    ----------
    reason : str
        What is wrong.
    path : str
        Name of the file, as given.
    offset : int
        Byte offset of the bad place in the file; in a compressed file, in what it decompresses to.
    packet_index : int
        Number of good packets before it.
    """

    def __init__(self, reason: str, path: str = "", offset: int = 0, packet_index: int = 0) -> None:
        super().__init__(reason, path, offset, packet_index)
        self.reason = reason
        self.path = path
        self.offset = offset
        self.packet_index = packet_index

    def __str__(self) -> str:
        return f"{self.path}: {self.reason} (byte {self.offset}, after {self.packet_index} packets)"


class TruncatedFileError(FileFormatError):
    """A capture file ends in the middle of something: it was cut, or is still being written."""
