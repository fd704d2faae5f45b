"""System calls and kernel structs, with a _Static_assert for each layout that the code relies on."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from posix.types cimport mode_t

cdef extern from "errno.h" nogil:
    int errno
    enum: EBADF, EINTR, EAGAIN, EEXIST, ENOMEM, ENETDOWN

cdef extern from "fcntl.h" nogil:
    enum: F_DUPFD_CLOEXEC, O_RDONLY, O_CLOEXEC, O_NONBLOCK
    int fcntl(int fd, int command, ...)
    int c_open "open"(const char* path, int flags, ...)

cdef extern from "unistd.h" nogil:
    int c_close "close"(int fd)
    ssize_t c_read "read"(int fd, void* buffer, size_t size)
    ssize_t c_pread "pread"(int fd, void* buffer, size_t size, long long offset)
    ssize_t c_write "write"(int fd, const void* buffer, size_t size)
    int c_getpid "getpid"()
    long c_syscall "syscall"(long number, ...)

cdef extern from "sys/syscall.h" nogil:
    enum: SYS_bpf

cdef extern from "pthread.h" nogil:
    int pthread_atfork(
        void (*prepare)() noexcept nogil, void (*parent)() noexcept nogil, void (*child)() noexcept nogil)

cdef extern from "sys/stat.h" nogil:
    struct c_stat "stat":
        mode_t st_mode
        unsigned long st_nlink
        long long st_size
    int c_fstat "fstat"(int fd, c_stat* status)
    bint S_ISREG(mode_t mode)
    bint S_ISDIR(mode_t mode)

cdef extern from "sys/inotify.h" nogil:
    enum: IN_CLOEXEC, IN_NONBLOCK, IN_MODIFY, IN_ATTRIB, IN_CREATE, IN_MOVED_TO, IN_ONLYDIR, IN_Q_OVERFLOW
    struct inotify_event:
        int wd
        uint32_t mask
        uint32_t len
    int inotify_init1(int flags)
    int inotify_add_watch(int fd, const char* path, uint32_t mask)
    int inotify_rm_watch(int fd, int wd)

cdef extern from "sys/eventfd.h" nogil:
    enum: EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int initial, int flags)

cdef extern from "time.h" nogil:
    enum: CLOCK_MONOTONIC, CLOCK_REALTIME
    ctypedef long long time_t
    struct timespec:
        time_t tv_sec
        long tv_nsec
    struct itimerspec:
        timespec it_interval
        timespec it_value
    int clock_gettime(int clock, timespec* now)
    int nanosleep(const timespec* nap, timespec* left)

cdef extern from "sys/timerfd.h" nogil:
    enum: TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec* new_value, itimerspec* old_value)

cdef extern from "poll.h" nogil:
    enum: POLLIN, POLLERR, POLLHUP, POLLNVAL
    struct pollfd:
        int fd
        short events
        short revents
    int c_ppoll "ppoll"(pollfd* fds, unsigned long count, const timespec* timeout, const void* mask)

cdef extern from "sys/epoll.h" nogil:
    enum: EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, EPOLLET
    union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int operation, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int count, int timeout)

cdef extern from *:
    """
    #include <linux/if_packet.h>
    #include <linux/filter.h>
    #include <stddef.h>
    #ifndef TP_STATUS_GSO_TCP
    #define TP_STATUS_GSO_TCP (1 << 8)      /* Linux 5.19, newer than the headers of some distributions */
    #endif
    #ifndef PACKET_IGNORE_OUTGOING
    #define PACKET_IGNORE_OUTGOING 23       /* Linux 4.20 */
    #endif
    /* linux/if_packet.h, TPACKET_V3: the block walker relies on the fixed part of each struct. */
    _Static_assert(offsetof(struct tpacket_block_desc, hdr) == 8, "tpacket_block_desc");
    _Static_assert(sizeof(struct tpacket_hdr_v1) == 40, "tpacket_hdr_v1");
    _Static_assert(sizeof(struct tpacket3_hdr) == 48, "tpacket3_hdr");
    _Static_assert(TPACKET_ALIGN(sizeof(struct tpacket3_hdr)) == 48, "sockaddr_ll follows the header");
    _Static_assert(sizeof(struct sockaddr_ll) == 20, "sockaddr_ll");
    _Static_assert(sizeof(struct tpacket_auxdata) == 20, "tpacket_auxdata");
    """

cdef extern from "linux/if_packet.h" nogil:
    enum: TP_STATUS_KERNEL, TP_STATUS_USER, TP_STATUS_LOSING, TP_STATUS_CSUMNOTREADY, TP_STATUS_CSUM_VALID
    enum: TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID, TP_STATUS_BLK_TMO, TP_STATUS_GSO_TCP
    enum: TPACKET_ALIGNMENT

    struct sockaddr_ll:
        unsigned short sll_family
        uint16_t sll_protocol
        int sll_ifindex
        unsigned short sll_hatype
        unsigned char sll_pkttype
        unsigned char sll_halen
        unsigned char sll_addr[8]

    struct tpacket_hdr_variant1:
        uint32_t tp_rxhash
        uint32_t tp_vlan_tci
        uint16_t tp_vlan_tpid

    struct tpacket3_hdr:
        uint32_t tp_next_offset
        uint32_t tp_sec
        uint32_t tp_nsec
        uint32_t tp_snaplen
        uint32_t tp_len
        uint32_t tp_status
        uint16_t tp_mac
        uint16_t tp_net
        tpacket_hdr_variant1 hv1

    struct tpacket_bd_ts:
        unsigned int ts_sec

    struct tpacket_hdr_v1:
        uint32_t block_status
        uint32_t num_pkts
        uint32_t offset_to_first_pkt
        uint32_t blk_len
        uint64_t seq_num

    union tpacket_bd_header_u:
        tpacket_hdr_v1 bh1

    struct tpacket_block_desc:
        uint32_t version
        uint32_t offset_to_priv
        tpacket_bd_header_u hdr

    struct tpacket_req3:
        unsigned int tp_block_size
        unsigned int tp_block_nr
        unsigned int tp_frame_size
        unsigned int tp_frame_nr
        unsigned int tp_retire_blk_tov
        unsigned int tp_sizeof_priv
        unsigned int tp_feature_req_word

    struct tpacket_stats_v3:
        unsigned int tp_packets
        unsigned int tp_drops
        unsigned int tp_freeze_q_cnt

    struct tpacket_auxdata:
        uint32_t tp_status
        uint32_t tp_len
        uint32_t tp_snaplen
        uint16_t tp_mac
        uint16_t tp_net
        uint16_t tp_vlan_tci
        uint16_t tp_vlan_tpid

    struct packet_mreq:
        int mr_ifindex
        unsigned short mr_type
        unsigned short mr_alen
        unsigned char mr_address[8]

    enum: PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST, PACKET_OTHERHOST, PACKET_OUTGOING
    enum: PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP, PACKET_MR_PROMISC
    enum: PACKET_FANOUT, PACKET_FANOUT_DATA, PACKET_FANOUT_HASH, PACKET_FANOUT_CPU
    enum: PACKET_FANOUT_ROLLOVER, PACKET_FANOUT_QM, PACKET_FANOUT_CBPF
    enum: PACKET_FANOUT_FLAG_DEFRAG, PACKET_FANOUT_FLAG_ROLLOVER, PACKET_FANOUT_FLAG_UNIQUEID
    enum: PACKET_RX_RING, PACKET_VERSION, PACKET_STATISTICS, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING
    enum: TPACKET_V3

cdef extern from "linux/filter.h" nogil:
    struct sock_filter:
        uint16_t code
        uint8_t jt
        uint8_t jf
        uint32_t k

    struct sock_fprog:
        unsigned short len
        sock_filter* filter

cdef extern from "linux/if_ether.h" nogil:
    enum: ETH_P_ALL

cdef extern from "sys/socket.h" nogil:
    ctypedef unsigned int socklen_t
    enum: AF_PACKET, SOCK_RAW, SOCK_CLOEXEC, SOL_SOCKET, SOL_PACKET, SO_ATTACH_BPF, SO_ATTACH_FILTER, SO_ERROR
    enum: SO_RCVBUF, SO_RCVBUFFORCE, SO_TIMESTAMPNS, SCM_TIMESTAMPNS, MSG_DONTWAIT, MSG_TRUNC
    struct sockaddr:
        pass
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    size_t CMSG_SPACE(size_t size)
    size_t CMSG_LEN(size_t size)
    cmsghdr* CMSG_FIRSTHDR(msghdr* message)
    cmsghdr* CMSG_NXTHDR(msghdr* message, cmsghdr* control)
    unsigned char* CMSG_DATA(cmsghdr* control)
    int c_socket "socket"(int domain, int kind, int protocol)
    int c_bind "bind"(int fd, const sockaddr* address, socklen_t size)
    int setsockopt(int fd, int level, int option, const void* value, socklen_t size)
    int getsockname(int fd, sockaddr* address, socklen_t* size)
    int getsockopt(int fd, int level, int option, void* value, socklen_t* size)
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, timespec* timeout)

cdef extern from "net/if.h" nogil:
    enum: IFF_UP
    struct ifreq:
        int ifr_ifindex
        short ifr_flags

cdef extern from "sys/ioctl.h" nogil:
    enum: SIOCGIFNAME, SIOCGIFFLAGS, FIONREAD
    int ioctl(int fd, unsigned long request, ...)

cdef extern from "sys/mman.h" nogil:
    enum: PROT_READ, PROT_WRITE, MAP_SHARED, MAP_ANONYMOUS
    void* MAP_FAILED
    void* c_mmap "mmap"(void* address, size_t size, int protection, int flags, int fd, long offset)
    int c_munmap "munmap"(void* address, size_t size)
