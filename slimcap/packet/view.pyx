"""`View` and `IPLayer`: lightweight read-only views of packet bytes that keep their memory alive."""
cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.number cimport PyNumber_AsSsize_t
from cpython.object cimport Py_EQ, Py_NE
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack
from cpython.unicode cimport PyUnicode_FromFormat

cimport slimcap.wire.ip as ip
cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
cimport slimcap.wire.transport as transport
from slimcap.abi.c_library cimport AF_INET, AF_INET6, INET6_ADDRSTRLEN, inet_ntop
from slimcap.packet.lease cimport Hold, export_bytes
from slimcap.wire.upper cimport UpperLayer


cdef View new_view(const uint8_t* p, Py_ssize_t n, object owner):
    """Make a view of `n` bytes at `p`, in memory that `owner` (such as a lease's hold) keeps alive."""
    cdef View view = View.__new__(View)
    view._ptr = p
    view._len = n
    view._owner = owner
    return view


cdef IPLayer new_ip_layer(const uint8_t* p, Py_ssize_t n, object owner):
    """Make an IPLayer of `n` bytes at `p`; see `new_view`."""
    cdef IPLayer view = IPLayer.__new__(IPLayer)
    view._ptr = p
    view._len = n
    view._owner = owner
    return view


@cython.no_gc  # no reference cycles: the owner is a hold, bytes or a packet, none of which refers to views
@cython.freelist(64)
cdef class View:
    """Read-only view of a packet's bytes, without a copy.

    It is a buffer that behaves like `bytes`: `len(view)`, `view[0]`, `view[2:4]`, `view == b"..."`,
    `bytes(view)`, `memoryview(view)`, `numpy.frombuffer(view, "u1")`. Slices are views, too, unless they have
    a step. A view keeps the memory that it shows alive; copy with `bytes(view)` what you want to keep. Views
    are made by sources, batches and packets.

    Examples
    --------
    >>> from slimcap.mock import build_packet
    >>> packet = build_packet("192.0.2.1", "192.0.2.2")
    >>> packet.payload[26:30].hex(".")
    'c0.00.02.01'
    """

    def __init__(self):
        raise TypeError(
            f"{type(self).__name__} cannot be instantiated: views are made by sources, batches and packets")

    def __len__(self):
        return self._len

    def __getitem__(self, key):
        cdef Py_ssize_t start, stop, step, index
        if not isinstance(key, slice):
            index = PyNumber_AsSsize_t(key, IndexError)
            if index < 0:
                index += self._len
            if not 0 <= index < self._len:
                raise IndexError(f"index {key} is out of range for a view of {self._len} bytes")
            return self._ptr[index]
        PySlice_Unpack(key, &start, &stop, &step)
        index = PySlice_AdjustIndices(self._len, &start, &stop, step)
        if step != 1:
            return bytes(self)[key]
        return new_view(self._ptr + start, index, self._owner)

    def __iter__(self):
        return iter(memoryview(self))

    def __bytes__(self):
        return PyBytes_FromStringAndSize(<const char*> self._ptr, self._len)

    def tobytes(self):
        """Return a copy of the bytes."""
        return PyBytes_FromStringAndSize(<const char*> self._ptr, self._len)

    def hex(self, sep=None, bytes_per_sep=1):
        """Return the bytes in hexadecimal, as `bytes.hex` does.

        Parameters
        ----------
        sep : str or bytes, optional
            Separator, one ASCII character; none by default.
        bytes_per_sep : int, default 1
            Number of bytes between separators, counted from the right; from the left if negative.

        Returns
        -------
        str
            Two digits per byte.
        """
        return bytes(self).hex() if sep is None else bytes(self).hex(sep, bytes_per_sep)

    def __richcmp__(self, other, int op):
        if op != Py_EQ and op != Py_NE:
            return NotImplemented
        if isinstance(other, bytes):
            return (bytes(self) == other) == (op == Py_EQ)
        try:
            other = memoryview(other)
        except (TypeError, ValueError, BufferError):
            return NotImplemented  # `other` is not a buffer
        return (memoryview(self) == other) == (op == Py_EQ)

    def __hash__(self):
        return hash(bytes(self))

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        # That of the hold, if there is one: see PEP 3118, "redirect".
        export_bytes(
            buffer, self._owner if type(self._owner) is Hold else self, self._ptr, self._len, True, flags)

    def __repr__(self):
        shown = bytes(self[:16]).hex(" ")
        more = " …" if self._len > 16 else ""
        return f"<{type(self).__name__}: {self._len} bytes: {shown}{more}>"

    def __reduce__(self):
        raise TypeError(
            f"{type(self).__name__} cannot be pickled, because it refers to memory of this process: "
            "pickle bytes(view)")


@cython.no_gc
cdef class IPLayer(View):
    """View of a packet's bytes from its IPv4 or IPv6 header on, with properties that read the headers.

    No property raises: a value that is not in the captured bytes is 0 or "". Its text is
    ``src:port => dst:port (proto: number)``, or "unknown IP layer type" and the version if the addresses are
    not in the bytes. Like any `View` it keeps the memory that it shows alive.

    Examples
    --------
    >>> from slimcap.mock import build_packet
    >>> build_packet("192.0.2.1", "192.0.2.2", 1234, 53).ip_layer.dst_port
    53
    """

    @property
    def type(self):
        """IP version, the header's first four bits: 4 or 6; 0 if there are no bytes."""
        return self._ptr[0] >> 4 if self._len else 0

    @property
    def protocol(self):
        """IANA number of the upper-layer protocol; 0 if it is not in the bytes.

        For IPv6, that of the protocol after the extension headers (RFC 8200 section 4), or of the first
        extension header that is truncated.
        """
        return _upper(self).protocol

    @property
    def src(self):
        """Source address as text; "" if the fixed IP header is truncated."""
        cdef char text[INET6_ADDRSTRLEN]
        _address(self, ipv4.SRC, ipv6.SRC, text)
        return text.decode("ascii")

    @property
    def dst(self):
        """Destination address as text; "" if the fixed IP header is truncated."""
        cdef char text[INET6_ADDRSTRLEN]
        _address(self, ipv4.DST, ipv6.DST, text)
        return text.decode("ascii")

    @property
    def src_port(self):
        """Source port (TCP, UDP, UDP-Lite, SCTP, DCCP); 0 if there is none or it is truncated."""
        return _ports(self, _upper(self)).source

    @property
    def dst_port(self):
        """Destination port (TCP, UDP, UDP-Lite, SCTP, DCCP); 0 if there is none or it is truncated."""
        return _ports(self, _upper(self)).destination

    def __str__(self):
        cdef char src[INET6_ADDRSTRLEN]
        cdef char dst[INET6_ADDRSTRLEN]
        if not _address(self, ipv4.SRC, ipv6.SRC, src):
            return f"unknown IP layer type ({self.type})"
        _address(self, ipv4.DST, ipv6.DST, dst)
        cdef UpperLayer upper = _upper(self)
        cdef Ports found = _ports(self, upper)
        return PyUnicode_FromFormat(
            "%s:%u => %s:%u (proto: %u)", src, found.source, dst, found.destination, upper.protocol)


cdef struct Ports:
    unsigned int source, destination


cdef UpperLayer _upper(IPLayer layer) noexcept:
    """Find the upper layer, within the bytes that belong to the IP packet."""
    return ip.upper_layer(layer._ptr, ip.bounded(layer._ptr, layer._len))


cdef Ports _ports(IPLayer layer, UpperLayer upper) noexcept:
    """Return the ports of the upper layer; a port that does not exist or is truncated is 0."""
    cdef const uint8_t* p = layer._ptr + upper.offset
    cdef Py_ssize_t n = ip.bounded(layer._ptr, layer._len) - upper.offset
    if upper.offset == 0 or not transport.has_ports(upper.protocol):
        return Ports(0, 0)
    return Ports(transport.source(p, n), transport.destination(p, n))


cdef bint _address(IPLayer layer, int ipv4_offset, int ipv6_offset, char* text) noexcept:
    """Write the address at this offset of the IP header as text.

    Writes "" and returns False if the fixed header is truncated.
    """
    text[0] = 0
    if ipv6.check(layer._ptr, layer._len):
        inet_ntop(AF_INET6, layer._ptr + ipv6_offset, text, INET6_ADDRSTRLEN)
    elif ipv4.check(layer._ptr, layer._len):
        inet_ntop(AF_INET, layer._ptr + ipv4_offset, text, INET6_ADDRSTRLEN)
    return text[0] != 0
