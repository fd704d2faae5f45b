from typing import Final

import numpy as np

RECORD_DTYPE: Final[np.dtype[np.void]]
"""One row a packet, 40 bytes, 8-aligned, the same from every source.

============ ==== =================================================================
timestamp    i8   nanoseconds since the Unix epoch
offset       u8   of the payload in ``batch.data``
total_len    u4   length on the wire, link-layer header included
cap_len      u4   bytes of it that were captured
ip_offset    u2   where the IP header starts in the payload; ``NO_IP`` if there is none
interface    u2   index into ``batch.links``
vlan_tci     u2   of the outermost VLAN tag; valid if ``flags`` has ``VLAN``
vlan_tpid    u2   of the outermost VLAN tag
pkt_type     u1   a `PacketType`
flags        u4   `RecordFlag` bits
============ ==== =================================================================
"""
