"""Open capture files for writing."""

from __future__ import annotations

import os
from typing import Any, Final, Literal

from slimcap.capfile.pcap_writer import PcapWriter
from slimcap.capfile.pcapng_writer import PcapNgWriter
from slimcap.io.compression.encoders import Compression, compression_of
from slimcap.io.target import Target
from slimcap.packet.interface import SectionInfo

Format = Literal["pcap", "pcapng"]
"""Format of a capture file to write."""

_PCAPNG_ENDINGS: Final = frozenset((".pcapng", ".ntar"))

_WRITERS: Final[dict[str, type[PcapWriter | PcapNgWriter]]] = {
    "pcap": PcapWriter,
    "pcapng": PcapNgWriter,
}


def open_writer(
    file: Target,
    link_type: int = 1,
    *,
    format: Format | None = None,
    snaplen: int = 262144,
    compression: Compression | Literal["infer"] | None = "infer",
    level: int | None = None,
    atomic: bool = False,
    comment: str | None = None,
    hardware: str | None = None,
    os: str | None = None,
    application: str | None = None,
    section: SectionInfo | None = None,
) -> PcapWriter | PcapNgWriter:
    """Open a capture file for writing.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, which is created or truncated; "-" for standard output; or an object with `write`.
    link_type : int, default 1
        LINKTYPE_ number; 1 is Ethernet. In pcap that of all packets, in pcapng that of packets without a
        Link.
    format : {"pcap", "pcapng"}, optional
        Default: from the suffix of the path, before that of a compression: .pcapng and .ntar are pcapng,
        everything else is pcap.
    snaplen : int, default 262144
        Maximum number of bytes to write of a packet.
    compression : {"infer", "gzip", "zstd", "xz", "lz4", "bzip2"} or None, default "infer"
        "infer" uses the suffix of the path.
    level : int, optional
        Compression level. Default: that of the command of the same name.
    atomic : bool, default False
        Write to a temporary file that `close()` renames.
    comment, hardware, os, application : str, optional
        Description of the file; pcapng only. Default: none.
    section : SectionInfo, optional
        A section that was read from a file, for all its options; pcapng only. Default: only the texts above.

    Returns
    -------
    PcapWriter or PcapNgWriter
        Close it, or use it as a context manager.

    Raises
    ------
    OSError, ValueError, ImportError
        As for the writer.
    TypeError
        The format does not have an option.

    Examples
    --------
    >>> with slimcap.open_file("in.pcap") as source, slimcap.open_writer("out.pcapng.zst") as writer:
    ...     for batch in source.batches():
    ...         writer.write_batch(batch)
    """
    options: dict[str, Any] = {
        "snaplen": snaplen,
        "compression": compression,
        "level": level,
        "atomic": atomic,
    }
    description = {
        "comment": comment,
        "hardware": hardware,
        "os": os,
        "application": application,
        "section": section,
    }
    options |= {name: value for name, value in description.items() if value is not None}
    return writer_class(file, format)(file, link_type, **options)


def writer_class(file: object, format: Format | None) -> type[PcapWriter | PcapNgWriter]:
    """Return the writer class for a format, by default the one for a file's suffix.

    Raises
    ------
    ValueError
        The format does not exist.
    """
    if format is None:
        return PcapNgWriter if stem_and_endings(file)[1].lower() in _PCAPNG_ENDINGS else PcapWriter
    if format not in _WRITERS:
        raise ValueError(f"format is one of {', '.join(_WRITERS)}, not {format!r}")
    return _WRITERS[format]


def stem_and_endings(file: object) -> tuple[str, str, str]:
    """Split a path into stem, suffix of the format and suffix of the compression; "" for a missing suffix."""
    name = os.fsdecode(file) if isinstance(file, (str, bytes, os.PathLike)) else ""
    stem, compression = os.path.splitext(name) if compression_of(name) else (name, "")
    stem, format = os.path.splitext(stem)
    return stem, format, compression
