/* slimcap's row, one a packet, and where IP is in an Ethernet frame: what every C reader here that writes rows shares. */
#ifndef SLIMCAP_BENCH_ROW_H
#define SLIMCAP_BENCH_ROW_H

#include <stddef.h>
#include <stdint.h>

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_QINQ = 0x88a8,
    ETHERTYPE_IPV6 = 0x86dd,
    NO_IP = 0xffff,
    PKT_UNKNOWN = 255,
    FLAG_VLAN = 1,
    FLAG_VLAN_STRIPPED = 2,
    FLAG_TRUNCATED = 4,
    FLAG_CHECKSUM_VALID = 8,
    FLAG_CHECKSUM_NOT_READY = 16,
    FLAG_GSO = 64,
};

struct row { /* slimcap.RECORD_DTYPE */
    int64_t timestamp;
    uint64_t offset;
    uint32_t total_len, cap_len;
    uint32_t interface;
    uint16_t vlan_tci, vlan_tpid, ip_offset;
    uint8_t pkt_type, spare;
    uint32_t flags;
};

_Static_assert(sizeof(struct row) == 40, "slimcap.RECORD_DTYPE");

static inline uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* Where the IP header starts, behind at most one VLAN tag, which goes into the row. */
static inline uint16_t find_ip(const uint8_t *payload, uint32_t cap_len, struct row *row)
{
    uint16_t offset = 14;
    if (cap_len <= offset)
        return NO_IP;
    uint16_t type = be16(payload + 12);
    if (__builtin_expect(type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ, 0)) {
        offset = 18;
        if (cap_len <= offset)
            return NO_IP;
        row->vlan_tpid = type;
        row->vlan_tci = be16(payload + 14);
        row->flags |= FLAG_VLAN;
        type = be16(payload + 16);
    }
    return type == ETHERTYPE_IPV4 || type == ETHERTYPE_IPV6 ? offset : NO_IP;
}

static inline uint64_t sum_total_len(const struct row *rows, size_t count)
{
    /* The rows are the product: the compiler may not sum while it writes them, and drop them. */
    __asm__ volatile("" : : "r"(rows) : "memory");
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += rows[i].total_len;
    return sum;
}

#endif
