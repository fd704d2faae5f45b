"""`FileJournal`: the files that the recordings of one template made, also those of earlier runs.

The journal is a hidden file in the folder of the recording, `.slimcap-recording-` and a hash of the template.
Each of its lines is a JSON object; those of a crash that is in the middle of one are skipped:

    {"template": "cap-{index}.pcap"}
    {"name": "cap-0.pcap", "inode": 1234, "number": 0}       a file was opened
    {"removed": "cap-0.pcap"}                               and removed, or is not ours any more

A file is one of the recording if its name and its inode are in the journal: a temporary file keeps its inode
when it is renamed, and another file of that name has a different one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

_PREFIX: Final = ".slimcap-recording-"
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class RecordedFile(NamedTuple):
    """A file of a recording: its path, its inode, and its number: the {index}."""

    path: str
    inode: int
    number: int


class FileJournal:
    """The files of a recording, the oldest first. It is locked while it is open.

    Parameters
    ----------
    template : str
        Template of the paths.

    Raises
    ------
    BlockingIOError
        Another process records with this template.
    OSError
        The journal cannot be read or written.
    """

    def __init__(self, template: str) -> None:
        folder, self._rest = _split(template)
        self._folder = os.path.realpath(folder)
        name = _PREFIX + hashlib.sha256(self._rest.encode(errors="surrogateescape")).hexdigest()[:16]
        self.path: Final = os.path.join(self._folder, name)
        self._files: dict[str, RecordedFile] = {}
        self._fd = _locked(self.path)
        try:
            self._read()
            self._rewrite()
        except BaseException:
            self.close()
            raise

    @property
    def files(self) -> tuple[RecordedFile, ...]:
        """All files of the recording, the oldest first."""
        return tuple(sorted(self._files.values(), key=_number_of))

    @property
    def next_number(self) -> int:
        """The number after the last one."""
        return 1 + max((file.number for file in self._files.values()), default=-1)

    def add(self, path: str, partial: str, number: int) -> None:
        """Add a file that is written to the path `partial`, and will be renamed to `path`."""
        path = self._absolute(path)
        self._files.pop(path, None)
        self._files[path] = RecordedFile(path, os.lstat(partial).st_ino, number)
        self._append(self._line(self._files[path]))

    def forget(self, file: RecordedFile) -> None:
        """Remove a file from the journal."""
        if self._files.pop(file.path, None) is not None:
            self._append({"removed": self._name(file.path)})

    def close(self) -> None:
        """Close and unlock the journal. A second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _absolute(self, path: str) -> str:
        folder, name = os.path.split(path)
        return os.path.join(os.path.realpath(folder), name)

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self._folder)

    def _line(self, file: RecordedFile) -> dict[str, Any]:
        return {"name": self._name(file.path), "inode": file.inode, "number": file.number}

    def _append(self, line: dict[str, Any]) -> None:
        data = _encoded(line)
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from None
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)

    def _read(self) -> None:
        for line in _lines(self._fd):
            removed = line.get("removed")
            if isinstance(removed, str):
                self._files.pop(os.path.join(self._folder, removed), None)
            elif (file := _file_of(self._folder, line)) is not None:
                self._files.pop(file.path, None)
                self._files[file.path] = file

    def _rewrite(self) -> None:
        """Replace the journal by one without the files that were removed, and lock that."""
        lines = [{"template": self._rest}, *map(self._line, self._files.values())]
        temporary = f"{self.path}.new"
        fd = os.open(temporary, _OPEN | os.O_TRUNC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.write(fd, b"".join(map(_encoded, lines)))
            os.fsync(fd)
            os.replace(temporary, self.path)
        except BaseException:
            os.close(fd)
            raise
        self.close()
        self._fd = fd


def is_there(file: RecordedFile) -> bool:
    """Return True if the file that was recorded has its final name."""
    with contextlib.suppress(OSError):
        found = os.lstat(file.path)
        return found.st_ino == file.inode and stat.S_ISREG(found.st_mode)
    return False


def partial_of(file: RecordedFile) -> str | None:
    """Return the path of the temporary file that was never renamed, or None."""
    folder, name = os.path.split(file.path)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            is_partial = entry.name.startswith(f".{name[:200]}") and entry.name.endswith(".part")
            if is_partial and entry.inode() == file.inode and entry.is_file(follow_symlinks=False):
                return entry.path
    return None


def _number_of(file: RecordedFile) -> int:
    return file.number


def _split(template: str) -> tuple[str, str]:
    """Split a template into its folder, which has no fields, and the rest."""
    head = template.partition("{")[0]
    folder = os.path.dirname(head)
    return folder, template[len(folder) :].lstrip("/")


def _locked(path: str) -> int:
    """Open and lock the journal."""
    while True:
        fd = os.open(path, _OPEN, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path) and os.stat(path).st_ino == os.fstat(fd).st_ino:
                return fd
        except BlockingIOError as error:
            os.close(fd)
            raise BlockingIOError(
                error.errno, "another process is recording with this template: use another one", path
            ) from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # it was replaced meanwhile


def _lines(fd: int) -> Iterator[dict[str, Any]]:
    with open(os.dup(fd), "rb") as file:
        file.seek(0)
        for line in file:
            with contextlib.suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict):
                    yield found


def _file_of(folder: str, line: dict[str, Any]) -> RecordedFile | None:
    """Return the file of a line; None if it is not valid, or is not in the folder of the recording."""
    name, inode, number = line.get("name"), line.get("inode"), line.get("number")
    if not isinstance(name, str) or type(inode) is not int or type(number) is not int:
        return None
    if os.path.isabs(name) or os.path.normpath(name).startswith(".."):
        return None
    return RecordedFile(os.path.join(folder, name), inode, number)


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"
