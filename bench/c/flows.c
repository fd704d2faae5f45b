/*
 * Reads a capture file in pieces (pieces.h) and counts its packets in flows, both directions in one record, as
 * slimcap.FlowTable does: what that is measured against.
 *
 *     flows FILE MAX_FLOWS
 *
 * A flow ends after 15 s without a packet, its record after 300 s; if the table is full, the flow that had no packet
 * for the longest time ends. Ended records are copied to a reused array. The sum is that of the lengths on the wire
 * over all records. Plain UDP and TCP in Ethernet with at most one VLAN tag; no fragments, no ends of connections.
 *
 * As in slimcap, the headers of 64 packets are parsed and what they need of the table is prefetched, before they are
 * counted one by one.
 */
#include "pieces.h"

enum { TCP = 6, UDP = 17 };
enum { CHUNK = 64, ENDED = 4096, NO_FLOW = 0 };

static const int64_t IDLE = 15000000000, ACTIVE = 300000000000;
static const uint64_t SECRET[3] = {0x9c0dd3a36cb1e2a7, 0x27f1b5d5e8a4c693, 0xd1b54a32d192ed03};

struct packet {
    uint64_t address[2][2];
    uint16_t port[2], vlan, flags;
    uint32_t hash, total_len, ip_len;
    uint8_t protocol, version;
    int64_t timestamp;
};

struct flow { /* slimcap.FLOW_DTYPE, and the list */
    int64_t first, last;
    uint64_t id, address[2][2];
    uint32_t interface;
    uint16_t port[2];
    uint64_t packets[2], bytes[2], ip_bytes[2];
    uint16_t flags[2], vlan;
    uint8_t protocol, version, type, code, initiator, reason;
    uint32_t part;
};

_Static_assert(sizeof(struct flow) == 128, "slimcap.FLOW_DTYPE");

struct node {
    int64_t seen;
    uint32_t prev, next; /* also of the list of free nodes */
};

struct slot {
    uint32_t hash, flow;
};

static struct flow *flows, ended[ENDED];
static struct node *nodes; /* node 0 is the head of the list, in order of the flows' last packets */
static struct slot *slots;
static uint32_t max_flows, count, fresh = 1, free_list, mask;
static size_t ended_count;

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_of_side(const uint64_t *address, uint16_t port)
{
    return fold(fold(address[0] ^ SECRET[0], address[1] ^ SECRET[1]) ^ port, SECRET[2]);
}

static inline void set_hash(struct packet *packet)
{
    uint64_t sides = hash_of_side(packet->address[0], packet->port[0]) + hash_of_side(packet->address[1], packet->port[1]);
    packet->hash = (uint32_t)(fold(sides ^ packet->protocol ^ (uint64_t)packet->vlan << 8, SECRET[2]) >> 32);
}

/* 0 if the packet is not plain. */
static inline int parse(struct packet *packet, const uint8_t *p, const struct record_header *header)
{
    struct row row;
    memset(&row, 0, sizeof row);
    uint32_t at = find_ip(p, header->cap_len, &row), n = header->cap_len - at, upper;
    if (at == NO_IP || n < 28)
        return 0;
    p += at;
    if (p[0] == 0x45 && !(be16(p + 6) & 0x3fff)) {
        packet->address[0][0] = packet->address[1][0] = 0;
        uint32_t words[4] = {0xffff0000, 0, 0xffff0000, 0};
        memcpy(&words[1], p + 12, 4);
        memcpy(&words[3], p + 16, 4);
        memcpy(&packet->address[0][1], words, 8);
        memcpy(&packet->address[1][1], words + 2, 8);
        packet->protocol = p[9];
        packet->version = 4;
        packet->ip_len = be16(p + 2);
        upper = 20;
    } else if (p[0] >> 4 == 6 && n >= 48) {
        memcpy(packet->address, p + 8, 32);
        packet->protocol = p[6];
        packet->version = 6;
        packet->ip_len = be16(p + 4) + 40u;
        upper = 40;
    } else {
        return 0;
    }
    packet->flags = 0;
    if (packet->protocol == TCP && n >= upper + 20)
        packet->flags = be16(p + upper + 12) & 0xfff;
    else if (packet->protocol != UDP)
        return 0;
    packet->port[0] = be16(p + upper);
    packet->port[1] = be16(p + upper + 2);
    packet->vlan = row.vlan_tci & 0xfff;
    packet->total_len = total_len(header);
    packet->timestamp = (int64_t)header->sec * 1000000000 + (int64_t)header->usec * 1000;
    return 1;
}

static inline uint64_t differs(const struct flow *flow, int end, const struct packet *packet, int side)
{
    return (flow->address[end][0] ^ packet->address[side][0]) | (flow->address[end][1] ^ packet->address[side][1]) |
           (uint64_t)(flow->port[end] ^ packet->port[side]);
}

static inline int has_key(const struct flow *flow, const struct packet *packet, int *reverse)
{
    *reverse = differs(flow, 0, packet, 0) != 0;
    return !(differs(flow, 0, packet, *reverse) | differs(flow, 1, packet, !*reverse) |
             (uint64_t)(flow->protocol ^ packet->protocol) | (uint64_t)(flow->vlan ^ packet->vlan));
}

static inline void take_out(uint32_t flow)
{
    nodes[nodes[flow].prev].next = nodes[flow].next;
    nodes[nodes[flow].next].prev = nodes[flow].prev;
}

static inline void append(uint32_t flow)
{
    uint32_t last = nodes[0].prev;
    nodes[flow].prev = last;
    nodes[flow].next = 0;
    nodes[last].next = nodes[0].prev = flow;
}

static void emit(struct report *report, const struct flow *flow, uint8_t reason)
{
    if (ended_count == ENDED)
        ended_count = 0;
    ended[ended_count] = *flow;
    ended[ended_count++].reason = reason;
    /* The records are the product: they may not be summed and dropped. */
    __asm__ volatile("" : : "r"(ended) : "memory");
    report->sum += flow->bytes[0] + flow->bytes[1];
}

static void end(struct report *report, uint32_t flow, uint8_t reason)
{
    struct packet packet;
    memcpy(packet.address, flows[flow].address, sizeof packet.address);
    memcpy(packet.port, flows[flow].port, sizeof packet.port);
    packet.protocol = flows[flow].protocol;
    packet.vlan = flows[flow].vlan;
    set_hash(&packet);
    uint32_t hole = packet.hash & mask;
    while (slots[hole].flow != flow)
        hole = (hole + 1) & mask;
    for (uint32_t at = (hole + 1) & mask; slots[at].flow; at = (at + 1) & mask)
        if (((at - slots[at].hash) & mask) >= ((at - hole) & mask)) {
            slots[hole] = slots[at];
            hole = at;
        }
    slots[hole].flow = NO_FLOW;
    emit(report, &flows[flow], reason);
    take_out(flow);
    nodes[flow].next = free_list;
    free_list = flow;
    count--;
}

static uint32_t start(struct report *report, const struct packet *packet, uint32_t at, int *reverse)
{
    if (count == max_flows) {
        end(report, nodes[0].next, 5);
        for (at = packet->hash & mask; slots[at].flow; at = (at + 1) & mask)
            ;
    }
    uint32_t new = free_list;
    if (new)
        free_list = nodes[new].next;
    else
        new = fresh++;
    count++;
    slots[at] = (struct slot){packet->hash, new};
    struct flow *flow = &flows[new];
    memset(flow, 0, sizeof *flow);
    *reverse = packet->port[0] < 1024 && packet->port[1] >= 1024;
    for (int side = 0; side < 2; side++) {
        memcpy(flow->address[side], packet->address[side ^ *reverse], 16);
        flow->port[side] = packet->port[side ^ *reverse];
    }
    flow->protocol = packet->protocol;
    flow->version = packet->version;
    flow->vlan = packet->vlan;
    flow->id = packet->hash ^ (uint64_t)packet->timestamp;
    flow->first = flow->last = packet->timestamp;
    append(new);
    return new;
}

static void add(struct report *report, const struct packet *packet)
{
    int reverse = 0;
    uint32_t at, found;
    while (nodes[0].next && packet->timestamp - nodes[nodes[0].next].seen > IDLE)
        end(report, nodes[0].next, 1);
    for (at = packet->hash & mask; (found = slots[at].flow); at = (at + 1) & mask)
        if (slots[at].hash == packet->hash && has_key(&flows[found], packet, &reverse))
            break;
    if (!found)
        found = start(report, packet, at, &reverse);
    struct flow *flow = &flows[found];
    if (packet->timestamp - flow->first >= ACTIVE) {
        emit(report, flow, 2);
        memset(flow->packets, 0, sizeof flow->packets);
        memset(flow->bytes, 0, sizeof flow->bytes);
        memset(flow->ip_bytes, 0, sizeof flow->ip_bytes);
        memset(flow->flags, 0, sizeof flow->flags);
        flow->part++;
        flow->first = flow->last = packet->timestamp;
    }
    flow->last = packet->timestamp > flow->last ? packet->timestamp : flow->last;
    flow->packets[reverse]++;
    flow->bytes[reverse] += packet->total_len;
    flow->ip_bytes[reverse] += packet->ip_len;
    flow->flags[reverse] |= packet->flags;
    nodes[found].seen = packet->timestamp;
    take_out(found);
    append(found);
}

static void prefetch_flow(const struct packet *packet)
{
    uint32_t at = packet->hash & mask;
    while (slots[at].flow && slots[at].hash != packet->hash)
        at = (at + 1) & mask;
    __builtin_prefetch(&flows[slots[at].flow]);
    __builtin_prefetch((const char *)&flows[slots[at].flow] + 64);
    __builtin_prefetch(&nodes[slots[at].flow]);
}

static void count_chunk(struct report *report, struct packet *packets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        set_hash(&packets[i]);
        __builtin_prefetch(&slots[packets[i].hash & mask]);
    }
    for (size_t i = 0; i < n; i++)
        prefetch_flow(&packets[i]);
    for (size_t i = 0; i < n; i++)
        add(report, &packets[i]);
    report->packets += n;
}

static size_t walk(struct reader *r, size_t at)
{
    struct record_header header;
    struct packet packets[CHUNK];
    size_t n = 0;
    while (whole_record(r, at, &header)) {
        at += sizeof header;
        if (!parse(&packets[n], r->buffer + at, &header))
            die("a packet that is not plain UDP or TCP");
        at += header.cap_len;
        if (++n == CHUNK) {
            count_chunk(&r->report, packets, n);
            n = 0;
        }
    }
    count_chunk(&r->report, packets, n);
    return at;
}

int main(int argc, char **argv)
{
    struct reader r = {.piece = DEFAULT_PIECE};
    if (argc != 3)
        die("usage: flows FILE MAX_FLOWS");
    double begin = now();
    max_flows = (uint32_t)strtoul(argv[2], NULL, 10);
    for (mask = 1023; mask < max_flows / 5 * 8; mask = mask * 2 + 1)
        ;
    flows = aligned_alloc(128, ((size_t)max_flows + 1) * sizeof *flows);
    nodes = malloc(((size_t)max_flows + 1) * sizeof *nodes);
    slots = calloc((size_t)mask + 1, sizeof *slots);
    if (!flows || !nodes || !slots)
        die("no memory for the table");
    nodes[0].prev = nodes[0].next = 0;
    read_file(&r, argv[1], walk, 1);
    while (nodes[0].next)
        end(&r.report, nodes[0].next, 4);
    r.report.seconds = now() - begin;
    print_report(&r.report);
    return 0;
}
