"""The on-disk structs of capture files, spelt in C.

Classic pcap: draft-ietf-opsawg-pcap, sections 4 (file header) and 5 (packet record).
"""
from libc.stdint cimport uint16_t, uint32_t

cdef extern from * nogil:
    """
    #include <stdint.h>

    struct slimcap_pcap_file {
        uint32_t magic;
        uint16_t version_major;
        uint16_t version_minor;
        uint32_t thiszone;      /* both always written as 0 */
        uint32_t sigfigs;
        uint32_t snaplen;
        uint32_t linktype;      /* 16 bits of type, above them FCS length and reserved bits */
    };
    _Static_assert(sizeof(struct slimcap_pcap_file) == 24, "pcap file header");

    struct slimcap_pcap_record {
        uint32_t seconds;
        uint32_t fraction;      /* micro- or nanoseconds, as the magic says */
        uint32_t caplen;
        uint32_t len;
    };
    _Static_assert(sizeof(struct slimcap_pcap_record) == 16, "pcap record header");

    #define SLIMCAP_PCAP_MICRO    0xa1b2c3d4u
    #define SLIMCAP_PCAP_NANO     0xa1b23c4du
    #define SLIMCAP_PCAP_MODIFIED 0xa1b2cd34u  /* Linux 2.2's patched libpcap: 8 bytes more a record */
    #define SLIMCAP_PCAP_MODIFIED_EXTRA 8
    """
    ctypedef struct PcapFileHeader "struct slimcap_pcap_file":
        uint32_t magic
        uint16_t version_major
        uint16_t version_minor
        uint32_t thiszone
        uint32_t sigfigs
        uint32_t snaplen
        uint32_t linktype

    ctypedef struct PcapRecordHeader "struct slimcap_pcap_record":
        uint32_t seconds
        uint32_t fraction
        uint32_t caplen
        uint32_t len

    const uint32_t PCAP_MICRO "SLIMCAP_PCAP_MICRO"
    const uint32_t PCAP_NANO "SLIMCAP_PCAP_NANO"
    const uint32_t PCAP_MODIFIED "SLIMCAP_PCAP_MODIFIED"
    const uint32_t PCAP_MODIFIED_EXTRA "SLIMCAP_PCAP_MODIFIED_EXTRA"
