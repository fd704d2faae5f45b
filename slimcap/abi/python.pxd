"""Functions of Python's C interface that Cython does not declare, or declares differently."""
from cpython.object cimport PyObject
from cpython.pystate cimport PyThreadState
from libc.stdint cimport uint64_t

cdef extern from "Python.h":
    bint Py_IsInitialized() nogil
    int PyErr_SetInterruptEx(int signum)
    Py_ssize_t Py_REFCNT(PyObject* o)  # takes a pointer: passing an object would add a reference
    PyThreadState* PyThreadState_Get()
    uint64_t PyThreadState_GetID(PyThreadState* thread)     # unlike an identifier, never used again

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define slimcap_set_immortal(o) (PyObject_GC_UnTrack(o), Py_SET_REFCNT(o, PY_SSIZE_T_MAX))
    #else
    #define slimcap_set_immortal(o) ((void) (o))
    #endif
    """
    # Without a GIL: count no references to this object, which many threads use, and never deallocate it. No
    # other thread may know it yet.
    void set_immortal "slimcap_set_immortal"(object o)
