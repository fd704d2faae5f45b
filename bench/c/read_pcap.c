/*
 * Reads a capture file as fast as a plain C program can: read() in pieces into one reused buffer (pieces.h).
 *
 *     read_pcap walk FILE [--piece BYTES]    only add up the lengths
 *     read_pcap rows FILE [--piece BYTES]    write slimcap's 40-byte row for each packet, into a reused
 *                                            array, and add up its total_len column after each piece
 */
#include "pieces.h"

static size_t walk_sum(struct reader *r, size_t at)
{
    struct record_header header;
    uint64_t sum = 0, packets = 0;
    while (whole_record(r, at, &header)) {
        sum += total_len(&header);
        packets++;
        at += sizeof header + header.cap_len;
    }
    r->report.sum += sum;
    r->report.packets += packets;
    return at;
}

static size_t walk_rows(struct reader *r, size_t at)
{
    struct record_header header;
    struct row *rows = r->rows;
    size_t n = 0;
    while (whole_record(r, at, &header)) {
        at += sizeof header;
        fill_row(&rows[n++], &header, r->buffer + at, at);
        at += header.cap_len;
    }
    r->report.sum += sum_total_len(rows, n);
    r->report.packets += n;
    return at;
}

int main(int argc, char **argv)
{
    struct reader r = {.piece = DEFAULT_PIECE};
    int rows = argc > 1 && !strcmp(argv[1], "rows");
    int known = rows || (argc > 1 && !strcmp(argv[1], "walk"));
    if (argc == 5 && !strcmp(argv[3], "--piece"))
        r.piece = strtoull(argv[4], NULL, 10);
    else if (argc != 3)
        known = 0;
    if (!known || r.piece < 1 || r.piece > 1 << 30)
        die("usage: read_pcap walk|rows FILE [--piece BYTES]");
    double start = now();
    read_file(&r, argv[2], rows ? walk_rows : walk_sum, sizeof(struct row));
    r.report.seconds = now() - start;
    print_report(&r.report);
    return 0;
}
