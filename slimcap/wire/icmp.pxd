"""ICMP (RFC 792) and ICMPv6 (RFC 4443 section 2.1), whose headers have the same layout.

    type (1) | code (1) | checksum (2) | depends on the type (4) | …
"""

cdef enum:
    ICMP = 1
    ICMPV6 = 58
    LEN = 8
    TYPE = 0
    CODE = 1
