/*
 * Adds up the lengths of the packets of a capture file through libpcap.
 *
 *     libpcap_next_ex next_ex FILE     one pcap_next_ex call a packet
 *     libpcap_next_ex dispatch FILE    one callback a packet, from pcap_dispatch
 *     libpcap_next_ex version          which libpcap this is
 */
#include <string.h>

#include <pcap/pcap.h>

#include "report.h"

static void next_ex(pcap_t *file, struct report *report)
{
    struct pcap_pkthdr *header;
    const u_char *payload;
    int status;
    while ((status = pcap_next_ex(file, &header, &payload)) == 1) {
        report->sum += header->len;
        report->packets++;
    }
    if (status != PCAP_ERROR_BREAK) /* which is what it returns at the end of a file */
        die(pcap_geterr(file));
}

static void count(u_char *user, const struct pcap_pkthdr *header, const u_char *payload)
{
    struct report *report = (struct report *)user;
    (void)payload;
    report->sum += header->len;
    report->packets++;
}

static void dispatch(pcap_t *file, struct report *report)
{
    int got;
    do
        got = pcap_dispatch(file, -1, count, (u_char *)report);
    while (got > 0);
    if (got < 0)
        die(pcap_geterr(file));
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "version")) {
        puts(pcap_lib_version());
        return 0;
    }
    int by_dispatch = argc == 3 && !strcmp(argv[1], "dispatch");
    if (!by_dispatch && (argc != 3 || strcmp(argv[1], "next_ex")))
        die("usage: libpcap_next_ex next_ex|dispatch FILE, or version");

    char error[PCAP_ERRBUF_SIZE];
    struct report report = {0};
    double start = now();
    pcap_t *file = pcap_open_offline(argv[2], error);
    if (!file)
        die(error);
    if (by_dispatch)
        dispatch(file, &report);
    else
        next_ex(file, &report);
    report.seconds = now() - start;
    report.bytes = (uint64_t)ftell(pcap_file(file));
    pcap_close(file);
    print_report(&report);
    return 0;
}
