"""Blocking waits, without the GIL and with a deadline, which other threads and Ctrl-C can interrupt."""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint64_t

from slimcap.abi.atomic cimport clear_bits, load_bits, set_bits
from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport (
    CLOCK_MONOTONIC,
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    EINTR,
    F_DUPFD_CLOEXEC,
    POLLIN,
    c_close,
    c_ppoll,
    c_read,
    c_write,
    clock_gettime,
    errno,
    eventfd,
    fcntl,
    pollfd,
    timespec,
)
from slimcap.io.owner cimport Owner

import os

from slimcap.errors import CaptureStopped, CaptureUnblocked, wrong_type

cdef enum:
    # Maximum time of one poll in ns: a signal delivered to another thread does not interrupt our poll.
    MAX_WAIT = 50_000_000


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
        self._fd = -1
        self.owner = Owner()

    cdef int open(self) except -1:
        """Open the eventfd, which wakes a reader; before that, signals are only stored."""
        cdef int fd
        if self._fd >= 0:
            return 0
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if fd < 0:
            raise_errno("eventfd", None)
        # A number below 3 is that of a closed standard stream, and would be mistaken for it.
        if fd >= 3:
            self._fd = fd
            return 0
        try:
            self._fd = duplicate(fd, None)
        finally:
            c_close(fd)
        return 0

    cdef void shut(self) noexcept:
        """Close the eventfd once no thread will wait any more. Signals are still stored."""
        with cython.critical_section(self):
            self._close()

    def __dealloc__(self):
        self._close()

    cdef void _close(self) noexcept:
        if self._fd > 0:  # 0 if __cinit__ did not run, because it was given arguments
            c_close(self._fd)
            self._fd = -1

    cdef void raise_signal(self, Signal signal) noexcept:
        """Store a signal and wake the reader."""
        cdef uint64_t one = 1
        set_bits(&self.signal, signal)
        with cython.critical_section(self):  # else the descriptor may be closed meanwhile, and be another one
            if self._fd >= 0 and self.owner.is_here():
                # Fails only if the counter is full; then it is readable, as required.
                c_write(self._fd, &one, sizeof(one))

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
            PyErr_CheckSignals()
            self.check()
            if ready > 0 and fds[0].revents:
                return fds[0].revents
            if load_bits(&self.signal) & (SIGNAL_END | SIGNAL_RETURNED):
                return 0
            if deadline != NEVER and monotonic_ns() >= deadline:
                raise TimeoutError("no packet arrived within the timeout")
