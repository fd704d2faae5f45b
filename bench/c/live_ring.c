/*
 * Captures through a TPACKET_V3 ring, as a plain C program does: poll, walk a block, give it back.
 *
 *     live_ring sum|rows INTERFACE COUNT BLOCK_SIZE BLOCKS TIMEOUT_MS
 *
 * `sum` only adds up the lengths; `rows` writes slimcap's row for each packet, into a reused array, and adds up
 * its total_len column after each block. INTERFACE may be several, as right0,right1: each has a ring of its own, and
 * one thread waits for all of them.
 */
#include <sys/epoll.h>
#include <sys/mman.h>

#include "live.h"
#include "tpacket.h"

enum { RINGS = 64 };

struct ring {
    int fd;
    uint8_t *memory;
    size_t next; /* block */
};

struct reader {
    struct live live;
    size_t block_size, blocks, count;
    struct ring rings[RINGS];
    struct row *rows;
};

static void open_ring(struct reader *r, const char *interface, unsigned int timeout_ms)
{
    int version = TPACKET_V3, fd = deaf_socket();
    enum { FRAME = 2048 }; /* of no account in V3, but it has to divide the block */
    struct tpacket_req3 request = {
        .tp_block_size = (unsigned int)r->block_size,
        .tp_block_nr = (unsigned int)r->blocks,
        .tp_frame_size = FRAME,
        .tp_frame_nr = (unsigned int)(r->block_size / FRAME * r->blocks),
        .tp_retire_blk_tov = timeout_ms,
    };
    set(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version, "PACKET_VERSION");
    set(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request, "PACKET_RX_RING");
    void *memory = mmap(NULL, r->block_size * r->blocks, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED || r->count == RINGS)
        die("no memory for the ring");
    bind_to(fd, interface);
    r->rings[r->count++] = (struct ring){.fd = fd, .memory = memory};
}

/* Wait for the only ring, or for an epoll with all of them. */
static void open_rings(struct reader *r, char *interfaces, unsigned int timeout_ms)
{
    r->rows = malloc((r->block_size / SMALLEST_PACKET + 1) * sizeof *r->rows);
    if (!r->rows)
        die("no memory for the rows");
    for (char *one = strtok(interfaces, ","); one; one = strtok(NULL, ","))
        open_ring(r, one, timeout_ms);
    r->live.fd = r->count == 1 ? r->rings[0].fd : check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    for (size_t i = 0; r->count > 1 && i < r->count; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        check(epoll_ctl(r->live.fd, EPOLL_CTL_ADD, r->rings[i].fd, &event), "epoll_ctl");
    }
}

static void take(struct reader *r, struct tpacket_block_desc *block, int rows)
{
    if (rows) {
        size_t count = walk_rows(block, r->rows);
        r->live.sum += sum_total_len(r->rows, count);
    } else {
        r->live.sum += walk_sum(block);
    }
    r->live.packets += block->hdr.bh1.num_pkts;
    __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

/* Read what is ready in a ring; 0 if nothing is. */
static int read_ring(struct reader *r, struct ring *ring, int rows)
{
    int found = 0;
    for (;;) {
        struct tpacket_block_desc *block = (void *)(ring->memory + ring->next * r->block_size);
        if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            return found;
        take(r, block, rows);
        ring->next = (ring->next + 1) % r->blocks;
        found = 1;
    }
}

static void capture(struct reader *r, int rows)
{
    int found;
    ready(&r->live);
    do {
        found = 0;
        for (size_t i = 0; i < r->count; i++)
            found |= read_ring(r, &r->rings[i], rows);
    } while (found || more(&r->live));
}

int main(int argc, char **argv)
{
    int rows = argc == 7 && !strcmp(argv[1], "rows");
    unsigned int dropped = 0;
    if (argc != 7 || (!rows && strcmp(argv[1], "sum")))
        die("usage: live_ring sum|rows INTERFACE COUNT BLOCK_SIZE BLOCKS TIMEOUT_MS");
    struct reader r = {
        .live = {.count = strtoull(argv[3], NULL, 10)},
        .block_size = strtoull(argv[4], NULL, 10),
        .blocks = strtoull(argv[5], NULL, 10),
    };
    open_rings(&r, argv[2], (unsigned int)strtoul(argv[6], NULL, 10));
    capture(&r, rows);
    double cpu = cpu_seconds() - r.live.cpu;
    for (size_t i = 0; i < r.count; i++)
        dropped += dropped_by(r.rings[i].fd);
    print_live(&r.live, dropped, cpu);
    return 0;
}
