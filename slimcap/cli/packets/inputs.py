"""Capture files as input of a command: an error in one does not stop it from reading the next."""

from __future__ import annotations

import argparse
import errno
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal, Unpack

from slimcap.cli.arguments import add_option
from slimcap.cli.packets.conditions import selection
from slimcap.cli.terminal.live_line import ProgressBar
from slimcap.cli.terminal.streams import complain, reason
from slimcap.errors import FilterError, SlimcapError
from slimcap.option_set import options_of
from slimcap.packet.batch import Batch
from slimcap.packet.link import Link
from slimcap.source.file.file_list import is_one_file, list_files
from slimcap.source.file.file_options import FilesOptions, PcapOptions
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.open_files import open_file, open_files
from slimcap.source.file.pcap_source import PcapSource


@contextmanager
def noting(file: str, failures: list[str]) -> Iterator[None]:
    """Append errors in reading a file to `failures`, and suppress them."""
    try:
        yield
    except FilterError as error:  # not valid for the link type of this file, but perhaps for others
        failures.append(f"{file}: {error}")
    except (SlimcapError, OSError, ImportError) as error:
        failures.append(reason(error))


def report_failures(failures: list[str], on_error: str = "raise") -> int:
    """Write the failures to standard error, and return the exit code: 1 if there are any, otherwise 0.

    With `on_error` "warn" the exit code is 0; with "skip", nothing is written either.
    """
    if on_error != "skip":
        for failure in failures:
            complain(failure)
    return 1 if failures and on_error == "raise" else 0


def add_reading(command: argparse.ArgumentParser) -> None:
    """Add the options --on-error and --concatenated."""
    declared = options_of(FilesOptions)
    help = "about damaged files: fail (raise, the default), say so but exit with 0 (warn), or skip in silence"
    add_option(command, "on_error", declared["on_error"], help=help)
    help = "read on where another pcap file begins, as in files joined by cat"
    add_option(command, "concatenated", declared["concatenated"], help=help)


def expanded(files: Sequence[str]) -> Iterator[str]:
    """Yield the files, and those in folders and of patterns that the shell did not expand."""
    for file in files:
        if is_one_file(file) or file == "-":
            yield file
        else:
            try:
                yield from list_files(file)
            except FileNotFoundError:
                yield file  # opening it will raise


@contextmanager
def all_descriptors() -> Iterator[None]:
    """Raise the soft limit of open files to the hard one, for the time of the context."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def open_input(file: str, **options: Unpack[PcapOptions]) -> Iterator[PcapSource]:
    """Open a capture file, and warn at the end about what the filter could not see; "-" is standard input."""
    check_input(file)
    with open_file(file, **options) as source, warning_of_link_types(source, file):
        yield source


@contextmanager
def open_merged(
    name: str, files: Sequence[str], args: argparse.Namespace, *, inner_columns: bool = False
) -> Iterator[MergedSource]:
    """Open capture files to read them merged in order of time, and warn at the end as `open_input` does.

    `name` stands for all files in a warning; `args` have the options of `add_conditions` and `add_reading`.
    `inner_columns` is as for `selection`.
    """
    for file in files:
        check_input(file)
    # Warnings are ours: `report_failures` writes them.
    on_error: Literal["raise", "skip"] = "raise" if args.on_error == "raise" else "skip"
    options = {
        "concatenated": args.concatenated,
        "on_error": on_error,
        **selection(args, inner_columns=inner_columns),
    }
    with all_descriptors(), open_files(files, **options) as source, warning_of_link_types(source, name):
        yield source


def merged_batches(
    source: MergedSource, name: str, files: int, failures: list[str], *, bar: bool
) -> Iterator[Batch]:
    """Yield all batches of `files` files. An error in a file is appended to `failures`, and ends only that.

    `name` stands for all files in an error that is not about one of them.
    """
    for _ in range(files + 1):
        with noting(name, failures):
            yield from batches_of(source, bar=bar)
            return


@contextmanager
def warning_of_link_types(source: PcapSource | MergedSource, name: str) -> Iterator[None]:
    """Write a warning at the end for each link type for which the filter expression cannot be compiled."""
    try:
        yield
    finally:
        for link_type, why in source.unfilterable.items():
            title = Link("", 0, link_type).type_name
            complain(f"warning: {name}: the filter matches no packet of link type {title}: {why}")


def check_input(file: str) -> None:
    """Raise OSError if the file is standard input and the process was started with that closed."""
    # Descriptor 0 may then be any file that was opened since.
    if file == "-" and sys.stdin is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "<stdin>")


def batches_of(
    source: PcapSource | MergedSource, *, bar: bool, max_packets: int | None = None
) -> Iterator[Batch]:
    """Yield the batches of a source, up to a number of packets, with a progress bar if `bar` is True."""
    left = sys.maxsize if max_packets is None else min(max_packets, sys.maxsize)
    line = ProgressBar(source, shown=bar)
    try:
        while left:
            batch = source.next_batch(left)
            left -= len(batch)
            yield batch
            line.refresh()
    except EOFError:
        return
    finally:
        line.erase()
