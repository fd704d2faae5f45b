"""On-disk structs of capture files, as C structs.

Classic pcap: draft-ietf-opsawg-pcap, sections 4 (file header) and 5 (packet record).
pcapng: draft-ietf-opsawg-pcapng, sections 3 (blocks and options) and 4 (block types).
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>

    struct slimcap_pcap_file {
        uint32_t magic;
        uint16_t version_major;
        uint16_t version_minor;
        uint32_t thiszone;      /* always written as 0 */
        uint32_t sigfigs;       /* always written as 0 */
        uint32_t snaplen;
        uint32_t linktype;      /* low 16 bits: type; high 16 bits: FCS length and reserved bits */
    };
    _Static_assert(sizeof(struct slimcap_pcap_file) == 24, "pcap file header");

    struct slimcap_pcap_record {
        uint32_t seconds;
        uint32_t fraction;      /* micro- or nanoseconds, depending on the magic number */
        uint32_t caplen;
        uint32_t len;
    };
    _Static_assert(sizeof(struct slimcap_pcap_record) == 16, "pcap record header");

    #define SLIMCAP_PCAP_MICRO    0xa1b2c3d4u
    #define SLIMCAP_PCAP_NANO     0xa1b23c4du
    #define SLIMCAP_PCAP_MODIFIED 0xa1b2cd34u  /* patched libpcap of Linux 2.2: 8 more bytes per record */
    #define SLIMCAP_PCAP_MODIFIED_EXTRA 8
    #define SLIMCAP_PCAP_IXIA_HW  0x1c0001acu  /* IXIA lcap: 4 more bytes in the file header, */
    #define SLIMCAP_PCAP_IXIA_SW  0x1c0001abu  /* the total size of all records */
    #define SLIMCAP_PCAP_IXIA_EXTRA 4

    struct slimcap_pcapng_block {
        uint32_t type;
        uint32_t length;        /* of the whole block, which repeats this number at its end */
    };

    struct slimcap_pcapng_section {
        uint32_t type;          /* reads the same in both byte orders */
        uint32_t length;
        uint32_t order;
        uint16_t version_major;
        uint16_t version_minor;
        uint32_t section_length[2];
    };
    _Static_assert(sizeof(struct slimcap_pcapng_section) == 24, "pcapng section header block");

    struct slimcap_pcapng_interface {
        uint32_t type;
        uint32_t length;
        uint16_t linktype;
        uint16_t reserved;
        uint32_t snaplen;
    };
    _Static_assert(sizeof(struct slimcap_pcapng_interface) == 16, "pcapng interface description block");

    struct slimcap_pcapng_packet {
        uint32_t type;
        uint32_t length;
        uint32_t interface_id;
        uint32_t time_high;
        uint32_t time_low;
        uint32_t caplen;
        uint32_t len;
    };
    _Static_assert(sizeof(struct slimcap_pcapng_packet) == 28, "pcapng enhanced packet block");

    struct slimcap_pcapng_old_packet {
        uint32_t type;
        uint32_t length;
        uint16_t interface_id;
        uint16_t drops;         /* packets dropped since the previous packet; 0xffff: not known */
        uint32_t time_high;
        uint32_t time_low;
        uint32_t caplen;
        uint32_t len;
    };
    _Static_assert(sizeof(struct slimcap_pcapng_old_packet) == 28, "pcapng packet block");

    struct slimcap_pcapng_simple_packet {
        uint32_t type;
        uint32_t length;
        uint32_t len;
    };
    _Static_assert(sizeof(struct slimcap_pcapng_simple_packet) == 12, "pcapng simple packet block");

    struct slimcap_pcapng_statistics {
        uint32_t type;
        uint32_t length;
        uint32_t interface_id;
        uint32_t time_high;
        uint32_t time_low;
    };
    _Static_assert(sizeof(struct slimcap_pcapng_statistics) == 20, "pcapng interface statistics block");

    struct slimcap_pcapng_secrets {
        uint32_t type;
        uint32_t length;
        uint32_t kind;
        uint32_t secrets_length;
    };

    struct slimcap_pcapng_custom {
        uint32_t type;
        uint32_t length;
        uint32_t enterprise;    /* number of who defines the rest of the block */
    };

    struct slimcap_pcapng_name { /* a record of a name resolution block */
        uint16_t kind;          /* 0: the last one */
        uint16_t length;        /* of the value after it, without its padding */
    };

    struct slimcap_pcapng_option {
        uint16_t code;
        uint16_t length;        /* of the value after it, without its padding to a multiple of 4 */
    };

    #define SLIMCAP_PCAPNG_SECTION    0x0a0d0d0au
    #define SLIMCAP_PCAPNG_ORDER      0x1a2b3c4du
    #define SLIMCAP_PCAPNG_INTERFACE  1u
    #define SLIMCAP_PCAPNG_OLD_PACKET 2u
    #define SLIMCAP_PCAPNG_SIMPLE     3u
    #define SLIMCAP_PCAPNG_NAMES      4u           /* name resolution */
    #define SLIMCAP_PCAPNG_STATISTICS 5u
    #define SLIMCAP_PCAPNG_PACKET     6u
    #define SLIMCAP_PCAPNG_JOURNAL    9u           /* an entry of the systemd journal */
    #define SLIMCAP_PCAPNG_SECRETS    10u          /* decryption secrets */
    #define SLIMCAP_PCAPNG_CUSTOM     0x00000badu
    #define SLIMCAP_PCAPNG_PRIVATE    0x40000badu  /* custom, and not to be copied to another file */
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
    const uint32_t PCAP_IXIA_HW "SLIMCAP_PCAP_IXIA_HW"
    const uint32_t PCAP_IXIA_SW "SLIMCAP_PCAP_IXIA_SW"
    const uint32_t PCAP_IXIA_EXTRA "SLIMCAP_PCAP_IXIA_EXTRA"

    ctypedef struct PcapngBlock "struct slimcap_pcapng_block":
        uint32_t type
        uint32_t length

    ctypedef struct PcapngSection "struct slimcap_pcapng_section":
        uint32_t type
        uint32_t length
        uint32_t order
        uint16_t version_major
        uint16_t version_minor
        uint32_t[2] section_length

    ctypedef struct PcapngInterface "struct slimcap_pcapng_interface":
        uint32_t type
        uint32_t length
        uint16_t linktype
        uint16_t reserved
        uint32_t snaplen

    ctypedef struct PcapngPacket "struct slimcap_pcapng_packet":
        uint32_t type
        uint32_t length
        uint32_t interface_id
        uint32_t time_high
        uint32_t time_low
        uint32_t caplen
        uint32_t len

    ctypedef struct PcapngOldPacket "struct slimcap_pcapng_old_packet":
        uint16_t interface_id
        uint16_t drops

    ctypedef struct PcapngSimplePacket "struct slimcap_pcapng_simple_packet":
        uint32_t len

    ctypedef struct PcapngStatistics "struct slimcap_pcapng_statistics":
        uint32_t type
        uint32_t length
        uint32_t interface_id
        uint32_t time_high
        uint32_t time_low

    ctypedef struct PcapngSecrets "struct slimcap_pcapng_secrets":
        uint32_t kind
        uint32_t secrets_length

    ctypedef struct PcapngCustom "struct slimcap_pcapng_custom":
        uint32_t enterprise

    ctypedef struct PcapngName "struct slimcap_pcapng_name":
        uint16_t kind
        uint16_t length

    ctypedef struct PcapngOption "struct slimcap_pcapng_option":
        uint16_t code
        uint16_t length

    const uint32_t PCAPNG_SECTION "SLIMCAP_PCAPNG_SECTION"
    const uint32_t PCAPNG_ORDER "SLIMCAP_PCAPNG_ORDER"
    const uint32_t PCAPNG_INTERFACE "SLIMCAP_PCAPNG_INTERFACE"
    const uint32_t PCAPNG_OLD_PACKET "SLIMCAP_PCAPNG_OLD_PACKET"
    const uint32_t PCAPNG_SIMPLE "SLIMCAP_PCAPNG_SIMPLE"
    const uint32_t PCAPNG_NAMES "SLIMCAP_PCAPNG_NAMES"
    const uint32_t PCAPNG_STATISTICS "SLIMCAP_PCAPNG_STATISTICS"
    const uint32_t PCAPNG_PACKET "SLIMCAP_PCAPNG_PACKET"
    const uint32_t PCAPNG_JOURNAL "SLIMCAP_PCAPNG_JOURNAL"
    const uint32_t PCAPNG_SECRETS "SLIMCAP_PCAPNG_SECRETS"
    const uint32_t PCAPNG_CUSTOM "SLIMCAP_PCAPNG_CUSTOM"
    const uint32_t PCAPNG_PRIVATE "SLIMCAP_PCAPNG_PRIVATE"

cdef enum:
    # Option codes; their meaning depends on the block (draft-ietf-opsawg-pcapng, 3.5, 4.1, 4.2, 4.3, 4.6).
    OPTION_END = 0
    MAX_OPTION = 0xffff         # maximum length of a value in bytes
    OPTION_COMMENT = 1
    OPTION_CUSTOM_TEXT = 2988
    OPTION_CUSTOM = 2989
    OPTION_PRIVATE_TEXT = 19372     # custom, and not to be copied to another file
    OPTION_PRIVATE = 19373
    SECTION_HARDWARE = 2
    SECTION_OS = 3
    SECTION_APPLICATION = 4
    INTERFACE_NAME = 2
    INTERFACE_DESCRIPTION = 3
    INTERFACE_SPEED = 8
    INTERFACE_TIME_RESOLUTION = 9
    INTERFACE_TIME_ZONE = 10
    INTERFACE_FILTER = 11
    INTERFACE_OS = 12
    INTERFACE_FCS_LENGTH = 13
    INTERFACE_TIME_OFFSET = 14
    INTERFACE_HARDWARE = 15
    INTERFACE_SEND_SPEED = 16
    INTERFACE_RECEIVE_SPEED = 17
    PACKET_FLAGS = 2
    PACKET_DROPS = 4
    PACKET_ID = 5
    PACKET_QUEUE = 6
    PACKET_VERDICT = 7
    STATISTICS_START = 2
    STATISTICS_END = 3
    STATISTICS_RECEIVED = 4
    STATISTICS_INTERFACE_DROPS = 5
    STATISTICS_FILTER_ACCEPTED = 6
    STATISTICS_SYSTEM_DROPS = 7
    STATISTICS_DELIVERED = 8

cdef enum:
    LENGTH_SIZE = sizeof(uint32_t)  # size of the block length, which a block repeats at its end


cdef inline uint64_t padded(uint64_t size) noexcept nogil:
    """Round a size up to a multiple of 4, as packets and option values are padded in pcapng."""
    return (size + 3) & ~<uint64_t> 3
