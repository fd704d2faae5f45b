"""SCTP's common header (RFC 9260 section 3.1), before its chunks.

    source port (2) | destination port (2) | verification tag (4) | checksum (4)
"""

cdef enum:
    LEN = 12
