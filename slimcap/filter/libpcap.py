"""Compile tcpdump filter expressions with libpcap, which is loaded on first use."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from slimcap.errors import FilterError, in_range, wrong_type
from slimcap.filter.alternatives import match_any, split_alternatives
from slimcap.filter.helper_thread import run_in_thread
from slimcap.filter.program import MAX_SNAPLEN, Program, check_snaplen, zero_scratch
from slimcap.packet.enums import LinkType

_LIBRARIES: Final = ("libpcap.so.0.8", "libpcap.so.1")  # Debian's name, and that of other distributions
_ERRBUF_SIZE: Final = 256
_FILE_MAGIC: Final = 0xA1B2C3D4
MAX_LINK_TYPE: Final = 0xFFFF

# libpcap's DLT_ numbers equal the LINKTYPE_ numbers, with few exceptions (pcap-common.c). An interface can
# have the first of these two; the second is OpenBSD's and known only there. Both are DLT_RAW.
_DLT_RAW: Final = 12
_DLT_OF_LINKTYPE: Final[dict[int, int]] = {LinkType.RAW: _DLT_RAW, LinkType.RAW_OPENBSD: _DLT_RAW}

# Up to version 1.7, libpcap's pcap_compile() kept its state in global variables.
_REENTRANT: Final = (1, 8)
_lock: Final = threading.Lock()

_VLAN: Final = re.compile(r"\bvlan\b")
REJECTS_ALL: Final = "expression rejects all packets"
# Reasons that do not depend on the link type. A lookup may succeed the next time.
_SAME_EVERYWHERE: Final = ("syntax error", "unknown host", "unknown network", "out of memory")
_SHOWN: Final = 200  # characters of an expression in an error message


class LinkTypeRefused(FilterError):
    """An expression cannot be compiled for a link type, but perhaps for another.

    Parameters
    ----------
    message : str
        The message.
    reason : str
        The reason in libpcap's words.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[LinkTypeRefused], tuple[str, str]]:
        return type(self), (str(self), self.reason)


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
        ("pcap_lib_version", text, ()),
        ("pcap_lookupnet", ctypes.c_int, (text, *(ctypes.POINTER(ctypes.c_uint32),) * 2, text)),
        ("pcap_open_dead", handle, (ctypes.c_int, ctypes.c_int)),
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


def library_version() -> str:
    """Return the name and version of libpcap; raise FilterError if there is no libpcap."""
    version: bytes = _libpcap().pcap_lib_version()
    return version.decode(errors="replace")


@functools.cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.fmemopen.restype = ctypes.c_void_p
    library.fmemopen.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    library.fclose.argtypes = (ctypes.c_void_p,)
    library.if_nametoindex.argtypes = (ctypes.c_char_p,)
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

    Host names in the expression are resolved, which may block, and libpcap takes long for some expressions:
    20 s for 500 hosts in parentheses. Other threads run meanwhile, and may compile, too. Ctrl-C interrupts at
    once.

    Parameters
    ----------
    expression : str
        A filter expression; an empty one matches every packet.
    link_type : int
        LINKTYPE_ number of the packets.
    snaplen : int, default 262144
        Maximum number of bytes to capture of a packet, 1 to 262144; the program returns it for a match.
    live_interface : str, optional
        Name of the interface to compile for, for a live capture. An expression with `vlan` requires the same
        privileges as the capture, and that the interface, or else `lo`, is up. `ip broadcast` is compiled for
        the netmask of its first IPv4 address. Default: compile for a file, where `ip broadcast` matches only
        255.255.255.255 and 0.0.0.0, as in tcpdump.
    swapped : bool, default False
        Compile for a file written on a machine of the other byte order: BSD loopback packets (LINKTYPE_NULL)
        have their address family in that order.

    Returns
    -------
    Program
        A program to run with `Machine`, or, if it is for a live capture, to attach to a socket. The kernel
        refuses programs of more than 4096 instructions.

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
    link_type = in_range("link_type", link_type, 0, MAX_LINK_TYPE)
    for name, value in (("expression", expression), ("live_interface", live_interface or "")):
        if not isinstance(value, str):
            raise wrong_type(name, "a str", value)
    if "\0" in expression:
        raise FilterError(f"filter {shown(expression)} contains a NUL character: remove it")
    library = _libpcap()
    netmask = 0
    opened: AbstractContextManager[int]
    if live_interface is None:
        opened = _open_file(library, expression, link_type, snaplen, swapped)
    else:
        netmask = _netmask(library, expression, live_interface)
        opened = _open_live(library, expression, link_type, snaplen, live_interface)

    def compile_all() -> Program:
        with nullcontext() if _is_reentrant(library) else _lock, opened as handle:
            return _compile_parts(library, handle, expression, netmask)

    return zero_scratch(_interruptible(compile_all))


def shown(expression: str) -> str:
    """Return an expression for an error message, quoted, and shortened if it is long."""
    return repr(expression if len(expression) <= _SHOWN else expression[:_SHOWN] + "…")


def _interruptible(call: Callable[[], Program]) -> Program:
    """Return the result of a call that may block in C, in the main thread so that Ctrl-C interrupts it."""
    if threading.current_thread() is not threading.main_thread():
        return call()
    return run_in_thread(call, "slimcap-compile")


@functools.cache
def _is_reentrant(library: ctypes.CDLL) -> bool:
    found = re.match(rb"libpcap version (\d+)\.(\d+)", library.pcap_lib_version())
    return found is not None and (int(found[1]), int(found[2])) >= _REENTRANT


def _compile_parts(library: ctypes.CDLL, handle: int, expression: str, netmask: int) -> Program:
    """Compile an expression, a long list of alternatives in parts."""
    programs: list[Program] = []
    refused: list[LinkTypeRefused] = []
    for part in split_alternatives(expression):
        try:
            programs.append(_compile(library, handle, part, netmask))
        except LinkTypeRefused as error:
            if error.reason != REJECTS_ALL:
                raise
            refused.append(error)
    if not programs:
        raise refused[0]
    return match_any(programs)


def _compile(library: ctypes.CDLL, handle: int, expression: str, netmask: int) -> Program:
    program = _Program()
    text = expression.encode(errors="backslashreplace")
    if library.pcap_compile(handle, ctypes.byref(program), text, 1, netmask) != 0:
        raise _filter_error(expression, library.pcap_geterr(handle))
    try:
        size = program.length * ctypes.sizeof(_Instruction)
        return tuple(struct.iter_unpack("=HBBI", ctypes.string_at(program.instructions, size)))
    finally:
        library.pcap_freecode(ctypes.byref(program))


def _netmask(library: ctypes.CDLL, expression: str, interface: str) -> int:
    """Return the netmask of an interface, 0 if it has no IPv4 address.

    pcap_lookupnet() returns it in network byte order, and pcap_compile() expects it in host byte order.
    """
    name = os.fsencode(interface)
    if not _libc().if_nametoindex(name):
        raise FilterError(
            f"filter {shown(expression)}: cannot compile for {interface}: there is no such interface"
        )
    network, netmask = ctypes.c_uint32(), ctypes.c_uint32()
    error = ctypes.create_string_buffer(_ERRBUF_SIZE)
    found = library.pcap_lookupnet(name, ctypes.byref(network), ctypes.byref(netmask), error)
    return socket.ntohl(netmask.value) if found == 0 else 0


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


def _open_live(
    library: ctypes.CDLL, expression: str, link_type: int, snaplen: int, interface: str
) -> AbstractContextManager[int]:
    """Open a libpcap handle to compile for a live capture.

    Only for `vlan` on Ethernet, libpcap looks at the interface: on a handle that captures it generates loads
    of the tag that the kernel removed (gen_vlan). For all other expressions any interface gives the same
    program, so none is opened: it may be down, or one on which libpcap captures another link type than we.
    """
    if link_type == LinkType.ETHERNET and _VLAN.search(expression):
        return _open_interface(library, expression, link_type, snaplen, interface)
    return _open_dead(library, expression, link_type, snaplen)


@contextmanager
def _open_dead(library: ctypes.CDLL, expression: str, link_type: int, snaplen: int) -> Iterator[int]:
    """Open a libpcap handle without file and interface."""
    handle = library.pcap_open_dead(_DLT_OF_LINKTYPE.get(link_type, link_type), snaplen)
    if not handle:
        raise _filter_error(expression, b"out of memory")
    try:
        yield handle
    finally:
        library.pcap_close(handle)


@contextmanager
def _open_interface(
    library: ctypes.CDLL, expression: str, link_type: int, snaplen: int, interface: str
) -> Iterator[int]:
    """Open a libpcap handle of an Ethernet interface, or else of `lo`; the capture is never started."""
    reasons: list[str] = []
    for name in dict.fromkeys((interface, "lo")):
        handle = library.pcap_create(os.fsencode(name), ctypes.create_string_buffer(_ERRBUF_SIZE))
        if not handle:
            raise _filter_error(expression, b"out of memory")
        try:
            reason = _activate(library, handle, link_type, snaplen)
            if not reason:
                yield handle
                return
        finally:
            library.pcap_close(handle)
        reasons.append(f"cannot open {name}: {reason}")
    raise FilterError(
        f"filter {shown(expression)}: {', '.join(reasons)}; `vlan` requires one of them to be up when the "
        "capture starts"
    )


def _activate(library: ctypes.CDLL, handle: int, link_type: int, snaplen: int) -> str:
    """Activate a handle; return the reason if that fails, or if it has another link type."""
    library.pcap_set_snaplen(handle, snaplen)
    status = library.pcap_activate(handle)
    if status < 0:  # positive values are warnings
        # The second text may be empty or equal to the first.
        reasons = dict.fromkeys((library.pcap_statustostr(status), library.pcap_geterr(handle)))
        return ": ".join(reason.decode(errors="replace") for reason in reasons if reason)
    found = library.pcap_datalink(handle)
    return "" if found == link_type else f"libpcap reports link type {found}"


def _filter_error(expression: str, reason: bytes) -> FilterError:
    text = reason.decode(errors="replace")
    message = f"filter {shown(expression)}: {text}"
    if any(one in text for one in _SAME_EVERYWHERE):
        return FilterError(message)
    return LinkTypeRefused(message, text)
