"""Parses the headers of plain packets, which most are, with few branches; `dissect.pxd` parses all others.

A plain packet is IPv4 without options and not a fragment, or IPv6 without extension headers, with TCP or UDP.
Its headers were captured, and all lengths in them agree. Its Ethernet header, if that is parsed, has at most
one VLAN tag. The result is the same as that of `dissect.fill_header`.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

cimport slimcap.wire.ethernet as ethernet
cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
cimport slimcap.wire.isl as isl
cimport slimcap.wire.tcp as tcp
cimport slimcap.wire.transport as transport
cimport slimcap.wire.udp as udp
cimport slimcap.wire.vlan as vlan
from slimcap.abi.branch cimport rarely
from slimcap.abi.bytes cimport be16, be32
from slimcap.packet.headers.row cimport PART_LINK, PART_NETWORK, PART_TRANSPORT, STATUS_OK, Header
from slimcap.packet.record cimport FLAG_VLAN_STRIPPED, NO_IP_OFFSET, Record
from slimcap.wire.walk_link cimport LINKTYPE_ETHERNET
from slimcap.wire.walk_tunnel cimport TUNNEL_NONE, TunnelPorts, tunnel_of

cdef enum:
    MIN_LEN = ipv4.MIN_LEN + udp.LEN    # of the headers from IP on; more than those of a tagged frame
    MIN_UPPER_LEN = udp.LEN
    VERSION_AND_LENGTH = 0x45           # first byte of an IPv4 header without options

cdef struct PlainIP:
    const uint8_t* p
    uint32_t header_len
    uint32_t length         # of the packet, by the header
    uint32_t protocol
    bint is_ipv4


cdef inline bint fill_plain_link(
        Header* header, const uint8_t* payload, const Record* row, uint32_t linktype) noexcept nogil:
    """Fill in the link-layer columns; return False if the link layer is not plain Ethernet.

    The first MIN_LEN bytes of the payload were captured.
    """
    cdef uint32_t ethertype = ethernet.ethertype(payload), inner = 0
    if linktype != LINKTYPE_ETHERNET:
        return False
    if rarely(vlan.is_tpid(ethertype)):
        if isl.check(payload, row.cap_len):
            return False
        ethertype = vlan.ethertype(payload + ethernet.LEN)
        # If the kernel has removed the outermost tag from the bytes, the tag in them is the inner one.
        inner = vlan.tci(payload + ethernet.LEN) if row.flags & FLAG_VLAN_STRIPPED else 0
    if rarely(ethertype != ipv4.ETHERTYPE and ethertype != ipv6.ETHERTYPE):
        return False
    memcpy(header.dst_mac, payload + ethernet.DST, ethernet.ADDRESS_LEN)
    memcpy(header.src_mac, payload + ethernet.SRC, ethernet.ADDRESS_LEN)
    header.ethertype = <uint16_t> ethertype
    header.vlan_id = row.vlan_tci & vlan.VID_MASK
    header.inner_vlan_id = <uint16_t> (inner & vlan.VID_MASK)
    return True


cdef inline bint parse_plain_ip(const uint8_t* p, uint32_t n, PlainIP* packet) noexcept nogil:
    """Parse a fixed header that nothing but TCP or UDP follows; return False if it is another one.

    `n` is at least MIN_LEN.
    """
    packet.p = p
    packet.is_ipv4 = p[0] == VERSION_AND_LENGTH
    if packet.is_ipv4:
        if rarely(be16(p + ipv4.FRAGMENT) & (ipv4.OFFSET_MASK | ipv4.MORE_FRAGMENTS)):
            return False
        packet.header_len = ipv4.MIN_LEN
        packet.length = ipv4.stated_length(p)
        packet.protocol = p[ipv4.PROTOCOL]
    else:
        if rarely(p[0] >> 4 != 6 or n < ipv6.LEN + udp.LEN):
            return False
        packet.header_len = ipv6.LEN
        packet.length = ipv6.LEN + be16(p + ipv6.PAYLOAD_LENGTH)
        packet.protocol = p[ipv6.NEXT_HEADER]
    return packet.protocol == transport.TCP or packet.protocol == transport.UDP


cdef inline void fill_plain_addresses(Header* header, const PlainIP* packet) noexcept nogil:
    """Fill in version, protocol and addresses."""
    header.protocol = <uint8_t> packet.protocol
    if packet.is_ipv4:
        header.ip_version = 4
        ipv4.put_mapped(header.src, packet.p + ipv4.SRC)
        ipv4.put_mapped(header.dst, packet.p + ipv4.DST)
    else:
        header.ip_version = 6
        memcpy(header.src, packet.p + ipv6.SRC, ipv6.ADDRESS_LEN)
        memcpy(header.dst, packet.p + ipv6.DST, ipv6.ADDRESS_LEN)


cdef inline void fill_plain_network(Header* header, const PlainIP* packet) noexcept nogil:
    """Fill in the other fields of the IP header."""
    cdef const uint8_t* p = packet.p
    header.ip_len = packet.length
    header.frag_offset = header.more_fragments = 0
    if packet.is_ipv4:
        header.tos = p[ipv4.TOS]
        header.ttl = p[ipv4.TTL]
        header.ip_id = be16(p + ipv4.IDENTIFICATION)
        header.flow_label = 0
    else:
        header.tos = ipv6.traffic_class(p)
        header.ttl = p[ipv6.HOP_LIMIT]
        header.ip_id = 0
        header.flow_label = ipv6.flow_label(p)


cdef inline void fill_plain_tcp(Header* header, const uint8_t* upper, bint is_tcp) noexcept nogil:
    """Fill in the fields of the transport header besides the ports."""
    header.icmp_type = header.icmp_code = 0
    if is_tcp:
        header.tcp_seq = be32(upper + tcp.SEQUENCE)
        header.tcp_ack = be32(upper + tcp.ACKNOWLEDGEMENT)
        header.tcp_flags = tcp.flags(upper)
        header.tcp_window = be16(upper + tcp.WINDOW)
    else:
        header.tcp_seq = header.tcp_ack = 0
        header.tcp_flags = header.tcp_window = 0


cdef inline bint fill_plain(
        Header* header, const uint8_t* payload, const Record* row, uint32_t linktype, uint32_t parts,
        bint inner, const TunnelPorts* ports) noexcept nogil:
    """Fill in the fields of `parts`, and those that belong to no part, from a plain packet's payload.

    Return False if the packet is not plain; the header then has to be cleared. If `inner` is True, packets
    that may be tunnels are not plain.
    """
    cdef PlainIP packet
    cdef const uint8_t* upper
    cdef uint32_t offset = row.ip_offset
    cdef uint32_t n, word, min_len, header_len, end
    cdef bint is_tcp
    cdef size_t index
    if rarely(row.cap_len < offset + MIN_LEN or offset == NO_IP_OFFSET):
        return False
    n = row.cap_len - offset
    if rarely(not parse_plain_ip(payload + offset, n, &packet)):
        return False
    # The same code for TCP and UDP: which of them a packet has cannot be predicted. `word` is TCP's header
    # length and flags or UDP's length, `end` where the data ends, from the start of the IP header.
    is_tcp = packet.protocol == transport.TCP
    min_len = tcp.MIN_LEN if is_tcp else udp.LEN
    if rarely(n < packet.header_len + min_len):
        return False
    upper = packet.p + packet.header_len
    word = be16(upper + (tcp.OFFSET_AND_FLAGS if is_tcp else udp.LENGTH))
    header_len = word >> 12 << 2 if is_tcp else udp.LEN
    end = packet.length if is_tcp else packet.header_len + word
    if rarely((header_len < min_len) | (packet.header_len + header_len > min(n, end)) | (end > packet.length)
              | (packet.length > max(row.total_len, row.cap_len) - offset)):
        return False
    if rarely(inner) and not is_tcp and tunnel_of(upper, n - packet.header_len, ports) != TUNNEL_NONE:
        return False
    if parts & PART_LINK and rarely(not fill_plain_link(header, payload, row, linktype)):
        return False
    fill_plain_addresses(header, &packet)
    header.src_port = be16(upper + transport.SOURCE)
    header.dst_port = be16(upper + transport.DESTINATION)
    header.l4_offset = offset + packet.header_len
    header.l7_offset = header.l4_offset + header_len
    header.l7_len = end - packet.header_len - header_len
    header.status = STATUS_OK
    header.tunnels = 0
    for index in range(sizeof(header.unused)):
        header.unused[index] = 0
    if parts & PART_NETWORK:
        fill_plain_network(header, &packet)
    if parts & PART_TRANSPORT:
        fill_plain_tcp(header, upper, is_tcp)
    return True
