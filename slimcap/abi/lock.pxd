"""The lock of C code, and the rule for all locks of the package.

**A thread that waits for a lock does not hold the GIL. A thread that waits for the GIL holds no lock.**

Otherwise one thread may hold the lock and wait for the GIL, while another one waits for the lock and holds
the GIL. Then every thread of the process hangs, and Ctrl-C has no effect. So code runs without the GIL from
`acquire` to `release`, and the rest is done before and after:

    with nogil:
        acquire(&self._lock)
        error = self._change()      # C only
        release(&self._lock)
    if error:
        raise …

Under a lock, memory comes from malloc(): PyMem_RawMalloc() takes the GIL while tracemalloc is on. A thread
that holds a lock acquires only those of the objects that it calls, never that of its caller. The same holds
on a free-threaded build, where a thread that is attached to the interpreter counts as one with the GIL.

A forked process inherits a lock as it is, perhaps locked forever. So an object checks that it belongs to this
process before it acquires its lock.

Locks of Python code are those of `threading`, for which Python waits without the GIL. A signal handler or a
finalizer may run while one is held: it is an RLock if such code may need it, too.
"""

cdef extern from * nogil:
    """
    #include <assert.h>
    #include <pthread.h>

    static inline void slimcap_acquire(pthread_mutex_t* lock)
    {
        assert(!PyGILState_Check());
        pthread_mutex_lock(lock);
    }
    static inline void slimcap_init_lock(pthread_mutex_t* lock)
    {
        pthread_mutex_init(lock, NULL);     /* never fails on Linux */
    }
    """
    ctypedef struct Lock "pthread_mutex_t":
        pass
    void init_lock "slimcap_init_lock"(Lock* lock) noexcept
    void acquire "slimcap_acquire"(Lock* lock) noexcept
    void release "pthread_mutex_unlock"(Lock* lock) noexcept
