"""Rare headers that are found by an EtherType and lead to another one, or to an Ethernet frame.

They are not among the branches of `walk_ethertype`, to keep the code small that runs for most packets.
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.cmd as cmd
cimport slimcap.wire.etag as etag
cimport slimcap.wire.ethernet as ethernet
cimport slimcap.wire.fabricpath as fabricpath
cimport slimcap.wire.gre as gre
cimport slimcap.wire.itag as itag
cimport slimcap.wire.macsec as macsec
cimport slimcap.wire.nsh as nsh
cimport slimcap.wire.trill as trill
cimport slimcap.wire.vntag as vntag

cdef struct Tag:
    uint32_t length     # 0: not a complete and valid tag, or not a tag at all
    uint32_t next_type  # EtherType of the data after it


cdef inline Tag tag_with_type(uint32_t ethertype, const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the tag at `p`, if it has an EtherType."""
    cdef Tag tag
    tag.length = tag.next_type = 0
    if ethertype == vntag.ETHERTYPE:
        tag.length = vntag.check(p, n)
        tag.next_type = vntag.next_type(p) if tag.length else 0
    elif ethertype == etag.ETHERTYPE:
        tag.length = etag.check(p, n)
        tag.next_type = etag.next_type(p) if tag.length else 0
    elif ethertype == cmd.ETHERTYPE:
        tag.length = cmd.check(p, n)
        tag.next_type = cmd.next_type(p) if tag.length else 0
    elif ethertype == macsec.ETHERTYPE:
        tag.length = macsec.check(p, n)
        tag.next_type = macsec.next_type(p, tag.length) if tag.length else 0
    elif ethertype == nsh.ETHERTYPE:
        tag.length = nsh.check(p, n)
        tag.next_type = nsh.next_type(p) if tag.length else 0
    elif ethertype == gre.ETHERTYPE_BRIDGED:
        tag.length = ethernet.check(p, n)
        tag.next_type = ethernet.ethertype(p) if tag.length else 0
    return tag


cdef inline Tag read_tag(uint32_t ethertype, const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the tag or header of the type `ethertype` at `p`."""
    cdef Tag tag
    if ethertype == itag.ETHERTYPE:
        tag.length = itag.check(p, n)
    elif ethertype == fabricpath.ETHERTYPE:
        tag.length = fabricpath.check(p, n)
    elif ethertype == trill.ETHERTYPE:
        tag.length = trill.check(p, n)
    else:
        return tag_with_type(ethertype, p, n)
    tag.next_type = gre.ETHERTYPE_BRIDGED
    return tag
