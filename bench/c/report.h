/* What every C reader here does the same way: the clock, giving up, the one line of JSON. */
#ifndef SLIMCAP_BENCH_REPORT_H
#define SLIMCAP_BENCH_REPORT_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <sys/resource.h>

struct report {
    uint64_t packets;
    uint64_t bytes; /* of the file, headers included */
    uint64_t sum;   /* of the lengths on the wire */
    double seconds; /* from open to end of file */
};

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline _Noreturn void die(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

/* CPU seconds of this process so far, user and system. */
static inline double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
           + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

static inline void print_report(const struct report *r)
{
    printf("{\"packets\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"sum\": %" PRIu64
           ", \"seconds\": %.9f, \"cpu\": %.6f}\n",
           r->packets, r->bytes, r->sum, r->seconds, cpu_seconds());
}

#endif
