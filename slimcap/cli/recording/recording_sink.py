"""`RecordingSink`: packets of a live source in several files, of which the oldest may be removed."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Final, cast

from slimcap.capfile.writer import Writer
from slimcap.cli.packets.capture_output import split_of
from slimcap.cli.packets.packet_sink import FLUSH_INTERVAL, PacketSink
from slimcap.cli.recording.file_journal import FileJournal, RecordedFile, is_there
from slimcap.cli.recording.leftovers import Finished, Leftovers, finish
from slimcap.cli.recording.post_rotate import PostRotate
from slimcap.cli.terminal.streams import OutputError, complain, reason, writing
from slimcap.packet.batch import Batch
from slimcap.sink.capture_file import CaptureFile
from slimcap.source.base import Source
from slimcap.source.live.open_live import LiveCapture

if TYPE_CHECKING:
    from slimcap.sink.rotation_options import RotatingOptions


class RecordingSink(PacketSink):
    """Several capture files, written as packets arrive.

    Every FLUSH_INTERVAL seconds files are flushed, ended by the clock, and removed.
    """

    def __init__(self, source: LiveCapture, args: argparse.Namespace) -> None:
        """Open the recording with the options of the command line."""
        self._post = PostRotate(args.post_rotate) if args.post_rotate is not None else None
        with writing():
            self._journal = FileJournal(args.file)
        self._quota = Quota(self._journal, args.keep, args.files)
        self._next_number = self._journal.next_number
        self._current: tuple[RecordedFile, str] | None = None  # and the path of its temporary file
        self._leftovers = Leftovers(self._journal.files)
        for file in self._leftovers.missing:
            self._journal.forget(file)
        self._file = self._opened(source, args)
        self.due = time.monotonic() + FLUSH_INTERVAL

    def _opened(self, source: LiveCapture, args: argparse.Namespace) -> CaptureFile:
        rotation: dict[str, Any] = {
            **split_of(args),
            "skip_existing": True,
            "number_existing": True,
            "first_index": self._next_number,
            "keep_partial": True,
            "on_begin": self._begin,
            "on_file": self._complete,
        }
        try:
            with writing():
                return CaptureFile(
                    args.file, source, snaplen=args.snaplen, rotation=cast("RotatingOptions", rotation)
                )
        except ValueError as error:
            args.error(str(error))
            raise

    def _begin(self, path: str, writer: Writer) -> None:
        partial = writer.partial_path
        if partial is not None:  # otherwise it is written to directly, such as a FIFO
            self._journal.add(path, partial, self._next_number)
            self._next_number += 1
            self._current = (self._journal.files[-1], partial)
            self._remove_oldest()

    def _complete(self, path: str) -> None:
        self._current = None
        self._remove_oldest()
        if self._post is not None:
            self._post.add(path)

    def _remove_oldest(self) -> None:
        self._quota.enforce(self._current, self._leftovers.pending)

    def add(self, batch: Batch, source: Source) -> None:
        with writing():
            self._file.add(batch)

    def flush(self, now: float) -> None:
        if now < self.due:
            return
        self.due = now + FLUSH_INTERVAL
        with writing():
            self._file.end_interval()
            self._file.flush()
        self._write_back()
        self._remove_oldest()
        self._note_leftovers()
        if self._post is not None:
            self._post.poll()

    def reopen(self) -> None:
        """Complete the current file; the next packet starts another one."""
        with writing():
            self._file.end_file()

    def _write_back(self) -> None:
        """Let the kernel write the current file to its device now, not all of it when it is complete."""
        if self._current is not None:
            with contextlib.suppress(OSError):
                fd = os.open(self._current[1], os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(fd)

    def _note_leftovers(self) -> None:
        for found in self._leftovers.finished():
            self._note(found)

    def _note(self, found: Finished) -> None:
        complain(found.message)
        if found.complete:  # a compressed file is another one than before
            self._journal.add(found.file.path, found.file.path, found.file.number)
            if self._post is not None:
                self._post.add(found.file.path)

    def close(self) -> None:
        try:
            with writing():
                self._file.close()
        except OutputError:
            self._file.discard()
            self._rescue()
            raise
        finally:
            self._leftovers.join()
            self._note_leftovers()
            self._remove_oldest()
            if self._post is not None:
                self._post.close()
            self._journal.close()
        if not self._file.files:
            complain("no packets were captured: no file was written")

    def _rescue(self) -> None:
        """Complete the current file after a write failed."""
        if self._current is not None:
            file, partial = self._current
            self._current = None
            if os.path.exists(partial):
                self._note(finish(file, partial))


class Quota:
    """The maximum of a recording's files, in bytes and in number; None: no maximum."""

    def __init__(self, journal: FileJournal, max_bytes: int | None, max_files: int | None) -> None:
        self._journal: Final = journal
        self._max_bytes, self._max_files = max_bytes, max_files
        self._sizes: dict[RecordedFile, int] = {}  # of complete files

    def enforce(self, current: tuple[RecordedFile, str] | None, pending: dict[RecordedFile, str]) -> None:
        """Remove the oldest files while there are too many; never the current one, and those of `pending`."""
        if self._max_bytes is None and self._max_files is None:
            return
        partials = pending | ({} if current is None else {current[0]: current[1]})
        if self._is_exceeded(partials):
            self._sizes.clear()  # files may have been moved away
            for file in self._journal.files:
                if file not in partials and not is_there(file):
                    self._journal.forget(file)
        for file in self._journal.files:
            if not self._is_exceeded(partials):
                return
            if file not in partials:
                self._remove(file)

    def _is_exceeded(self, partials: dict[RecordedFile, str]) -> bool:
        files = self._journal.files
        if self._max_files is not None and len(files) > self._max_files:
            return True
        if self._max_bytes is None:
            return False
        for file in files:
            if file not in self._sizes and file not in partials:
                self._sizes[file] = _size(file.path)
        complete = sum(self._sizes[file] for file in files if file not in partials)
        return complete + sum(_size(path) for path in partials.values()) > self._max_bytes

    def _remove(self, file: RecordedFile) -> None:
        """Remove a file if it is still that of the recording."""
        try:
            if is_there(file):
                os.unlink(file.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            complain(f"{file.path}: cannot be removed, and does not count any more: {reason(error)}")
        self._journal.forget(file)


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
