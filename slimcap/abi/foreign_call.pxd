"""Calls from libraries of other languages, which may come, or last, while the interpreter ends.

Then Python before 3.14 ends each thread that asks for the GIL, by pthread_exit(). That unwinds the frames of
the library that made the call, and those of Rust and C++ abort the process. In these calls the thread waits
instead until the process has ended, as it does in Python 3.14; but not forever, since the end of the process
may wait for the thread.
"""
cdef extern from * nogil:
    """
    #include <pthread.h>
    #include <unistd.h>

    static inline void slimcap_wait_for_exit(void* unused)
    {
        (void) unused;
        sleep(10);
    }
    static inline int slimcap_foreign_call(int (*call)(void*, void*), void* first, void* second)
    {
        int result;
        pthread_cleanup_push(slimcap_wait_for_exit, NULL);
        result = call(first, second);
        pthread_cleanup_pop(0);
        return result;
    }
    static inline PyObject* slimcap_call_from_library(PyObject* function, PyObject* arguments)
    {
        PyObject* result;
        pthread_cleanup_push(slimcap_wait_for_exit, NULL);
        result = PyObject_CallObject(function, arguments);
        pthread_cleanup_pop(0);
        return result;
    }
    """
    # A call without the GIL, which `call` may take.
    int foreign_call "slimcap_foreign_call"(
        int (*call)(void*, void*) noexcept, void* first, void* second) noexcept

cdef extern from *:
    # A call of a Python method. `arguments` is a tuple.
    object call_from_library "slimcap_call_from_library"(object function, object arguments)
