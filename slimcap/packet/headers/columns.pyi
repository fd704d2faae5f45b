from typing import Final

import numpy as np

HEADER_DTYPE: Final[np.dtype[np.void]]
"""The dtype of `Batch.headers`, 104 bytes per packet.

Fields that a packet does not have, or that are not known, are zero. Offsets and lengths are in bytes;
`l4_offset` and `l7_offset` count from the start of the payload, where the link-layer header is.

=================== ==== ==============================================================================
status              u1   a `HeaderStatus`
src_mac, dst_mac    V6   MAC addresses: both for Ethernet, only the source for Linux cooked captures
ethertype           u2   EtherType after all VLAN tags; 0 if the link layer has none
vlan_id             u2   VLAN ID of the outermost tag
inner_vlan_id       u2   VLAN ID of the second tag
ip_version          u1   the first four bits of the IP header
src, dst            V16  addresses; IPv4 as IPv4-mapped IPv6 addresses, ``::ffff:192.0.2.1``
protocol            u1   IANA number of the upper layer, for IPv6 that after the extension headers
ttl                 u1   time to live (IPv4) or hop limit (IPv6)
tos                 u1   type of service (IPv4) or traffic class (IPv6)
flow_label          u4   IPv6 flow label
ip_len              u4   length of the IP packet by its header, header included (0: not segmented yet)
ip_id               u4   identification, for IPv6 that of the fragment header
frag_offset         u2   offset of this fragment in the data of the original packet
more_fragments      bool True if more fragments follow this one
src_port, dst_port  u2   ports of TCP, UDP, UDP-Lite, SCTP and DCCP
tcp_flags           u2   FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, AE 256
tcp_seq, tcp_ack    u4   sequence and acknowledgement number
tcp_window          u2   window field, not scaled
icmp_type           u1   type of an ICMP or ICMPv6 message
icmp_code           u1   code of an ICMP or ICMPv6 message
l4_offset           u4   offset of the upper-layer header; 0 if it is not in the payload
l7_offset           u4   offset of the upper layer's data
l7_len              u4   length of that data on the wire; fewer bytes may have been captured
tunnels             u1   number of tunnels entered, with ``inner=True``
=================== ==== ==============================================================================
"""
