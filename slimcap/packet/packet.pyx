"""One packet: `Packet`, which owns its bytes, and `PacketView`, which shows those of a batch."""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memmove

from slimcap.abi.python cimport set_immortal
from slimcap.packet.lease cimport Hold, Lease, export_bytes, lease_buffer
from slimcap.packet.record cimport FLAG_TRUNCATED, NO_IP_OFFSET, Record, ip_start
from slimcap.packet.view cimport new_ip_layer, new_view

from slimcap.errors import integer, wrong_type
from slimcap.packet.enums import PACKET_HDR_OFFSET, PACKET_TYPES, PacketType, RecordFlag

cdef enum:
    MAX_PAYLOAD = 0x7fffffff
    ETHERNET_LEN = 14
    # The Go library's packet: type (1), offset of the IP header (1), total length (4, machine byte order),
    # payload.
    GO_HDR_LEN = 6
    GO_NO_IP = 255  # instead of the offset of the IP header: no header, or an offset above 254

cdef list TYPES = PACKET_TYPES
cdef object kind

for kind in PacketType:
    set_immortal(kind)

if PACKET_HDR_OFFSET != GO_HDR_LEN:
    raise ImportError("the compiled packet layout does not match PACKET_HDR_OFFSET: rebuild slimcap")


cdef object packet_type(uint8_t value):
    """Return the PacketType of a byte."""
    return TYPES[value]


@cython.no_gc  # no reference cycles: the owner is bytes or a hold, neither of which refers to packets
@cython.freelist(64)
cdef class Packet:
    """A packet that owns its bytes.

    `bytes(packet)` and `memoryview(packet)` give the captured bytes from the link-layer header on, as
    `payload` does; `len(packet)` is their number.

    A packet made by `source.new_packet()` can be passed to `next_packet()` repeatedly. Views and buffers of
    it (`payload`, `ip_layer`, `memoryview(packet)`) stay valid, but their content changes with each packet.

    Parameters
    ----------
    payload : buffer
        The bytes from the link-layer header on. Copied. The other properties are the defaults of
        `from_payload`.

    Attributes
    ----------
    comment : str or None
        Comment on the packet in its capture file; several are joined, one per line.

    Raises
    ------
    OverflowError
        The payload is longer than 2^31 - 1 bytes.
    TypeError, BufferError
        `payload` is not a C-contiguous buffer.

    Examples
    --------
    >>> from slimcap.mock import build_packet
    >>> packet = build_packet("192.0.2.1", "192.0.2.2", 1234, 53, payload=b"x")
    >>> slimcap.Packet(bytes(packet)).ip_layer.src
    '192.0.2.1'
    """

    def __init__(self, payload):
        cdef Lease source = lease_buffer(payload)
        cdef Record row
        _check_size(source._size)
        _init_row(&row, source._size)
        row.total_len = row.cap_len
        row.ip_offset = ETHERNET_LEN
        self._own()
        self._allocate(row.cap_len)
        self._fill(&row, source._ptr, None)

    @staticmethod
    def from_payload(
            payload, pkt_type=PacketType.UNKNOWN, total_len=None, ip_layer_offset=14, timestamp=0,
            *, buf=None):
        """Make a packet from its payload (the Go library's NewIPPacket).

        Parameters
        ----------
        payload : buffer
            The bytes from the link-layer header on. Copied.
        pkt_type : PacketType or int, default PacketType.UNKNOWN
            The packet's type.
        total_len : int, optional
            Length on the wire in bytes. Default: the length of `payload`.
        ip_layer_offset : int, default 14
            Offset of the IP header in `payload` in bytes; NO_IP if there is none.
        timestamp : int, default 0
            Nanoseconds since the Unix epoch.
        buf : Packet, optional
            A packet to write into; a payload larger than its capacity is truncated. Default: a new packet.

        Returns
        -------
        Packet
            `buf`, or the new packet.

        Raises
        ------
        OverflowError
            A number does not fit in its field, or the payload is longer than 2^31 - 1 bytes.
        TypeError
            `buf` is a PacketView, which is read-only.

        Examples
        --------
        >>> len(slimcap.Packet.from_payload(bytes(64), slimcap.PacketType.OUTGOING))
        64
        """
        cdef Lease source = lease_buffer(payload)
        cdef Packet packet
        cdef Record row
        if buf is not None and not isinstance(buf, Packet):
            raise wrong_type("buf", "a Packet", buf)
        packet = buf
        _check_size(source._size)
        _init_row(&row, source._size)
        row.pkt_type = integer("pkt_type", pkt_type)
        row.total_len = source._size if total_len is None else integer("total_len", total_len)
        row.ip_offset = integer("ip_layer_offset", ip_layer_offset)
        row.timestamp = integer("timestamp", timestamp)
        _flag_truncated(&row)
        if packet is None:
            packet = empty_packet(row.cap_len)
        packet.overwrite(&row, source._ptr, None)
        return packet

    @staticmethod
    def from_go_bytes(data):
        """Make a packet from a packet of the Go library (its type `Packet`), as `to_go_bytes` returns it.

        Parameters
        ----------
        data : buffer
            A header of 6 bytes and the payload. Copied.

        Returns
        -------
        Packet
            A new packet with timestamp 0.

        Raises
        ------
        ValueError
            `data` is shorter than the header.
        OverflowError
            The payload is longer than 2^31 - 1 bytes.
        TypeError, BufferError
            `data` is not a C-contiguous buffer.

        Examples
        --------
        >>> packet = slimcap.Packet.from_payload(bytes(64), slimcap.PacketType.OUTGOING)
        >>> slimcap.Packet.from_go_bytes(packet.to_go_bytes()).type.name
        'OUTGOING'
        """
        cdef Lease source = lease_buffer(data)
        cdef Record row
        if source._size < GO_HDR_LEN:
            raise ValueError(
                f"data must have at least {GO_HDR_LEN} bytes, the packet header, not {source._size}")
        _check_size(source._size - GO_HDR_LEN)
        _init_row(&row, source._size - GO_HDR_LEN)
        row.pkt_type = source._ptr[0]
        row.ip_offset = source._ptr[1]
        if row.ip_offset == GO_NO_IP:
            row.ip_offset = NO_IP_OFFSET
        memcpy(&row.total_len, source._ptr + 2, 4)
        _flag_truncated(&row)
        return packet_from(&row, source._ptr + GO_HDR_LEN)

    def to_go_bytes(self):
        """Return the packet as the Go library stores it: a header of 6 bytes and the payload.

        The header has the type (1 byte), the offset of the IP header (1 byte; 255 if there is none, or if it
        is larger than 254) and the length on the wire (4 bytes, in the machine's byte order).

        Returns
        -------
        bytes
            A copy.

        Examples
        --------
        >>> slimcap.Packet.from_payload(b"payload", slimcap.PacketType.OUTGOING).to_go_bytes()[:2]
        b'\\x04\\x0e'
        """
        cdef uint8_t header[GO_HDR_LEN]
        header[0] = self._row.pkt_type
        header[1] = <uint8_t> self._row.ip_offset if self._row.ip_offset < GO_NO_IP else GO_NO_IP
        memcpy(header + 2, &self._row.total_len, 4)
        return PyBytes_FromStringAndSize(<const char*> header, GO_HDR_LEN) + bytes(self)

    @property
    def capacity(self):
        """Maximum size of the payload in bytes."""
        return self._capacity

    cdef inline int _own(self) except -1:
        """Use the packet's inline memory if it has none yet; raise TypeError for a view."""
        if self._memory is NULL:
            if self._owner is not None:
                raise TypeError("a PacketView is read-only: use a Packet, such as view.copy()")
            self._use_inline()
        return 0

    cdef inline void _use_inline(self) noexcept:
        """Use the packet's inline memory if it has none yet."""
        if self._memory is NULL:
            self._memory = self._inline
            self._capacity = INLINE_LEN
            self._ptr = self._memory

    cdef int _allocate(self, Py_ssize_t capacity) except -1:
        """Allocate memory for a payload of `capacity` bytes if the inline memory is too small.

        Views may exist of the inline memory: it stays where it is.
        """
        self._use_inline()
        if capacity <= self._capacity:
            return 0
        if self._memory is not self._inline:
            raise TypeError("this packet is initialised already: make a new one")
        self._owner = PyBytes_FromStringAndSize(NULL, capacity)
        self._memory = <uint8_t*> PyBytes_AS_STRING(self._owner)
        self._capacity = capacity
        self._ptr = self._memory
        return 0

    cdef inline void _fill(self, const Record* row, const uint8_t* payload, object comment) noexcept:
        """Copy a packet and its comment into this one, which has memory, truncated to the capacity."""
        self.comment = comment
        self._row = row[0]
        self._row.offset = 0  # the source row's offset has no meaning for our own bytes
        if self._row.cap_len > self._capacity:
            self._row.cap_len = <uint32_t> self._capacity
            self._row.flags |= FLAG_TRUNCATED
        if self._row.cap_len:
            memmove(self._memory, payload, self._row.cap_len)  # may overlap: a view of this packet

    cdef int overwrite(self, const Record* row, const uint8_t* payload, object comment) except -1:
        """Copy a packet and its comment into this one, truncated to the capacity; TypeError for a view."""
        self._own()
        with cython.critical_section(self):
            self._fill(row, payload, comment)
        return 0

    cdef object read(self, Record* row):
        """Get the packet's row, for its payload at `_ptr`; return its comment."""
        with cython.critical_section(self):
            row[0] = self._row
            row.offset = 0
            return self.comment

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        export_bytes(
            buffer, self._owner if type(self._owner) is Hold else self, self._ptr, self._row.cap_len, True,
            flags)

    def __bytes__(self):
        return PyBytes_FromStringAndSize(<const char*> self._ptr, self._row.cap_len)

    @property
    def timestamp(self):
        """Capture time in nanoseconds since the Unix epoch."""
        return self._row.timestamp

    @property
    def total_len(self):
        """Length on the wire in bytes, link-layer header included."""
        return self._row.total_len

    @property
    def cap_len(self):
        """Number of bytes captured, the same as `len(packet)`."""
        return self._row.cap_len

    @property
    def type(self):
        """The packet's type, a PacketType."""
        return packet_type(self._row.pkt_type)

    @property
    def is_inbound(self):
        """True unless the packet's type is PacketType.OUTGOING."""
        return self._row.pkt_type != 4

    @property
    def ip_layer_offset(self):
        """Offset of the IP header in the payload in bytes; NO_IP if there is none."""
        return self._row.ip_offset

    @property
    def interface(self):
        """Index into the `links` of its source or batch: the interface it was captured on."""
        return self._row.interface

    @property
    def vlan_tci(self):
        """Tag control information (TCI) of the outermost VLAN tag; valid if `flags` has VLAN."""
        return self._row.vlan_tci

    @property
    def vlan_tpid(self):
        """Tag protocol identifier (TPID) of the outermost VLAN tag; valid if `flags` has VLAN."""
        return self._row.vlan_tpid

    @property
    def flags(self):
        """The packet's RecordFlag bits."""
        return RecordFlag(self._row.flags)

    @property
    def payload(self):
        """The captured bytes from the link-layer header on, a View that keeps their memory alive."""
        return new_view(self._ptr, self._row.cap_len, self._memory_owner())

    @property
    def ip_layer(self):
        """The captured bytes from the IP header on, an IPLayer that keeps their memory alive.

        It is empty if there is no IP header.
        """
        cdef Py_ssize_t offset = ip_start(&self._row)
        return new_ip_layer(self._ptr + offset, self._row.cap_len - offset, self._memory_owner())

    def copy(self):
        """Return a Packet with a copy of the content, which owns its bytes."""
        cdef Packet packet = packet_from(&self._row, self._ptr)
        packet.comment = self.comment
        return packet

    cdef object _memory_owner(self):
        """Return the object that keeps the payload's memory alive."""
        return self if self._owner is None else self._owner

    def __len__(self):
        return self._row.cap_len

    def __reduce__(self):
        state = (
            self._row.timestamp, self._row.interface,
            self._row.vlan_tci, self._row.vlan_tpid, self._row.flags, self.comment)
        return _unpickle, (
            bytes(self), self._row.pkt_type, self._row.total_len, self._row.ip_offset, *state)

    def __repr__(self):
        what = str(self.ip_layer) if self.ip_layer else "no IP layer"
        return (f"<{type(self).__name__}: {self.type.name} {what}, "
                f"{self._row.cap_len} of {self._row.total_len} bytes>")


@cython.no_gc
cdef class PacketView(Packet):
    """Read-only view of one packet of a `Batch`, without a copy.

    It has the properties of a `Packet`, but it cannot be written to. It keeps its batch's bytes alive as long
    as it lives; `copy()` makes a Packet that owns its bytes.

    Examples
    --------
    >>> packet = batch[0].copy()
    """

    def __init__(self):
        raise TypeError(
            "PacketView cannot be instantiated: batches make views; use Packet.from_payload for a packet")


cdef PacketView new_packet_view(const Record* row, const uint8_t* payload, object owner):
    """Make a view of the packet of `row`; its payload is at `payload`, in memory that `owner` keeps alive."""
    cdef PacketView view = PacketView.__new__(PacketView)
    view._row = row[0]
    view._ptr = payload
    view._owner = owner
    return view


cdef Packet empty_packet(Py_ssize_t capacity):
    """Make an empty packet with a capacity of at least `capacity` bytes of payload."""
    cdef Packet packet = Packet.__new__(Packet)
    packet._allocate(capacity)
    _init_row(&packet._row, 0)
    packet._fill(&packet._row, packet._ptr, None)
    return packet


cdef Packet packet_from(const Record* row, const uint8_t* payload):
    """Make a packet with a copy of the payload."""
    cdef Packet packet = Packet.__new__(Packet)
    if row.cap_len > INLINE_LEN:
        packet._allocate(row.cap_len)
    else:
        packet._use_inline()
    packet._fill(row, payload, None)
    return packet


cdef int _check_size(Py_ssize_t payload) except -1:
    if payload > MAX_PAYLOAD:
        raise OverflowError(f"a payload must have at most {MAX_PAYLOAD} bytes, not {payload}")
    return 0


cdef inline void _init_row(Record* row, Py_ssize_t cap_len) noexcept:
    """Initialise a row of which only the length is known."""
    row[0] = Record(
        timestamp=0, offset=0, total_len=0, cap_len=<uint32_t> cap_len, ip_offset=NO_IP_OFFSET, interface=0,
        vlan_tci=0, vlan_tpid=0, pkt_type=255, flags=0)


cdef void _flag_truncated(Record* row) noexcept:
    if row.cap_len < row.total_len:
        row.flags |= FLAG_TRUNCATED


def _unpickle(
        payload, pkt_type, total_len, ip_offset, timestamp, interface, vlan_tci, vlan_tpid, flags, comment):
    cdef Packet packet = Packet.from_payload(payload, pkt_type, total_len, ip_offset, timestamp)
    packet._row.interface = interface
    packet._row.vlan_tci = vlan_tci
    packet._row.vlan_tpid = vlan_tpid
    packet._row.flags = flags
    packet.comment = comment
    return packet
