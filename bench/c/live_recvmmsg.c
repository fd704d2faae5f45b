/*
 * Captures through a plain packet socket, as a C program does that wants many packets a call: recvmmsg.
 *
 *     live_recvmmsg INTERFACE COUNT MESSAGES SNAPLEN BUFFER
 *
 * Takes up to MESSAGES packets of SNAPLEN bytes a call from a socket with a receive buffer of BUFFER bytes, writes
 * slimcap's row for each, from the packet, its address, its PACKET_AUXDATA and its time, and adds up their total_len.
 */
#define _GNU_SOURCE
#include "live.h"
#include "tpacket.h"

enum { CONTROL = 128 }; /* bytes: holds PACKET_AUXDATA and a time stamp */

struct reader {
    struct live live;
    unsigned int messages;
    size_t snaplen;
    struct mmsghdr *headers;
    struct iovec *pieces;
    struct sockaddr_ll *addresses;
    uint8_t (*control)[CONTROL];
    uint8_t *payloads;
    struct row *rows;
};

static void *array(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        die("no memory");
    return memory;
}

static void open_socket(struct reader *r, const char *interface, int buffer)
{
    int on = 1, fd = deaf_socket();
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer)) /* needs CAP_NET_ADMIN of the host */
        set(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer, "SO_RCVBUF");
    set(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on, "SO_TIMESTAMPNS");
    set(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on, "PACKET_AUXDATA");
    bind_to(fd, interface);
    r->live.fd = fd;
}

static void allocate(struct reader *r)
{
    unsigned int n = r->messages;
    r->headers = array(n, sizeof *r->headers);
    r->pieces = array(n, sizeof *r->pieces);
    r->addresses = array(n, sizeof *r->addresses);
    r->control = array(n, sizeof *r->control);
    r->payloads = array(n, r->snaplen);
    r->rows = array(n, sizeof *r->rows);
    for (unsigned int i = 0; i < n; i++) {
        r->pieces[i] = (struct iovec){r->payloads + i * r->snaplen, r->snaplen};
        r->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &r->addresses[i], .msg_iov = &r->pieces[i], .msg_iovlen = 1, .msg_control = r->control[i]};
    }
}

static void fill_socket_row(struct reader *r, unsigned int i)
{
    struct row *row = &r->rows[i];
    struct msghdr *header = &r->headers[i].msg_hdr;
    const uint8_t *payload = r->pieces[i].iov_base;
    uint32_t status = 0;
    uint16_t tci = 0, tpid = 0;
    *row = (struct row){
        .offset = (uint64_t)(payload - r->payloads),
        .total_len = r->headers[i].msg_len,
        .cap_len = r->headers[i].msg_len,
        .pkt_type = r->addresses[i].sll_pkttype,
    };
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA) {
            const struct tpacket_auxdata *aux = (const void *)CMSG_DATA(c);
            row->total_len = aux->tp_len;
            status = aux->tp_status;
            tci = aux->tp_vlan_tci;
            tpid = aux->tp_vlan_tpid;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            const struct timespec *time = (const void *)CMSG_DATA(c);
            row->timestamp = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
        }
    }
    if (row->cap_len < row->total_len)
        row->flags = FLAG_TRUNCATED;
    row->ip_offset = find_ip(payload, row->cap_len, row);
    add_status(row, status, tci, tpid);
}

/* What is there at once, into rows; how many. */
static unsigned int take(struct reader *r)
{
    for (unsigned int i = 0; i < r->messages; i++) { /* the kernel has put in what it used */
        r->headers[i].msg_hdr.msg_namelen = sizeof *r->addresses;
        r->headers[i].msg_hdr.msg_controllen = CONTROL;
    }
    int got = recvmmsg(r->live.fd, r->headers, r->messages, MSG_DONTWAIT, NULL);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    check(got, "recvmmsg");
    for (unsigned int i = 0; i < (unsigned int)got; i++)
        fill_socket_row(r, i);
    return (unsigned int)got;
}

static void capture(struct reader *r)
{
    ready(&r->live);
    unsigned int got;
    while ((got = take(r)) || more(&r->live)) {
        r->live.sum += sum_total_len(r->rows, got);
        r->live.packets += got;
        if (r->live.packets >= r->live.count)
            return;
    }
}

int main(int argc, char **argv)
{
    if (argc != 6)
        die("usage: live_recvmmsg INTERFACE COUNT MESSAGES SNAPLEN BUFFER");
    struct reader r = {
        .live = {.count = strtoull(argv[2], NULL, 10)},
        .messages = (unsigned int)strtoul(argv[3], NULL, 10),
        .snaplen = strtoull(argv[4], NULL, 10),
    };
    allocate(&r);
    open_socket(&r, argv[1], (int)strtol(argv[5], NULL, 10));
    capture(&r);
    double cpu = cpu_seconds() - r.live.cpu;
    print_live(&r.live, dropped_by(r.live.fd), cpu);
    return 0;
}
