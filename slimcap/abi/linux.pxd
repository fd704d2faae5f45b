"""System calls and the kernel's structs, with a _Static_assert beside each layout relied on."""
from posix.types cimport mode_t

cdef extern from "errno.h" nogil:
    int errno
    enum: EINTR, EAGAIN

cdef extern from "fcntl.h" nogil:
    enum: F_DUPFD_CLOEXEC, O_RDONLY, O_CLOEXEC, O_NONBLOCK
    int fcntl(int fd, int command, ...)
    int c_open "open"(const char* path, int flags, ...)

cdef extern from "unistd.h" nogil:
    int c_close "close"(int fd)
    ssize_t c_read "read"(int fd, void* buffer, size_t size)
    ssize_t c_write "write"(int fd, const void* buffer, size_t size)

cdef extern from "sys/stat.h" nogil:
    struct c_stat "stat":
        mode_t st_mode
        long long st_size
    int c_fstat "fstat"(int fd, c_stat* status)
    bint S_ISREG(mode_t mode)
    bint S_ISDIR(mode_t mode)

cdef extern from "sys/eventfd.h" nogil:
    enum: EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int initial, int flags)

cdef extern from "time.h" nogil:
    enum: CLOCK_MONOTONIC
    ctypedef long long time_t
    struct timespec:
        time_t tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec* now)

cdef extern from "poll.h" nogil:
    enum: POLLIN, POLLERR, POLLHUP, POLLNVAL
    struct pollfd:
        int fd
        short events
        short revents
    int c_ppoll "ppoll"(pollfd* fds, unsigned long count, const timespec* timeout, const void* mask)
