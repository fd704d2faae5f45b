"""`RotatedSource`: files that follow each other, while they are written.

    tcpdump -C, -G, dumpcap -b, an atomic rename ──► folder ──► queue ──► the file that is read
                                                       ▲ inotify              ▲ inotify, the same

A file is over when a newer one is there, since its writer closes it before it goes on with the next.
"""
cimport cython
from libc.stdint cimport int64_t

from slimcap.capfile.decoder cimport MAX_CAPLEN
from slimcap.io.event cimport SIGNAL_END
from slimcap.io.watch cimport Watch
from slimcap.source.file.several cimport FilesSource, Part, list_files, new_part

import errno
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
        names = {mark[:2]: path for path, mark in found.items()}
        self.queue = [(names.get(mark[:2], path), mark) for path, mark in self.queue]
        queued = {mark[:2] for _, mark in self.queue}
        read = {mark for mark in self.seen.values() if mark[:2] not in queued}
        new = [(path, mark) for path, mark in found.items() if self.is_new(path, mark, queued, read)]
        # By name within a tick of the file system's clock.
        new.sort(key=lambda file: (file[1][2], _natural_order(file[0])))
        self.queue += new
        self.seen = found
        return 0

    cdef bint is_new(self, str path, tuple mark, set queued, set read):
        """Whether a file was not seen before: under this name, nor, since, under another."""
        if self.seen.get(path, ())[:2] == mark[:2] or mark[:2] in queued:
            return False
        return mark not in read and mark not in self.done and not self.is_reading(mark)

    cdef bint is_reading(self, tuple mark):
        return self.reading is not None and self.reading[:2] == mark[:2]

    cdef str take(self):
        """The path of the file that is read next."""
        path, self.reading = self.queue.pop(0)
        return path

    cdef bint is_there(self, int fd) except -1:
        """Whether what was opened is the file that was queued: its name may be another one's by now."""
        return self.reading is None or self.is_reading(_mark_of(os.fstat(fd)))

    cdef bint queue_again(self, str path) except -1:
        """Look for the file to read under another name; False if it is gone."""
        cdef bint complete = self.complete
        mark, self.reading = self.reading, None
        if mark is None:
            return False
        self.queue.insert(0, (path, mark))
        self.changed, self.complete = True, False
        self.look()
        self.complete = complete
        if self.seen.get(self.queue[0][0], ())[:2] == mark[:2]:
            return True
        del self.queue[0]
        return False

    cdef int note_done(self, int fd) except -1:
        """A file was read: it is not new, also if a look misses it, as when it is renamed just then."""
        mark = self.reading if fd < 0 else _mark_of(os.fstat(fd))
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
            rotation.queue = [(_path_of(file), None) for file in list_files(files)]
        self._rotation = rotation

    cdef bint _fill(self, int64_t deadline) except -1:
        if self._rotation is None:
            return False
        while self._part is not None or self._next_file(deadline):
            try:
                if self._part.source is None and not self._open_next(deadline):
                    continue
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
        self._part = new_part(self._rotation.take(), self._done)
        return True

    cdef bint _open_next(self, int64_t deadline) except -1:
        """Open the file; False, and without one, if it has another name by now, under which it is next."""
        cdef Part part = self._part
        try:
            self._open_part(part, self._options, deadline, self._rotation)
            if self._rotation.is_there(part.source._file.fileno()):
                return True
        except FileNotFoundError:
            pass
        self._close_part(part)
        if not self._rotation.queue_again(part.file):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), part.file)
        self._part = None
        return False

    cdef bint _read_on(self, int64_t deadline) except -1:
        """Show the next packets of the file; False at its end."""
        cdef Part part = self._part
        if not self._read_part(part, deadline):
            return False
        self._show_run(part, part.head.end)
        return True

    cdef int _end_file(self) except -1:
        cdef Part part = self._part
        self._part = None
        self._done += 1
        self._rotation.note_done(-1 if part.source is None else part.source._file.fileno())
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
