"""`RotatedSource`: files that follow each other, while they are written.

    tcpdump -C, -G, dumpcap -b, an atomic rename ──► folder ──► queue ──► the file that is read
                                                       ▲ inotify              ▲ inotify, the same

A file is over when a newer one is there, since its writer closes it before it goes on with the next.
"""
cimport cython
from libc.stdint cimport int64_t

from slimcap.source.decoder cimport MAX_CAPLEN
from slimcap.source.event cimport SIGNAL_END
from slimcap.source.parts cimport FilesSource, Part, list_files, new_part
from slimcap.source.watch cimport Watch

import glob
import os
import re
import stat
from collections import deque

from slimcap.errors import FileFormatError, FilterError, TruncatedFileError

cdef enum:
    REMEMBERED = 1000       # files that are known to be read, though the folder does not have them any more


@cython.final
cdef class Rotation(Watch):
    """Which file comes next."""

    cdef int look(self) except -1:
        """Add files that are new to the queue, the oldest first."""
        if self.pattern is None or self.complete or not self.changed:
            return 0
        self.changed = False
        found = dict(_regular_files(self.pattern))
        read = {mark for path, mark in self.seen.items() if path not in self.queue}
        new = [path for path, mark in found.items() if self.is_new(path, mark, read)]
        renamed = {found[path][:2] for path in new}
        self.queue = [path for path in self.queue if path in new or self.seen[path][:2] not in renamed]
        # By name within a tick of the file system's clock.
        new.sort(key=lambda path: (found[path][2], _natural_order(path)))
        self.queue += [path for path in new if path not in self.queue]
        self.seen = {**{path: self.seen[path] for path in self.queue if path not in found}, **found}
        return 0

    cdef bint is_new(self, str path, object mark, object read):
        """Whether a file was not seen before: under this name, nor, since, under another."""
        before = self.seen.get(path)
        if before is not None and before[:2] == mark[:2]:
            return False
        return mark not in read and mark not in self.done and mark[:2] != self.reading

    cdef int note_done(self, Part part) except -1:
        """A file was read: it is not new, also if a look does not find it, as when it is renamed just then."""
        cdef int fd = -1 if part.source is None else part.source._file.fileno()
        mark = self.seen.get(part.file) if fd < 0 else _mark_of(os.fstat(fd))
        if mark is not None:
            self.done.append(mark)
        self.reading = None
        return 0

    cdef bint is_over(self) except -1:
        self.look()
        return bool(self.queue)


@cython.final
cdef class RotatedSource(FilesSource):
    """Capture files that are being written, one after the other, as one Source.
    `slimcap.open_files(…, follow=True)` opens it.

    The files are read in the order of their last change, at the same time by name, in which numbers count as
    such. At the end of the newest it waits until that grows, or a newer file matches the pattern: then the
    one before is read to its end. It ends with `stop()`.

    Files are opened by the calls that read, one at a time; there are no `links` before that. A file that is
    renamed is not read again, one that takes the name of another is. What writes over its oldest file without
    removing it first (tcpdump -W) cannot be followed.

    If a file is damaged, cannot be read on, or is gone before its turn, the call that comes to it raises the
    error, once. The next one goes on with the next file.

    Parameters
    ----------
    files : str, os.PathLike or sequence of paths
        A pattern of `glob.glob` with wildcards in its last part only; nothing needs to match yet. Or paths,
        which are read in their order, and the last of which is followed, until it is removed.
    snaplen, filter, block_size, timeout
        As for `PcapSource`.

    Raises
    ------
    ValueError
        There are no files, the pattern has wildcards for folders, or an option is out of range.
    OSError
        The folder, or a file of the list, is not there. Also from calls that read: a file cannot be opened or
        read.
    FileFormatError, FilterError, ImportError
        From calls that read, as of `PcapSource`.
    """

    def __init__(self, files, *, snaplen=None, filter=None, Py_ssize_t block_size=1 << 20, timeout=None):
        self._set_up(snaplen, filter, block_size, timeout)
        self._most = snaplen or MAX_CAPLEN
        cdef Rotation rotation = Rotation()
        rotation.queue, rotation.seen, rotation.done = [], {}, deque(maxlen=REMEMBERED)
        if isinstance(files, (str, bytes, os.PathLike)):
            rotation.pattern = os.fsdecode(files)
            folder = os.path.dirname(rotation.pattern)
            if glob.has_magic(folder):
                raise ValueError(f"{rotation.pattern!r}: files of one folder can be followed, not of several")
            rotation.add_folder(folder or ".")
        else:
            rotation.queue = [_path_of(file) for file in list_files(files)]
        self._rotation = rotation

    cdef bint _fill(self, int64_t deadline) except -1:
        if self._rotation is None:
            return False
        while self._part is not None or self._next_file(deadline):
            try:
                if self._read_on(deadline):
                    return True
            except (TimeoutError, BlockingIOError):
                raise
            except TruncatedFileError:
                self._end_file()
                if not self._signal[0] & SIGNAL_END:  # else the file has no header yet
                    raise
                continue
            except (FileFormatError, FilterError, OSError, ImportError):
                self._end_file()
                raise
            self._end_file()
        return False

    cdef bint _next_file(self, int64_t deadline) except -1:
        """Wait for the next file; False if there will be none."""
        cdef bint stopped
        while True:
            stopped = self._signal[0] & SIGNAL_END
            self._rotation.changed |= stopped  # perhaps, unheard
            self._rotation.look()
            self._rotation.complete |= stopped
            if self._rotation.queue:
                break
            if stopped or self._rotation.pattern is None:
                return False
            self._rotation.wait(self._event, deadline)
        path = self._rotation.queue.pop(0)
        self._rotation.reading = self._rotation.seen.get(path, ())[:2]
        self._part = new_part(path, self._done)
        return True

    cdef bint _read_on(self, int64_t deadline) except -1:
        """Show the next packets of the file; False at its end."""
        cdef Part part = self._part
        if part.source is None:
            self._open_part(part, self._options, deadline, self._rotation)
        if not self._read_part(part, deadline):
            return False
        self._show_run(part, part.head.end)
        return True

    cdef int _end_file(self) except -1:
        cdef Part part = self._part
        self._part = None
        self._done += 1
        self._rotation.note_done(part)
        return self._finish(part)

    def __repr__(self):
        state = "closed" if self.closed else f"{self._totals().packets_received:,} packets read"
        return f"<RotatedSource: file {self._done + (self._part is not None)}, {state}>"


def _path_of(file):
    """The path of a file that is there."""
    if not isinstance(file, (str, bytes, os.PathLike)):
        raise ValueError("a file object does not tell when it grows: give its path to follow it")
    os.stat(file)
    return os.fsdecode(file)


def _regular_files(pattern):
    """Files that match, and what tells them apart."""
    for path in glob.glob(pattern):
        try:
            status = os.stat(path)
        except OSError:
            continue  # it is gone again
        if stat.S_ISREG(status.st_mode):
            yield path, _mark_of(status)


def _mark_of(status):
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _natural_order(path):
    """A key by which cap2 comes before cap10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path)]
