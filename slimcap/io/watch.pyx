"""Following files: notification of growing and new files (inotify(7)), and where a followed file ends."""
cimport cython
from libc.stdint cimport int64_t, uint8_t

from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport (
    EAGAIN,
    EINTR,
    IN_ATTRIB,
    IN_CLOEXEC,
    IN_CREATE,
    IN_MODIFY,
    IN_MOVED_TO,
    IN_NONBLOCK,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    POLLIN,
    c_close,
    c_read,
    errno,
    inotify_add_watch,
    inotify_event,
    inotify_init1,
    inotify_rm_watch,
)
from slimcap.io.event cimport NEVER, Event, monotonic_ns, raise_errno
from slimcap.io.owner cimport Owner

import os

cdef enum:
    # Interval of checks: inotify does not report what other hosts write to a network file system.
    RESCAN_INTERVAL = NANOSECONDS
    BUFFER_SIZE = 4096                  # an event has 16 bytes and a name of at most 256


@cython.final
cdef class Watch:
    """Wait object of readers that follow files."""

    def __cinit__(self):
        self._fd = self._folder = -1
        self._made = True
        self._owner = Owner()
        self._fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)
        if self._fd < 0:
            raise_errno("inotify_init1", None)
        self._rescan_at = monotonic_ns() + RESCAN_INTERVAL

    def __dealloc__(self):
        if self._made and self._fd >= 0:  # else __cinit__ did not run, because it was given arguments
            c_close(self._fd)

    cdef int add_file(self, int fd, str name) except -1:
        """Watch an open file; return its watch descriptor.

        It is watched by its descriptor, because its path may be that of another file by now. The number of
        links is an attribute, so removing the last one also ends a wait.
        """
        cdef bytes path = f"/proc/self/fd/{fd}".encode()
        cdef int watched = inotify_add_watch(self._fd, path, IN_MODIFY | IN_ATTRIB)
        if watched < 0:
            raise_errno("inotify_add_watch", name)
        return watched

    cdef int add_folder(self, str path) except -1:
        """Watch a folder for new files."""
        cdef bytes encoded = os.fsencode(path)
        self._folder = inotify_add_watch(self._fd, encoded, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)
        if self._folder < 0:
            raise_errno("inotify_add_watch", path)
        self.changed = True
        return 0

    cdef void forget(self, int watched) noexcept:
        """Stop watching a file."""
        if watched >= 0 and self._owner.is_here():
            inotify_rm_watch(self._fd, watched)

    cdef int wait(self, Event event, int64_t deadline) except -1:
        """Wait for an event, a signal to end, or RESCAN_INTERVAL nanoseconds since the last of these.

        The interval is also kept if many waits with earlier deadlines follow each other. Raises the same
        exceptions as `Event.wait`.
        """
        cdef int64_t end = self._rescan_at
        event.look_again(end)
        if deadline != NEVER:
            end = min(end, deadline)
        try:
            event.wait(self._fd, POLLIN, end)
        except TimeoutError:
            if end < self._rescan_at:
                raise
            self.changed = True
        self._rescan_at = monotonic_ns() + RESCAN_INTERVAL
        return self._read_events()

    cdef int _read_events(self) except -1:
        """Read the pending events; set `changed` if the folder has changed."""
        cdef uint8_t[BUFFER_SIZE] buffer
        cdef const inotify_event* notification
        cdef ssize_t offset, got = c_read(self._fd, buffer, BUFFER_SIZE)
        while got > 0:
            offset = 0
            while offset < got:
                notification = <const inotify_event*> (<uint8_t*> buffer + offset)
                if notification.wd == self._folder or notification.mask & IN_Q_OVERFLOW:
                    self.changed = True
                offset += sizeof(inotify_event) + notification.len
            got = c_read(self._fd, buffer, BUFFER_SIZE)
        if got < 0 and errno != EAGAIN and errno != EINTR:
            raise_errno("read", "inotify")
        return 0


cdef class EndPolicy:
    """Tells the reader of a followed file, at the end of the file, whether to wait for more data.

    This one is for a single file: it may always grow. A subclass may know better.
    """

    def __cinit__(self):
        self.watch = Watch()

    cdef bint is_over(self) except -1:
        """Return True if the file will not grow any more."""
        return False
