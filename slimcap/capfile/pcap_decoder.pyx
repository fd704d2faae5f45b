"""Decoder of classic pcap (draft-ietf-opsawg-pcap), which accepts the same files as libpcap and Wireshark."""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.bytes cimport bswap16, bswap32
from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.pcap_format cimport (
    PCAP_IXIA_EXTRA,
    PCAP_IXIA_HW,
    PCAP_IXIA_SW,
    PCAP_MICRO,
    PCAP_MODIFIED,
    PCAP_MODIFIED_EXTRA,
    PCAP_NANO,
    PCAPNG_SECTION,
    PcapFileHeader,
    PcapRecordHeader,
)
from slimcap.capfile.decoder cimport Decoder, fill_row, max_caplen
from slimcap.packet.record cimport Record

from slimcap.packet.interface import InterfaceInfo, SectionInfo
from slimcap.packet.link import Link

cdef enum:
    LINKTYPE_MASK = 0xffff      # above it: FCS length and reserved bits


@cython.final
cdef class PcapDecoder(Decoder):
    """Decoder of the records of a classic pcap file.

    Parameters
    ----------
    header : buffer of uint8, shape (n,)
        The file's header; n is at least 24.
    snaplen : int, default 0
        Maximum number of bytes to show of a packet; 0: all that were captured.
    name : str, default ""
        Name of the interface, which the format does not store.

    Raises
    ------
    ValueError
        `header` is not the header of a supported pcap file.
    """

    def __init__(self, const uint8_t[::1] header, uint32_t snaplen=0, str name=""):
        cdef PcapFileHeader h
        if header.shape[0] < <Py_ssize_t> sizeof(h):
            raise ValueError(f"a pcap file header has {sizeof(h)} bytes, not {header.shape[0]}")
        memcpy(&h, &header[0], sizeof(h))
        self.swapped = _is_magic(bswap32(h.magic))
        if self.swapped:
            h.magic = bswap32(h.magic)
            h.version_major = bswap16(h.version_major)
            h.version_minor = bswap16(h.version_minor)
            h.snaplen = bswap32(h.snaplen)
            h.linktype = bswap32(h.linktype)
        elif not _is_magic(h.magic):
            raise ValueError(_unknown_magic(h.magic))
        if h.version_major < 2:
            raise ValueError(f"pcap version {h.version_major}.{h.version_minor} is not supported")
        self.version_major, self.version_minor = h.version_major, h.version_minor
        self.snaplen = h.snaplen
        self.linktype = h.linktype & LINKTYPE_MASK
        self.resolution = 1 if h.magic == PCAP_NANO else 1000
        self.header_len = sizeof(h) + (PCAP_IXIA_EXTRA if _is_ixia(h.magic) else 0)
        self._layout = RecordLayout(
            sizeof(PcapRecordHeader) + (PCAP_MODIFIED_EXTRA if h.magic == PCAP_MODIFIED else 0),
            max_caplen(self.linktype),
            _length_order(h.version_major, h.version_minor),
            self.swapped)
        self.needed = self._layout.header_len
        self.max_cap_len = snaplen if 0 < snaplen < self._layout.max_caplen else self._layout.max_caplen
        self.links = (Link(name, 0, self.linktype, named=False),)
        self.interfaces = (
            InterfaceInfo(self.links[0], h.snaplen, NANOSECONDS // self.resolution, file_name=name),)
        self.sections.append(SectionInfo(self.byte_order(), (h.version_major, h.version_minor)))

    cdef Py_ssize_t _decode(self, const uint8_t[::1] data, uint64_t start, Record[::1] rows) except -1:
        if self._layout.header_len == 0:
            raise ValueError("this decoder was never made: use PcapDecoder(header)")
        cdef uint64_t size = data.shape[0]
        cdef const uint8_t* p = &data[0] if size else NULL
        cdef Record* out = &rows[0] if rows.shape[0] else NULL
        cdef Py_ssize_t count
        self.position = min(start, size)
        self._bad_caplen = 0
        with nogil:
            count = self._walk(p, size, out, rows.shape[0])
        self.fault = None
        if self._bad_caplen:
            self.fault = (
                f"a packet of {self._bad_caplen} captured bytes: there can be {self._layout.max_caplen}")
        return count

    cdef Py_ssize_t _walk(
            self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room) noexcept nogil:
        cdef uint64_t at = self.position
        cdef uint32_t header = self._layout.header_len
        cdef Py_ssize_t count = 0
        cdef PcapRecordHeader h
        cdef Record* row
        self.needed = header
        while count < room and size - at >= header:
            read_record(&self._layout, data + at, &h)
            if h.caplen > self._layout.max_caplen:
                self._bad_caplen = h.caplen
                break
            if size - at - header < h.caplen:
                self.needed = <uint64_t> header + h.caplen
                break
            row = &rows[count]
            row.timestamp = <int64_t> h.seconds * NANOSECONDS + <int64_t> h.fraction * self.resolution
            row.offset = at + header
            row.interface = 0
            fill_row(row, self.linktype, data + row.offset, h.caplen, h.len, self.max_cap_len)
            at += header + h.caplen
            count += 1
        self.position = at
        return count


cdef inline bint _is_magic(uint32_t magic) noexcept nogil:
    return magic == PCAP_MICRO or magic == PCAP_NANO or magic == PCAP_MODIFIED or _is_ixia(magic)


cdef inline bint _is_ixia(uint32_t magic) noexcept nogil:
    return magic == PCAP_IXIA_HW or magic == PCAP_IXIA_SW


cdef str _unknown_magic(uint32_t magic):
    if magic == PCAPNG_SECTION:
        return "a pcapng file, which takes a PcapngDecoder"
    return f"not a capture file: unknown magic 0x{magic:08x}"


cdef LengthOrder _length_order(uint32_t major, uint32_t minor) noexcept:
    """Return the order of a record's two lengths.

    Before version 2.3, and in files that claim to be version 543.0, len comes first.
    """
    if (major == 2 and minor < 3) or (major == 543 and minor == 0):
        return LENGTHS_SWAPPED
    return LENGTHS_EITHER if major == 2 and minor == 3 else LENGTHS_NORMAL
