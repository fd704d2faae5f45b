/*
 * A capture file in pieces, read() into one reused buffer: little-endian classic pcap with microseconds and
 * Ethernet only. A record cut by the end of a piece is moved to the front of the buffer, and the next piece is
 * read behind it:
 *
 *     buffer  [ rest of a record | piece ........................... ]
 *             0                  have                                 rest + piece
 */
#ifndef SLIMCAP_BENCH_PIECES_H
#define SLIMCAP_BENCH_PIECES_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "report.h"
#include "row.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the files are little-endian, and read as they are"
#endif

enum {
    MAGIC_USEC = 0xa1b2c3d4u,
    LINKTYPE_ETHERNET = 1,
    MAX_CAP_LEN = 262144, /* libpcap's MAXIMUM_SNAPLEN */
    DEFAULT_PIECE = 128 << 10, /* as fast as any from 64 KiB to 1 MiB, or faster where others use the cache, too */
};

struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, sigfigs, snaplen, linktype;
};

struct record_header {
    uint32_t sec, usec, cap_len, len;
};

_Static_assert(sizeof(struct file_header) == 24, "pcap file header");
_Static_assert(sizeof(struct record_header) == 16, "pcap record header");

enum { MAX_RECORD = sizeof(struct record_header) + MAX_CAP_LEN };

struct reader {
    int fd;
    size_t piece, have; /* have: bytes of the buffer that are filled */
    uint8_t *buffer;    /* piece + MAX_RECORD bytes: a rest is always shorter than MAX_RECORD */
    void *rows;         /* of the walk's own kind, as many as empty records fit the buffer */
    struct report report;
};

/* Walks the records that are whole, from `at` on, and returns where the rest starts. */
typedef size_t walk_fn(struct reader *r, size_t at);

/* The record header at `at`, if the whole record is in the buffer. */
static inline int whole_record(const struct reader *r, size_t at, struct record_header *header)
{
    if (r->have - at < sizeof *header)
        return 0;
    memcpy(header, r->buffer + at, sizeof *header);
    if (header->cap_len > MAX_CAP_LEN)
        die("a packet longer than any snaplen");
    return r->have - at - sizeof *header >= header->cap_len;
}

static inline uint32_t total_len(const struct record_header *header)
{
    return header->len > header->cap_len ? header->len : header->cap_len;
}

static inline void fill_row(struct row *row, const struct record_header *header, const uint8_t *payload, size_t offset)
{
    *row = (struct row){
        .timestamp = (int64_t)header->sec * 1000000000 + (int64_t)header->usec * 1000,
        .offset = offset,
        .total_len = total_len(header),
        .cap_len = header->cap_len,
        .pkt_type = PKT_UNKNOWN,
        .flags = header->cap_len < header->len ? FLAG_TRUNCATED : 0,
    };
    row->ip_offset = find_ip(payload, header->cap_len, row);
}

/* Reads one piece behind what is there; 0 at the end of the file. */
static size_t read_piece(struct reader *r)
{
    ssize_t got;
    do
        got = read(r->fd, r->buffer + r->have, r->piece);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        die(strerror(errno));
    r->have += (size_t)got;
    r->report.bytes += (uint64_t)got;
    return (size_t)got;
}

static size_t file_header(struct reader *r)
{
    struct file_header header;
    while (r->have < sizeof header)
        if (!read_piece(r))
            die("no pcap file header");
    memcpy(&header, r->buffer, sizeof header);
    if (header.magic != MAGIC_USEC || header.linktype != LINKTYPE_ETHERNET)
        die("not a little-endian microsecond pcap file of Ethernet packets");
    return sizeof header;
}

static void read_file(struct reader *r, const char *path, walk_fn *walk, size_t row_size)
{
    size_t max_rows = (r->piece + MAX_RECORD) / sizeof(struct record_header);
    r->buffer = malloc(r->piece + MAX_RECORD);
    r->rows = malloc(max_rows * row_size);
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (!r->buffer || !r->rows || r->fd < 0)
        die(strerror(errno));
    size_t at = file_header(r);
    do {
        at = walk(r, at);
        r->have -= at;
        memmove(r->buffer, r->buffer + at, r->have);
        at = 0;
    } while (read_piece(r));
    if (r->have)
        die("the file ends within a packet");
    close(r->fd);
    free(r->rows);
    free(r->buffer);
}

#endif
