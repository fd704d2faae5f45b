/*
 * What the live readers here do the same way: a packet socket, saying when they are ready, knowing when to end.
 *
 *     reader                     whoever started it
 *     "ready" on stdout    ──►   starts the sender
 *                          ◄──   closes stdin when the sender has ended
 *     one line of JSON     ──►   once `count` packets came, or the sender has ended and nothing came for a while
 *
 * The CPU time is that of this process from "ready" to the end.
 */
#ifndef SLIMCAP_BENCH_LIVE_H
#define SLIMCAP_BENCH_LIVE_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "report.h"

enum { SILENCE_MS = 200 };

struct live {
    int fd;
    uint64_t count; /* packets to wait for */
    uint64_t packets, sum;
    double cpu; /* at "ready" */
};

static inline int check(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

static inline void set(int fd, int level, int option, const void *value, socklen_t size, const char *what)
{
    check(setsockopt(fd, level, option, value, size), what);
}

/* A packet socket that receives nothing until it is bound. */
static inline int deaf_socket(void)
{
    return check(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "socket");
}

static inline void bind_to(int fd, const char *interface)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = (int)if_nametoindex(interface),
    };
    check(bind(fd, (struct sockaddr *)&address, sizeof address), interface);
}

static inline void ready(struct live *live)
{
    puts("ready");
    fflush(stdout);
    live->cpu = cpu_seconds();
}

static inline int sender_has_ended(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

/* Wait for packets; 0 if there will be none any more. */
static inline int more(const struct live *live)
{
    struct pollfd socket = {.fd = live->fd, .events = POLLIN};
    if (live->packets >= live->count)
        return 0;
    while (poll(&socket, 1, SILENCE_MS) <= 0)
        if (sender_has_ended())
            return 0;
    return 1;
}

/* The kernel's count. The first word of what it tells is all packets, the second those dropped. */
static inline unsigned int dropped_by(int fd)
{
    unsigned int found[3] = {0};
    socklen_t size = sizeof found;
    check(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, found, &size), "PACKET_STATISTICS");
    return found[1];
}

static inline void print_live(const struct live *live, unsigned int dropped, double cpu)
{
    printf("{\"packets\": %" PRIu64 ", \"sum\": %" PRIu64 ", \"dropped\": %u, \"cpu\": %.6f}\n",
           live->packets, live->sum, dropped, cpu);
}

#endif
