/* Walks filled blocks of a TPACKET_V3 ring that lie one behind the other: a library, to be called by walk_block.py. */
#include "tpacket.h"

/* Write a row for each packet of every block in turn, `turns` times over; how many rows that were. */
uint64_t walk_blocks(const uint8_t *blocks, uint64_t size, uint64_t number, struct row *rows, uint64_t turns)
{
    uint64_t count = 0;
    for (uint64_t turn = 0; turn < turns; turn++)
        for (uint64_t i = 0; i < number; i++) {
            count += walk_rows((const void *)(blocks + i * size), rows);
            /* What was written has to be there, as if somebody read it. */
            __asm__ volatile("" : : "r"(rows) : "memory");
        }
    return count;
}
