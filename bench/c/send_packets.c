/*
 * Sends packets out of one end of a veth pair, as fast as the kernel does or at a rate.
 *
 *     send_packets xdp|sendmmsg INTERFACE COUNT RATE        RATE is packets a second; 0: as fast as it goes
 *     send_packets mixed INTERFACE COUNT RATE               by sendmmsg, packets of 64 to 700 bytes
 *     send_packets flows INTERFACE COUNT RATE               by sendmmsg, 10,000 flows in turn, each in both directions
 *
 * All but xdp take several interfaces, as left0,left1,left2: packets go out of them in turn.
 *
 * UDP over IPv4 to somebody else's address, so that the stack on the other end drops it first thing: 60 bytes, the
 * smallest Ethernet frame without its frame check sequence, which a veth does not have.
 *
 * `xdp` has the kernel run a small program on copies of one packet (BPF_PROG_TEST_RUN with
 * BPF_F_TEST_XDP_LIVE_FRAMES, net/bpf/test_run.c, Linux 5.18), which redirects it to INTERFACE when it is time for one
 * more, or else drops it: twice as fast as `sendmmsg` with PACKET_QDISC_BYPASS. The peer has to have GRO on, or it
 * takes no redirected packets (veth_xdp_xmit). Exits with 77 if the kernel refuses. Some of COUNT may not fit the
 * peer's queue and be lost; the peer's counters say how many arrived.
 */
#define _GNU_SOURCE
#include <linux/bpf.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "live.h"

enum { FRAME = 60, SKIPPED = 77, BATCH = 64, LARGEST = 700, FLOWS = 10000, INTERFACES = 64 };

static const int mix[] = {64, 582, 64, 64, 582, 64, 700, 64, 582, 700, 332, 332}; /* 344 on average */
enum { MIX = sizeof mix / sizeof *mix };

#ifndef BPF_F_TEST_XDP_LIVE_FRAMES
#define BPF_F_TEST_XDP_LIVE_FRAMES (1U << 1)
#endif

static uint8_t frame[FRAME] = {
    2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x08, 0x00,                                    /* Ethernet */
    0x45, 0, 0, FRAME - 14, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,        /* IPv4, checksum below */
    0x04, 0x00, 0, 53, 0, FRAME - 34, 0, 0,                                            /* UDP without a checksum */
};

static void put16(uint8_t *to, int value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

/* Set the lengths in the headers of a frame, and the checksum of the IPv4 header. */
static void set_length(uint8_t *frame, int length)
{
    uint32_t sum = 0;
    put16(frame + 16, length - 14);
    put16(frame + 38, length - 34);
    put16(frame + 24, 0);
    for (int i = 14; i < 34; i += 2)
        sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
    put16(frame + 24, (int)(~((sum & 0xffff) + (sum >> 16)) & 0xffff));
}

static long bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int refused(long result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(SKIPPED);
    }
    return (int)result;
}

struct schedule { /* what the program in the kernel reads and writes */
    uint64_t next; /* when the next packet is due, on the monotonic clock */
    uint64_t left;
};

static int schedule_map(struct schedule **schedule)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.map_type = BPF_MAP_TYPE_ARRAY;
    attr.key_size = sizeof(uint32_t);
    attr.value_size = sizeof **schedule;
    attr.max_entries = 1;
    attr.map_flags = BPF_F_MMAPABLE;
    int fd = refused(bpf(BPF_MAP_CREATE, &attr), "BPF_MAP_CREATE");
    *schedule = mmap(NULL, sizeof **schedule, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (*schedule == MAP_FAILED)
        refused(-1, "mmap of a BPF map");
    return fd;
}

#define INSN(CODE, DST, SRC, OFF, IMM) \
    ((struct bpf_insn){.code = (CODE), .dst_reg = (DST), .src_reg = (SRC), .off = (OFF), .imm = (IMM)})
#define LOAD(DST, SRC, OFF) INSN(BPF_LDX | BPF_MEM | BPF_DW, DST, SRC, OFF, 0)
#define STORE(DST, OFF, SRC) INSN(BPF_STX | BPF_MEM | BPF_DW, DST, SRC, OFF, 0)
#define ADD(DST, IMM) INSN(BPF_ALU64 | BPF_ADD | BPF_K, DST, 0, 0, IMM)
#define MOVE(DST, IMM) INSN(BPF_ALU64 | BPF_MOV | BPF_K, DST, 0, 0, IMM)
#define CALL(FUNCTION) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, FUNCTION)
#define EXIT() INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/*
 * if (ktime_get_ns() < schedule->next || schedule->left == 0)
 *     return XDP_DROP;
 * schedule->next += interval;
 * schedule->left--;
 * return redirect(interface, 0);
 */
static int redirect_program(int map, unsigned int interface, int interval)
{
    struct bpf_insn program[] = {
        INSN(BPF_LD | BPF_IMM | BPF_DW, BPF_REG_6, BPF_PSEUDO_MAP_VALUE, 0, map),
        INSN(0, 0, 0, 0, 0), /* its second half: the offset in the value */
        CALL(BPF_FUNC_ktime_get_ns),
        LOAD(BPF_REG_1, BPF_REG_6, offsetof(struct schedule, next)),
        LOAD(BPF_REG_2, BPF_REG_6, offsetof(struct schedule, left)),
        INSN(BPF_JMP | BPF_JLT | BPF_X, BPF_REG_0, BPF_REG_1, 9, 0), /* both to XDP_DROP */
        INSN(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_2, 0, 8, 0),
        ADD(BPF_REG_1, interval),
        STORE(BPF_REG_6, offsetof(struct schedule, next), BPF_REG_1),
        ADD(BPF_REG_2, -1),
        STORE(BPF_REG_6, offsetof(struct schedule, left), BPF_REG_2),
        MOVE(BPF_REG_1, (int)interface),
        MOVE(BPF_REG_2, 0),
        CALL(BPF_FUNC_redirect),
        EXIT(),
        MOVE(BPF_REG_0, XDP_DROP),
        EXIT(),
    };
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_XDP;
    attr.insns = (uintptr_t)program;
    attr.insn_cnt = sizeof program / sizeof *program;
    attr.license = (uintptr_t) "Apache-2.0";
    return refused(bpf(BPF_PROG_LOAD, &attr), "BPF_PROG_LOAD");
}

static void on_alarm(int signal)
{
    (void)signal;
}

static struct timeval interval_of(double seconds)
{
    time_t whole = (time_t)seconds;
    return (struct timeval){whole, (suseconds_t)((seconds - (double)whole) * 1e6)};
}

/* End the system call that we are in after that many seconds; in case we are not in it then, some time later, too. */
static void interrupt_after(double seconds)
{
    struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
    struct itimerval timer = {.it_value = interval_of(seconds), .it_interval = interval_of(0.5)};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

/*
 * In one call, as each takes the kernel some 30 ms to begin and to end. At a rate there is no telling how often the
 * program has to run, so it runs until a signal comes: once all should have been sent.
 */
static void send_xdp(const char *interface, uint64_t count, double rate)
{
    const double begin = 0.05, extra = 0.02;
    struct schedule *schedule;
    int map = schedule_map(&schedule);
    int program = redirect_program(map, if_nametoindex(interface), rate > 0 ? (int)(1e9 / rate) : 0);
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.test.prog_fd = (uint32_t)program;
    attr.test.data_in = (uintptr_t)frame;
    attr.test.data_size_in = sizeof frame;
    attr.test.repeat = rate > 0 ? UINT32_MAX : (uint32_t)count;
    attr.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    attr.test.batch_size = BATCH;
    schedule->next = rate > 0 ? (uint64_t)((now() + begin) * 1e9) : 0;
    schedule->left = count;
    while (schedule->left) {
        if (rate > 0)
            interrupt_after(begin + (double)schedule->left / rate + extra);
        if (bpf(BPF_PROG_TEST_RUN, &attr) < 0 && errno != EINTR)
            refused(-1, "BPF_PROG_TEST_RUN with live frames");
    }
}

static void sleep_until(double time)
{
    struct timespec t = {.tv_sec = (time_t)time, .tv_nsec = (long)((time - (double)(time_t)time) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

/* A socket that sends out of the interface that a message names. */
static int sending_socket(void)
{
    int on = 1, fd = deaf_socket();
    set(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on, "PACKET_QDISC_BYPASS");
    return fd;
}

/* The addresses of interfaces, whose names are separated by commas. */
static size_t find_interfaces(char *names, struct sockaddr_ll *addresses)
{
    size_t count = 0;
    for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
        if (count == INTERFACES)
            die("too many interfaces");
        addresses[count] = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name)};
        if (!addresses[count++].sll_ifindex)
            die("no such interface");
    }
    return count;
}

/* From 10.1.x.y, port 1024 and up, to port 53 of 10.0.0.2; or back. */
static void set_flow(uint8_t *frame, int flow, int back)
{
    uint8_t *ends[2] = {frame + 26, frame + 30}, *ports[2] = {frame + 34, frame + 36};
    put16(ends[back], 10 << 8 | 1);
    put16(ends[back] + 2, flow);
    put16(ends[!back], 10 << 8);
    put16(ends[!back] + 2, 2);
    put16(ports[back], 1024 + flow);
    put16(ports[!back], 53);
    set_length(frame, FRAME);
}

/* The frames to send, again and again: one, or one of each length in `mix`, or two of each flow. */
static size_t make_frames(const char *mode, struct iovec **pieces)
{
    int mixed = !strcmp(mode, "mixed"), flows = !strcmp(mode, "flows");
    size_t count = mixed ? MIX : flows ? 2 * FLOWS : 1, size = mixed ? LARGEST : FRAME;
    uint8_t *frames = calloc(count, size);
    *pieces = calloc(count, sizeof **pieces);
    if (!frames || !*pieces)
        die("no memory for the frames");
    for (size_t i = 0; i < count; i++) {
        uint8_t *one = frames + i * size;
        (*pieces)[i] = (struct iovec){one, mixed ? (size_t)mix[i] : FRAME};
        memcpy(one, frame, sizeof frame);
        if (flows)
            set_flow(one, (int)i / 2, i % 2);
        else
            set_length(one, (int)(*pieces)[i].iov_len);
    }
    return count;
}

static void send_mmsg(const char *mode, char *names, uint64_t count, double rate)
{
    struct sockaddr_ll addresses[INTERFACES];
    struct iovec *pieces;
    uint64_t interfaces = find_interfaces(names, addresses), kinds = make_frames(mode, &pieces);
    uint64_t period = kinds * interfaces;
    struct mmsghdr *headers = calloc(period + BATCH, sizeof *headers);
    if (!headers)
        die("no memory for the messages");
    for (uint64_t i = 0; i < period + BATCH; i++)
        headers[i].msg_hdr = (struct msghdr){
            .msg_iov = &pieces[i % kinds],
            .msg_iovlen = 1,
            .msg_name = &addresses[i % interfaces],
            .msg_namelen = sizeof *addresses,
        };
    int fd = sending_socket();
    double start = now();
    prctl(PR_SET_TIMERSLACK, 1);
    for (uint64_t sent = 0; sent < count;) {
        if (rate > 0)
            sleep_until(start + (double)sent / rate);
        uint64_t most = rate > 0 && rate < BATCH / 1e-3 ? 1 + (uint64_t)(rate * 1e-3) : BATCH; /* a millisecond's */
        int got = sendmmsg(fd, headers + sent % period, (unsigned int)(most < count - sent ? most : count - sent), 0);
        sent += (uint64_t)check(got, "sendmmsg");
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc == 5 ? argv[1] : "";
    int xdp = !strcmp(mode, "xdp");
    if (!xdp && strcmp(mode, "sendmmsg") && strcmp(mode, "mixed") && strcmp(mode, "flows"))
        die("usage: send_packets xdp|sendmmsg|mixed|flows INTERFACE COUNT RATE");
    uint64_t count = strtoull(argv[3], NULL, 10);
    double rate = strtod(argv[4], NULL), start = now();
    set_length(frame, FRAME);
    if (xdp)
        send_xdp(argv[2], count, rate);
    else
        send_mmsg(mode, argv[2], count, rate);
    printf("{\"offered\": %" PRIu64 ", \"seconds\": %.6f}\n", count, now() - start);
    return 0;
}
