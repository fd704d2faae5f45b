"""Capture files that a command reads: a bad one does not keep it from the next."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Unpack

from slimcap.cli.terminal.progress import progress_bar
from slimcap.cli.terminal.streams import complain, reason
from slimcap.errors import FilterError, SlimcapError
from slimcap.packet.batch import Batch
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.open_files import PcapOptions, open_file
from slimcap.source.file.pcap_source import PcapSource


@contextmanager
def noting(file: str, failures: list[str]) -> Iterator[None]:
    """Note what goes wrong with a file in here, and go on."""
    try:
        yield
    except FilterError as error:  # for this link type; it may do for others
        failures.append(f"{file}: {error}")
    except (SlimcapError, OSError, ImportError) as error:
        failures.append(reason(error))


def tell(failures: list[str]) -> int:
    """Tell what went wrong; gives the exit code."""
    for failure in failures:
        complain(failure)
    return 1 if failures else 0


def open_input(file: str, **options: Unpack[PcapOptions]) -> PcapSource:
    """Open a capture file; "-" is standard input."""
    check_input(file)
    return open_file(file, **options)


def check_input(file: str) -> None:
    """Raise OSError if a file is standard input, and that is none.

    If it was closed from the start, descriptor 0 may be anything by now.
    """
    if file == "-" and sys.stdin is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "<stdin>")


def batches_of(source: PcapSource | MergedSource, *, bar: bool, most: int | None = None) -> Iterator[Batch]:
    """A source's batches, up to `most` packets in all; with a progress bar if that is wanted."""
    left = sys.maxsize if most is None else min(most, sys.maxsize)
    with progress_bar(source, shown=bar) as move:
        while left:
            try:
                batch = source.next_batch(left)
            except EOFError:
                return
            left -= len(batch)
            yield batch
            move()
