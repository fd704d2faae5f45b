"""What several test modules import: a file that trickles, calls in other processes, how to run peers."""

from __future__ import annotations

import io
import os
import warnings


def peer_environment():
    """The environment for other programs: some hang when libasan is preloaded."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


class Trickle(io.RawIOBase):
    """An unbuffered file that gives at most `step` bytes at a time."""

    def __init__(self, data, step):
        self._file, self._step = io.BytesIO(data), step

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._file.readinto(memoryview(buffer)[: self._step])


def in_child(call):
    """Run in a forked process; what it returned."""
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: threads of tests before may live
        pid = os.fork()
    if pid == 0:
        try:
            os.write(write_end, str(call()).encode())
        except BaseException as error:
            os.write(write_end, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return said
