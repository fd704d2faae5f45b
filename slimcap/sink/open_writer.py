"""Opening capture files to write to."""

from __future__ import annotations

import os
from typing import Any, Final, Literal, Protocol, TypeAlias

from slimcap.capfile.pcap_writer import PcapWriter
from slimcap.capfile.pcapng_writer import PcapNgWriter
from slimcap.io.compression.encoders import compression_of


class Writable(Protocol):
    """A binary file object with `write`, which may take a part of what it is given."""

    def write(self, data: memoryview, /) -> int | None: ...


Target: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | Writable
"""What can be written to: a path, "-" for standard output, or a binary file object."""

Format = Literal["pcap", "pcapng"]
"""Formats that capture files are written in."""

_PCAPNG_ENDINGS: Final = frozenset((".pcapng", ".ntar"))

_WRITERS: Final[dict[str, type[PcapWriter | PcapNgWriter]]] = {
    "pcap": PcapWriter,
    "pcapng": PcapNgWriter,
}


def open_writer(
    file: Target, link_type: int = 1, *, format: Format | None = None, **options: Any
) -> PcapWriter | PcapNgWriter:
    """Open a capture file to write packets to.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, which is created or emptied; "-" for standard output; or an object with `write`.
    link_type : int
        LINKTYPE_ number: in pcap of all packets, in pcapng of those that come without a Link.
    format : {"pcap", "pcapng"}, optional
        By default what the path ends in, before the ending of a compression: .pcapng and .ntar are pcapng,
        everything else is pcap.
    **options
        As `PcapWriter` or `PcapNgWriter` takes them.

    Returns
    -------
    PcapWriter or PcapNgWriter
        Close it, or use it as a context manager.

    Raises
    ------
    OSError, ValueError, TypeError, ImportError
        As the writer does; TypeError, if the format knows no such option.
    """
    return writer_class(file, format)(file, link_type, **options)


def writer_class(file: object, format: Format | None) -> type[PcapWriter | PcapNgWriter]:
    """What writes a format, or what a file's name says of it.

    Raises
    ------
    ValueError
        There is no such format.
    """
    if format is None:
        return PcapNgWriter if stem_and_endings(file)[1].lower() in _PCAPNG_ENDINGS else PcapWriter
    if format not in _WRITERS:
        raise ValueError(f"format is one of {', '.join(_WRITERS)}, not {format!r}")
    return _WRITERS[format]


def stem_and_endings(file: object) -> tuple[str, str, str]:
    """A path without its endings, the format's ending and the compression's; empty if there is none."""
    name = os.fsdecode(file) if isinstance(file, (str, bytes, os.PathLike)) else ""
    stem, compression = os.path.splitext(name) if compression_of(name) else (name, "")
    stem, format = os.path.splitext(stem)
    return stem, format, compression
