"""`FLOW_DTYPE`, the numpy dtype of the `FlowRecord` struct, built from the C layout."""
import numpy as np

from slimcap.flow.flow_enums import FlowEnd, FlowInitiator


cdef dict _layout(str time):
    """Return the names, formats and offsets of the fields; the offsets are the C compiler's."""
    cdef FlowRecord row
    cdef const char* base = <const char*> &row
    fields = {
        "first": (time, <const char*> &row.first - base),
        "last": (time, <const char*> &row.last - base),
        "flow_id": ("u8", <const char*> &row.flow_id - base),
        "src": ("V16", <const char*> &row.address[0] - base),
        "dst": ("V16", <const char*> &row.address[1] - base),
        "interface": ("u4", <const char*> &row.interface - base),
        "src_port": ("u2", <const char*> &row.port[0] - base),
        "dst_port": ("u2", <const char*> &row.port[1] - base),
        "src_packets": ("u8", <const char*> &row.packets[0] - base),
        "dst_packets": ("u8", <const char*> &row.packets[1] - base),
        "src_bytes": ("u8", <const char*> &row.bytes[0] - base),
        "dst_bytes": ("u8", <const char*> &row.bytes[1] - base),
        "src_ip_bytes": ("u8", <const char*> &row.ip_bytes[0] - base),
        "dst_ip_bytes": ("u8", <const char*> &row.ip_bytes[1] - base),
        "src_tcp_flags": ("u2", <const char*> &row.tcp_flags[0] - base),
        "dst_tcp_flags": ("u2", <const char*> &row.tcp_flags[1] - base),
        "vlan_id": ("u2", <const char*> &row.vlan_id - base),
        "protocol": ("u1", <const char*> &row.protocol - base),
        "ip_version": ("u1", <const char*> &row.ip_version - base),
        "icmp_type": ("u1", <const char*> &row.icmp_type - base),
        "icmp_code": ("u1", <const char*> &row.icmp_code - base),
        "initiator": ("u1", <const char*> &row.initiator - base),
        "end_reason": ("u1", <const char*> &row.end_reason - base),
        "part": ("u4", <const char*> &row.part - base),
    }
    return {
        "names": list(fields),
        "formats": [kind for kind, _ in fields.values()],
        "offsets": [offset for _, offset in fields.values()],
        "itemsize": sizeof(FlowRecord),
    }


FLOW_DTYPE = np.dtype(_layout("i8"))
FLOW_DTYPE_WITH_TIMES = np.dtype(_layout("M8[ns]"))

if not (FLOW_DTYPE.itemsize == sizeof(FlowRecord) == 128
        and [int(reason) for reason in FlowEnd]
        == [END_IDLE, END_ACTIVE, END_OF_FLOW, END_FORCED, END_LACK_OF_RESOURCES, END_WINDOW]
        and [int(rule) for rule in FlowInitiator]
        == [BY_FIRST_PACKET, BY_SYN, BY_SYN_ACK, BY_ICMP_TYPE, BY_PORT]):
    raise ImportError("the compiled layout of a flow does not match the Python constants: rebuild slimcap")
