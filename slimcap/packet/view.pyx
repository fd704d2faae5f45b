"""Views of packet bytes: as light as a Python object gets, and never outliving their memory."""
cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.number cimport PyNumber_AsSsize_t
from cpython.object cimport Py_EQ, Py_NE
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack
from cpython.unicode cimport PyUnicode_FromFormat

cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
cimport slimcap.wire.transport as transport
from slimcap.packet.lease cimport export_bytes
from slimcap.wire.ip cimport bounded, upper_layer
from slimcap.wire.upper cimport UpperLayer

cdef extern from "arpa/inet.h" nogil:
    enum: AF_INET, AF_INET6, INET6_ADDRSTRLEN
    const char* inet_ntop(int family, const void* address, char* text, unsigned int size)


cdef View new_view(const uint8_t* p, Py_ssize_t n, object owner):
    """A view of `n` bytes at `p`, which `owner` keeps alive: a lease's hold, or whatever else has them."""
    cdef View view = View.__new__(View)
    view._ptr = p
    view._len = n
    view._owner = owner
    return view


cdef IPLayer new_ip_layer(const uint8_t* p, Py_ssize_t n, object owner):
    """An IPLayer of `n` bytes at `p`; see `new_view`."""
    cdef IPLayer view = IPLayer.__new__(IPLayer)
    view._ptr = p
    view._len = n
    view._owner = owner
    return view


@cython.no_gc  # its owner is a hold, bytes or a packet: nothing that could refer back
@cython.freelist(64)
cdef class View:
    """Read-only bytes of a packet, not copied.

    A buffer that behaves like `bytes`: `len(view)`, `view[0]`, `view[2:4]`, `view == b"..."`, `bytes(view)`,
    `memoryview(view)`, `numpy.frombuffer(view, "u1")`. It lives as long as somebody refers to it, and keeps
    the memory it shows on loan for that long: copy (`bytes(view)`) what you keep.
    """

    def __init__(self):
        raise TypeError("views are made by sources, batches and packets")

    def __len__(self):
        return self._len

    def __getitem__(self, key):
        cdef Py_ssize_t start, stop, step, index
        if not isinstance(key, slice):
            index = PyNumber_AsSsize_t(key, IndexError)
            if index < 0:
                index += self._len
            if not 0 <= index < self._len:
                raise IndexError("index out of range")
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
        """A copy of the bytes."""
        return PyBytes_FromStringAndSize(<const char*> self._ptr, self._len)

    def hex(self, *args, **kwargs):
        """The bytes in hexadecimal, as `bytes.hex`."""
        return bytes(self).hex(*args, **kwargs)

    def __richcmp__(self, other, int op):
        if op != Py_EQ and op != Py_NE:
            return NotImplemented
        if isinstance(other, bytes):
            return (bytes(self) == other) == (op == Py_EQ)
        try:
            other = memoryview(other)
        except (TypeError, ValueError, BufferError):
            return NotImplemented  # no bytes to be seen there
        return (memoryview(self) == other) == (op == Py_EQ)

    def __hash__(self):
        return hash(bytes(self))

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        export_bytes(buffer, self, self._ptr, self._len, True, flags)

    def __repr__(self):
        shown = bytes(self[:16]).hex(" ")
        more = " …" if self._len > 16 else ""
        return f"<{type(self).__name__}: {self._len} bytes: {shown}{more}>"

    def __reduce__(self):
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: it shows memory of this process; pickle bytes(view)")


@cython.no_gc
cdef class IPLayer(View):
    """The bytes of a packet from its IPv4 or IPv6 header on: a `View` that can read its header.

    Whatever is too short to tell is 0, or "unknown" as text; nothing raises. Lives as long as any `View`.
    """

    @property
    def type(self):
        """IP version, 4 or 6, as the header's first four bits say; 0 if there are no bytes."""
        return self._ptr[0] >> 4 if self._len else 0

    @property
    def protocol(self):
        """IANA number of the upper-layer protocol.

        Of IPv6 the one behind the extension headers (RFC 8200 section 4), or the extension header that is
        cut.
        """
        return _upper(self).protocol

    @property
    def src(self):
        """Source address as text; "" if it is cut."""
        cdef char text[INET6_ADDRSTRLEN]
        _address(self, ipv4.SRC, ipv6.SRC, text)
        return text.decode("ascii")

    @property
    def dst(self):
        """Destination address as text; "" if it is cut."""
        cdef char text[INET6_ADDRSTRLEN]
        _address(self, ipv4.DST, ipv6.DST, text)
        return text.decode("ascii")

    @property
    def sport(self):
        """Source port (TCP, UDP, UDP-Lite, SCTP, DCCP); 0 if there is none or it is cut."""
        return _ports(self, _upper(self)).source

    @property
    def dport(self):
        """Destination port; 0 if there is none or it is cut."""
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
    """The upper layer, in that part of the bytes that is the IP packet's."""
    return upper_layer(layer._ptr, bounded(layer._ptr, layer._len))


cdef Ports _ports(IPLayer layer, UpperLayer upper) noexcept:
    """The ports of the upper layer; zeros where there are none or they are cut."""
    cdef const uint8_t* p = layer._ptr + upper.offset
    cdef Py_ssize_t n = bounded(layer._ptr, layer._len) - upper.offset
    if upper.offset == 0 or not transport.has_ports(upper.protocol):
        return Ports(0, 0)
    return Ports(transport.source(p, n), transport.destination(p, n))


cdef bint _address(IPLayer layer, int ipv4_at, int ipv6_at, char* text) noexcept:
    """Write the address at that place of the header as text; an empty text, and False, if it is cut."""
    text[0] = 0
    if ipv6.check(layer._ptr, layer._len):
        inet_ntop(AF_INET6, layer._ptr + ipv6_at, text, INET6_ADDRSTRLEN)
    elif ipv4.check(layer._ptr, layer._len):
        inet_ntop(AF_INET, layer._ptr + ipv4_at, text, INET6_ADDRSTRLEN)
    return text[0] != 0
