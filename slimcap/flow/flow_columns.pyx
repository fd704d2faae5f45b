"""The columns of flow records: numpy dtypes, built from the C layouts of `FlowRecord` and of the features."""
from libc.string cimport memset

from slimcap.flow.features cimport (
    BOTH, COMMUNITY_ID_SIZE, FEATURE_COMMUNITY_ID, FEATURE_FLAGS, FEATURE_IAT, FEATURE_LENGTHS,
    FEATURE_PAYLOAD, FEATURE_TUNNEL, TCP_FLAGS, FeatureRules, FlagColumns, GapSummary, LengthSummary,
    PayloadColumns, TimeColumns, place_features)
from slimcap.flow.flow_key cimport TunnelColumns
from slimcap.flow.flow_record cimport (
    BY_FIRST_PACKET, BY_ICMP_TYPE, BY_PORT, BY_SYN, BY_SYN_ACK, END_ACTIVE, END_FORCED, END_IDLE,
    END_LACK_OF_RESOURCES, END_OF_FLOW, END_WINDOW, FlowRecord)

import functools

from slimcap.flow.flow_enums import FlowEnd, FlowInitiator
from slimcap.packet.record import struct_dtype

SIDES = ("src_", "dst_")
TCP_FLAG_NAMES = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ae")
NANOSECOND_COLUMNS = frozenset(("first", "last", "src_first", "src_last", "dst_first", "dst_last"))

cdef dict FEATURES = {
    "lengths": FEATURE_LENGTHS, "iat": FEATURE_IAT, "flags": FEATURE_FLAGS, "payload": FEATURE_PAYLOAD,
    "community_id": FEATURE_COMMUNITY_ID}


# The functions below return a dict of (type, offset in the record) by the names of columns. The offsets in a
# struct are the C compiler's.

cdef dict _record_fields():
    cdef FlowRecord row
    cdef const char* base = <const char*> &row
    return {
        "first": ("i8", <const char*> &row.first - base),
        "last": ("i8", <const char*> &row.last - base),
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


cdef dict _summary_fields(str name, Py_ssize_t start, Py_ssize_t size, dict of_one):
    """Return the columns of three summaries, for src, dst and both, from those of one."""
    return {
        f"{side}{name}_{statistic}": (kind, start + index * size + offset)
        for index, side in enumerate((*SIDES, ""))
        for statistic, (kind, offset) in of_one.items()
    }


cdef dict _length_fields(Py_ssize_t start):
    cdef LengthSummary one
    cdef const char* base = <const char*> &one
    return _summary_fields("len", start, sizeof(one), {
        "min": ("u4", <const char*> &one.min - base),
        "max": ("u4", <const char*> &one.max - base),
        "mean": ("f8", <const char*> &one.mean - base),
        "std": ("f8", <const char*> &one.std - base),
    })


cdef dict _iat_fields(Py_ssize_t times, Py_ssize_t start):
    cdef GapSummary one
    cdef TimeColumns both
    cdef const char* base = <const char*> &one
    fields = {}
    for index, side in enumerate(SIDES):
        fields[f"{side}first"] = "i8", times + (<const char*> &both.first[index] - <const char*> &both)
        fields[f"{side}last"] = "i8", times + (<const char*> &both.last[index] - <const char*> &both)
    return fields | _summary_fields("iat", start, sizeof(one), {
        "min": ("i8", <const char*> &one.min - base),
        "max": ("i8", <const char*> &one.max - base),
        "mean": ("f8", <const char*> &one.mean - base),
        "std": ("f8", <const char*> &one.std - base),
    })


cdef dict _flag_fields(Py_ssize_t start):
    cdef FlagColumns one
    return {
        f"{side}{name}_packets": (
            "u8", start + (<const char*> &one.packets[<int> index][<int> bit] - <const char*> &one))
        for index, side in enumerate(SIDES)
        for bit, name in enumerate(TCP_FLAG_NAMES)
    }


cdef dict _payload_fields(Py_ssize_t start):
    cdef PayloadColumns one
    cdef const char* base = <const char*> &one
    fields = {}
    for index, side in enumerate(SIDES):
        fields[f"{side}payload_packets"] = "u8", start + (<const char*> &one.packets[<int> index] - base)
        fields[f"{side}payload_bytes"] = "u8", start + (<const char*> &one.bytes[<int> index] - base)
        fields[f"{side}retransmissions"] = "u8", start + (
            <const char*> &one.retransmissions[<int> index] - base)
    return fields


cdef dict _tunnel_fields(Py_ssize_t start):
    cdef TunnelColumns one
    cdef const char* base = <const char*> &one
    return {
        "outer_src": ("V16", start + (<const char*> &one.outer[0] - base)),
        "outer_dst": ("V16", start + (<const char*> &one.outer[1] - base)),
        "tunnel_id": ("u4", start + (<const char*> &one.tunnel_id - base)),
    }


cdef dict _feature_fields(const FeatureRules* rules):
    cdef Py_ssize_t copied = sizeof(FlowRecord)
    fields = {}
    if rules.parts & FEATURE_LENGTHS:
        fields |= _length_fields(rules.length_summaries)
    if rules.parts & FEATURE_IAT:
        fields |= _iat_fields(copied + rules.times, rules.gap_summaries)
    if rules.parts & FEATURE_FLAGS:
        fields |= _flag_fields(copied + rules.flags)
    if rules.parts & FEATURE_PAYLOAD:
        fields |= _payload_fields(copied)
    if rules.splt:
        fields["splt_len"] = ("i4", (rules.splt,)), copied + rules.splt_len
        fields["splt_iat"] = ("i8", (rules.splt,)), copied + rules.splt_iat
    if rules.first_bytes:
        for index, side in enumerate(SIDES):
            fields[f"{side}first_bytes"] = (
                ("u1", (rules.first_bytes,)), copied + rules.first_data + index * rules.first_bytes)
            fields[f"{side}first_len"] = "u2", copied + rules.first_len + 2 * index
    if rules.parts & FEATURE_TUNNEL:
        fields |= _tunnel_fields(rules.tunnel_columns)
    if rules.parts & FEATURE_COMMUNITY_ID:
        fields["community_id"] = f"S{COMMUNITY_ID_SIZE}", rules.community_id
    return fields


cdef int set_features(
        FeatureRules* rules, object features, object splt, object first_bytes, bint has_tunnel) except -1:
    """Set the rules for the options of `FlowOptions`."""
    memset(rules, 0, sizeof(FeatureRules))
    for name in features or ():
        rules.parts |= <int> FEATURES[name]
    if has_tunnel:
        rules.parts |= FEATURE_TUNNEL
    rules.splt, rules.first_bytes = splt, first_bytes
    place_features(rules)
    return 0


cdef object dtype_of(const FeatureRules* rules):
    """Return the dtype of the records: FLOW_DTYPE, and the columns of the features."""
    fields = _feature_fields(rules)
    return struct_dtype(_record_fields() | fields, rules.record_size) if fields else FLOW_DTYPE


@functools.cache
def with_times(dtype):
    """Return a dtype of records with its times as datetime64[ns]."""
    fields = {}
    for name in dtype.names:
        kind, offset = dtype.fields[name][:2]
        fields[name] = "M8[ns]" if name in NANOSECOND_COLUMNS else kind, offset
    return struct_dtype(fields, dtype.itemsize)


FLOW_DTYPE = struct_dtype(_record_fields(), sizeof(FlowRecord))

if not (FLOW_DTYPE.itemsize == sizeof(FlowRecord) == 128
        and len(TCP_FLAG_NAMES) == TCP_FLAGS and len(SIDES) == BOTH
        and [int(reason) for reason in FlowEnd]
        == [END_IDLE, END_ACTIVE, END_OF_FLOW, END_FORCED, END_LACK_OF_RESOURCES, END_WINDOW]
        and [int(rule) for rule in FlowInitiator]
        == [BY_FIRST_PACKET, BY_SYN, BY_SYN_ACK, BY_ICMP_TYPE, BY_PORT]):
    raise ImportError("the compiled layout of a flow does not match the Python constants: rebuild slimcap")
