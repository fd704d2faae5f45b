from typing import Final

import numpy as np

RECORD_DTYPE: Final[np.dtype[np.void]]
"""The dtype of `Batch.records`: one row per packet, 40 bytes, 8-byte aligned, the same for all sources.

============ ==== =========================================================================
timestamp    i8   nanoseconds since the Unix epoch
offset       u8   offset of the payload in ``batch.data``, in bytes
total_len    u4   length on the wire in bytes, link-layer header included
cap_len      u4   number of bytes captured
ip_offset    u2   offset of the IP header in the payload; ``NO_IP`` if there is none
interface    u2   index into ``batch.links``
vlan_tci     u2   TCI of the outermost VLAN tag; valid if ``flags`` has ``VLAN``
vlan_tpid    u2   TPID of the outermost VLAN tag; valid if ``flags`` has ``VLAN``
pkt_type     u1   a `PacketType`
flags        u4   `RecordFlag` bits
============ ==== =========================================================================
"""
