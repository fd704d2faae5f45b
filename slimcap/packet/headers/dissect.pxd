"""Parses a packet's bytes into its `Header`, with the functions of `wire/`.

    payload [ link layer | IP header | upper layer ........ | padding ]
              row          packet.p    packet.p + upper.offset
                           |<--------- packet.length ------->|
                           |<-- packet.n: captured -->|
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cimport slimcap.wire.arp as arp
cimport slimcap.wire.dccp as dccp
cimport slimcap.wire.icmp as icmp
cimport slimcap.wire.ip as ip
cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
cimport slimcap.wire.sctp as sctp
cimport slimcap.wire.tcp as tcp
cimport slimcap.wire.transport as transport
cimport slimcap.wire.udp as udp
cimport slimcap.wire.vlan as vlan
from slimcap.abi.branch cimport rarely
from slimcap.abi.bytes cimport be16, be32
from slimcap.packet.headers.community_id cimport CommunityEntry, fill_community_id
from slimcap.packet.headers.flow_hash cimport fill_hashes
from slimcap.packet.headers.row cimport (
    PART_COMMUNITY_ID, PART_LINK, PART_NETWORK, PART_TRANSPORT, PARTS_OF_KEYS, STATUS_ARP, STATUS_FRAGMENT,
    STATUS_MALFORMED, STATUS_NO_IP, STATUS_OK, STATUS_TRUNCATED, Header, HeaderRow)
from slimcap.packet.record cimport FLAG_VLAN_STRIPPED, Record, ip_start
from slimcap.wire.upper cimport UPPER_FOUND, UPPER_FRAGMENT, UPPER_MALFORMED, UPPER_TRUNCATED, UpperLayer
from slimcap.wire.walk_link cimport destination_mac, source_mac, walk_link
from slimcap.wire.walk_result cimport LinkInfo
from slimcap.wire.walk_tunnel cimport NO_INNER, TunnelPorts, inner_ip

cdef enum:
    MAX_TUNNELS = 8  # maximum nesting depth, more than real packets have

cdef struct IPPacket:
    const uint8_t* p    # start of an IP packet
    uint32_t n          # bytes of it that were captured
    uint32_t length     # bytes of it that were on the wire; at least n
    uint32_t version    # 4 or 6; 0 if its fixed header is truncated or is not an IP header
    bint is_short       # the header states more bytes than were on the wire
    UpperLayer upper


cdef inline IPPacket parse_ip(const uint8_t* p, uint32_t n, uint32_t length) noexcept nogil:
    """Find the end of the IP packet at `p`, without padding after it, and its upper layer."""
    cdef IPPacket packet
    cdef uint64_t stated = 0
    packet.p = p
    packet.version = 0
    if ipv4.check(p, n):
        packet.version = 4
        stated = ipv4.length(p)
    elif ipv6.check(p, n):
        packet.version = 6
        stated = ipv6.length(p, n)
    packet.length = <uint32_t> stated if stated and stated < length else length
    packet.is_short = stated > length
    packet.n = min(n, packet.length)
    if packet.version == 4:
        packet.upper = ipv4.upper_layer(p, packet.n)
    elif packet.version == 6:
        packet.upper = ipv6.upper_layer(p, packet.n)
    else:
        packet.upper = ip.truncated_header(p, packet.n)
    return packet


cdef inline uint32_t next_ip(
        const uint8_t* p, uint32_t n, uint32_t state, uint32_t protocol, uint32_t offset,
        const TunnelPorts* ports) noexcept nogil:
    """Return the offset in `p[:n]` of an inner IP packet with a complete fixed header; 0 if there is none.
    """
    cdef uint32_t inner
    if state != UPPER_FOUND:
        return 0
    inner = inner_ip(protocol, p + offset, n - offset, ports)
    if inner == NO_INNER:
        return 0
    inner += offset
    return inner if ipv4.check(p + inner, n - inner) or ipv6.check(p + inner, n - inner) else 0


cdef inline void fill_addresses(Header* header, const IPPacket* packet) noexcept nogil:
    """Fill in version and protocol, and the addresses if the fixed IP header is complete."""
    header.protocol = <uint8_t> packet.upper.protocol
    header.ip_version = packet.p[0] >> 4
    if packet.version == 4:
        ipv4.put_mapped(header.src, packet.p + ipv4.SRC)
        ipv4.put_mapped(header.dst, packet.p + ipv4.DST)
    elif packet.version == 6:
        memcpy(header.src, packet.p + ipv6.SRC, ipv6.ADDRESS_LEN)
        memcpy(header.dst, packet.p + ipv6.DST, ipv6.ADDRESS_LEN)


cdef inline void fill_network(Header* header, const IPPacket* packet) noexcept nogil:
    """Fill in the other fields of a complete fixed IP header."""
    cdef const uint8_t* p = packet.p
    if packet.version == 4:
        header.tos = p[ipv4.TOS]
        header.ttl = p[ipv4.TTL]
        header.ip_len = ipv4.stated_length(p)
    else:
        header.tos = ipv6.traffic_class(p)
        header.ttl = p[ipv6.HOP_LIMIT]
        header.flow_label = ipv6.flow_label(p)
        header.ip_len = <uint32_t> min(ipv6.length(p, packet.n), <uint64_t> 0xffffffff)
    header.ip_id = packet.upper.fragment_id
    header.frag_offset = packet.upper.fragment & 0xfff8
    header.more_fragments = packet.upper.fragment & 1


cdef inline uint32_t truncation_status(uint32_t n, uint32_t length, bint continued) noexcept nogil:
    """Return the status of a packet whose headers extend past byte `n` of `length`.

    If it is `continued`, the rest of them may be in the next fragment.
    """
    return STATUS_TRUNCATED if n < length or continued else STATUS_MALFORMED


cdef inline void fill_tcp(Header* header, const uint8_t* p, uint32_t n) noexcept nogil:
    """Fill in the TCP fields that were captured."""
    if n < tcp.ACKNOWLEDGEMENT:
        return
    header.tcp_seq = be32(p + tcp.SEQUENCE)
    if n < tcp.OFFSET_AND_FLAGS:
        return
    header.tcp_ack = be32(p + tcp.ACKNOWLEDGEMENT)
    if n < tcp.WINDOW:
        return
    header.tcp_flags = tcp.flags(p)
    if n < tcp.CHECKSUM:
        return
    header.tcp_window = be16(p + tcp.WINDOW)


cdef inline void fill_ports(Header* header, const uint8_t* p, uint32_t n) noexcept nogil:
    """Fill in the ports that were captured, for a protocol that has ports."""
    header.src_port = transport.source(p, n)
    header.dst_port = transport.destination(p, n)


cdef inline void fill_icmp(Header* header, const uint8_t* p, uint32_t n) noexcept nogil:
    """Fill in type and code of an ICMP message if they were captured."""
    header.icmp_type = p[icmp.TYPE] if n > icmp.TYPE else 0
    header.icmp_code = p[icmp.CODE] if n > icmp.CODE else 0


cdef inline uint32_t fill_transport(
        Header* header, const uint8_t* p, uint32_t n, uint32_t length, bint continued,
        uint32_t parts) noexcept nogil:
    """Fill in the upper layer, of which `n` of `length` bytes were captured; return the packet's status."""
    cdef uint32_t protocol = header.protocol
    # Of the transport header: length without options, and with them by its own field; both 0 if truncated.
    cdef uint32_t min_len, header_len
    if protocol == transport.TCP:
        fill_ports(header, p, n)
        if parts & PART_TRANSPORT:
            fill_tcp(header, p, n)
        min_len = tcp.check(p, n)
        header_len = tcp.header_len(p) if min_len else 0
    elif protocol == transport.UDP or protocol == transport.UDP_LITE:
        fill_ports(header, p, n)
        min_len = header_len = udp.check(p, n)
    elif protocol == icmp.ICMP or protocol == icmp.ICMPV6:
        fill_icmp(header, p, n)
        min_len = header_len = icmp.check(p, n)
    elif protocol == transport.SCTP:
        fill_ports(header, p, n)
        min_len = header_len = sctp.check(p, n)
    elif protocol == transport.DCCP:
        fill_ports(header, p, n)
        min_len = dccp.check(p, n)
        header_len = dccp.header_len(p) if min_len else 0
    else:
        return STATUS_OK
    if rarely(header_len < min_len):
        return STATUS_MALFORMED
    if rarely(header_len == 0 or header_len > n):
        return truncation_status(n, length, continued)
    header.l7_offset = header.l4_offset + header_len
    header.l7_len = length - header_len
    if protocol == transport.UDP:
        return fill_udp_len(header, udp.length(p), length, continued)
    return STATUS_OK


cdef inline uint32_t fill_udp_len(
        Header* header, uint32_t stated, uint32_t length, bint continued) noexcept nogil:
    """Set `l7_len` by UDP's length field `stated`; return the packet's status.

    The rest of a `continued` packet is in the next fragments. A length of 0 is not known.
    """
    if rarely(stated < udp.LEN):
        return STATUS_MALFORMED if stated else STATUS_OK
    header.l7_len = min(stated, length) - udp.LEN
    return STATUS_MALFORMED if rarely(stated > length and not continued) else STATUS_OK


cdef inline bint is_first_fragment(const IPPacket* packet) noexcept nogil:
    return packet.upper.fragment == 1  # at offset 0, and more follow


cdef inline uint32_t fill_ip(
        Header* header, const IPPacket* packet, uint32_t ip_offset, bint continued,
        uint32_t parts) noexcept nogil:
    """Fill in the columns from the IP header on, which is at `ip_offset`; return the packet's status.

    `continued`: the packet is in a first fragment of another one, which may not hold all of it.
    """
    cdef uint32_t offset = packet.upper.offset
    continued = continued or is_first_fragment(packet)
    fill_addresses(header, packet)
    if packet.version and parts & PART_NETWORK:
        fill_network(header, packet)
    if packet.upper.state == UPPER_FOUND:
        header.l4_offset = ip_offset + offset
        return fill_transport(
            header, packet.p + offset, packet.n - offset, packet.length - offset, continued, parts)
    if packet.upper.state == UPPER_TRUNCATED:
        return truncation_status(packet.n, packet.length, continued)
    return STATUS_FRAGMENT if packet.upper.state == UPPER_FRAGMENT else STATUS_MALFORMED


cdef inline void fill_ethernet(
        Header* header, const uint8_t* p, const Record* row, uint32_t linktype,
        const LinkInfo* info) noexcept nogil:
    """Fill in MAC addresses, EtherType and VLAN IDs.

    If the kernel has removed the outermost VLAN tag from the bytes, the first tag in them is the inner one.
    """
    cdef uint32_t inner
    cdef const uint8_t* mac = source_mac(linktype, p, row.cap_len)
    if mac is not NULL:
        memcpy(header.src_mac, mac, sizeof(header.src_mac))
    mac = destination_mac(linktype, p, row.cap_len)
    if mac is not NULL:
        memcpy(header.dst_mac, mac, sizeof(header.dst_mac))
    header.ethertype = info.ethertype
    header.vlan_id = row.vlan_tci & vlan.VID_MASK
    inner = info.vlan_tci if row.flags & FLAG_VLAN_STRIPPED else info.inner_tci
    header.inner_vlan_id = inner & vlan.VID_MASK


cdef inline uint32_t fill_arp(
        Header* header, const uint8_t* p, uint32_t n, const LinkInfo* info) noexcept nogil:
    """Fill in the IP addresses in an ARP packet; return the status of a packet that is not IP."""
    if info.ethertype != arp.ETHERTYPE or not arp.check(p + info.type_offset, n - info.type_offset):
        return STATUS_NO_IP
    ipv4.put_mapped(header.src, p + info.type_offset + arp.SENDER_IP)
    ipv4.put_mapped(header.dst, p + info.type_offset + arp.TARGET_IP)
    return STATUS_ARP


cdef inline void fill_link(
        Header* header, const uint8_t* p, const Record* row, uint32_t linktype, uint32_t parts,
        bint no_ip) noexcept nogil:
    """Fill in the link-layer columns if wanted, and all other columns of a packet without an IP header."""
    cdef LinkInfo info
    walk_link(linktype, p, row.cap_len, &info)
    if parts & PART_LINK:
        fill_ethernet(header, p, row, linktype, &info)
    if no_ip:
        header.status = <uint8_t> fill_arp(header, p, row.cap_len, &info)


cdef inline int64_t upper_len(const IPPacket* packet) noexcept nogil:
    """Return how many bytes of the upper layer were captured; -1 if its protocol is not known."""
    if packet.upper.state == UPPER_FOUND:
        return packet.n - packet.upper.offset
    return 0 if packet.upper.state == UPPER_FRAGMENT and not ipv6.is_extension(packet.upper.protocol) else -1


cdef inline void fill_header(
        HeaderRow* out, const uint8_t* payload, const Record* row, uint32_t linktype, uint32_t parts,
        bint inner, const TunnelPorts* ports, CommunityEntry* cache) noexcept nogil:
    """Fill in a zeroed header from a packet's payload, and its keys if they are among `parts`.

    If `inner` is True, tunnels are entered; those over UDP are known by `ports`. `cache` is that of the
    Community IDs, or NULL.
    """
    # Only inlined functions take the address of `packet`, so that its fields stay in registers.
    cdef IPPacket packet
    cdef Header* header = &out.header
    cdef uint32_t offset = ip_start(row), n = row.cap_len - offset
    cdef uint32_t length = max(row.total_len, row.cap_len) - offset
    cdef bint continued = False
    if rarely(parts & PART_LINK or n == 0):
        fill_link(header, payload, row, linktype, parts, n == 0)
        if n == 0:
            return
    while True:
        packet = parse_ip(payload + offset, n, length)
        if not rarely(inner) or header.tunnels == MAX_TUNNELS:
            break
        n = next_ip(
            packet.p, packet.n, packet.upper.state, packet.upper.protocol, packet.upper.offset, ports)
        if n == 0:
            break
        continued = continued or is_first_fragment(&packet)
        offset, n, length = offset + n, packet.n - n, packet.length - n
        header.tunnels += 1
    header.status = <uint8_t> fill_ip(header, &packet, offset, continued, parts)
    if rarely(packet.is_short and not continued):
        header.status = STATUS_MALFORMED
    if rarely(parts & PARTS_OF_KEYS) and packet.version:
        fill_hashes(out, parts)
        if parts & PART_COMMUNITY_ID:
            fill_community_id(out, upper_len(&packet), cache)
