"""Compile tcpdump filter expressions with libpcap, which is loaded on first use."""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from slimcap.errors import FilterError, in_range, wrong_type
from slimcap.filter.program import MAX_SNAPLEN, Program, check_snaplen
from slimcap.packet.enums import LinkType

_LIBRARIES: Final = ("libpcap.so.0.8", "libpcap.so.1")  # Debian's name, and that of other distributions
_NETMASK_UNKNOWN: Final = 0xFFFFFFFF
_ERRBUF_SIZE: Final = 256
_FILE_MAGIC: Final = 0xA1B2C3D4
_MAX_LINK_TYPE: Final = 0xFFFF

# libpcap's DLT_ numbers equal the LINKTYPE_ numbers, with few exceptions (pcap-common.c). An interface can
# have the first of these two; the second is OpenBSD's and known only there. Both are DLT_RAW.
_DLT_RAW: Final = 12
_DLT_OF_LINKTYPE: Final[dict[int, int]] = {LinkType.RAW: _DLT_RAW, LinkType.RAW_OPENBSD: _DLT_RAW}

# Up to version 1.7, libpcap's pcap_compile() kept its state in global variables.
_lock: Final = threading.Lock()


class _Instruction(ctypes.Structure):
    """struct bpf_insn (pcap/bpf.h)."""

    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    """struct bpf_program (pcap/bpf.h)."""

    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Instruction)))


@functools.cache
def _libpcap() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        break
    else:
        raise FilterError(
            f"filter expressions require libpcap ({' or '.join(_LIBRARIES)}): `apt install libpcap0.8`, "
            "or give the filter as BPF instructions"
        )
    handle, text, program = ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(_Program)
    for function, result, arguments in (
        ("pcap_fopen_offline", handle, (handle, text)),
        ("pcap_create", handle, (text, text)),
        ("pcap_set_snaplen", ctypes.c_int, (handle, ctypes.c_int)),
        ("pcap_activate", ctypes.c_int, (handle,)),
        ("pcap_datalink", ctypes.c_int, (handle,)),
        ("pcap_compile", ctypes.c_int, (handle, program, text, ctypes.c_int, ctypes.c_uint32)),
        ("pcap_freecode", None, (program,)),
        ("pcap_geterr", text, (handle,)),
        ("pcap_statustostr", text, (ctypes.c_int,)),
        ("pcap_close", None, (handle,)),
    ):
        entry = getattr(library, function)
        entry.restype = result
        entry.argtypes = arguments
    return library


@functools.cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.fmemopen.restype = ctypes.c_void_p
    library.fmemopen.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    library.fclose.argtypes = (ctypes.c_void_p,)
    return library


def compile_expression(
    expression: str,
    link_type: int,
    *,
    snaplen: int = MAX_SNAPLEN,
    live_interface: str | None = None,
    swapped: bool = False,
) -> Program:
    """Compile a tcpdump filter expression (pcap-filter(7)) to a classic BPF program.

    Filters for files and for live captures are different programs: the kernel removes the outermost VLAN tag
    from the packet, so `vlan` has to ask the kernel for it. libpcap compiles such a program only for an
    interface that it has opened.

    Host names in the expression are resolved, which may block.

    Parameters
    ----------
    expression : str
        A filter expression; an empty one matches every packet.
    link_type : int
        LINKTYPE_ number of the packets.
    snaplen : int, default 262144
        Maximum number of bytes to capture of a packet, 1 to 262144; the program returns it for a match.
    live_interface : str, optional
        Name of the interface to compile for, for a live capture. This requires the same privileges as the
        capture. Default: compile for a file.
    swapped : bool, default False
        Compile for a file written on a machine of the other byte order: BSD loopback packets (LINKTYPE_NULL)
        have their address family in that order.

    Returns
    -------
    Program
        A program to attach to a socket, or to run with `Machine`.

    Raises
    ------
    FilterError
        libpcap is not installed or cannot open the interface, the expression is not valid, or `snaplen` is
        out of range.

    Examples
    --------
    >>> slimcap.filter.compile_expression("", 1, snaplen=64)
    ((6, 0, 0, 64),)
    """
    check_snaplen(snaplen)
    link_type = in_range("link_type", link_type, 0, _MAX_LINK_TYPE)
    for name, value in (("expression", expression), ("live_interface", live_interface or "")):
        if not isinstance(value, str):
            raise wrong_type(name, "a str", value)
    if "\0" in expression:
        raise FilterError(f"filter {expression!r} contains a NUL character: remove it")
    library = _libpcap()
    if live_interface is None:
        opened = _open_file(library, expression, link_type, snaplen, swapped)
    else:
        opened = _open_interface(library, expression, link_type, snaplen, live_interface)
    with _lock, opened as handle:
        program = _Program()
        text = expression.encode(errors="backslashreplace")
        if library.pcap_compile(handle, ctypes.byref(program), text, 1, _NETMASK_UNKNOWN) != 0:
            raise _filter_error(expression, library.pcap_geterr(handle))
        try:
            instructions = program.instructions[: program.length]
            return tuple((ins.code, ins.jt, ins.jf, ins.k) for ins in instructions)
        finally:
            library.pcap_freecode(ctypes.byref(program))


@contextmanager
def _open_file(
    library: ctypes.CDLL, expression: str, link_type: int, snaplen: int, swapped: bool
) -> Iterator[int]:
    """Open a libpcap handle of a file without packets, to compile on.

    On such a handle libpcap rejects expressions that require a live capture, such as `inbound`. On one from
    pcap_open_dead() it compiles them to a program that matches nothing.
    """
    order = "><"[(sys.byteorder == "little") != swapped]
    link_type = _DLT_OF_LINKTYPE.get(link_type, link_type)
    header = struct.pack(f"{order}IHHiIII", _FILE_MAGIC, 2, 4, 0, 0, snaplen, link_type)
    memory = ctypes.create_string_buffer(header, len(header))
    file = _libc().fmemopen(memory, len(header), b"rb")
    if not file:
        raise _filter_error(expression, b"out of memory")
    error = ctypes.create_string_buffer(_ERRBUF_SIZE)
    handle = library.pcap_fopen_offline(file, error)
    if not handle:
        _libc().fclose(file)
        raise _filter_error(expression, error.value)
    try:
        yield handle
    finally:
        library.pcap_close(handle)  # closes the file, too, which reads from `memory` until then


@contextmanager
def _open_interface(
    library: ctypes.CDLL, expression: str, link_type: int, snaplen: int, interface: str
) -> Iterator[int]:
    """Open a libpcap handle of a live capture, to compile on; the capture is never started."""
    error = ctypes.create_string_buffer(_ERRBUF_SIZE)
    handle = library.pcap_create(interface.encode(errors="surrogateescape"), error)
    if not handle:
        raise _filter_error(expression, error.value)
    try:
        _activate(library, handle, expression, snaplen, interface)
        wanted = _DLT_OF_LINKTYPE.get(link_type, link_type)
        found = library.pcap_datalink(handle)
        if found != wanted:
            reason = f"libpcap reports link type {found} on {interface}, not {wanted}"
            raise _filter_error(expression, reason.encode())
        yield handle
    finally:
        library.pcap_close(handle)


def _activate(library: ctypes.CDLL, handle: int, expression: str, snaplen: int, interface: str) -> None:
    library.pcap_set_snaplen(handle, snaplen)
    status = library.pcap_activate(handle)
    if status < 0:  # positive values are warnings
        # The second text may be empty or equal to the first.
        reasons = dict.fromkeys((library.pcap_statustostr(status), library.pcap_geterr(handle)))
        text = ": ".join(reason.decode(errors="replace") for reason in reasons if reason)
        raise _filter_error(expression, f"cannot open {interface}: {text}".encode())


def _filter_error(expression: str, reason: bytes) -> FilterError:
    return FilterError(f"filter {expression!r}: {reason.decode(errors='replace')}")
