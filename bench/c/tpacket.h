/*
 * A block of a TPACKET_V3 ring to slimcap's rows, and the ring itself. The kernel is believed: no length is checked.
 *
 *     tpacket_block_desc | tpacket3_hdr | sockaddr_ll | … | packet | … | tpacket3_hdr …
 *                        offset_to_first_pkt          tp_mac         tp_next_offset
 */
#ifndef SLIMCAP_BENCH_TPACKET_H
#define SLIMCAP_BENCH_TPACKET_H

#include <linux/if_packet.h>

#include "row.h"

#ifndef TP_STATUS_GSO_TCP /* Linux 5.19: newer than the headers of some distributions */
#define TP_STATUS_GSO_TCP (1 << 8)
#endif

enum { SMALLEST_PACKET = 72 }; /* bytes of a block that a packet takes at least: header, address, alignment */

static inline const struct tpacket3_hdr *first_packet(const struct tpacket_block_desc *block)
{
    return (const void *)((const uint8_t *)block + block->hdr.bh1.offset_to_first_pkt);
}

static inline const struct tpacket3_hdr *next_packet(const struct tpacket3_hdr *header)
{
    return (const void *)((const uint8_t *)header + header->tp_next_offset);
}

/* The tag that the kernel took out, and the state of the checksum. */
static inline void add_status(struct row *row, uint32_t status, uint16_t tci, uint16_t tpid)
{
    if (status & TP_STATUS_VLAN_VALID) {
        row->flags |= FLAG_VLAN | FLAG_VLAN_STRIPPED;
        row->vlan_tci = tci;
        row->vlan_tpid = status & TP_STATUS_VLAN_TPID_VALID ? tpid : ETHERTYPE_VLAN;
    }
    if (status & TP_STATUS_CSUMNOTREADY)
        row->flags |= FLAG_CHECKSUM_NOT_READY;
    if (status & TP_STATUS_CSUM_VALID)
        row->flags |= FLAG_CHECKSUM_VALID;
    if (status & TP_STATUS_GSO_TCP)
        row->flags |= FLAG_GSO;
}

static inline void fill_row(struct row *row, const struct tpacket3_hdr *header, const uint8_t *block)
{
    const uint8_t *payload = (const uint8_t *)header + header->tp_mac;
    const struct sockaddr_ll *address = (const void *)((const uint8_t *)header + TPACKET_ALIGN(sizeof *header));
    *row = (struct row){
        .timestamp = (int64_t)header->tp_sec * 1000000000 + header->tp_nsec,
        .offset = (uint64_t)(payload - block),
        .total_len = header->tp_len,
        .cap_len = header->tp_snaplen,
        .pkt_type = address->sll_pkttype,
        .flags = header->tp_snaplen < header->tp_len ? FLAG_TRUNCATED : 0,
    };
    row->ip_offset = find_ip(payload, header->tp_snaplen, row);
    add_status(row, header->tp_status, (uint16_t)header->hv1.tp_vlan_tci, header->hv1.tp_vlan_tpid);
}

/* Write a row for each packet; how many. */
static inline size_t walk_rows(const struct tpacket_block_desc *block, struct row *rows)
{
    const struct tpacket3_hdr *header = first_packet(block);
    size_t count = block->hdr.bh1.num_pkts;
    for (size_t i = 0; i < count; i++) {
        fill_row(&rows[i], header, (const uint8_t *)block);
        header = next_packet(header);
    }
    return count;
}

/* Only add up the lengths. */
static inline uint64_t walk_sum(const struct tpacket_block_desc *block)
{
    const struct tpacket3_hdr *header = first_packet(block);
    uint64_t sum = 0;
    for (size_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
        sum += header->tp_len;
        header = next_packet(header);
    }
    return sum;
}

#endif
