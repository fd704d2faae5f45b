"""Call everything that objects have whose `__init__` never ran. Run as a program: it may crash.

Each class is tried in a forked process, which writes the name of each call to shared memory before the call.
One line per class is printed: its name and how many calls were made, or the call that crashed, hung, or had
an exception that could only be printed.
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import inspect
import io
import mmap
import os
import pkgutil
import resource
import signal
import struct
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

import slimcap
import slimcap.mock
from slimcap.capfile.pcap_decoder import PcapDecoder
from slimcap.mock import build_packet
from slimcap.packet.record import RECORD_DTYPE

SECONDS = 60  # of processor time and in all, for the calls of one class
MEMORY = 4 << 30
PYTHONS_OWN = (BaseException, enum.Enum, tuple, io.IOBase)  # an io.FileIO closes any descriptor
LEFT_OUT = {"__class__", "__new__", "__init__", "__init_subclass__", "__subclasshook__", "__getattribute__"}


def classes() -> Iterator[type]:
    """Yield all classes of the package, public and internal, except those derived from `PYTHONS_OWN`."""
    found: dict[type, None] = {}
    for module in pkgutil.walk_packages(slimcap.__path__, "slimcap."):
        if module.name.rpartition(".")[2] in ("__main__", "translate"):
            continue
        names = vars(importlib.import_module(module.name)).values()
        found.update({one: None for one in names if isinstance(one, type)})
    for one in found:
        if one.__module__.startswith("slimcap.") and not issubclass(one, PYTHONS_OWN):
            yield one


def arguments() -> list[tuple[Any, ...]]:
    rows = np.zeros(4, RECORD_DTYPE)
    packet = build_packet("192.0.2.1", "192.0.2.2", 1234, 53)
    link = slimcap.Link("eth0", 1, 1)
    batch = slimcap.Batch(rows, b"", [link])
    data, header = bytes(256), struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return [
        (), (None,), (0,), (1 << 20,), ("a",), (data,), (bytearray(256),), (rows,), (packet,), (batch,),
        (io.BytesIO(data),), (lambda *_: None,), ([],), ({},), (slice(None),), (1.5,),
        (0, 1 << 20), (data, rows), (data, rows, 0), (rows, data), (b"", rows[:0]), (bytearray(256), 64),
        (0, 256, "a"), ("a", "b"), (None, None, None), (packet, packet), ([batch], None),
        (1, 1 << 20), (24, 64 << 20), (2**64 - 8, 2**64 - 1), (link,), ([(6, 0, 0, 1)],), (4, 1, 64, True),
        (-1, 1 << 30, "a", PcapDecoder.__new__(PcapDecoder)), (-1, 1 << 30, "a", PcapDecoder(header)),
    ]  # fmt: skip


def made(kind: type) -> Iterator[Any]:
    """Yield objects of a class that were only allocated, with all arguments that are accepted for that."""
    for given in arguments():
        with contextlib.suppress(Exception, SystemExit):
            yield kind.__new__(kind, *given)


def call_all(kind: type, note: Any) -> int:
    """Call each method, property and operator of a class; return the number of calls."""
    calls = 0
    for index, one in enumerate(made(kind)):
        for name in sorted(set(dir(kind)) - LEFT_OUT):
            note(f"{kind.__module__}.{kind.__qualname__}.{name}")
            calls += 1
            with contextlib.suppress(Exception, SystemExit):
                attribute = getattr(one, name)
                if callable(attribute):
                    calls += _call(attribute)
            if callable(getattr(kind, name, None)):
                continue  # a method of a Python class, which `__del__` may need
            for value in (None, 0, "a"):
                with contextlib.suppress(Exception, SystemExit):
                    setattr(one, name, value)
        for operator in (memoryview, list, next, bytes, str, repr, len, hash, bool, iter, _enter):
            note(f"{operator.__name__}({kind.__module__}.{kind.__qualname__})")
            calls += 1
            with contextlib.suppress(Exception, SystemExit):
                operator(one)
        if index == 2:
            break
    for given in arguments():  # and `__init__`, once and again
        with contextlib.suppress(Exception, SystemExit):
            one = kind.__new__(kind)  # type: ignore[call-overload]
            for _ in range(3):
                note(f"{kind.__module__}.{kind.__qualname__}.__init__")
                calls += 1
                with contextlib.suppress(Exception, SystemExit):
                    one.__init__(*given)
    return calls


def _call(method: Any) -> int:
    calls = 0
    for given in arguments():
        with contextlib.suppress(Exception, SystemExit):
            result = method(*given)
            calls += 1
            if inspect.isgenerator(result):
                next(result, None)
            repr(result)
    return calls


def _enter(one: Any) -> None:
    with one:
        pass


def attempt(kind: type, shared: mmap.mmap) -> str:
    """Return "" if all calls of a class returned or raised, or how they ended."""

    def note(name: str) -> None:
        shared[:] = name.encode().ljust(len(shared), b"\0")

    if pid := os.fork():
        _, status = os.waitpid(pid, 0)
        if status == 0:
            return shared[:].rstrip(b"\0").decode()
        how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status >> 8}"
        return f"{how}: {shared[:].rstrip(chr(0).encode()).decode()}"
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ignored: list[Any] = []
    sys.unraisablehook = ignored.append
    try:
        os.dup2(os.open(__file__, os.O_RDONLY), 0)
        standard = [os.fstat(number) for number in range(3)]
        calls = call_all(kind, note)
        if ignored:
            raise ignored[0].exc_value
        note("closing a standard stream")
        assert all(map(os.path.samestat, standard, map(os.fstat, range(3))))
    except BaseException as error:
        print(f"{kind.__qualname__}: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)
    note(f"ok {calls}")
    os._exit(0)


def main() -> None:
    warnings.simplefilter("ignore")
    threading.excepthook = lambda _: None
    shared = mmap.mmap(-1, 256)
    only = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for kind in classes():
            if not only or kind.__qualname__ in only:
                print(f"{kind.__module__}.{kind.__qualname__} {attempt(kind, shared)}", flush=True)


if __name__ == "__main__":
    main()
