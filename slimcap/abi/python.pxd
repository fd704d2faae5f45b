"""Functions of Python's C interface that Cython does not declare, or declares differently."""
from cpython.object cimport PyObject

cdef extern from "Python.h":
    bint Py_IsInitialized() nogil
    int PyErr_SetInterruptEx(int signum)
    Py_ssize_t Py_REFCNT(PyObject* o)  # takes a pointer: passing an object would add a reference

    ctypedef enum PyMemAllocatorDomain:
        PYMEM_DOMAIN_RAW
        PYMEM_DOMAIN_MEM
        PYMEM_DOMAIN_OBJ
    ctypedef struct PyMemAllocatorEx:
        void* ctx
        void* (*malloc)(void* ctx, size_t size) noexcept nogil
        void* (*calloc)(void* ctx, size_t count, size_t size) noexcept nogil
        void* (*realloc)(void* ctx, void* memory, size_t size) noexcept nogil
        void (*free)(void* ctx, void* memory) noexcept nogil
    void PyMem_GetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)
    void PyMem_SetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)
