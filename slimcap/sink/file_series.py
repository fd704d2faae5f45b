"""`FileSeries`: the names of the files of a rotation, and which of them stay."""

from __future__ import annotations

import contextlib
import datetime
import errno
import itertools
import os
import string
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from slimcap.sink.open_writer import stem_and_endings

_SECOND: Final = 1_000_000_000


class FileSeries:
    """Names of a series of files, of which one is written at a time.

    Parameters
    ----------
    template : str
        Template of the paths, as for `str.format`. ``{index}`` is the number of the file, from 0; ``{time}``
        is its UTC time, a `datetime`. A template without fields gets ``-{index:05}`` before its suffixes.
    overwrite : bool, default False
        Replace files that exist, except those of this series.
    skip_existing : bool, default True
        Skip the numbers of files that exist, if the template has {index} and `overwrite` is False.
    number_existing : bool, default False
        Insert -1, -2, … before the suffixes of a name that exists, or was used, instead of raising.
    first_index : int, default 0
        Number of the first file.
    reserved : tuple of str, default ()
        Paths that no file gets, as if they existed.
    max_files : int, optional
        Maximum number of complete files to keep: the oldest is removed. Default: all.
    on_file : callable, optional
        Called with the path of each complete file. Default: no callback.

    Raises
    ------
    ValueError
        The template is not valid.

    Examples
    --------
    >>> from slimcap.sink.file_series import FileSeries
    >>> FileSeries("flows-{time:%Y%m%d}.parquet").next_path(1_709_251_200_000_000_000)
    'flows-20240301.parquet'
    """

    def __init__(
        self,
        template: str,
        *,
        overwrite: bool = False,
        skip_existing: bool = True,
        number_existing: bool = False,
        first_index: int = 0,
        reserved: tuple[str, ...] = (),
        max_files: int | None = None,
        on_file: Callable[[str], object] | None = None,
    ) -> None:
        self._template = _with_index(template)
        self._overwrite = overwrite
        numbered = self._named(0, 0) != self._named(1, 0)
        self._skip = skip_existing and numbered and not overwrite
        self._number_existing = number_existing and not overwrite
        self._max_files, self._on_file = max_files, on_file
        self._number = first_index  # of the next file
        self._files: deque[str] = deque()
        self._reserved = frozenset(map(os.path.realpath, reserved))
        self._left: set[str] = set()  # files that are not complete, although the next one may begin
        self._inputs: set[tuple[int, int]] = set()  # device and inode of files that must not be replaced

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the complete files that were kept, the oldest first; a tuple of str."""
        return tuple(self._files)

    @property
    def example(self) -> str:
        """A path that the template gives; str."""
        return self._named(0, 0)

    def protect(self, paths: Iterable[str]) -> None:
        """Do not replace files, since they are being read.

        Parameters
        ----------
        paths : iterable of str
            Paths, or "<stdin>"; those that do not exist are ignored.
        """
        for path in paths:
            with contextlib.suppress(OSError):
                self._inputs.add(_identity("/dev/stdin" if path == "<stdin>" else path))

    def next_path(self, time: int) -> str:
        """Return the path of the next file; the same until `complete` is called.

        Parameters
        ----------
        time : int
            Time of the file in nanoseconds since 1970.

        Returns
        -------
        str
            A path that may be written to.

        Raises
        ------
        FileExistsError
            The file exists already, and is neither skipped nor replaced.
        ValueError
            The file is being read.
        """
        path = self._named(self._number, time)
        while self._skip and self._exists(path):
            self._number += 1
            path = self._named(self._number, time)
        if self._number_existing:
            path = self._numbered(path)
        is_ours = self._is_ours(path)
        if is_ours or (self._exists(path) and not self._overwrite):
            advice = "use {index} in the template" + ("" if is_ours else ", or overwrite=True")
            raise FileExistsError(errno.EEXIST, f"{os.strerror(errno.EEXIST)}: {advice}", path)
        if self._inputs and os.path.exists(path) and _identity(path) in self._inputs:
            raise ValueError(f"{path} is being read: choose another template, so that it is not replaced")
        return path

    def _numbered(self, path: str) -> str:
        """Return a path that does not exist, and was not used: with -1, -2, … if needed."""
        stem, format, compression = stem_and_endings(path)
        for number in itertools.count(1):
            if not self._is_ours(path) and not self._exists(path):
                break
            path = f"{stem}-{number}{format}{compression}"
        return path

    def _exists(self, path: str) -> bool:
        return os.path.lexists(path) or (bool(self._reserved) and os.path.realpath(path) in self._reserved)

    def _is_ours(self, path: str) -> bool:
        return path in self._files or path in self._left

    def leave(self, path: str) -> None:
        """Note that the next file may begin, although this one is not complete.

        Parameters
        ----------
        path : str
            The path that `next_path` returned last.
        """
        self._number += 1
        self._left.add(path)

    def complete(self, path: str) -> None:
        """Note that a file is complete, and remove the oldest one if there are too many.

        Parameters
        ----------
        path : str
            The path that `next_path` returned last, or one that was given to `leave`.

        Raises
        ------
        OSError
            The oldest file cannot be removed.
        """
        if path in self._left:
            self._left.discard(path)
        else:
            self._number += 1
        self._files.append(path)
        while self._max_files is not None and len(self._files) > self._max_files:
            oldest = self._files.popleft()
            with contextlib.suppress(FileNotFoundError):  # it may have been moved away
                os.unlink(oldest)
        if self._on_file is not None:
            self._on_file(path)

    def _named(self, index: int, time: int) -> str:
        """Return the path of a file for its number and its time."""
        return _formatted(self._template, index, time)


def _identity(path: str) -> tuple[int, int]:
    """Return device and inode of a file."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _with_index(template: str) -> str:
    """Return the template, with an index before its suffixes if it has no fields.

    Raises
    ------
    ValueError
        It has other fields than index and time, or is not a valid template.
    """
    try:
        if all(name is None for _, name, _, _ in string.Formatter().parse(template)):
            stem, format, compression = stem_and_endings(template)
            template = f"{stem}-{{index:05}}{format}{compression}"
        _formatted(template, 0, 0)
    except (ValueError, LookupError, AttributeError) as error:
        raise ValueError(
            f"{template!r} is not a valid template: {error}; the fields are {{index}} and {{time}}"
        ) from None
    return template


def _formatted(template: str, index: int, time: int) -> str:
    """Return the path of a file for its number and its time in nanoseconds."""
    moment = datetime.datetime.fromtimestamp(time // _SECOND, datetime.UTC)
    return template.format(index=index, time=moment.replace(microsecond=time % _SECOND // 1000))
