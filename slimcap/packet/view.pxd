from libc.stdint cimport uint8_t

from slimcap.wire.ipv6 cimport UpperLayer

cdef class View:
    cdef const uint8_t* _ptr
    cdef Py_ssize_t _len
    cdef object _owner          # keeps _ptr alive
    cdef Py_ssize_t* _exports   # the owner's count of open views; NULL if it keeps none

cdef class IPLayer(View):
    cdef UpperLayer _upper(self) noexcept

cdef View new_view(const uint8_t* p, Py_ssize_t n, object owner, Py_ssize_t* exports)
cdef IPLayer new_ip_layer(const uint8_t* p, Py_ssize_t n, object owner, Py_ssize_t* exports)
