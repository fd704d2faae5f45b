"""Errors of single files: raised, or a reason to skip the file."""

from __future__ import annotations

import errno
import sys
import warnings
from collections import deque
from typing import Final

from slimcap.errors import FileFormatError

_MAX_ERRORS: Final = 65_535
_OUT_OF_MEANS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors that are not the fault of the file that met them."""


class FileErrors:
    """Errors of the files of a source that were skipped, by the option `on_error`.

    Parameters
    ----------
    on_error : {"raise", "skip", "warn"}
        What to do about an error.
    """

    def __init__(self, on_error: str) -> None:
        self._on_error = on_error
        self._skipped: deque[Exception] = deque(maxlen=_MAX_ERRORS)

    def skip(self, error: Exception) -> bool:
        """Note an error for which its file is skipped; return False if it must be raised.

        That is so for errors that are not due to the file: a timeout, too many open files, an unsuitable
        filter, a missing package.
        """
        if self._on_error == "raise" or not isinstance(error, (FileFormatError, OSError)):
            return False
        if isinstance(error, (TimeoutError, BlockingIOError)):
            return False
        if isinstance(error, OSError) and error.errno in _OUT_OF_MEANS:
            return False
        # Without the frames, whose variables would stay alive.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        self._skipped.append(error)
        if self._on_error == "warn":
            message = f"the rest of a file is skipped: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=_frames_of_slimcap() + 1)
        return True

    @property
    def skipped(self) -> tuple[Exception, ...]:
        """The errors of the files that were skipped, in order; at most the last 65,535."""
        return tuple(self._skipped)


def _frames_of_slimcap() -> int:
    """Return the number of frames of this package that the caller's caller has called."""
    frame, count = sys._getframe(1), 0
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("slimcap."):
        frame, count = frame.f_back, count + 1
    return count
