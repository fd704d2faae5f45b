"""Features: what a table computes of the packets of a record besides its `FlowRecord`, if it is asked to.

    state of a flow     | payload | flags | times | first packets, bytes | lengths | gaps | ... | tunnel |
    record   FlowRecord | the same .................................... | summaries | tunnel | community_id |

Only the parts that were asked for have a place. Sums are integers, so that they do not depend on the order of
packets, and a mean and a standard deviation are exact up to the last rounding. Bytes of zeros are the state
of a record without packets; minima are kept inverted for that.
"""
from libc.math cimport sqrt
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cimport slimcap.wire.icmp as icmp
cimport slimcap.wire.tcp as tcp
cimport slimcap.wire.transport as transport
from slimcap.abi.wide cimport add_square, add_sum, squared_differences
from slimcap.flow.flow_key cimport FlowPacket, TunnelColumns
from slimcap.flow.flow_record cimport FlowRecord
from slimcap.packet.headers.community_id cimport put_community_id
from slimcap.packet.headers.row cimport Header
from slimcap.packet.record cimport Record

cdef enum:
    FEATURE_LENGTHS = 1
    FEATURE_IAT = 2
    FEATURE_FLAGS = 4
    FEATURE_PAYLOAD = 8
    FEATURE_COMMUNITY_ID = 16
    FEATURE_TUNNEL = 32     # part of the key
    TCP_FLAGS = 9           # FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE: bits 0 to 8
    BOTH = 2                # index after those of the two directions
    COMMUNITY_ID_SIZE = 30

# Columns that are counted where they are. Of two numbers the first is that of `src`.

cdef struct PayloadColumns:
    uint64_t packets[2]
    uint64_t bytes[2]
    uint64_t retransmissions[2]

cdef struct FlagColumns:
    uint64_t packets[2][TCP_FLAGS]

cdef struct TimeColumns:
    int64_t first[2]
    int64_t last[2]

# Columns that are computed at the end of a record: for src, dst and both.

cdef struct LengthSummary:
    uint32_t min
    uint32_t max
    double mean
    double std

cdef struct GapSummary:
    int64_t min
    int64_t max
    double mean
    double std

cdef struct LengthState:
    uint64_t squares[2]     # sum of the squares, 128 bits
    uint32_t max
    uint32_t inverted_min

cdef struct GapState:
    uint64_t squares[2]
    uint64_t sum
    uint64_t max
    uint64_t inverted_min

cdef struct SequenceState:  # of the flow, through all its records
    uint32_t next[2]        # the highest sequence number after a packet of each side
    uint32_t is_known[2]

cdef struct FeatureRules:
    uint32_t parts          # the FEATURE_ that were asked for
    uint32_t splt           # maximum number of first packets
    uint32_t first_bytes    # maximum number of first bytes
    # Offsets in a flow's state. What is at 0 is the payload, if that is a part.
    uint32_t flags, times, splt_len, splt_iat, first_len, first_data
    uint32_t copied         # bytes that are columns
    uint32_t lengths, gaps
    uint32_t cleared        # bytes that the next record starts without
    uint32_t tunnel
    uint32_t state_size
    # Offsets in a record.
    uint32_t length_summaries, gap_summaries, tunnel_columns, community_id
    uint32_t record_size


cdef inline uint32_t _place(uint32_t* end, uint64_t size, bint is_wanted) noexcept nogil:
    """Return the offset of a part after those so far, at a multiple of 8; it has no size if not wanted."""
    cdef uint32_t offset = end[0]
    if is_wanted:
        end[0] += <uint32_t> (size + 7) & ~<uint32_t> 7
    return offset


cdef inline void place_features(FeatureRules* rules) noexcept nogil:
    """Set the offsets and sizes for `parts`, `splt` and `first_bytes`."""
    cdef uint32_t parts = rules.parts, end = 0
    _place(&end, sizeof(PayloadColumns), parts & FEATURE_PAYLOAD != 0)
    rules.flags = _place(&end, sizeof(FlagColumns), parts & FEATURE_FLAGS != 0)
    rules.times = _place(&end, sizeof(TimeColumns), parts & FEATURE_IAT != 0)
    rules.splt_len = _place(&end, <uint64_t> rules.splt * sizeof(int32_t), rules.splt != 0)
    rules.splt_iat = _place(&end, <uint64_t> rules.splt * sizeof(int64_t), rules.splt != 0)
    rules.first_len = _place(&end, 2 * sizeof(uint16_t), rules.first_bytes != 0)
    rules.first_data = _place(&end, <uint64_t> 2 * rules.first_bytes, rules.first_bytes != 0)
    rules.copied = end
    rules.lengths = _place(&end, 2 * sizeof(LengthState), parts & FEATURE_LENGTHS != 0)
    rules.gaps = _place(&end, 3 * sizeof(GapState), parts & FEATURE_IAT != 0)
    rules.cleared = end
    _place(&end, sizeof(SequenceState), parts & FEATURE_PAYLOAD != 0)
    rules.tunnel = _place(&end, sizeof(TunnelColumns), parts & FEATURE_TUNNEL != 0)
    rules.state_size = end
    end = sizeof(FlowRecord) + rules.copied
    rules.length_summaries = _place(&end, 3 * sizeof(LengthSummary), parts & FEATURE_LENGTHS != 0)
    rules.gap_summaries = _place(&end, 3 * sizeof(GapSummary), parts & FEATURE_IAT != 0)
    rules.tunnel_columns = _place(&end, sizeof(TunnelColumns), parts & FEATURE_TUNNEL != 0)
    rules.community_id = _place(&end, COMMUNITY_ID_SIZE, parts & FEATURE_COMMUNITY_ID != 0)
    rules.record_size = end


# ---- counting

cdef inline void _add_length(LengthState* state, uint32_t length) noexcept nogil:
    add_square(state.squares, length)
    state.max = max(state.max, length)
    state.inverted_min = max(state.inverted_min, ~length)


cdef inline void _add_gap(GapState* state, uint64_t gap) noexcept nogil:
    add_square(state.squares, gap)
    state.sum += gap
    state.max = max(state.max, gap)
    state.inverted_min = max(state.inverted_min, ~gap)


cdef inline uint64_t _gap(int64_t last, int64_t timestamp) noexcept nogil:
    """Return the time since the latest packet; 0 for a packet that is earlier."""
    return <uint64_t> timestamp - <uint64_t> last if timestamp > last else 0


cdef inline void _add_times(
        const FeatureRules* rules, uint8_t* state, const FlowRecord* record, int64_t timestamp,
        uint32_t side) noexcept nogil:
    cdef TimeColumns* times = <TimeColumns*> (state + rules.times)
    cdef GapState* gaps = <GapState*> (state + rules.gaps)
    if record.packets[0] | record.packets[1]:
        _add_gap(&gaps[BOTH], _gap(record.last, timestamp))
    if record.packets[side] == 0:
        times.first[side] = times.last[side] = timestamp
        return
    _add_gap(&gaps[side], _gap(times.last[side], timestamp))
    times.first[side] = min(times.first[side], timestamp)
    times.last[side] = max(times.last[side], timestamp)


cdef inline void _add_payload(
        PayloadColumns* columns, SequenceState* sequence, const FlowPacket* packet,
        uint32_t side) noexcept nogil:
    cdef uint32_t end = packet.tcp_seq + packet.l7_len
    columns.bytes[side] += packet.l7_len
    columns.packets[side] += packet.l7_len != 0
    if packet.protocol != transport.TCP or packet.l7_len | packet.tcp_flags & (tcp.SYN | tcp.FIN) == 0:
        return
    end += (packet.tcp_flags & tcp.SYN != 0) + (packet.tcp_flags & tcp.FIN != 0)
    # Sequence numbers are compared modulo 2**32 (RFC 9293 section 3.4).
    if not sequence.is_known[side] or <int32_t> (end - sequence.next[side]) > 0:
        sequence.is_known[side] = True
        sequence.next[side] = end
    elif packet.l7_len:
        columns.retransmissions[side] += 1


cdef inline void _add_first_packet(
        const FeatureRules* rules, uint8_t* state, const FlowRecord* record, const Record* row,
        uint32_t side) noexcept nogil:
    """Add the length, negative from `dst`, and the gap of one of the first packets."""
    cdef uint64_t index = record.packets[0] + record.packets[1]
    cdef int32_t length = <int32_t> min(row.total_len, <uint32_t> INT32_MAX)
    if index < rules.splt:
        (<int32_t*> (state + rules.splt_len))[index] = -length if side else length
        (<int64_t*> (state + rules.splt_iat))[index] = (
            <int64_t> _gap(record.last, row.timestamp) if index else 0)


cdef inline void _add_first_bytes(
        const FeatureRules* rules, uint8_t* state, const FlowPacket* packet, uint32_t side) noexcept nogil:
    cdef uint16_t* length = <uint16_t*> (state + rules.first_len) + side
    cdef uint32_t added = min(packet.l7_captured, rules.first_bytes - length[0])
    if added:
        memcpy(state + rules.first_data + side * rules.first_bytes + length[0], packet.l7, added)
        length[0] += <uint16_t> added


cdef inline void add_features(
        const FeatureRules* rules, uint8_t* state, const FlowRecord* record, const FlowPacket* packet,
        const Record* row, uint32_t side) noexcept nogil:
    """Count a packet from `src` (side 0) or `dst` (1), which is not counted in `record` yet."""
    cdef uint64_t* flags
    cdef int index
    if rules.parts & FEATURE_LENGTHS:
        _add_length(<LengthState*> (state + rules.lengths) + side, row.total_len)
    if rules.parts & FEATURE_IAT:
        _add_times(rules, state, record, row.timestamp, side)
    if rules.parts & FEATURE_FLAGS:
        flags = (<FlagColumns*> (state + rules.flags)).packets[side]
        for index in range(TCP_FLAGS):
            flags[index] += packet.tcp_flags >> index & 1
    if rules.parts & FEATURE_PAYLOAD:
        _add_payload(<PayloadColumns*> state, <SequenceState*> (state + rules.cleared), packet, side)
    _add_first_packet(rules, state, record, row, side)
    if rules.first_bytes:
        _add_first_bytes(rules, state, packet, side)


cdef inline void clear_features(const FeatureRules* rules, uint8_t* state) noexcept nogil:
    """Start another record of the flow."""
    memset(state, 0, rules.cleared)


# ---- the end of a record

cdef inline double _deviation(const uint64_t* squares, uint64_t total, uint64_t count) noexcept nogil:
    """Return the standard deviation of a sample; 0 for a single value."""
    return sqrt(squared_differences(squares, total, count) / <double> (count - 1)) if count > 1 else 0


cdef inline void _summarize_lengths(
        const LengthState* states, const FlowRecord* record, LengthSummary* out) noexcept nogil:
    cdef LengthState both
    cdef uint32_t side
    memset(out, 0, 3 * sizeof(LengthSummary))
    both = states[0]
    add_sum(both.squares, states[1].squares)
    both.max = max(both.max, states[1].max)
    both.inverted_min = max(both.inverted_min, states[1].inverted_min)
    for side in range(2):
        _summarize_length(&states[side], record.bytes[side], record.packets[side], &out[side])
    _summarize_length(
        &both, record.bytes[0] + record.bytes[1], record.packets[0] + record.packets[1], &out[BOTH])


cdef inline void _summarize_length(
        const LengthState* state, uint64_t total, uint64_t count, LengthSummary* out) noexcept nogil:
    if count:
        out.min, out.max = ~state.inverted_min, state.max
        out.mean = <double> total / <double> count
        out.std = _deviation(state.squares, total, count)


cdef inline void _summarize_gaps(
        const GapState* states, const FlowRecord* record, GapSummary* out) noexcept nogil:
    cdef uint64_t packets[3]
    cdef uint32_t side
    packets[0], packets[1] = record.packets[0], record.packets[1]
    packets[BOTH] = packets[0] + packets[1]
    memset(out, 0, 3 * sizeof(GapSummary))
    for side in range(3):
        if packets[side] > 1:
            out[side].min, out[side].max = ~states[side].inverted_min, states[side].max
            out[side].mean = <double> states[side].sum / <double> (packets[side] - 1)
            out[side].std = _deviation(states[side].squares, states[side].sum, packets[side] - 1)


cdef inline void _put_community_id(const FlowRecord* record, uint8_t* out) noexcept nogil:
    """Write the Community ID of a flow: that of a packet from `src`."""
    cdef Header header
    memcpy(header.src, record.address[0], sizeof(header.src))
    memcpy(header.dst, record.address[1], sizeof(header.dst))
    header.src_port, header.dst_port, header.protocol = record.port[0], record.port[1], record.protocol
    header.ip_version = record.ip_version
    header.icmp_type, header.icmp_code = record.icmp_type, record.icmp_code
    if icmp.is_reply(record.protocol, record.icmp_type):    # which `dst` sent: `src` sent the request
        header.icmp_type = <uint8_t> icmp.counterpart(record.protocol, record.icmp_type)
    put_community_id(&header, NULL, out)


cdef inline void put_features(
        const FeatureRules* rules, const uint8_t* state, const FlowRecord* record,
        uint8_t* out) noexcept nogil:
    """Write the columns of a record after those of `FlowRecord`; `out` is its start."""
    if rules.copied:
        memcpy(out + sizeof(FlowRecord), state, rules.copied)
    if rules.parts & FEATURE_LENGTHS:
        _summarize_lengths(
            <const LengthState*> (state + rules.lengths), record,
            <LengthSummary*> (out + rules.length_summaries))
    if rules.parts & FEATURE_IAT:
        _summarize_gaps(
            <const GapState*> (state + rules.gaps), record, <GapSummary*> (out + rules.gap_summaries))
    if rules.parts & FEATURE_TUNNEL:
        memcpy(out + rules.tunnel_columns, state + rules.tunnel, sizeof(TunnelColumns))
    if rules.parts & FEATURE_COMMUNITY_ID:
        memset(out + rules.community_id, 0, rules.record_size - rules.community_id)
        _put_community_id(record, out + rules.community_id)
