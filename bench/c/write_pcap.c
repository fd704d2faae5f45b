/*
 * Writes a capture file anew as fast as a plain C program can: read() in pieces (pieces.h), packet by packet
 * into a buffer of a mebibyte, write().
 *
 *     write_pcap pcap FILE TO      classic pcap with nanoseconds
 *     write_pcap pcapng FILE TO    enhanced packet blocks with nanoseconds
 */
#include "pieces.h"

enum {
    MAGIC_NSEC = 0xa1b23c4du,
    SECTION = 0x0a0d0d0a,
    BYTE_ORDER_MAGIC = 0x1a2b3c4d,
    BUFFER = 1 << 20,
    MAX_EXTRA = 64, /* bytes around a packet */
};

struct block_header {
    uint32_t type, length, interface, time_high, time_low, cap_len, len;
};

_Static_assert(sizeof(struct block_header) == 28, "enhanced packet block");

static struct {
    int fd;
    size_t used;
    uint8_t data[BUFFER];
} out;

static void flush(void)
{
    for (size_t done = 0; done < out.used;) {
        ssize_t wrote = write(out.fd, out.data + done, out.used - done);
        if (wrote < 0 && errno != EINTR)
            die(strerror(errno));
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    out.used = 0;
}

static inline void put(const void *data, size_t size)
{
    memcpy(out.data + out.used, data, size);
    out.used += size;
}

static inline void make_room(uint32_t cap_len)
{
    if (BUFFER - out.used < cap_len + MAX_EXTRA)
        flush();
}

static size_t write_records(struct reader *r, size_t at)
{
    struct record_header header;
    while (whole_record(r, at, &header)) {
        uint32_t cap_len = header.cap_len;
        r->report.sum += total_len(&header);
        r->report.packets++;
        header.usec *= 1000;
        make_room(cap_len);
        put(&header, sizeof header);
        put(r->buffer + at + sizeof header, cap_len);
        at += sizeof header + cap_len;
    }
    return at;
}

static size_t write_blocks(struct reader *r, size_t at)
{
    static const uint8_t padding[4];
    struct record_header header;
    while (whole_record(r, at, &header)) {
        uint32_t cap_len = header.cap_len, padded = (cap_len + 3) & ~3u;
        uint64_t time = (uint64_t)header.sec * 1000000000 + (uint64_t)header.usec * 1000;
        struct block_header block = {
            .type = 6,
            .length = (uint32_t)sizeof block + padded + 4,
            .time_high = (uint32_t)(time >> 32),
            .time_low = (uint32_t)time,
            .cap_len = cap_len,
            .len = total_len(&header),
        };
        r->report.sum += block.len;
        r->report.packets++;
        make_room(cap_len);
        put(&block, sizeof block);
        put(r->buffer + at + sizeof header, cap_len);
        put(padding, padded - cap_len);
        put(&block.length, sizeof block.length);
        at += sizeof header + cap_len;
    }
    return at;
}

static void put_pcap_header(void)
{
    const struct file_header header = {
        .magic = MAGIC_NSEC, .major = 2, .minor = 4, .snaplen = MAX_CAP_LEN, .linktype = LINKTYPE_ETHERNET};
    put(&header, sizeof header);
}

static void put_pcapng_header(void)
{
    const uint32_t section[] = {SECTION, 28, BYTE_ORDER_MAGIC, 1, UINT32_MAX, UINT32_MAX, 28};
    /* if_tsresol (9), of one byte: 9 for nanoseconds; and the end of the options */
    const uint32_t interface[] = {1, 32, LINKTYPE_ETHERNET, MAX_CAP_LEN, 9 | 1 << 16, 9, 0, 32};
    put(section, sizeof section);
    put(interface, sizeof interface);
}

int main(int argc, char **argv)
{
    struct reader r = {.piece = DEFAULT_PIECE};
    int ng = argc == 4 && !strcmp(argv[1], "pcapng");
    if (!ng && (argc != 4 || strcmp(argv[1], "pcap")))
        die("usage: write_pcap pcap|pcapng FILE TO");
    double start = now();
    out.fd = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out.fd < 0)
        die(strerror(errno));
    if (ng)
        put_pcapng_header();
    else
        put_pcap_header();
    read_file(&r, argv[2], ng ? write_blocks : write_records, 1);
    flush();
    close(out.fd);
    r.report.seconds = now() - start;
    print_report(&r.report);
    return 0;
}
