"""`Owner`: the process that opened something.

    parent   opens a file, a socket, a ring ──── reads, writes, renames, closes
                         │ fork
    child                └ a copy of the object: uses raise RuntimeError, close() closes only descriptors

A forked process shares file offsets, sockets, temporary files and mapped memory with its parent, and has none
of its threads. So what was opened before a fork is used only by the process that opened it.
"""
cimport cython

from slimcap.abi.linux cimport c_getpid, pthread_atfork

cdef void _count_fork() noexcept nogil:
    global forks
    forks += 1


# Forks of C libraries count, too. A process identifier is not enough: in each new namespace the first is 1.
if pthread_atfork(NULL, NULL, _count_fork):
    raise MemoryError("cannot register a handler of forks")


@cython.final
@cython.no_gc
cdef class Owner:
    """The process that made this object.

    Attributes
    ----------
    pid : int
        Identifier of the process.
    """

    def __cinit__(self):
        self.pid, self.forks = c_getpid(), forks

    cpdef bint is_here(self) noexcept:
        """Return True in the process that made this object, False in those that it forked."""
        return self.forks == forks

    cpdef int check(self, str name) except -1:
        """Raise RuntimeError in a forked process; `name` is what was opened."""
        if self.forks != forks:
            raise RuntimeError(f"{name} was opened by process {self.pid}: open it again in this process")
        return 0
