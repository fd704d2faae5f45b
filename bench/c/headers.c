/*
 * Reads a capture file in pieces (pieces.h) and writes header columns for each packet, as slimcap has them, into a
 * reused array: what `Batch.headers` is measured against.
 *
 *     headers five FILE         source, destination, protocol, ports
 *     headers rows-five FILE    the same, and slimcap's row for each packet, which is where it looks for IP
 *     headers all FILE          all columns of slimcap.HEADER_DTYPE
 *
 * The sum is that of the source ports, added up after each piece. At most one VLAN tag, extension headers of IPv6
 * that have a length in units of 8 bytes, no tunnels.
 */
#include "pieces.h"

enum { ICMP = 1, TCP = 6, UDP = 17, ICMPV6 = 58 };
enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60 };
enum { STATUS_OK, STATUS_NO_IP, STATUS_ARP, STATUS_FRAGMENT, STATUS_TRUNCATED, STATUS_MALFORMED };

struct five {
    uint8_t src[16], dst[16], protocol;
    uint16_t src_port, dst_port;
};

struct rows_five {
    struct row row;
    struct five five;
};

struct all { /* slimcap.HEADER_DTYPE */
    uint8_t src[16], dst[16];
    uint32_t flow_label, ip_len, ip_id, tcp_seq, tcp_ack, l4_offset, l7_offset, l7_len;
    uint16_t ethertype, vlan_id, inner_vlan_id, frag_offset, src_port, dst_port, tcp_flags, tcp_window;
    uint8_t src_mac[6], dst_mac[6];
    uint8_t status, ip_version, protocol, ttl, tos, more_fragments, icmp_type, icmp_code, tunnels;
};

_Static_assert(sizeof(struct five) == 38, "the columns, aligned");
_Static_assert(sizeof(struct all) == 104, "slimcap.HEADER_DTYPE");

static inline uint32_t be32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, 4);
    return __builtin_bswap32(value);
}

static inline void put_mapped(uint8_t *out, const uint8_t *address)
{
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    memcpy(out + 12, address, 4);
}

/* Where the IP header starts, behind at most one VLAN tag; 0 if there is none. */
static inline uint32_t find_type(const uint8_t *p, uint32_t n, uint16_t *type, uint16_t *vlan)
{
    if (n <= 14)
        return 0;
    *type = be16(p + 12);
    uint32_t at = 14;
    if (__builtin_expect(*type == ETHERTYPE_VLAN || *type == ETHERTYPE_QINQ, 0)) {
        if (n <= 18)
            return 0;
        *vlan = be16(p + 14) & 0xfff;
        *type = be16(p + 16);
        at = 18;
    }
    return *type == ETHERTYPE_IPV4 || *type == ETHERTYPE_IPV6 ? at : 0;
}

/* Where the upper layer starts in an IPv4 packet; 0 if it does not. */
static inline uint32_t upper_ipv4(const uint8_t *ip, uint32_t n, uint8_t *protocol)
{
    uint32_t length = (ip[0] & 15) * 4;
    *protocol = ip[9];
    return length >= 20 && length <= n && !(be16(ip + 6) & 0x1fff) ? length : 0;
}

static inline uint32_t upper_ipv6(const uint8_t *ip, uint32_t n, uint8_t *protocol)
{
    uint32_t at = 40;
    *protocol = ip[6];
    while (*protocol == HOP_BY_HOP || *protocol == ROUTING || *protocol == FRAGMENT || *protocol == DESTINATION) {
        if (n < at + 8)
            return 0;
        int fragment = *protocol == FRAGMENT;
        *protocol = ip[at];
        if (fragment && be16(ip + at + 2) & 0xfff8)
            return 0;
        at += fragment ? 8 : (ip[at + 1] + 1u) * 8;
    }
    return at <= n ? at : 0;
}

static inline uint32_t shorter(uint32_t n, uint32_t said)
{
    return said && said < n ? said : n;
}

static inline void fill_five_at(struct five *row, const uint8_t *p, uint32_t n, uint32_t at)
{
    uint32_t upper = 0;
    memset(row, 0, sizeof *row);
    if (!at)
        return;
    const uint8_t *ip = p + at;
    n -= at;
    if (n >= 20 && ip[0] >> 4 == 4) {
        n = shorter(n, be16(ip + 2));
        put_mapped(row->src, ip + 12);
        put_mapped(row->dst, ip + 16);
        upper = upper_ipv4(ip, n, &row->protocol);
    } else if (n >= 40 && ip[0] >> 4 == 6) {
        n = shorter(n, be16(ip + 4) + 40u);
        memcpy(row->src, ip + 8, 32);
        upper = upper_ipv6(ip, n, &row->protocol);
    }
    if (upper && upper + 4 <= n && (row->protocol == TCP || row->protocol == UDP)) {
        row->src_port = be16(ip + upper);
        row->dst_port = be16(ip + upper + 2);
    }
}

static inline void fill_five(struct five *row, const uint8_t *p, const struct record_header *header, size_t offset)
{
    uint16_t type, vlan;
    (void)offset;
    fill_five_at(row, p, header->cap_len, find_type(p, header->cap_len, &type, &vlan));
}

static inline void
fill_rows_five(struct rows_five *row, const uint8_t *p, const struct record_header *header, size_t offset)
{
    fill_row(&row->row, header, p, offset);
    fill_five_at(&row->five, p, header->cap_len, row->row.ip_offset == NO_IP ? 0 : row->row.ip_offset);
}

static inline void fill_transport(struct all *row, const uint8_t *p, uint32_t n, uint32_t length)
{
    uint32_t own = 8, said = 0;
    if (row->protocol == TCP || row->protocol == UDP) {
        if (n < 8)
            return;
        row->src_port = be16(p);
        row->dst_port = be16(p + 2);
    }
    if (row->protocol == TCP) {
        if (n < 20)
            return;
        row->tcp_seq = be32(p + 4);
        row->tcp_ack = be32(p + 8);
        row->tcp_flags = be16(p + 12) & 0xfff;
        row->tcp_window = be16(p + 14);
        own = (p[12] >> 4) * 4;
    } else if (row->protocol == ICMP || row->protocol == ICMPV6) {
        if (n < 8)
            return;
        row->icmp_type = p[0];
        row->icmp_code = p[1];
    } else if (row->protocol == UDP) {
        said = be16(p + 4);
    } else {
        return;
    }
    row->status = said > length || row->status == STATUS_MALFORMED ? STATUS_MALFORMED : STATUS_OK;
    row->l7_offset = row->l4_offset + own;
    row->l7_len = shorter(length, said) - own;
}

static inline void fill_all(struct all *row, const uint8_t *p, const struct record_header *header, size_t offset)
{
    uint32_t n = header->cap_len, total = total_len(header);
    (void)offset;
    memset(row, 0, sizeof *row);
    uint32_t at = find_type(p, n, &row->ethertype, &row->vlan_id), upper = 0;
    if (n >= 12) {
        memcpy(row->dst_mac, p, 6);
        memcpy(row->src_mac, p + 6, 6);
    }
    row->status = STATUS_NO_IP;
    if (!at)
        return;
    const uint8_t *ip = p + at;
    n -= at;
    row->status = STATUS_TRUNCATED;
    row->ip_version = ip[0] >> 4;
    if (n >= 20 && row->ip_version == 4) {
        put_mapped(row->src, ip + 12);
        put_mapped(row->dst, ip + 16);
        row->tos = ip[1];
        row->ip_len = be16(ip + 2);
        row->ip_id = be16(ip + 4);
        row->frag_offset = (be16(ip + 6) & 0x1fff) << 3;
        row->more_fragments = be16(ip + 6) & 0x2000 ? 1 : 0;
        row->ttl = ip[8];
        n = shorter(n, row->ip_len);
        upper = upper_ipv4(ip, n, &row->protocol);
    } else if (n >= 40 && row->ip_version == 6) {
        memcpy(row->src, ip + 8, 32);
        row->tos = be16(ip) >> 4;
        row->flow_label = be32(ip) & 0xfffff;
        row->ip_len = be16(ip + 4) + 40u;
        row->ttl = ip[7];
        n = shorter(n, row->ip_len);
        upper = upper_ipv6(ip, n, &row->protocol);
    }
    if (!upper)
        return;
    row->l4_offset = at + upper;
    if (row->ip_len > total - at)
        row->status = STATUS_MALFORMED;
    fill_transport(row, ip + upper, n - upper, shorter(total - at, row->ip_len) - upper);
}

#define WALK(kind, port)                                                              \
    static size_t walk_##kind(struct reader *r, size_t at)                            \
    {                                                                                 \
        struct record_header header;                                                  \
        struct kind *rows = r->rows;                                                  \
        size_t n = 0;                                                                 \
        while (whole_record(r, at, &header)) {                                        \
            at += sizeof header;                                                      \
            fill_##kind(&rows[n++], r->buffer + at, &header, at);                     \
            at += header.cap_len;                                                     \
        }                                                                             \
        /* The rows are the product: they may not be summed on the way and dropped. */ \
        __asm__ volatile("" : : "r"(rows) : "memory");                                \
        for (size_t i = 0; i < n; i++)                                                \
            r->report.sum += rows[i].port;                                            \
        r->report.packets += n;                                                       \
        return at;                                                                    \
    }

WALK(five, src_port)
WALK(rows_five, five.src_port)
WALK(all, src_port)

static const struct {
    const char *name;
    walk_fn *walk;
    size_t row_size;
} modes[] = {
    {"five", walk_five, sizeof(struct five)},
    {"rows-five", walk_rows_five, sizeof(struct rows_five)},
    {"all", walk_all, sizeof(struct all)},
};

int main(int argc, char **argv)
{
    struct reader r = {.piece = DEFAULT_PIECE};
    for (size_t i = 0; argc == 3 && i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argv[1], modes[i].name))
            continue;
        double start = now();
        read_file(&r, argv[2], modes[i].walk, modes[i].row_size);
        r.report.seconds = now() - start;
        print_report(&r.report);
        return 0;
    }
    die("usage: headers five|rows-five|all FILE");
}
