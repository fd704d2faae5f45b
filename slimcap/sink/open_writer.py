"""Open capture files for writing."""

from __future__ import annotations

import os
from typing import Final, Literal, Unpack

from slimcap.capfile.pcap_writer import PcapWriter
from slimcap.capfile.pcapng_writer import PcapNgWriter
from slimcap.capfile.write_options import PcapNgWriterOptions
from slimcap.io.compression.encoders import compression_of
from slimcap.io.target import Target
from slimcap.option_set import accepts, changed, parse

Format = Literal["pcap", "pcapng"]
"""Format of a capture file to write."""

_PCAPNG_ENDINGS: Final = frozenset((".pcapng", ".ntar"))

_WRITERS: Final[dict[str, type[PcapWriter | PcapNgWriter]]] = {
    "pcap": PcapWriter,
    "pcapng": PcapNgWriter,
}


@accepts(PcapNgWriterOptions)
def open_writer(
    file: Target, link_type: int = 1, *, format: Format | None = None, **options: Unpack[PcapNgWriterOptions]
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
        everything else is pcap, which does not have the options from `comment` to `section`.
    **options
        Those of `PcapNgWriterOptions`.

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
    given = changed(PcapNgWriterOptions, parse(PcapNgWriterOptions, options))
    return writer_class(file, format)(file, link_type, **given)


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
