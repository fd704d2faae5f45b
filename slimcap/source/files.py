"""Opening capture files."""

from __future__ import annotations

import os
from typing import IO, Any

from slimcap.packet.batch import Batch, concat
from slimcap.source.pcap import PcapSource


def open_file(file: str | bytes | os.PathLike[str] | os.PathLike[bytes] | IO[bytes], **options: Any) -> PcapSource:
    """Open a capture file.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, "-" for standard input, or an object with `readinto` or `read`.
    **options
        As `PcapSource` takes them.

    Returns
    -------
    PcapSource
        Close it, or use it as a context manager.

    Raises
    ------
    FileFormatError, OSError
        As `PcapSource` does.
    """
    return PcapSource(file, **options)


def read(file: str | bytes | os.PathLike[str] | os.PathLike[bytes] | IO[bytes], **options: Any) -> Batch:
    """Read all of a capture file into memory.

    Takes 40 bytes a packet and the packets; for files larger than memory use `open_file(file).batches()`.

    Parameters
    ----------
    file, **options
        As `open_file` takes them.

    Returns
    -------
    Batch
        All packets, in memory of their own.

    Raises
    ------
    FileFormatError, OSError
        As `PcapSource` does. Of a damaged file, `open_file(file).batches()` gives the packets before the damage.
    """
    with PcapSource(file, **options) as source:
        return concat(source.batches())
