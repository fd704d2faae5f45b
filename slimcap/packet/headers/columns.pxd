from slimcap.packet.record cimport Record
from slimcap.packet.view cimport View

cdef bytes tunnel_table(object tunnel_ports)
cdef object header_columns(
    const Record* rows, Py_ssize_t count, View data, object links, object columns, bint inner,
    object tunnel_ports)
