"""Tunnels: the walk from a header above IP to the IP header inside.

IP in IP (RFC 2003, RFC 4213), MPLS in IP (RFC 4023) and in UDP (RFC 7510), and those that have a file here.
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.erspan as erspan
cimport slimcap.wire.etherip as etherip
cimport slimcap.wire.geneve as geneve
cimport slimcap.wire.gre as gre
cimport slimcap.wire.gtpu as gtpu
cimport slimcap.wire.l2tp as l2tp
cimport slimcap.wire.l2tpv3 as l2tpv3
cimport slimcap.wire.mpls as mpls
cimport slimcap.wire.ppp as ppp
cimport slimcap.wire.pptp as pptp
cimport slimcap.wire.teredo as teredo
cimport slimcap.wire.transport as transport
cimport slimcap.wire.udp as udp
cimport slimcap.wire.vxlan as vxlan
cimport slimcap.wire.vxlan_gpe as vxlan_gpe
cimport slimcap.wire.wccp as wccp
from slimcap.wire.walk_ethertype cimport walk_ethertype
from slimcap.wire.walk_result cimport INFO_NO_IP, LinkInfo, clear, set_ip, set_ip_by_version

cdef enum:
    IPV4_IN_IP = 4
    IPV6_IN_IP = 41
    MPLS_IN_IP = 137
    MPLS_PORT = 6635
    NO_INNER = INFO_NO_IP
    PORTS = 65536
    # Tunnels over UDP; headers/columns.pyx has their names.
    TUNNEL_NONE = 0
    TUNNEL_VXLAN = 1
    TUNNEL_VXLAN_GPE = 2
    TUNNEL_GENEVE = 3
    TUNNEL_GTPU = 4
    TUNNEL_TEREDO = 5
    TUNNEL_L2TP = 6
    TUNNEL_MPLS = 7

cdef struct TunnelPorts:
    const uint8_t* tunnels  # for each of PORTS its TUNNEL_; the caller keeps it alive. NULL: the defaults


cdef inline uint32_t default_tunnel(uint32_t port) noexcept nogil:
    """Return the tunnel that has a port by default."""
    if port == vxlan.PORT:
        return TUNNEL_VXLAN
    if port == vxlan_gpe.PORT:
        return TUNNEL_VXLAN_GPE
    if port == geneve.PORT:
        return TUNNEL_GENEVE
    if port == gtpu.PORT:
        return TUNNEL_GTPU
    if port == teredo.PORT:
        return TUNNEL_TEREDO
    if port == l2tp.PORT:
        return TUNNEL_L2TP
    return TUNNEL_MPLS if port == MPLS_PORT else TUNNEL_NONE


cdef inline uint32_t tunnel_at(uint32_t port, const TunnelPorts* ports) noexcept nogil:
    return default_tunnel(port) if ports.tunnels is NULL else ports.tunnels[port]


cdef inline uint32_t tunnel_of(const uint8_t* p, uint32_t n, const TunnelPorts* ports) noexcept nogil:
    """Return the tunnel over UDP by its destination port.

    Answers of GTP-U, Teredo and L2TP have the port as their source.
    """
    cdef uint32_t tunnel = tunnel_at(transport.destination(p, n), ports)
    if tunnel == TUNNEL_NONE:
        tunnel = tunnel_at(transport.source(p, n), ports)
        if tunnel != TUNNEL_GTPU and tunnel != TUNNEL_TEREDO and tunnel != TUNNEL_L2TP:
            return TUNNEL_NONE
    return tunnel


cdef inline void walk_vxlan_gpe(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header after the VXLAN-GPE header at `offset`."""
    cdef uint32_t header = vxlan_gpe.check(p + offset, n - offset)
    if header:
        walk_ethertype(p, n, offset + header, vxlan_gpe.ethertype(p + offset), info)


cdef inline void walk_l2tpv3(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header after the L2TPv3 session header at `offset`."""
    cdef uint32_t header = l2tpv3.check(p + offset, n - offset)
    if header:
        walk_ethertype(p, n, offset + header, gre.ETHERTYPE_BRIDGED, info)


cdef inline void walk_l2tp(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header after the L2TP header of either version in UDP at `offset`."""
    cdef uint32_t header = l2tp.check(p + offset, n - offset)
    if header:
        ppp.walk(p, n, offset + header, info)
        return
    header = l2tpv3.word(p + offset, n - offset)
    if header:
        walk_l2tpv3(p, n, offset + header, info)


cdef inline void walk_udp_tunnel(
        uint32_t tunnel, const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header after the header of a tunnel at `offset`, which is that after UDP's."""
    cdef uint32_t header = 0
    if tunnel == TUNNEL_VXLAN:
        header = vxlan.check(p + offset, n - offset)
        if header:
            walk_ethertype(p, n, offset + header, gre.ETHERTYPE_BRIDGED, info)
    elif tunnel == TUNNEL_GENEVE:
        header = geneve.check(p + offset, n - offset)
        if header:
            walk_ethertype(p, n, offset + header, geneve.ethertype(p + offset), info)
    elif tunnel == TUNNEL_GTPU:
        header = gtpu.check(p + offset, n - offset)
        if header:
            set_ip_by_version(info, p, offset + header, n)
    elif tunnel == TUNNEL_TEREDO:
        if teredo.check(p + offset, n - offset):
            set_ip(info, offset + teredo.ipv6_offset(p + offset, n - offset), n)
    elif tunnel == TUNNEL_VXLAN_GPE:
        walk_vxlan_gpe(p, n, offset, info)
    elif tunnel == TUNNEL_L2TP:
        walk_l2tp(p, n, offset, info)
    else:
        walk_ethertype(p, n, offset, mpls.ETHERTYPE_UNICAST, info)


cdef inline void walk_erspan(
        const uint8_t* p, uint32_t n, uint32_t offset, bint has_header, LinkInfo* info) noexcept nogil:
    """Find the IP header of a mirrored frame, after its ERSPAN header if it has one."""
    cdef uint32_t header = erspan.check(p + offset, n - offset) if has_header else 0
    cdef uint32_t kind = erspan.frame_type(p + offset) if header else <uint32_t> erspan.FRAME_ETHERNET
    if has_header and not header:
        return
    if kind == erspan.FRAME_ETHERNET:
        walk_ethertype(p, n, offset + header, gre.ETHERTYPE_BRIDGED, info)
    elif kind == erspan.FRAME_IP:
        set_ip_by_version(info, p, offset + header, n)


cdef inline void walk_gre(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header after a GRE header of either version."""
    cdef uint32_t header = gre.check(p, n), kind
    if not header:
        header = pptp.check(p, n)
        if header:
            ppp.walk(p, n, header, info)
        return
    kind = gre.ethertype(p)
    if kind == erspan.ETHERTYPE or kind == erspan.ETHERTYPE_III:
        walk_erspan(p, n, header, kind == erspan.ETHERTYPE_III or gre.has_sequence(p), info)
    elif kind == wccp.ETHERTYPE:
        set_ip_by_version(info, p, header + wccp.check(p + header, n - header), n)
    else:
        walk_ethertype(p, n, header, kind, info)


cdef inline uint32_t inner_ip(
        uint32_t protocol, const uint8_t* p, uint32_t n, const TunnelPorts* ports) noexcept nogil:
    """Return the offset of the IP packet inside the upper layer `p[:n]`; NO_INNER if there is none."""
    cdef LinkInfo info
    cdef uint32_t header, tunnel
    clear(&info)
    if protocol == transport.UDP:
        tunnel = tunnel_of(p, n, ports)
        if tunnel != TUNNEL_NONE and udp.check(p, n):
            walk_udp_tunnel(tunnel, p, n, udp.LEN, &info)
    elif protocol == gre.GRE:
        walk_gre(p, n, &info)
    elif protocol == IPV4_IN_IP or protocol == IPV6_IN_IP:
        set_ip_by_version(&info, p, 0, n)
    elif protocol == etherip.PROTOCOL:
        header = etherip.check(p, n)
        if header:
            walk_ethertype(p, n, header, gre.ETHERTYPE_BRIDGED, &info)
    elif protocol == l2tpv3.PROTOCOL:
        walk_l2tpv3(p, n, 0, &info)
    elif protocol == MPLS_IN_IP:
        walk_ethertype(p, n, 0, mpls.ETHERTYPE_UNICAST, &info)
    return info.ip_offset


cdef inline uint32_t tunnel_id(
        uint32_t protocol, const uint8_t* p, uint32_t n, const TunnelPorts* ports) noexcept nogil:
    """Return the network identifier or GRE key of a tunnel, the same in both directions; 0 without one."""
    cdef uint32_t tunnel
    if protocol == gre.GRE:
        return gre.key(p) if gre.check(p, n) else 0
    if protocol != transport.UDP or not udp.check(p, n):
        return 0
    tunnel = tunnel_of(p, n, ports)
    p, n = p + udp.LEN, n - udp.LEN
    if tunnel == TUNNEL_VXLAN and vxlan.check(p, n):
        return vxlan.network(p)
    if tunnel == TUNNEL_VXLAN_GPE and vxlan_gpe.check(p, n):
        return vxlan_gpe.network(p)
    return geneve.network(p) if tunnel == TUNNEL_GENEVE and geneve.check(p, n) else 0
