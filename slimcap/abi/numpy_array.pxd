"""Functions of numpy's C interface that its own declarations leave out."""
cimport numpy as cnp

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(
        type subtype, cnp.dtype descr, int nd, cnp.npy_intp* dims, cnp.npy_intp* strides, void* data,
        int flags, object obj)
    int PyArray_SetBaseObject(cnp.ndarray array, object base) except -1
