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
        self._partials: dict[str, tuple[RecordedFile, str]] = {}  # files that are not complete, by path
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
            "reserved": [file.path for file in self._leftovers.pending],
            "keep_partial": True,
            "background": True,
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
            try:
                self._journal.add(path, partial, self._next_number)
            except OSError:  # it has no packets, and nothing would know about it
                os.unlink(partial)
                raise
            self._next_number += 1
            self._partials[path] = (self._journal.files[-1], partial)
            self._remove_oldest()

    def _complete(self, path: str) -> None:
        self._partials.pop(path, None)
        self._remove_oldest()
        if self._post is not None:
            self._post.add(path)

    def _remove_oldest(self) -> None:
        self._quota.enforce(dict(self._partials.values()) | self._leftovers.pending)

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
        for _, partial in self._partials.values():
            with contextlib.suppress(OSError):
                fd = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
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
        """Complete the files that are not, after a write failed."""
        for file, partial in self._partials.values():
            if os.path.exists(partial):
                self._note(finish(file, partial))
        self._partials.clear()


class Quota:
    """The maximum of a recording's files, in bytes and in number; None: no maximum."""

    def __init__(self, journal: FileJournal, max_bytes: int | None, max_files: int | None) -> None:
        self._journal: Final = journal
        self._max_bytes, self._max_files = max_bytes, max_files
        self._sizes: dict[RecordedFile, int] = {}  # of complete files

    def enforce(self, partials: dict[RecordedFile, str]) -> None:
        """Remove the oldest files while there are too many.

        Those that are not complete count, but stay; `partials` are the paths of their temporary files.
        """
        if self._max_bytes is None and self._max_files is None:
            return
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
        self._sizes.pop(file, None)


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
