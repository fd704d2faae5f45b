"""Decoder of classic pcap (draft-ietf-opsawg-pcap), which accepts the same files as libpcap and Wireshark."""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.branch cimport rarely
from slimcap.abi.bytes cimport bswap16, bswap32, load32
from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.pcap_format cimport (
    INTERFACE_FCS_LENGTH,
    PCAP_IXIA_EXTRA,
    PCAP_IXIA_HW,
    PCAP_IXIA_SW,
    PCAP_MICRO,
    PCAP_MODIFIED,
    PCAP_MODIFIED_EXTRA,
    PCAP_NANO,
    PCAPNG_ORDER,
    PCAPNG_SECTION,
    PcapFileHeader,
    PcapngBlock,
    PcapRecordHeader,
)
from slimcap.capfile.decoder cimport MAX_SECTIONS, Decoder, fill_row, max_caplen
from slimcap.packet.record cimport MAX_INTERFACES, Record

from slimcap.packet.interface import InterfaceInfo, SectionInfo
from slimcap.packet.link import Link

cdef enum:
    ZEROS = 1024                # zeros that are never packets

NEVER_MADE = "this decoder was never made: use PcapDecoder(header)"
NO_RECORD = (
    "zeros where a packet's record should be, as in a file whose last blocks were allocated but not written: "
    "the packets before them are complete")


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
        if self._layout.header_len:
            raise TypeError("a decoder is made once")
        if header.shape[0] < <Py_ssize_t> sizeof(PcapFileHeader):
            raise ValueError(f"a pcap file header has {sizeof(PcapFileHeader)} bytes, not {header.shape[0]}")
        self._name, self._numbers, self._wanted = name, {}, snaplen or 0xffffffff
        self._all_links, self._all_infos = [], []
        self._begin(&header[0])
        self._publish()

    cdef int _begin(self, const uint8_t* header) except -1:
        """Read a file header, of the file or of another one that follows it."""
        cdef PcapFileHeader h
        cdef bint swapped
        cdef tuple options = None
        memcpy(&h, header, sizeof(h))
        swapped = _is_magic(bswap32(h.magic))
        if swapped:
            h.magic = bswap32(h.magic)
            h.version_major = bswap16(h.version_major)
            h.version_minor = bswap16(h.version_minor)
            h.snaplen = bswap32(h.snaplen)
            h.linktype = bswap32(h.linktype)
        elif not _is_magic(h.magic):
            raise ValueError(_unknown_magic(h.magic))
        if h.version_major < 2:
            raise ValueError(f"pcap version {h.version_major}.{h.version_minor} is not supported")
        self.swapped = swapped
        self.version_major, self.version_minor = h.version_major, h.version_minor
        self.linktype = h.linktype & LINKTYPE_MASK
        self.resolution = 1 if h.magic == PCAP_NANO else 1000
        self.header_len = sizeof(h) + (PCAP_IXIA_EXTRA if _is_ixia(h.magic) else 0)
        self._layout = RecordLayout(
            sizeof(PcapRecordHeader) + (PCAP_MODIFIED_EXTRA if h.magic == PCAP_MODIFIED else 0),
            max_caplen(self.linktype),
            _length_order(h.version_major, h.version_minor),
            swapped)
        self.needed = self._layout.header_len
        if h.linktype & FCS_PRESENT:
            options = ((INTERFACE_FCS_LENGTH, bytes([2 * (h.linktype >> FCS_SHIFT)])),)
        key = (self.linktype, h.snaplen, self.resolution, options)
        if key not in self._numbers and len(self._all_links) == MAX_INTERFACES:
            raise ValueError(f"more than {MAX_INTERFACES:,} interfaces")
        self._interface = self._numbers.setdefault(key, len(self._all_links))
        if self._interface == len(self._all_links):
            self.max_cap_len = max(self.max_cap_len, min(self._wanted, self._layout.max_caplen))
            if not self._all_links:
                self.snaplen = h.snaplen
            link = Link(self._name, self._interface, self.linktype, named=False)
            self._all_links.append(link)
            self._all_infos.append(InterfaceInfo(
                link, h.snaplen, NANOSECONDS // self.resolution, options=options, file_name=self._name))
        if len(self.sections) < MAX_SECTIONS:
            self.sections.append(
                SectionInfo(self.byte_order(), (h.version_major, h.version_minor), self._interface))
        return 0

    cdef int _publish(self) except -1:
        """Set `links` and `interfaces`, once for all headers of a block: there may be thousands."""
        if len(self._all_links) != len(self.links):
            self.links, self.interfaces = tuple(self._all_links), tuple(self._all_infos)
        return 0

    cdef Py_ssize_t _decode(
            self, const uint8_t* data, uint64_t size, uint64_t start, Record* rows,
            Py_ssize_t capacity) except -1:
        if self._layout.header_len == 0:
            raise ValueError(NEVER_MADE)
        cdef Py_ssize_t count = 0
        cdef PcapHalt halt
        self.position = min(start, size)
        self.total_bytes = 0
        self.fault = None
        while True:
            with nogil:
                halt = self._walk(data, size, rows, capacity, &count)
            if halt == PCAP_MORE:
                break
            if halt == PCAP_ANOTHER and self.concatenated and load32(data + self.position) != PCAPNG_SECTION:
                if self._begin_next(data + self.position, size - self.position):
                    continue
            else:
                self.fault = self._explain(halt)
            break
        self._publish()
        return count

    cdef bint _begin_next(self, const uint8_t* p, uint64_t left) except -1:
        """Read the header of another file and move past it; return False if it needs more bytes."""
        cdef uint64_t whole = sizeof(PcapFileHeader) + (
            PCAP_IXIA_EXTRA if _is_ixia(load32(p)) or _is_ixia(bswap32(load32(p))) else 0)
        if left < whole:
            self.needed = whole
            return False
        try:
            self._begin(p)
        except ValueError as error:
            self.fault = str(error)
            return False
        self.position += whole
        return True

    cdef PcapHalt _walk(
            self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room,
            Py_ssize_t* rows_written) noexcept nogil:
        """Write rows for the packets from `position` on; return why it stopped."""
        # Locals, which a row that is written cannot change: the compiler keeps them in registers.
        cdef RecordLayout layout = self._layout
        cdef uint64_t at = self.position
        cdef uint32_t header = layout.header_len, linktype = self.linktype, cut = self._wanted
        cdef int64_t resolution = self.resolution
        cdef uint32_t interface = self._interface
        cdef Py_ssize_t count = rows_written[0]
        cdef uint64_t total_bytes = self.total_bytes
        cdef PcapRecordHeader h
        cdef Record* row
        cdef PcapHalt halt = PCAP_MORE
        self.needed = header
        self.at_zeros = False
        while count < room and size - at >= header:
            read_record(&layout, data + at, &h)
            if rarely(h.caplen == 0 or h.caplen > layout.max_caplen):
                halt = self._look_at(data + at, size - at)
                if halt != PCAP_MORE or self.at_zeros:
                    break
            if size - at - header < h.caplen:
                self.needed = <uint64_t> header + h.caplen
                break
            row = &rows[count]
            row.timestamp = <int64_t> h.seconds * NANOSECONDS + <int64_t> h.fraction * resolution
            row.offset = at + header
            row.interface = interface
            fill_row(row, linktype, data + row.offset, h.caplen, h.len, cut)
            total_bytes += row.total_len
            at += header + h.caplen
            count += 1
        self.position = at
        self.total_bytes = total_bytes
        rows_written[0] = count
        return halt

    cdef PcapHalt _look_at(self, const uint8_t* p, uint64_t left) noexcept nogil:
        """Return why a record without bytes, or with too many, is not valid; PCAP_MORE if it is.

        A file header has 0 where a record has its lengths: its time zone and accuracy. A pcapng section has
        its byte-order magic there, which is too long.
        """
        cdef PcapRecordHeader h
        read_record(&self._layout, p, &h)
        if h.caplen:
            self._bad_caplen = h.caplen
            return PCAP_ANOTHER if _is_section(p) else PCAP_CAPLEN
        if h.len:
            return PCAP_MORE
        if is_another(p):
            return PCAP_ANOTHER
        return self._look_at_zeros(p, left) if h.seconds == 0 else PCAP_MORE

    cdef PcapHalt _look_at_zeros(self, const uint8_t* p, uint64_t left) noexcept nogil:
        """Tell a packet of no bytes at the start of 1970 from zeros that no writer wrote.

        The former is followed by something else within `ZEROS` bytes. Sets `at_zeros` if more bytes are
        required to tell.
        """
        cdef uint64_t at = 0, end = min(left, <uint64_t> ZEROS)
        while at < end and p[at] == 0:
            at += 1
        if at == ZEROS:
            return PCAP_ZEROS
        if at == left:
            self.at_zeros, self.needed = True, ZEROS
        return PCAP_MORE

    cdef str _explain(self, PcapHalt halt):
        if halt == PCAP_ZEROS:
            return NO_RECORD
        if halt == PCAP_ANOTHER:
            return (
                "another capture file begins here, as if two were joined by cat: read on with "
                "concatenated=True or --concatenated if both are pcap, else cut them apart")
        return f"a packet of {self._bad_caplen} captured bytes: there can be {self._layout.max_caplen}"


cdef bint is_another(const uint8_t* p) noexcept nogil:
    """Return True at the header of a pcap file of a version from 2.0 to 2.4, the current one."""
    cdef PcapFileHeader h
    cdef uint16_t major, minor
    memcpy(&h, p, sizeof(h.magic) + 2 * sizeof(uint16_t))
    if not _is_magic(h.magic) and not _is_magic(bswap32(h.magic)):
        return False
    major, minor = h.version_major, h.version_minor
    if not _is_magic(h.magic):
        major, minor = bswap16(major), bswap16(minor)
    return major == 2 and minor <= 4


cdef bint _is_section(const uint8_t* p) noexcept nogil:
    """Return True at a pcapng section header."""
    cdef uint32_t order = load32(p + sizeof(PcapngBlock))
    return load32(p) == PCAPNG_SECTION and (order == PCAPNG_ORDER or bswap32(order) == PCAPNG_ORDER)


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
