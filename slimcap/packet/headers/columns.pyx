"""Header columns: the parsed headers of a batch's packets as a numpy structured array.

One walk fills in the wanted fields of each packet's `Header`. If all columns are wanted, the headers are the
rows of the array and are filled in there. Columns of flows (addresses, ports, keys …) are stored in the array
packet by packet; with another column, the headers of a chunk of packets are filled in on the stack, and the
wanted columns are copied from there.

Of each chunk the plain packets are parsed first, by `plain.pxd`, and then the others, by `dissect.pxd`.
"""
cimport cython
cimport numpy as cnp
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

cimport slimcap.wire.geneve as geneve
cimport slimcap.wire.gtpu as gtpu
cimport slimcap.wire.l2tp as l2tp
cimport slimcap.wire.teredo as teredo
cimport slimcap.wire.vxlan as vxlan
cimport slimcap.wire.vxlan_gpe as vxlan_gpe
from slimcap.abi.branch cimport prefetch, rarely
from slimcap.abi.numpy_array cimport PyArray_NewFromDescr
from slimcap.packet.headers.community_id cimport CommunityEntry, fill_community_id, new_cache
from slimcap.packet.headers.dissect cimport fill_header
from slimcap.packet.headers.flow_hash cimport Flow, flow_hash, order, set_flow
from slimcap.packet.headers.plain cimport MIN_UPPER_LEN, fill_plain
from slimcap.packet.headers.row cimport (
    PART_COMMUNITY_ID, PART_HASH, PART_LINK, PART_NETWORK, PART_SYMMETRIC_HASH, PART_TRANSPORT,
    PARTS_OF_HASHES, PARTS_OF_HEADER, PARTS_OF_KEYS, STATUS_ARP, STATUS_FRAGMENT, STATUS_MALFORMED,
    STATUS_NO_IP, STATUS_OK, STATUS_TRUNCATED, Header, HeaderRow, Keys)
from slimcap.packet.record cimport Record, in_bounds
from slimcap.packet.view cimport View
from slimcap.wire.walk_link cimport (
    LINKTYPE_C_HDLC, LINKTYPE_C_HDLC_WITH_DIR, LINKTYPE_DBUS, LINKTYPE_ENC, LINKTYPE_ETHERNET,
    LINKTYPE_FRELAY, LINKTYPE_FRELAY_WITH_DIR, LINKTYPE_IEEE802_11, LINKTYPE_IEEE802_11_AVS,
    LINKTYPE_IEEE802_11_PRISM, LINKTYPE_IEEE802_11_RADIOTAP, LINKTYPE_IPNET, LINKTYPE_IPV4, LINKTYPE_IPV6,
    LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2, LINKTYPE_LOOP, LINKTYPE_MPLS, LINKTYPE_NFLOG, LINKTYPE_NULL,
    LINKTYPE_PFLOG, LINKTYPE_PKTAP, LINKTYPE_PPI, LINKTYPE_PPP, LINKTYPE_PPP_ETHER, LINKTYPE_PPP_HDLC,
    LINKTYPE_PPP_PPPD, LINKTYPE_PPP_WITH_DIR, LINKTYPE_RAW, LINKTYPE_RAW_BSD, LINKTYPE_RAW_OPENBSD,
    LINKTYPE_USER0)
from slimcap.wire.walk_tunnel cimport (
    MPLS_PORT, PORTS, TUNNEL_GENEVE, TUNNEL_GTPU, TUNNEL_L2TP, TUNNEL_MPLS, TUNNEL_TEREDO, TUNNEL_VXLAN,
    TUNNEL_VXLAN_GPE, TunnelPorts)

from collections.abc import Iterable

import numpy as np

from slimcap.errors import suggestion, wrong_type
from slimcap.packet.enums import HeaderStatus, LinkType
from slimcap.packet.headers import tunnel_ports as tunnel_tables
from slimcap.packet.headers.header_array import HeaderArray
from slimcap.packet.record import RECORD_DTYPE, struct_dtype

cnp.import_array()

cdef enum:
    AHEAD = 8               # how many packets ahead headers are prefetched
    CHUNK = 64              # headers per chunk, which must stay in the L1 cache
    FEW_PLAIN = 48          # a chunk with more other packets than these has few plain ones
    UNTRIED = 15            # chunks after it whose packets are not tried as plain
    MAX_COLUMNS = 64
    MAX_SELECTIONS = 256    # sets of columns that are kept for the next call
    # Columns of flows, in order of _FLOW_COLUMNS; a set of them is a bit mask.
    FLOW_STATUS = 0
    FLOW_SRC = 1
    FLOW_DST = 2
    FLOW_SRC_PORT = 3
    FLOW_DST_PORT = 4
    FLOW_PROTOCOL = 5
    FLOW_HASH = 6
    FLOW_SYMMETRIC_HASH = 7
    FLOW_COMMUNITY_ID = 8
    FLOW_COLUMNS = 9
    NO_FLOW = 0         # not a protocol of plain packets
    STATUS_ONLY = 1 << FLOW_STATUS
    HASHES = 1 << FLOW_HASH | 1 << FLOW_SYMMETRIC_HASH
    FIVE_TUPLE = 1 << FLOW_SRC | 1 << FLOW_DST | 1 << FLOW_SRC_PORT | 1 << FLOW_DST_PORT | 1 << FLOW_PROTOCOL

cdef struct Column:
    size_t offset       # in a HeaderRow
    size_t size
    size_t out_offset   # in a row of the array

cdef struct Job:
    const Record* rows
    const uint8_t* data
    size_t size
    const uint32_t* linktypes
    uint32_t interfaces
    uint32_t parts
    bint inner
    TunnelPorts ports
    CommunityEntry* cache   # of Community IDs, or NULL
    size_t chunk_stride  # size of a header in a chunk: a HeaderRow, without its Keys if no key is wanted
    Column columns[MAX_COLUMNS]
    int count           # 0: all columns of a Header
    uint32_t flow       # the set of columns if all are columns of flows, else 0
    size_t flow_offsets[FLOW_COLUMNS]   # of these columns in a row of the array
    bint has_padding    # rows of the array have bytes that are not in a column


cdef HeaderRow _EMPTY   # a copy of it is faster than a call of memset(3)


cdef dict _layout():
    """Return for each column its format, its offset in a HeaderRow (the C compiler's), and the parts of the
    packet that must be parsed for it."""
    cdef HeaderRow row
    cdef const char* base = <const char*> &row
    return {
        "status": ("u1", <const char*> &row.header.status - base, 0),
        "src_mac": ("V6", <const char*> &row.header.src_mac - base, PART_LINK),
        "dst_mac": ("V6", <const char*> &row.header.dst_mac - base, PART_LINK),
        "ethertype": ("u2", <const char*> &row.header.ethertype - base, PART_LINK),
        "vlan_id": ("u2", <const char*> &row.header.vlan_id - base, PART_LINK),
        "inner_vlan_id": ("u2", <const char*> &row.header.inner_vlan_id - base, PART_LINK),
        "ip_version": ("u1", <const char*> &row.header.ip_version - base, 0),
        "src": ("V16", <const char*> &row.header.src - base, 0),
        "dst": ("V16", <const char*> &row.header.dst - base, 0),
        "protocol": ("u1", <const char*> &row.header.protocol - base, 0),
        "ttl": ("u1", <const char*> &row.header.ttl - base, PART_NETWORK),
        "tos": ("u1", <const char*> &row.header.tos - base, PART_NETWORK),
        "flow_label": ("u4", <const char*> &row.header.flow_label - base, PART_NETWORK),
        "ip_len": ("u4", <const char*> &row.header.ip_len - base, PART_NETWORK),
        "ip_id": ("u4", <const char*> &row.header.ip_id - base, PART_NETWORK),
        "frag_offset": ("u2", <const char*> &row.header.frag_offset - base, PART_NETWORK),
        "more_fragments": ("?", <const char*> &row.header.more_fragments - base, PART_NETWORK),
        "src_port": ("u2", <const char*> &row.header.src_port - base, 0),
        "dst_port": ("u2", <const char*> &row.header.dst_port - base, 0),
        "tcp_flags": ("u2", <const char*> &row.header.tcp_flags - base, PART_TRANSPORT),
        "tcp_seq": ("u4", <const char*> &row.header.tcp_seq - base, PART_TRANSPORT),
        "tcp_ack": ("u4", <const char*> &row.header.tcp_ack - base, PART_TRANSPORT),
        "tcp_window": ("u2", <const char*> &row.header.tcp_window - base, PART_TRANSPORT),
        "icmp_type": ("u1", <const char*> &row.header.icmp_type - base, PART_TRANSPORT),
        "icmp_code": ("u1", <const char*> &row.header.icmp_code - base, PART_TRANSPORT),
        "l4_offset": ("u4", <const char*> &row.header.l4_offset - base, 0),
        "l7_offset": ("u4", <const char*> &row.header.l7_offset - base, 0),
        "l7_len": ("u4", <const char*> &row.header.l7_len - base, 0),
        "tunnels": ("u1", <const char*> &row.header.tunnels - base, 0),
        "flow_hash": ("u8", <const char*> &row.keys.flow_hash - base, PART_HASH),
        "flow_hash_symmetric": (
            "u8", <const char*> &row.keys.flow_hash_symmetric - base, PART_SYMMETRIC_HASH),
        "community_id": (
            "S30", <const char*> &row.keys.community_id - base, PART_COMMUNITY_ID | PART_TRANSPORT),
    }


# Of each tunnel over UDP: number and default port.
cdef dict _TUNNELS = {
    "vxlan": (TUNNEL_VXLAN, vxlan.PORT),
    "vxlan_gpe": (TUNNEL_VXLAN_GPE, vxlan_gpe.PORT),
    "geneve": (TUNNEL_GENEVE, geneve.PORT),
    "gtpu": (TUNNEL_GTPU, gtpu.PORT),
    "teredo": (TUNNEL_TEREDO, teredo.PORT),
    "l2tp": (TUNNEL_L2TP, l2tp.PORT),
    "mpls": (TUNNEL_MPLS, MPLS_PORT),
}
cdef dict _COLUMNS = _layout()
cdef list _KEYS = ["flow_hash", "flow_hash_symmetric", "community_id"]
cdef list _FLOW_COLUMNS = [
    "status", "src", "dst", "src_port", "dst_port", "protocol", "flow_hash", "flow_hash_symmetric",
    "community_id"]
HEADER_COLUMNS = tuple(_COLUMNS)
HEADER_DTYPE = struct_dtype(
    {name: _COLUMNS[name][:2] for name in _COLUMNS if name not in _KEYS}, sizeof(Header))

if not (HEADER_DTYPE.itemsize == sizeof(Header) == 104 and len(_COLUMNS) <= MAX_COLUMNS
        and tunnel_tables.PORTS == PORTS
        and [int(status) for status in HeaderStatus]
        == [STATUS_OK, STATUS_NO_IP, STATUS_ARP, STATUS_FRAGMENT, STATUS_TRUNCATED, STATUS_MALFORMED]
        and sorted(HeaderStatus) == list(HeaderStatus)):
    raise ImportError("the compiled layout of Header does not match the Python constants: rebuild slimcap")

if not (LinkType.C_HDLC == LINKTYPE_C_HDLC and LinkType.C_HDLC_WITH_DIR == LINKTYPE_C_HDLC_WITH_DIR
        and LinkType.DBUS == LINKTYPE_DBUS and LinkType.ENC == LINKTYPE_ENC
        and LinkType.ETHERNET == LINKTYPE_ETHERNET and LinkType.FRELAY == LINKTYPE_FRELAY
        and LinkType.FRELAY_WITH_DIR == LINKTYPE_FRELAY_WITH_DIR
        and LinkType.IEEE802_11 == LINKTYPE_IEEE802_11
        and LinkType.IEEE802_11_AVS == LINKTYPE_IEEE802_11_AVS
        and LinkType.IEEE802_11_PRISM == LINKTYPE_IEEE802_11_PRISM
        and LinkType.IEEE802_11_RADIOTAP == LINKTYPE_IEEE802_11_RADIOTAP
        and LinkType.IPNET == LINKTYPE_IPNET and LinkType.IPV4 == LINKTYPE_IPV4
        and LinkType.IPV6 == LINKTYPE_IPV6 and LinkType.LINUX_SLL == LINKTYPE_LINUX_SLL
        and LinkType.LINUX_SLL2 == LINKTYPE_LINUX_SLL2 and LinkType.LOOP == LINKTYPE_LOOP
        and LinkType.MPLS == LINKTYPE_MPLS and LinkType.NFLOG == LINKTYPE_NFLOG
        and LinkType.NULL == LINKTYPE_NULL and LinkType.PFLOG == LINKTYPE_PFLOG
        and LinkType.PKTAP == LINKTYPE_PKTAP and LinkType.PPI == LINKTYPE_PPI
        and LinkType.PPP == LINKTYPE_PPP and LinkType.PPP_ETHER == LINKTYPE_PPP_ETHER
        and LinkType.PPP_HDLC == LINKTYPE_PPP_HDLC and LinkType.PPP_PPPD == LINKTYPE_PPP_PPPD
        and LinkType.PPP_WITH_DIR == LINKTYPE_PPP_WITH_DIR and LinkType.RAW == LINKTYPE_RAW
        and LinkType.RAW_BSD == LINKTYPE_RAW_BSD and LinkType.RAW_OPENBSD == LINKTYPE_RAW_OPENBSD
        and LinkType.USER0 == LINKTYPE_USER0):
    raise ImportError("slimcap was built for other link types: build it again")


cdef inline bint _fill_plain(
        const Job* job, const Record* row, uint32_t parts, HeaderRow* out) noexcept nogil:
    """Fill in the header of a plain packet, and its Community ID if that is wanted.

    Return False if the packet is not plain.
    """
    cdef uint32_t linktype = LINKTYPE_USER0
    if rarely(not in_bounds(row, job.size)):
        return False
    if parts & PART_LINK and row.interface < job.interfaces:
        linktype = job.linktypes[row.interface]
    if not fill_plain(
            &out.header, job.data + row.offset, row, linktype, parts, job.inner, &job.ports):
        return False
    if parts & PART_COMMUNITY_ID:
        fill_community_id(out, MIN_UPPER_LEN, job.cache)
    return True


cdef inline void _put_flow(
        const HeaderRow* row, uint32_t flow, const size_t* offsets, uint8_t* out) noexcept nogil:
    """Store the columns `flow` of a packet in its row of the array."""
    if flow >> FLOW_STATUS & 1:
        out[offsets[FLOW_STATUS]] = row.header.status
    if flow >> FLOW_SRC & 1:
        memcpy(out + offsets[FLOW_SRC], row.header.src, 8)
        memcpy(out + offsets[FLOW_SRC] + 8, row.header.src + 8, 8)
    if flow >> FLOW_DST & 1:
        memcpy(out + offsets[FLOW_DST], row.header.dst, 8)
        memcpy(out + offsets[FLOW_DST] + 8, row.header.dst + 8, 8)
    if flow >> FLOW_SRC_PORT & 1:
        memcpy(out + offsets[FLOW_SRC_PORT], &row.header.src_port, 2)
    if flow >> FLOW_DST_PORT & 1:
        memcpy(out + offsets[FLOW_DST_PORT], &row.header.dst_port, 2)
    if flow >> FLOW_PROTOCOL & 1:
        out[offsets[FLOW_PROTOCOL]] = row.header.protocol
    if flow >> FLOW_HASH & 1:
        memcpy(out + offsets[FLOW_HASH], &row.keys.flow_hash, 8)
    if flow >> FLOW_SYMMETRIC_HASH & 1:
        memcpy(out + offsets[FLOW_SYMMETRIC_HASH], &row.keys.flow_hash_symmetric, 8)
    if flow >> FLOW_COMMUNITY_ID & 1:
        memcpy(out + offsets[FLOW_COMMUNITY_ID], row.keys.community_id, sizeof(row.keys.community_id))


cdef inline void _parse_others(
        const Job* job, const Record* rows, const uint8_t* indexes, Py_ssize_t count, uint8_t* out,
        size_t stride, bint in_place, uint32_t parts, bint inner) noexcept nogil:
    """Do what `_fill_others` does. With constant `parts` and `inner` the compiler leaves out all else."""
    cdef const uint8_t* data = job.data
    cdef const Record* row
    cdef size_t size = job.size
    cdef uint32_t linktype
    cdef Py_ssize_t index
    cdef HeaderRow* header
    # If all packets of a chunk are in `indexes`, there are no others between them.
    cdef bint gaps = in_place and indexes[count - 1] != count - 1
    if not gaps:    # one long call is faster than many short copies, and these than short calls
        memset(out, 0, count * stride)
    for index in range(count):
        row = &rows[indexes[index]]
        header = <HeaderRow*> (out + stride * (indexes[index] if in_place else index))
        if gaps:
            memcpy(&header.header, &_EMPTY.header, sizeof(Header))
        if gaps and parts & PARTS_OF_KEYS:
            memcpy(&header.keys, &_EMPTY.keys, sizeof(Keys))
        if rarely(not in_bounds(row, size)):
            header.header.status = STATUS_NO_IP
            continue
        # Packets of an interface that is not known are not parsed.
        linktype = job.linktypes[row.interface] if row.interface < job.interfaces else LINKTYPE_USER0
        fill_header(header, data + row.offset, row, linktype, parts, inner, &job.ports, job.cache)


cdef void _fill_others(
        const Job* job, const Record* rows, const uint8_t* indexes, Py_ssize_t count, uint8_t* out,
        size_t stride, bint in_place) noexcept nogil:
    """Fill in the headers of the `count` packets with these indexes, and their keys if they are wanted.

    They are `stride` bytes apart: in place, each at its index, or else without gaps.
    """
    if job.parts == 0 and not job.inner:
        _parse_others(job, rows, indexes, count, out, stride, in_place, 0, False)
    elif job.parts <= PARTS_OF_HEADER and not job.inner:
        _parse_others(job, rows, indexes, count, out, stride, in_place, job.parts & PARTS_OF_HEADER, False)
    else:
        _parse_others(job, rows, indexes, count, out, stride, in_place, job.parts, job.inner)


cdef void _put_hashes(
        const Flow* flows, Py_ssize_t count, bint symmetric, uint8_t* out, size_t stride) noexcept nogil:
    """Store the hashes of flows in a column that starts at `out`, except where `protocol` is NO_FLOW.

    A hash is a long chain of multiplications. In a loop of their own those of several packets overlap.
    """
    cdef Py_ssize_t index
    cdef uint64_t found
    cdef Flow flow
    for index in range(count):
        if not rarely(flows[index].protocol == NO_FLOW):
            flow = flows[index]
            if symmetric:
                order(&flow)
            found = flow_hash(&flow)
            memcpy(out, &found, sizeof(found))
        out += stride


cdef inline Py_ssize_t _fill_rows(
        const Job* job, const Record* rows, Py_ssize_t count, Py_ssize_t last, uint8_t* out, size_t stride,
        bint expect_plain, uint32_t parts, bint in_place, uint32_t flow) noexcept nogil:
    """Fill in the headers of `count` packets, CHUNK at most, in place or, from them, the columns `flow`.

    `parts` are those of the job, `flow` its columns of flows but for hashes. Where they are constants, the
    compiler leaves out all else. `last` is the index of the last row that exists.
    """
    cdef HeaderRow plain    # only inlined functions have its address, so that its fields are in registers
    cdef HeaderRow* header
    cdef HeaderRow memory[CHUNK]
    cdef uint8_t* chunk = <uint8_t*> memory
    cdef uint8_t others[CHUNK]  # indexes of the packets that are not plain
    cdef Flow flows[CHUNK]
    cdef uint8_t* p = out
    cdef Py_ssize_t index, n = 0
    cdef const Record* ahead
    for index in range(count):
        # A packet's headers may have left the cache since its row was made, and the hardware prefetcher
        # cannot predict their addresses. An invalid address does no harm: a prefetch does not fault.
        ahead = &rows[min(index + AHEAD, last)]
        prefetch(<const void*> (<size_t> job.data + ahead.offset + ahead.ip_offset))
        header = <HeaderRow*> p if in_place else &plain
        if expect_plain and _fill_plain(job, &rows[index], parts, header):
            if parts & PARTS_OF_HASHES:
                set_flow(&flows[index], &header.header)
            if not in_place:
                _put_flow(header, flow, job.flow_offsets, p)
        else:
            if parts & PARTS_OF_HASHES:
                flows[index].protocol = NO_FLOW     # its hashes are stored here
            others[n] = <uint8_t> index
            n += 1
        p += stride
    if n and in_place:
        _fill_others(job, rows, others, n, out, stride, True)
    elif n:
        _fill_others(job, rows, others, n, chunk, job.chunk_stride, False)
        for index in range(n):
            _put_flow(
                <HeaderRow*> (chunk + index * job.chunk_stride),
                job.flow if parts & PARTS_OF_HASHES else flow, job.flow_offsets, out + others[index] * stride)
    if parts & PARTS_OF_HASHES and job.parts & PART_HASH:
        _put_hashes(flows, count, False, out + job.flow_offsets[FLOW_HASH], stride)
    if parts & PARTS_OF_HASHES and job.parts & PART_SYMMETRIC_HASH:
        _put_hashes(flows, count, True, out + job.flow_offsets[FLOW_SYMMETRIC_HASH], stride)
    return n


cdef inline void _copy_strided(
        const uint8_t* p, size_t stride, uint8_t* out, size_t out_stride, Py_ssize_t count,
        size_t size) noexcept nogil:
    for _ in range(count):
        memcpy(out, p, size)
        p += stride
        out += out_stride


cdef void _copy(
        const uint8_t* p, size_t stride, uint8_t* out, size_t out_stride, Py_ssize_t count,
        size_t size) noexcept nogil:
    """Copy one column of `count` rows. With a constant size the compiler makes each copy one instruction."""
    if size == 1:
        _copy_strided(p, stride, out, out_stride, count, 1)
    elif size == 2:
        _copy_strided(p, stride, out, out_stride, count, 2)
    elif size == 4:
        _copy_strided(p, stride, out, out_stride, count, 4)
    elif size == 8:
        _copy_strided(p, stride, out, out_stride, count, 8)
    elif size == 16:
        _copy_strided(p, stride, out, out_stride, count, 16)
    else:
        _copy_strided(p, stride, out, out_stride, count, size)


cdef inline Py_ssize_t _fill_chunk(
        const Job* job, const Record* rows, Py_ssize_t count, Py_ssize_t last, uint8_t* out,
        size_t stride, bint expect_plain) noexcept nogil:
    """Fill in the headers of `count` packets, CHUNK at most, and copy the columns of the job from them."""
    cdef HeaderRow memory[CHUNK]
    cdef uint8_t* chunk = <uint8_t*> memory
    cdef int column
    cdef Py_ssize_t others = _fill_rows(
        job, rows, count, last, chunk, job.chunk_stride, expect_plain, job.parts, True, 0)
    for column in range(job.count):
        _copy(
            chunk + job.columns[column].offset, job.chunk_stride, out + job.columns[column].out_offset,
            stride, count, job.columns[column].size)
    return others


cdef inline Py_ssize_t _fill_flows(
        const Job* job, const Record* rows, Py_ssize_t count, Py_ssize_t last, uint8_t* out,
        size_t stride, bint expect_plain) noexcept nogil:
    """Fill in columns of flows of `count` packets, CHUNK at most. Frequent sets have loops of their own."""
    cdef uint32_t flow = job.flow & ~<uint32_t> HASHES
    if job.parts == 0 and flow == STATUS_ONLY:
        return _fill_rows(job, rows, count, last, out, stride, expect_plain, 0, False, STATUS_ONLY)
    if job.parts == 0 and flow == FIVE_TUPLE:
        return _fill_rows(job, rows, count, last, out, stride, expect_plain, 0, False, FIVE_TUPLE)
    if job.parts == 0 and flow == (FIVE_TUPLE | STATUS_ONLY):
        return _fill_rows(
            job, rows, count, last, out, stride, expect_plain, 0, False, FIVE_TUPLE | STATUS_ONLY)
    if job.parts & PART_COMMUNITY_ID or job.parts == 0:
        return _fill_rows(job, rows, count, last, out, stride, expect_plain, job.parts, False, flow)
    if flow == 0:
        return _fill_rows(job, rows, count, last, out, stride, expect_plain, PARTS_OF_HASHES, False, 0)
    if flow == FIVE_TUPLE:
        return _fill_rows(
            job, rows, count, last, out, stride, expect_plain, PARTS_OF_HASHES, False, FIVE_TUPLE)
    if flow == (FIVE_TUPLE | STATUS_ONLY):
        return _fill_rows(
            job, rows, count, last, out, stride, expect_plain, PARTS_OF_HASHES, False,
            FIVE_TUPLE | STATUS_ONLY)
    return _fill_rows(job, rows, count, last, out, stride, expect_plain, job.parts, False, flow)


cdef void _walk(const Job* job, Py_ssize_t count, uint8_t* out, size_t stride) noexcept nogil:
    """Fill in the columns of the job in `count` rows of `stride` bytes, a chunk of packets at a time.

    After a chunk with few plain packets, those of the next chunks are not tried as plain.
    """
    cdef Py_ssize_t first = 0, n, last, others, untried = 0
    cdef const Record* rows
    while first < count:
        n, last, rows = min(count - first, CHUNK), count - first - 1, job.rows + first
        if job.has_padding:
            memset(out, 0, n * stride)
        if job.count == 0:
            others = _fill_rows(job, rows, n, last, out, stride, untried == 0, PARTS_OF_HEADER, True, 0)
        elif job.flow:
            others = _fill_flows(job, rows, n, last, out, stride, untried == 0)
        else:
            others = _fill_chunk(job, rows, n, last, out, stride, untried == 0)
        if untried:
            untried -= 1
        elif others > FEW_PLAIN:
            untried = UNTRIED
        out += n * stride
        first += n


@cython.final
@cython.internal
cdef class _Selection:
    """A set of columns: their dtype, and what of a job depends on them alone."""

    cdef tuple state    # of the dtype, as it is pickled
    cdef Job job


cdef _Selection _all_columns():
    """Return the selection of all columns of a Header."""
    cdef _Selection found = _Selection.__new__(_Selection)
    memset(&found.job, 0, sizeof(Job))
    found.state = HEADER_DTYPE.__reduce__()[2]
    found.job.parts, found.job.chunk_stride = PARTS_OF_HEADER, sizeof(Header)
    return found


cdef _Selection _ALL = _all_columns()
cdef dict _SELECTIONS = {}  # by names, for they are the same in each call; none is ever replaced


cdef _Selection _select(tuple names):
    """Return the selection of the columns with these names."""
    cdef _Selection found = _Selection.__new__(_Selection)
    cdef Job* job = &found.job
    for name in names:
        if name not in _COLUMNS:
            if name in RECORD_DTYPE.names:
                raise ValueError(f"{name} is not a header column: use batch[{name!r}]")
            similar = suggestion(name, _COLUMNS)
            raise ValueError(f"unknown header column {name!r}{similar}: use any of {', '.join(_COLUMNS)}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"columns must be at least one name, and each only once, not {list(names)}")
    dtype = np.dtype([(name, _COLUMNS[name][0]) for name in names], align=True)
    found.state = dtype.__reduce__()[2]
    memset(job, 0, sizeof(Job))
    job.count = len(names)
    size = 0
    for index, name in enumerate(names):
        field, offset = dtype.fields[name][:2]
        job.columns[index] = Column(_COLUMNS[name][1], field.itemsize, offset)
        job.parts |= _COLUMNS[name][2]
        if name in _FLOW_COLUMNS:
            job.flow |= 1 << <int> _FLOW_COLUMNS.index(name)
            job.flow_offsets[_FLOW_COLUMNS.index(name)] = offset
        size += field.itemsize
    if not set(names) <= set(_FLOW_COLUMNS):  # the hashes go to the headers of a chunk
        job.flow = 0
        job.flow_offsets[FLOW_HASH] = _COLUMNS["flow_hash"][1]
        job.flow_offsets[FLOW_SYMMETRIC_HASH] = _COLUMNS["flow_hash_symmetric"][1]
    job.has_padding = size < dtype.itemsize
    job.chunk_stride = sizeof(HeaderRow) if job.parts & PARTS_OF_KEYS else sizeof(Header)
    return found


cdef _Selection _selection(object columns):
    """Return the selection for the option `columns`."""
    cdef _Selection found
    if columns is None:
        return _ALL
    if isinstance(columns, str):
        raise TypeError(f"columns must be a list of names, not a str: use [{columns!r}]")
    if not isinstance(columns, (list, tuple, Iterable)):
        raise wrong_type("columns", "a list of names", columns)
    names = tuple(columns)
    found = _SELECTIONS.get(names)
    if found is None:
        found = _select(names)
        if len(_SELECTIONS) < MAX_SELECTIONS:
            found = _SELECTIONS.setdefault(names, found)
    return found


cdef object _new_array(Py_ssize_t count, tuple state):
    """Return an uninitialized HeaderArray of `count` rows, whose dtype has this state.

    It is a new one, with its own dict of fields (item 4), since a caller may rename them. Of all columns, a
    dtype is made from its state in a quarter of the time of `copy_of`.
    """
    cdef cnp.npy_intp size = count
    cdef cnp.dtype dtype = cnp.PyArray_DescrNewFromType(cnp.NPY_VOID)
    dtype.__setstate__((*state[:4], state[4].copy(), *state[5:]))
    cnp.Py_INCREF(dtype)  # the call steals a reference
    return PyArray_NewFromDescr(HeaderArray, dtype, 1, &size, NULL, NULL, 0, None)


cdef bytes tunnel_table(object tunnel_ports):
    """Return the table of a `TunnelPorts` for the option `tunnel_ports`; None for the default ports."""
    return tunnel_tables.parse(tunnel_ports, _TUNNELS)


cdef object header_columns(
        const Record* rows, Py_ssize_t count, View data, object links, object columns, bint inner,
        object tunnel_ports):
    """Return the header columns of `rows`, whose payloads are in `data`; see `Batch.headers`."""
    cdef _Selection selection = _selection(columns)
    cdef Job job = selection.job
    cdef bytes tunnels = tunnel_table(tunnel_ports)
    if tunnels is not None:
        job.ports.tunnels = <const uint8_t*> tunnels
    cdef uint32_t linktype = 0
    cdef cnp.ndarray linktypes
    job.rows, job.data, job.size = rows, data._ptr, data._len
    job.interfaces = <uint32_t> len(links)
    if job.interfaces == 1:     # as in most batches; an array takes longer than to parse 50 packets
        linktype = links[0].type
        job.linktypes = &linktype
    else:
        linktypes = np.array([link.type for link in links], np.uint32)
        job.linktypes = <const uint32_t*> cnp.PyArray_DATA(linktypes)
    job.inner = inner
    cdef cnp.ndarray out = _new_array(count, selection.state)
    cdef uint8_t* p = <uint8_t*> cnp.PyArray_DATA(out)
    cdef size_t stride = out.itemsize
    with nogil:
        if job.parts & PART_COMMUNITY_ID:
            job.cache = new_cache()
        _walk(&job, count, p, stride)
        free(job.cache)
    return out
