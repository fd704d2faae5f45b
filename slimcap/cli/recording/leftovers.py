"""Temporary files that a recording left: they are completed, without the packet that is not complete."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from slimcap.cli.recording.file_journal import RecordedFile, is_there, partial_of
from slimcap.cli.terminal.streams import reason
from slimcap.errors import FileFormatError, SlimcapError, TruncatedFileError
from slimcap.io.compression.encoders import compression_of
from slimcap.sink.capture_file import CaptureFile
from slimcap.source.file.pcap_source import PcapSource

_PATIENCE: Final = 60.0  # seconds to wait for the thread at the end


class Finished(NamedTuple):
    """A leftover that was handled: whether the file has its final name now, and a message."""

    file: RecordedFile
    complete: bool
    message: str


def finish(file: RecordedFile, partial: str) -> Finished:
    """Complete a temporary file, and rename it. If that fails, it stays as it is.

    A file that is not compressed is truncated after its last complete packet. One that is compressed is
    written again, because its compressed stream has no end. One without packets is removed.
    """
    try:
        if os.path.lexists(file.path):
            return Finished(file, False, f"{partial}: not completed, because {file.path} exists")
        return Finished(file, *_finish(partial, file.path))
    except (OSError, SlimcapError, ValueError, ImportError) as error:
        return Finished(file, False, f"{partial}: not completed: {reason(error)}")


def _finish(partial: str, path: str) -> tuple[bool, str]:
    size = os.path.getsize(partial)
    error: FileFormatError | None
    if compression_of(path) is None:
        packets, error = _scanned(partial)
    else:
        packets, error = _written_again(partial, path)
    if not packets and (error is None or isinstance(error, TruncatedFileError)):
        os.unlink(partial)
        return False, f"{path}: the temporary file had no complete packet, and was removed"
    if compression_of(path) is not None:
        os.unlink(partial)
        return True, f"{path}: completed a file that was not closed, {packets} packets"
    if isinstance(error, TruncatedFileError):
        os.truncate(partial, error.offset)
    os.rename(partial, path)
    if error is not None and not isinstance(error, TruncatedFileError):
        return True, f"{path}: renamed a file that was not closed; it is damaged: {error}"
    lost = size - os.path.getsize(path)
    cut = f", without the last {lost} bytes, an incomplete packet" if lost else ""
    return True, f"{path}: completed a file that was not closed, {packets} packets{cut}"


def _scanned(partial: str) -> tuple[int, FileFormatError | None]:
    """Return the number of packets of a file, and the error after them."""
    packets = 0
    try:
        with PcapSource(partial) as source:
            for batch in source.batches():
                packets += len(batch)
    except FileFormatError as error:
        return packets, error
    return packets, None


def _written_again(partial: str, path: str) -> tuple[int, TruncatedFileError | None]:
    """Write all packets of a file to another one; return how many, and the error after them.

    A file that is damaged otherwise stays as it is.
    """
    try:
        source = PcapSource(partial)
    except TruncatedFileError as error:
        return 0, error
    failure: TruncatedFileError | None = None
    with source:
        file = CaptureFile(path, source)
        try:
            try:
                for batch in source.batches():
                    file.add(batch)
            except TruncatedFileError as error:
                failure = error
            if file.packets_written:
                file.close()
            return file.packets_written, failure
        finally:
            file.discard()


class Leftovers:
    """Complete the temporary files of earlier recordings on a separate thread, because that takes time.

    Parameters
    ----------
    files : sequence of RecordedFile
        The files of the journal.
    """

    def __init__(self, files: Sequence[RecordedFile]) -> None:
        found = [(file, partial_of(file)) for file in files if not is_there(file)]
        self.pending: Final = {file: partial for file, partial in found if partial is not None}
        """Files that are not complete yet, and the paths of their temporary files."""
        self.missing: Final = [file for file, partial in found if partial is None]
        """Files that were removed, renamed or replaced."""
        self._done: SimpleQueue[Finished] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, args=(list(self.pending.items()),), name="slimcap leftovers", daemon=True
        )
        self._thread.start()

    def _run(self, pending: Sequence[tuple[RecordedFile, str]]) -> None:
        for file, partial in pending:
            self._done.put(finish(file, partial))

    def finished(self) -> Iterator[Finished]:
        """Yield what was handled since the last call."""
        while True:
            try:
                found = self._done.get_nowait()
            except Empty:
                return
            self.pending.pop(found.file, None)
            yield found

    def join(self) -> None:
        """Wait until all files are handled, up to a minute; the others are left to the next recording."""
        self._thread.join(_PATIENCE)
