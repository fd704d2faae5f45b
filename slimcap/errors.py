"""Exceptions of this package. Nothing is printed by the library."""

from __future__ import annotations

import copy
import numbers
import operator
from collections.abc import Iterable
from typing import SupportsIndex


class SlimcapError(Exception):
    """Base class of all exceptions of this package."""


class CaptureStopped(SlimcapError):
    """The source was closed, before the call or by another thread during it."""


class CaptureUnblocked(SlimcapError):
    """A read was interrupted by `unblock()`. The source is unchanged: reading may continue."""


class RingExhausted(SlimcapError):
    """The next block of the ring is held by views that are still alive, and no other block comes back."""


class LinkError(SlimcapError, OSError):
    """A network interface cannot be used."""


class LinkNotFound(LinkError):
    """No interface, or no network namespace, with this name or number exists."""


class LinkDown(LinkError):
    """The interface is down."""


class LinkGone(LinkError):
    """The interface was removed during the capture, or has changed since it was looked up."""


class FilterError(SlimcapError, ValueError):
    """A capture filter cannot be compiled, is not a valid BPF program, or was rejected by the kernel."""


class FileFormatError(SlimcapError, ValueError):
    """A capture file is not valid.

    Raised only after all valid packets before the error were delivered.

    Parameters
    ----------
    reason : str
        What is wrong.
    path : str, default ""
        Name of the file, as given.
    offset : int, default 0
        Byte offset of the error in the file; for a compressed file, in the decompressed data.
    packet_index : int, default 0
        Number of valid packets before the error.

    Attributes
    ----------
    reason, path, offset, packet_index
        The parameters.

    Examples
    --------
    >>> print(slimcap.FileFormatError("bad magic", "trace.pcap"))
    trace.pcap: bad magic (byte 0, after 0 packets)
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
    """A capture file ends within a header or packet: it was truncated, or is still being written."""


def wrong_type(name: str, accepted: str, value: object) -> TypeError:
    """Return the exception for an argument of a type that is not accepted."""
    return TypeError(f"{name} must be {accepted}, not {type(value).__name__}")


def copy_of(error: BaseException) -> BaseException:
    """Return a copy of an exception to raise: the traceback of one that is kept would be a cycle."""
    try:
        return copy.copy(error)
    except Exception:  # its class has an unusual `__init__`
        return error


def nearest(name: object, known: Iterable[str]) -> str | None:
    """Return the known name most like an unknown one; None if none is, or it is not a str."""
    import difflib  # only here: it costs time to import

    found = difflib.get_close_matches(name, list(known), 1) if isinstance(name, str) else []
    return found[0] if found else None


def suggestion(name: object, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: ", did you mean …", or "" if none is similar."""
    found = nearest(name, known)
    return f", did you mean {found!r}?" if found else ""


def integer(name: str, value: SupportsIndex) -> int:
    """Return an argument as an int; raise TypeError if it is not an integer."""
    try:
        return operator.index(value)
    except TypeError:
        raise wrong_type(name, "an integer", value) from None


def number(name: str, value: float) -> float:
    """Return an argument; raise TypeError if it is not a real number."""
    if not isinstance(value, numbers.Real):
        raise wrong_type(name, "a number", value)
    return value


def in_range(name: str, value: SupportsIndex, low: int, high: int) -> int:
    """Return an argument as an int; raise TypeError if it is not an integer, ValueError if out of range."""
    found = integer(name, value)
    if not low <= found <= high:
        raise ValueError(f"{name} must be {low} to {high}, not {found}")
    return found
