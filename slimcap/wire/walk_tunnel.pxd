"""Tunnels: IP in IP (RFC 2003, RFC 4213), GRE, and over UDP VXLAN, GENEVE and GTP-U."""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ethernet as ethernet
cimport slimcap.wire.geneve as geneve
cimport slimcap.wire.gre as gre
cimport slimcap.wire.gtpu as gtpu
cimport slimcap.wire.transport as transport
cimport slimcap.wire.udp as udp
cimport slimcap.wire.vxlan as vxlan
from slimcap.wire.walk_ethertype cimport walk_ethertype
from slimcap.wire.walk_result cimport INFO_NO_IP, LinkInfo, clear, set_ip, set_ip_by_version

cdef enum:
    IPV4_IN_IP = 4
    IPV6_IN_IP = 41
    NO_INNER = 0xffff  # same as INFO_NO_IP


cdef inline void walk_frame(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header of the Ethernet frame that starts at `offset`."""
    cdef uint32_t ip_offset
    ethernet.walk(p + offset, n - offset, info)
    if info.ip_offset != INFO_NO_IP:
        ip_offset = info.ip_offset + offset
        info.ip_offset = INFO_NO_IP
        set_ip(info, ip_offset, n)


cdef inline void walk_payload(
        const uint8_t* p, uint32_t n, uint32_t offset, uint32_t ethertype, LinkInfo* info) noexcept nogil:
    """Find the IP header after a tunnel header that has an EtherType."""
    if ethertype == gre.ETHERTYPE_BRIDGED:
        walk_frame(p, n, offset, info)
    else:
        walk_ethertype(p, n, offset, ethertype, info)


cdef inline void walk_udp_tunnel(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header after a UDP header whose destination port is that of a tunnel protocol."""
    cdef uint32_t port = transport.destination(p, n), header
    if not udp.check(p, n):
        return
    if port == vxlan.PORT:
        header = vxlan.check(p + udp.LEN, n - udp.LEN)
        if header:
            walk_frame(p, n, udp.LEN + header, info)
    elif port == geneve.PORT:
        header = geneve.check(p + udp.LEN, n - udp.LEN)
        if header:
            walk_payload(p, n, udp.LEN + header, geneve.ethertype(p + udp.LEN), info)
    elif port == gtpu.PORT:
        header = gtpu.check(p + udp.LEN, n - udp.LEN)
        if header:
            set_ip_by_version(info, p, udp.LEN + header, n)


cdef inline uint32_t inner_ip(uint32_t protocol, const uint8_t* p, uint32_t n) noexcept nogil:
    """Return the offset of the IP packet inside the upper layer `p[:n]`; NO_INNER if there is none."""
    cdef LinkInfo info
    cdef uint32_t header
    clear(&info)
    if protocol == transport.UDP:
        walk_udp_tunnel(p, n, &info)
    elif protocol == gre.GRE:
        header = gre.check(p, n)
        if header:
            walk_payload(p, n, header, gre.ethertype(p), &info)
    elif protocol == IPV4_IN_IP or protocol == IPV6_IN_IP:
        set_ip_by_version(&info, p, 0, n)
    return info.ip_offset
