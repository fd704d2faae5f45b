from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cimport slimcap.wire.ethernet as ethernet
from slimcap.packet.annotations cimport Annotations
from slimcap.packet.options cimport Allowance
from slimcap.packet.record cimport FLAG_TRUNCATED, Record, set_pkt_type
from slimcap.wire.walk_link cimport LINKTYPE_DBUS, LINKTYPE_ETHERNET, walk_link
from slimcap.wire.walk_result cimport INFO_UNKNOWN_TYPE, LinkInfo

cdef enum:
    LINKTYPE_USBPCAP = 249
    LINKTYPE_EBHSCR = 279
    # The maximum captured lengths of libpcap, by its max_snaplen_for_dlt.
    MAX_CAPLEN = 262144
    MAX_CAPLEN_DBUS = 128 << 20
    MAX_CAPLEN_USBPCAP = 1 << 20
    MAX_CAPLEN_EBHSCR = 8 << 20
    MAX_SECTIONS = 65535        # maximum number of SectionInfos kept

cdef class Decoder:
    cdef readonly uint64_t position     # offset in the data where the last decode() ended
    cdef readonly uint64_t needed       # bytes required from there on to continue, as far as is known
    cdef readonly str fault             # why decoding cannot continue, or None
    cdef readonly uint32_t snaplen, version_major, version_minor, resolution
    cdef readonly bint swapped
    cdef readonly tuple links
    cdef readonly tuple interfaces      # one InterfaceInfo for each of `links`
    cdef readonly list sections         # SectionInfos, at most MAX_SECTIONS
    cdef Annotations annotations        # options of the rows of the last decode(), and blocks between them
    cdef readonly uint64_t blocks_left_out  # blocks that cannot be copied, or are too many
    cdef readonly uint64_t options_left_out    # options of descriptions that are too many
    cdef Allowance memory               # for options of sections and interfaces, which are kept,
    cdef int64_t described              # and what they take of it
    cdef int64_t total_bytes            # sum of total_len of the rows of the last decode()
    cdef bint at_zeros                  # only zeros followed the last row, perhaps up to the end of the file
    cdef uint32_t max_cap_len           # maximum cap_len of the rows
    cdef bint _busy                     # decode() is running; a source, which has a lock, calls _decode()
    cdef Py_ssize_t _decode(
        self, const uint8_t* data, uint64_t size, uint64_t start, Record* rows, Py_ssize_t capacity) except -1
    cdef str byte_order(self)
    cdef uint64_t count_dropped(self) except? 0


cdef inline uint32_t max_caplen(uint32_t linktype) noexcept nogil:
    """Return the maximum captured length of packets of a link type, the same as libpcap's."""
    if linktype == LINKTYPE_DBUS:
        return MAX_CAPLEN_DBUS
    if linktype == LINKTYPE_USBPCAP:
        return MAX_CAPLEN_USBPCAP
    return MAX_CAPLEN_EBHSCR if linktype == LINKTYPE_EBHSCR else MAX_CAPLEN


cdef inline void fill_row(
        Record* row, uint32_t linktype, const uint8_t* payload, uint32_t cap_len, uint32_t len,
        uint32_t cut) noexcept nogil:
    """Fill in a row except its timestamp, offset and interface.

    `payload[:cap_len]` are the captured bytes; the row shows at most `cut` of them.
    """
    cdef LinkInfo info
    cdef uint32_t total_len = max(len, cap_len), shown = min(cap_len, cut)
    cdef uint32_t truncated = FLAG_TRUNCATED if shown < total_len else 0
    row.total_len = total_len
    row.cap_len = shown
    if linktype == LINKTYPE_ETHERNET and ethernet.is_plain_ip(payload, shown):
        # As walk_link() says, but in constants, which are one store.
        row.vlan_tci = row.vlan_tpid = 0
        row.ip_offset = ethernet.LEN
        set_pkt_type(row, INFO_UNKNOWN_TYPE)
        row.flags = truncated
        return
    walk_link(linktype, payload, shown, &info)
    row.ip_offset = info.ip_offset
    row.vlan_tci = info.vlan_tci
    row.vlan_tpid = info.vlan_tpid
    set_pkt_type(row, info.pkt_type)
    row.flags = info.flags | truncated
