from libc.stdint cimport uint8_t

cdef class View:
    cdef const uint8_t* _ptr
    cdef Py_ssize_t _len
    cdef object _owner          # keeps _ptr alive

cdef class IPLayer(View):
    pass  # it shares View's free list only without fields or C methods of its own

cdef View new_view(const uint8_t* p, Py_ssize_t n, object owner)
cdef IPLayer new_ip_layer(const uint8_t* p, Py_ssize_t n, object owner)
