"""`slimcap read`: capture files as lines, or as a summary."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from typing import Protocol

from slimcap.cli.lines import Lines, json_lines, text_lines
from slimcap.cli.output import complain, reason
from slimcap.cli.progress import progress_bar, wanted
from slimcap.cli.summary import Summary
from slimcap.errors import FilterError, SlimcapError
from slimcap.packet.batch import Batch
from slimcap.source.files import open_file
from slimcap.source.pcap import PcapSource


def run(args: argparse.Namespace) -> int:
    """Read the files, one after the other; a bad one does not keep us from the next.

    Returns
    -------
    int
        Exit code: 0, or 1 if a file was bad.
    """
    bar = wanted(summary=args.summary)
    reading = _Reading(_sink(args), count=args.count, filter=args.filter, bar=bar)
    try:
        for file in args.files:
            reading.read(file)
    finally:
        # Ctrl-C leads here, too: a summary tells what was read so far.
        reading.end()
    return 1 if reading.failures else 0


class _Sink(Protocol):
    """Where packets go. Every method may raise OutputError."""

    def add(self, batch: Batch, source: PcapSource) -> None: ...
    def end_file(self, source: PcapSource) -> None: ...
    def end(self) -> None: ...


def _sink(args: argparse.Namespace) -> _Sink:
    if args.summary:
        return Summary(as_json=args.json)
    return Lines(json_lines if args.json else text_lines)


class _Reading:
    """Takes the packets that are wanted from files to a sink, and keeps count of what went wrong."""

    def __init__(self, sink: _Sink, *, count: int | None, filter: str | None, bar: bool) -> None:
        self._sink = sink
        self._filter = filter
        self._left = sys.maxsize if count is None else min(count, sys.maxsize)
        self._bar = bar
        self.failures: list[str] = []

    def read(self, file: str) -> None:
        """Take a file's packets, all of them or as many as are still wanted."""
        if not self._left:
            return
        try:
            # If it was closed from the start, descriptor 0 may be anything by now.
            if file == "-" and sys.stdin is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF), "<stdin>")
            with open_file(file, filter=self._filter) as source:
                try:
                    self._pass_on(source)
                finally:
                    self._sink.end_file(source)
        except FilterError as error:  # for this link type; it may do for others
            self.failures.append(f"{file}: {error}")
        except (SlimcapError, OSError) as error:
            self.failures.append(reason(error))

    def _pass_on(self, source: PcapSource) -> None:
        with progress_bar(source, shown=self._bar) as move:
            while self._left:
                try:
                    batch = source.next_batch(self._left)
                except EOFError:
                    return
                self._left -= len(batch)
                self._sink.add(batch, source)
                move()

    def end(self) -> None:
        """Write what is still to be said: a summary, then what went wrong."""
        try:
            self._sink.end()
        finally:
            for failure in self.failures:
                complain(failure)
