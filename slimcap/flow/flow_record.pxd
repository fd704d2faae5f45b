"""`FlowRecord`, the row struct of flows: two cache lines, of which the first has addresses and ports."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef struct FlowRecord:
    int64_t first
    int64_t last
    uint64_t flow_id
    uint64_t address[2][2]  # of src and of dst: the bytes, as in a Header
    uint32_t interface
    uint16_t port[2]
    # Of both directions: [0] sent by src, [1] sent by dst.
    uint64_t packets[2]
    uint64_t bytes[2]
    uint64_t ip_bytes[2]
    uint16_t tcp_flags[2]
    uint16_t vlan_id
    uint8_t protocol
    uint8_t ip_version
    uint8_t icmp_type
    uint8_t icmp_code
    uint8_t initiator
    uint8_t end_reason      # in a table: bits of the flow's state
    uint32_t part           # number of records of the flow before this one

cdef enum:
    # FlowEnd in C; flow_columns.pyx compares the two at import. IPFIX flowEndReason (IE 136), and the border.
    END_IDLE = 1
    END_ACTIVE = 2
    END_OF_FLOW = 3
    END_FORCED = 4
    END_LACK_OF_RESOURCES = 5
    END_WINDOW = 128
    # FlowInitiator in C.
    BY_FIRST_PACKET = 0
    BY_SYN = 1
    BY_SYN_ACK = 2
    BY_ICMP_TYPE = 3
    BY_PORT = 4
