/*
 * Captures through a TPACKET_V3 ring, as a plain C program does: poll, walk a block, give it back.
 *
 *     live_ring sum|rows INTERFACE COUNT BLOCK_SIZE BLOCKS TIMEOUT_MS
 *
 * `sum` only adds up the lengths; `rows` writes slimcap's row for each packet, into a reused array, and adds up
 * its total_len column after each block.
 */
#include <sys/mman.h>

#include "live.h"
#include "tpacket.h"

struct ring {
    struct live live;
    size_t block_size, blocks;
    uint8_t *memory;
    struct row *rows;
};

static void open_ring(struct ring *r, const char *interface, unsigned int timeout_ms)
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
    r->memory = mmap(NULL, r->block_size * r->blocks, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    r->rows = malloc((r->block_size / SMALLEST_PACKET + 1) * sizeof *r->rows);
    if (r->memory == MAP_FAILED || !r->rows)
        die("no memory for the ring");
    bind_to(fd, interface);
    r->live.fd = fd;
}

static void take(struct ring *r, struct tpacket_block_desc *block, int rows)
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

static void capture(struct ring *r, int rows)
{
    size_t next = 0;
    ready(&r->live);
    for (;;) {
        struct tpacket_block_desc *block = (void *)(r->memory + next * r->block_size);
        if (__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) {
            take(r, block, rows);
            next = (next + 1) % r->blocks;
        } else if (!more(&r->live)) {
            return;
        }
    }
}

int main(int argc, char **argv)
{
    int rows = argc == 7 && !strcmp(argv[1], "rows");
    if (argc != 7 || (!rows && strcmp(argv[1], "sum")))
        die("usage: live_ring sum|rows INTERFACE COUNT BLOCK_SIZE BLOCKS TIMEOUT_MS");
    struct ring r = {
        .live = {.count = strtoull(argv[3], NULL, 10)},
        .block_size = strtoull(argv[4], NULL, 10),
        .blocks = strtoull(argv[5], NULL, 10),
    };
    open_ring(&r, argv[2], (unsigned int)strtoul(argv[6], NULL, 10));
    capture(&r, rows);
    print_live(&r.live);
    return 0;
}
