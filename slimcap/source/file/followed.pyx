"""`RotatedSource`: files that are written one after the other, read while they are written.

    tcpdump -C, -G, dumpcap -b, atomic rename ──► folder ──► queue ──► the file that is read
                                                     ▲ inotify             ▲ the same inotify

A file ends when a newer one exists, since a writer closes a file before it opens the next.
"""
cimport cython
from libc.stdint cimport int64_t

from slimcap.abi.atomic cimport load_bits
from slimcap.capfile.decoder cimport MAX_CAPLEN
from slimcap.io.event cimport SIGNAL_END
from slimcap.io.watch cimport EndPolicy
from slimcap.packet.rows cimport Rows
from slimcap.source.file.several cimport FilesSource, Part, new_part

import errno
import glob
import os
import re
import stat
from collections import deque

from slimcap.errors import FileFormatError, FilterError, TruncatedFileError
from slimcap.option_set import parse
from slimcap.source.file.file_list import list_some_files
from slimcap.source.file.file_options import SeveralOptions

cdef enum:
    REMEMBERED = 1000       # finished files that are remembered even if they are no longer in the folder


@cython.final
cdef class Rotation(EndPolicy):
    """The queue of files to read next. A file ends when there is a newer one."""

    cdef int look(self) except -1:
        """Append new files to the queue, the oldest first."""
        if self.pattern is None or self.complete or not self.watch.changed:
            return 0
        self.watch.changed = False
        found = dict(_regular_files(self.pattern))
        names = {mark[:2]: path for path, mark in found.items()}
        self.queue = [(names.get(mark[:2], path), mark) for path, mark in self.queue]
        queued = {mark[:2] for _, mark in self.queue}
        read = {mark for mark in self.seen.values() if mark[:2] not in queued}
        new = [(path, mark) for path, mark in found.items() if self.is_new(path, mark, queued, read)]
        # By name if the times are within one tick of the file system's clock.
        new.sort(key=lambda file: (file[1][2], _natural_order(file[0])))
        self.queue += new
        self.seen = found
        return 0

    cdef bint is_new(self, str path, tuple mark, set queued, set read):
        """Return True if a file was not seen before, neither under this name nor under another."""
        if self.seen.get(path, ())[:2] == mark[:2] or mark[:2] in queued:
            return False
        return mark not in read and mark not in self.done and not self.is_reading(mark)

    cdef bint is_reading(self, tuple mark):
        return self.reading is not None and self.reading[:2] == mark[:2]

    cdef str take(self):
        """Remove the next file from the queue, and return its path."""
        path, self.reading = self.queue.pop(0)
        return path

    cdef bint is_there(self, int fd) except -1:
        """Return True if the opened file is the one that was queued; its name may belong to another by now.
        """
        return self.reading is None or self.is_reading(_mark_of(os.fstat(fd)))

    cdef bint queue_again(self, str path) except -1:
        """Find the file to read under its new name and queue it again; return False if it was removed."""
        cdef bint complete = self.complete
        mark, self.reading = self.reading, None
        if mark is None:
            return False
        self.queue.insert(0, (path, mark))
        self.watch.changed, self.complete = True, False
        self.look()
        self.complete = complete
        if self.seen.get(self.queue[0][0], ())[:2] == mark[:2]:
            return True
        del self.queue[0]
        return False

    cdef int note_done(self, int fd) except -1:
        """Remember a file that was read.

        Otherwise it would be new after a scan that missed it, for example while it was renamed.
        """
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
    """Read capture files one after the other, while they are written. `slimcap.open_files` opens it.

    Files are read in the order of their last modification; of equal times, by name in natural order (cap2
    before cap10). At the end of the newest file the source waits until it grows or a newer file matches the
    pattern; in the latter case it reads the older file to its end and continues with the newer one. The
    source ends after `stop()`.

    Files are opened by the calls that read, one at a time; before that there are no `links`. A file that is
    renamed is not read again; a file that takes the name of another one is read. A writer that overwrites its
    oldest file without removing it first (tcpdump -W) cannot be followed.

    If a file is damaged, cannot be read, or is removed before its turn, the call that reaches it raises the
    error, once, unless `on_error` says otherwise; the next call continues with the next file.

    Parameters
    ----------
    files : str, os.PathLike or sequence of paths
        A folder, or a pattern of `glob.glob` with wildcards only in its last component; no file needs to
        match yet. Or paths, which are read in the given order; the last one is followed until it is removed.
    **options
        Those of `SeveralOptions`.

    Raises
    ------
    ValueError
        `files` is empty or has file objects, the pattern has wildcards for folders, or an option is out of
        range.
    OSError
        The folder, or a file of the list, does not exist. Also from calls that read: a file cannot be opened
        or read.
    FileFormatError, FilterError, ImportError
        From calls that read, as for `PcapSource`.

    Examples
    --------
    >>> with RotatedSource("/var/log/capture-*.pcap") as source:
    ...     for batch in source.batches():
    ...         print(len(batch), batch.comments)
    """

    def __init__(self, files, **options: Unpack[SeveralOptions]):
        self._set_up(parse(SeveralOptions, options))
        try:
            self._open(files)
        finally:
            self._leave()

    cdef int _open(self, object files) except -1:
        self._max_len = self._options["snaplen"] or MAX_CAPLEN
        cdef Rotation rotation = Rotation()
        rotation.queue, rotation.seen, rotation.done = [], {}, deque(maxlen=REMEMBERED)
        if isinstance(files, (str, bytes, os.PathLike)):
            rotation.pattern = os.fsdecode(files)
            folder = os.path.dirname(rotation.pattern)
            if os.path.isdir(rotation.pattern):
                folder, rotation.pattern = rotation.pattern, os.path.join(glob.escape(rotation.pattern), "*")
            elif glob.has_magic(folder):
                raise ValueError(f"{rotation.pattern!r}: files of one folder can be followed, not of several")
            rotation.watch.add_folder(folder or ".")
        else:
            rotation.queue = [(_path_of(file), None) for file in list_some_files(files)]
        self._rotation = rotation
        return 0

    cdef Rows _fill(self, int64_t deadline):
        cdef Rows rows
        if self._rotation is None:
            return None
        while self._part is not None or self._next_file(deadline):
            try:
                if self._part.reader is None and not self._open_next(deadline):
                    continue
                rows = self._read_on(deadline)
                if rows is not None:
                    return rows
            except (TimeoutError, BlockingIOError):
                raise
            except (FileFormatError, FilterError, OSError, ImportError) as error:
                self._end_file()
                # After stop() a truncated file only has no header yet.
                ended = isinstance(error, TruncatedFileError) and load_bits(self._signal) & SIGNAL_END
                if not ended and not self._errors.skip(error):
                    raise
                continue
            self._end_file()
        return None

    cdef bint _next_file(self, int64_t deadline) except -1:
        """Wait for the next file; return False if there will be none."""
        cdef bint stopped
        while True:
            stopped = load_bits(self._signal) & SIGNAL_END
            self._rotation.watch.changed |= stopped  # there may be changes that inotify has not reported yet
            self._rotation.look()
            self._rotation.complete |= stopped
            if self._rotation.queue:
                break
            if stopped or self._rotation.pattern is None:
                return False
            self._rotation.watch.wait(self._event, deadline)
        self._part = new_part(self._rotation.take(), self._done)
        return True

    cdef bint _open_next(self, int64_t deadline) except -1:
        """Open the file; return False if it was renamed.

        Then there is no current file, and it is the next in the queue under its new name.
        """
        cdef Part part = self._part
        try:
            self._open_part(part, self._options, deadline, self._rotation)
            if self._rotation.is_there(part.reader.file.fileno()):
                return True
        except FileNotFoundError:
            pass
        self._close_part(part)
        if not self._rotation.queue_again(part.file):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), part.file)
        self._part = None
        return False

    cdef Rows _read_on(self, int64_t deadline):
        """Return the next packets of the file; None at its end."""
        cdef Part part = self._part
        return self._take_run(part, part.head.end) if self._read_part(part, deadline) else None

    cdef int _end_file(self) except -1:
        cdef Part part = self._part
        self._part = None
        self._done += 1
        self._rotation.note_done(-1 if part.reader is None else part.reader.file.fileno())
        return self._finish(part)

    def __repr__(self):
        state = "closed" if self.closed else f"{self.total_stats.packets_received:,} packets read"
        return f"<RotatedSource: file {self._done + (self._part is not None)}, {state}>"


def _path_of(file):
    """Return the path of a file; raise OSError if it does not exist."""
    if not isinstance(file, (str, bytes, os.PathLike)):
        raise ValueError("a file object cannot be followed, because it does not report new data: give a path")
    os.stat(file)
    return os.fsdecode(file)


def _regular_files(pattern):
    """Yield (path, mark) for each regular file that matches the pattern."""
    for path in glob.glob(pattern):
        try:
            status = os.stat(path)
        except OSError:
            continue  # removed in the meantime
        if stat.S_ISREG(status.st_mode):
            yield path, _mark_of(status)


def _mark_of(status):
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _natural_order(path):
    """Return a sort key by which cap2 comes before cap10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path)]
