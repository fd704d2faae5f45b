from typing import Final

import numpy as np

HEADER_DTYPE: Final[np.dtype[np.void]]
"""What the headers of one packet say, 104 bytes; zeros are what a packet has not, or what is not known.

=================== ==== ==============================================================================
status              u1   a `HeaderStatus`
src_mac, dst_mac    V6   of Ethernet; of Linux cooked captures the sender's
ethertype           u2   of what is behind all VLAN tags; 0 if the link layer names none
vlan_id             u2   number of the VLAN, of the outermost tag
inner_vlan_id       u2   of the tag behind that
ip_version          u1   the first four bits of the IP header
src, dst            V16  addresses; IPv4 as IPv6 maps it, ``::ffff:192.0.2.1``
protocol            u1   IANA's number, of the upper layer behind IPv6's extension headers
ttl                 u1   time to live, or hop limit
tos                 u1   type of service, or traffic class
flow_label          u4   of IPv6
ip_len              u4   length of the IP packet, header included, as that says (0: a segment to be cut)
ip_id               u4   identification, of IPv6 the fragment header's
frag_offset         u2   bytes of the packet before this fragment
more_fragments      bool whether fragments follow this one
src_port, dst_port  u2   of TCP, UDP, UDP-Lite, SCTP, DCCP
tcp_flags           u2   FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, AE 256
tcp_seq, tcp_ack    u4
tcp_window          u2   not scaled
icmp_type           u1   of ICMP and ICMPv6
icmp_code           u1
l4_offset           u4   where the upper layer starts in the payload; 0 if it does not
l7_offset           u4   where what the upper layer carries starts in the payload
l7_len              u4   how long that was on the wire; the payload may end before
tunnels             u1   how many tunnels were gone through, with ``inner=True``
=================== ==== ==============================================================================
"""
