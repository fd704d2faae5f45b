"""Blocking waits, without the GIL and with a deadline, which other threads and Ctrl-C can interrupt.

Event loops wait by themselves. For them there is a set, an epoll, which polls readable when a read would not
wait:

    poller ──► set ──┬── eventfd    signals; and the reader's mark: there is more to read
                     ├── awaited    the descriptor that the last read would have waited for
                     └── timer      when a read must look again without being told, as for a link that is down

A read that finds nothing and may not wait clears the mark. From then on the other two tell.
"""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from slimcap.abi.atomic cimport clear_bits, load_bits, set_bits
from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport (
    CLOCK_MONOTONIC,
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    EEXIST,
    EINTR,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLLIN,
    F_DUPFD_CLOEXEC,
    POLLIN,
    TFD_CLOEXEC,
    TFD_NONBLOCK,
    TFD_TIMER_ABSTIME,
    c_close,
    c_ppoll,
    c_read,
    c_write,
    clock_gettime,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    errno,
    eventfd,
    fcntl,
    itimerspec,
    pollfd,
    timerfd_create,
    timerfd_settime,
    timespec,
)
from slimcap.io.owner cimport Owner

import os

from slimcap.errors import CaptureStopped, CaptureUnblocked, wrong_type

cdef enum:
    # Maximum time of one poll in ns: a signal delivered to another thread does not interrupt our poll.
    MAX_WAIT = 50_000_000
    # Interval of reads, in ns, while a reader waits for something that has no descriptor.
    LOOK_INTERVAL = 10_000_000


cdef int raise_errno(str call, object subject) except -1:
    """Raise OSError for a failed system call, from errno; this is the only place that does so."""
    cdef int number = errno
    raise OSError(number, f"{call}: {os.strerror(number)}", subject)


cdef int duplicate(int fd, object subject) except -1:
    """Duplicate a descriptor; the new one is not a standard stream's number."""
    cdef int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3)
    if copy < 0:
        raise_errno("fcntl", subject)
    return copy


cdef int _above_streams(int fd, str call) except -1:
    """Return a new descriptor, or a duplicate in its place; raise OSError if the call has failed.

    A number below 3 is that of a closed standard stream, and would be mistaken for it.
    """
    if fd < 0:
        raise_errno(call, None)
    if fd >= 3:
        return fd
    try:
        return duplicate(fd, None)
    finally:
        c_close(fd)


cdef int64_t monotonic_ns() noexcept nogil:
    """Return the current time of CLOCK_MONOTONIC in nanoseconds, as used for deadlines."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * NANOSECONDS + now.tv_nsec


cdef int64_t deadline_after(object timeout) except? -2:
    """Return the monotonic time in nanoseconds `timeout` seconds from now; NEVER for None and infinity."""
    cdef double seconds
    if timeout is None:
        return NEVER
    try:
        seconds = timeout
    except TypeError:
        raise wrong_type("timeout", "a number of seconds or None", timeout) from None
    if not seconds >= 0:
        raise ValueError(f"timeout must be at least 0 seconds, or None, not {timeout}")
    # 2^33 seconds are 272 years; in nanoseconds they fit in 63 bits.
    return monotonic_ns() + <int64_t> (seconds * NANOSECONDS) if seconds < (1 << 33) else NEVER


cdef int64_t sooner(int64_t deadline, int64_t time) noexcept:
    return time if deadline == NEVER else min(deadline, time)


@cython.final
@cython.no_gc
cdef class Event:
    """Signals that stop or unblock a reader, even while it waits. They do not reach other processes."""

    def __cinit__(self):
        self._fd = self._set = self._timer = self._watched = self._awaited = -1
        self._again = NEVER
        self.owner = Owner()

    cdef int open(self) except -1:
        """Open the eventfd, which wakes a reader; before that, signals are only stored."""
        if self._fd < 0:
            self._fd = _above_streams(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")
        return 0

    cdef void shut(self) noexcept:
        """Close the eventfd once no thread will wait any more. Signals are still stored.

        A set stays open, and readable: what is polled by another thread must not be closed.
        """
        with cython.critical_section(self):
            if self._set >= 0 and self.owner.is_here():
                self.mark()
            else:
                self._close()

    def __dealloc__(self):
        self._close()

    cdef void _close(self) noexcept:
        # 0 if __cinit__ did not run, because it was given arguments
        if self._fd > 0:
            c_close(self._fd)
        if self._set > 0:
            c_close(self._set)
        if self._timer > 0:
            c_close(self._timer)
        self._fd = self._set = self._timer = -1

    cdef void raise_signal(self, Signal signal) noexcept:
        """Store a signal and wake the reader."""
        set_bits(&self.signal, signal)
        with cython.critical_section(self):  # else the descriptor may be closed meanwhile, and be another one
            if self._fd >= 0 and self.owner.is_here():
                self.mark()

    cdef void mark(self) noexcept:
        """Make the eventfd readable."""
        cdef uint64_t one = 1
        c_write(self._fd, &one, sizeof(one))  # fails only if the counter is full; then it is readable

    cdef int check(self) except -1:
        """Raise CaptureStopped after a stop signal, CaptureUnblocked once after an unblock signal.

        In a forked process raise RuntimeError.
        """
        self.owner.check("this source")
        cdef int signal = load_bits(&self.signal)
        if signal & SIGNAL_STOP:
            raise CaptureStopped("the source is closed")
        if signal & SIGNAL_UNBLOCK:
            clear_bits(&self.signal, SIGNAL_UNBLOCK)
            raise CaptureUnblocked("unblock() was called")
        return 0

    cdef int wait(self, int fd, short events, int64_t deadline) except -1:
        """Wait until `fd` has one of the poll events and return its revents; 0 after SIGNAL_END or _RETURNED.

        Raises TimeoutError, the exceptions of `check`, or what a signal handler raises.
        """
        cdef pollfd fds[2]
        cdef timespec interval
        cdef int64_t remaining
        cdef uint64_t count
        cdef int ready
        fds[0].fd, fds[0].events = fd, events
        fds[1].fd, fds[1].events = self._fd, POLLIN
        self._awaited, self._timed_out = fd, False
        while True:
            self.check()
            remaining = MAX_WAIT
            if deadline != NEVER:
                remaining = min(remaining, deadline - monotonic_ns())
            interval.tv_sec, interval.tv_nsec = 0, max(remaining, 0)
            with nogil:
                ready = c_ppoll(fds, 2, &interval, NULL)
            if ready < 0 and errno != EINTR:
                raise_errno("ppoll", None)
            if ready > 0 and fds[1].revents:
                # Reset the counter, so that a signal wakes us once. If its bit was taken before the wait, it
                # is not set here, and the wait continues.
                c_read(self._fd, &count, sizeof(count))
                self._shown = False
            PyErr_CheckSignals()
            self.check()
            if ready > 0 and fds[0].revents:
                return fds[0].revents
            if load_bits(&self.signal) & (SIGNAL_END | SIGNAL_RETURNED):
                return 0
            if deadline != NEVER and monotonic_ns() >= deadline:
                self._timed_out = True
                raise TimeoutError("no packet arrived within the timeout")

    # The set, for those who poll. The reader calls `begin_read`, `look_again` and the three `show_…`.

    cdef int open_set(self, int fd) except -1:
        """Open the set, with the descriptor that the reader will wait for; -1 if that is not known yet."""
        self.open()
        try:
            self._timer = _above_streams(
                timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create")
            self._set = _above_streams(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")
            if self._add_to_set(self._fd) or self._add_to_set(self._timer) or self._watch(fd):
                raise_errno("epoll_ctl", None)
        except BaseException:
            c_close(self._timer)
            c_close(self._set)
            self._set = self._timer = -1
            raise
        return 0

    cdef int set_fd(self) noexcept:
        """Return the descriptor of the set; -1 if it is not open."""
        return self._set

    cdef int _add_to_set(self, int fd) noexcept:
        """Add a descriptor; return 0, or -1 and set errno. It may be in the set already."""
        cdef epoll_event interest
        memset(&interest, 0, sizeof(interest))
        interest.events = EPOLLIN
        return -1 if epoll_ctl(self._set, EPOLL_CTL_ADD, fd, &interest) < 0 and errno != EEXIST else 0

    cdef int _watch(self, int fd) noexcept:
        """Replace the descriptor that the reader waits for; return as `_add_to_set`."""
        if self._watched >= 0 and self._watched != fd:
            epoll_ctl(self._set, EPOLL_CTL_DEL, self._watched, NULL)  # fails if it was closed
        self._watched = fd
        # Also if the number is the same: a closed descriptor leaves the set, and its number is reused.
        return 0 if fd < 0 else self._add_to_set(fd)

    cdef void begin_read(self) noexcept:
        """Forget what an earlier read has waited for."""
        self._again, self._timed_out = NEVER, False

    cdef int64_t look_again(self, int64_t at) noexcept:
        """Have a read that ends by its deadline tried again at this time or earlier; return the time.

        For a reader that waits no longer than this although its deadline may be later.
        """
        self._again = sooner(self._again, at)
        return at

    cdef void show_ready(self) noexcept:
        """Make the set readable: the next read will not wait, or that is not known."""
        if self._set >= 0 and not self._shown:
            self._shown = True
            self.mark()

    cdef void show_idle(self) noexcept:
        """Undo `show_ready`: the next read will wait for the watched descriptor."""
        cdef uint64_t count
        if self._shown:
            self._shown = False
            c_read(self._fd, &count, sizeof(count))
            if load_bits(&self.signal):
                self.mark()  # that of a signal may have been read, too

    cdef void show_waiting(self) noexcept:
        """Let the set tell when to read again, after a read that ended with TimeoutError."""
        if self._set < 0:
            return
        if not self._timed_out:
            self.show_ready()  # not because of its deadline
            return
        if self._awaited < 0 or self._watch(self._awaited) < 0:
            self.look_again(monotonic_ns() + LOOK_INTERVAL)
        self._arm()

    cdef void _arm(self) noexcept:
        """Set the timer to the time at which the read must be tried again, or stop it."""
        cdef itimerspec setting
        cdef int64_t at = 0 if self._again == NEVER else max(self._again, <int64_t> 1)
        memset(&setting, 0, sizeof(setting))
        setting.it_value.tv_sec, setting.it_value.tv_nsec = at // NANOSECONDS, at % NANOSECONDS
        timerfd_settime(self._timer, TFD_TIMER_ABSTIME, &setting, NULL)
