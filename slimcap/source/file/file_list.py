"""Lists of files: those of a pattern, a folder or a sequence."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeGuard


def is_path(file: object) -> TypeGuard[str | bytes | os.PathLike[Any]]:
    """Return True for a path."""
    return isinstance(file, (str, bytes, os.PathLike))


def is_one_file(files: object) -> bool:
    """Return True for a path or a file object; False for a sequence, a folder, or a pattern."""
    if is_path(files):
        path = os.fsdecode(files)
        is_pattern = glob.has_magic(path) and "\0" not in path  # with NULs it is the content of a file
        return not os.path.isdir(path) and (os.path.exists(path) or not is_pattern)
    if hasattr(files, "read") or hasattr(files, "readinto"):
        return True
    return not isinstance(files, Iterable) or isinstance(files, (bytearray, memoryview))


def list_files(files: Any) -> list[Any]:
    """Return the files of a pattern or a folder, sorted by name, or those of a sequence.

    A sequence may have patterns and folders, too. A folder stands for the regular files in it whose names do
    not start with a dot.

    Raises
    ------
    FileNotFoundError
        No file matches the pattern, or is in the folder.
    TypeError
        `files` is a file object.
    """
    if is_path(files):
        return _matching(os.fsdecode(files))
    if hasattr(files, "read"):
        raise TypeError("a pattern or a sequence of files is needed, not a file: put it into a list")
    return [one for file in files for one in ([file] if is_one_file(file) else _matching(os.fsdecode(file)))]


def list_some_files(files: Any) -> list[Any]:
    """Return the files as `list_files` does; raise ValueError if the sequence is empty."""
    found = list_files(files)
    if not found:
        raise ValueError("no files: give at least one")
    return found


def _matching(pattern: str) -> list[str]:
    if os.path.isdir(pattern):
        return _files_in(pattern)
    if pattern == "-" or os.path.exists(pattern):
        return [pattern]
    found = sorted(path for path in _glob(pattern) if not os.path.isdir(path))
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no file matches", pattern)
    return found


def _glob(pattern: str) -> Iterable[str]:
    """Return the paths of a pattern. ``**`` does not enter links to folders, which may lead back."""
    if "**" not in pattern.split("/"):
        return glob.glob(pattern)
    root = "/" if pattern.startswith("/") else "."
    everything = pattern + "/*" if pattern.endswith("**") else pattern  # not the folders alone
    found = (os.fspath(path) for path in Path(root).glob(everything.lstrip("/")))
    is_hidden = "/." in pattern or pattern.startswith(".")
    return [path for path in found if is_hidden or "/." not in f"/{path}"]


def _files_in(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        found = sorted(entry.path for entry in entries if not entry.name.startswith(".") and entry.is_file())
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no files in the folder", folder)
    return found
