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
