"""Blocks of a pcapng file that are not packets (draft-ietf-opsawg-pcapng, section 4), as bytes to write.

    type   length   header   options   length
    4      4                           4         bytes; the length of a block is a multiple of 4
"""
from slimcap.abi.pcap_format cimport (
    LENGTH_SIZE,
    PCAPNG_INTERFACE,
    PCAPNG_ORDER,
    PCAPNG_SECTION,
    PCAPNG_STATISTICS,
    PcapngBlock,
    PcapngInterface,
    PcapngSection,
    PcapngStatistics,
)
from slimcap.packet.options cimport encode_options


cdef bytes section_block(tuple options):
    """Return a section header, with the section's length given as unknown."""
    cdef PcapngSection h
    h.type, h.order = PCAPNG_SECTION, PCAPNG_ORDER
    h.version_major, h.version_minor = 1, 0
    h.section_length[0] = h.section_length[1] = 0xffffffff
    return _block(<PcapngBlock*> &h, sizeof(h), encode_options(options))


cdef bytes interface_block(uint32_t link_type, uint32_t snaplen, tuple options):
    cdef PcapngInterface h
    h.type, h.linktype, h.reserved, h.snaplen = PCAPNG_INTERFACE, link_type, 0, snaplen
    return _block(<PcapngBlock*> &h, sizeof(h), encode_options(options))


cdef bytes statistics_block(uint32_t interface, uint64_t ticks, tuple options):
    cdef PcapngStatistics h
    h.type, h.interface_id = PCAPNG_STATISTICS, interface
    h.time_high, h.time_low = <uint32_t> (ticks >> 32), <uint32_t> ticks
    return _block(<PcapngBlock*> &h, sizeof(h), encode_options(options))


cdef bytes other_block(uint32_t kind, bytes body):
    cdef PcapngBlock h
    h.type = kind
    return _block(&h, sizeof(h), body)


cdef bytes _block(PcapngBlock* header, size_t size, bytes rest):
    """Return a block, whose header lacks only its length."""
    header.length = <uint32_t> (size + len(rest) + LENGTH_SIZE)
    return (<const char*> header)[:size] + rest + (<const char*> &header.length)[:LENGTH_SIZE]
