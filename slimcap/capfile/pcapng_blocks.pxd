from libc.stdint cimport uint32_t, uint64_t

cdef bytes section_block(tuple options)
cdef bytes interface_block(uint32_t link_type, uint32_t snaplen, tuple options)
cdef bytes statistics_block(uint32_t interface, uint64_t ticks, tuple options)
cdef bytes other_block(uint32_t kind, bytes body)
