"""Arrays of IP addresses: conversion to and from text, membership in a network.

An address is 16 bytes; IPv4 addresses are IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2).
"""
cimport numpy as cnp
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

cimport slimcap.wire.ipv4 as ipv4
from slimcap.abi.c_library cimport AF_INET, AF_INET6, inet_pton

from ipaddress import IPv4Network, IPv6Network, ip_network

import numpy as np

from slimcap.errors import wrong_type

cnp.import_array()

cdef enum:
    IPV4_TEXT = 15      # 255.255.255.255
    IPV6_TEXT = 39      # eight groups of four

_WIDTH_ERROR = (
    "addresses must have 16 bytes each (V16, S16, or uint8 with a last dimension of 16), not {} of shape {}")


cdef cnp.ndarray _addresses(object column):
    """Return the column as an array of V16 or S16, shape (N,), without a copy if possible."""
    array = np.asarray(column)
    if array.dtype == np.uint8 and array.ndim and array.shape[array.ndim - 1] == ADDRESS_LEN:
        return np.ascontiguousarray(array).view("V16").reshape(-1)
    if array.dtype.kind in "VS" and array.dtype.itemsize == ADDRESS_LEN and array.dtype.names is None:
        return array.reshape(-1)
    raise TypeError(_WIDTH_ERROR.format(array.dtype, array.shape))


cdef tuple _shape(object column):
    """Return the shape of a result that has one value for each address of a column."""
    array = np.asarray(column)
    return array.shape[:array.ndim - 1] if array.dtype == np.uint8 else array.shape


cdef bint _all_mapped(const uint8_t* p, Py_ssize_t stride, Py_ssize_t count) noexcept nogil:
    for _ in range(count):
        if not ipv4.is_mapped(p):
            return False
        p += stride
    return True


cdef void _put_text(const uint8_t* address, uint32_t* out) noexcept nogil:
    """Write an address as text, as UCS-4 characters, into zeroed memory."""
    cdef char text[MAX_TEXT]
    cdef Py_ssize_t index
    for index in range(write_ip(address, text)):
        out[index] = <uint8_t> text[index]


def ip_to_str(column):
    """Convert IP addresses to text.

    Parameters
    ----------
    column : array_like of V16 or S16, or of uint8 with a last dimension of 16
        Addresses in network byte order, such as the `src` and `dst` columns of `Batch.headers`; IPv4 ones as
        IPv4-mapped IPv6 addresses.

    Returns
    -------
    ndarray of str
        One text per address: IPv4 in dotted decimal, IPv6 as inet_ntop(3) writes it. The dtype is U15 if all
        are IPv4, else U39. Sixteen zero bytes, as for a packet without addresses, are "::".

    Raises
    ------
    TypeError
        `column` does not have items of 16 bytes.

    Examples
    --------
    >>> slimcap.ip_to_str(slimcap.ip_from_str(["::ffff:10.0.0.1", "fe80:0::1"])).tolist()
    ['10.0.0.1', 'fe80::1']
    """
    # A copy: if another thread wrote to the column, a text could be longer than those that were measured.
    cdef cnp.ndarray addresses = _addresses(column).copy()
    cdef const uint8_t* p = <const uint8_t*> cnp.PyArray_DATA(addresses)
    cdef Py_ssize_t stride = cnp.PyArray_STRIDE(addresses, 0), count = addresses.shape[0], width, index
    with nogil:
        width = IPV4_TEXT if _all_mapped(p, stride, count) else IPV6_TEXT
    cdef cnp.ndarray texts = np.zeros(count, f"U{width}")
    cdef uint32_t* out = <uint32_t*> cnp.PyArray_DATA(texts)
    with nogil:
        for index in range(count):
            _put_text(p + index * stride, out + index * width)
    return texts.reshape(_shape(column))


cdef bint _read_text(const uint32_t* text, Py_ssize_t width, uint8_t* out) noexcept nogil:
    """Parse an address; return False if it is not valid."""
    cdef char narrow[MAX_TEXT]
    cdef uint8_t address[4]
    cdef Py_ssize_t index
    memset(narrow, 0, sizeof(narrow))
    for index in range(width):
        if text[index] == 0:
            break
        if index == MAX_TEXT - 1 or text[index] > 0x7f:
            return False
        narrow[index] = <char> text[index]
    if inet_pton(AF_INET, narrow, address) == 1:
        ipv4.put_mapped(out, address)
        return True
    return inet_pton(AF_INET6, narrow, out) == 1


def ip_from_str(texts):
    """Convert text to IP addresses, the inverse of `ip_to_str`.

    Parameters
    ----------
    texts : array_like of str
        IPv4 and IPv6 addresses, in the syntax of inet_pton(3).

    Returns
    -------
    ndarray of V16
        Addresses in network byte order, IPv4 ones as IPv4-mapped IPv6 addresses. Same shape as `texts`.

    Raises
    ------
    ValueError
        A text is not a valid IP address.
    TypeError
        `texts` is not an array of str.

    Examples
    --------
    >>> slimcap.ip_to_str(slimcap.ip_from_str(["10.0.0.1", "2001:db8::1"])).tolist()
    ['10.0.0.1', '2001:db8::1']
    """
    array = np.asarray(texts)
    if array.dtype.kind not in "UT" and array.size:
        raise TypeError(f"addresses must be str, not {array.dtype}")
    cdef cnp.ndarray wide = np.ascontiguousarray(array.reshape(-1), dtype="=U")
    cdef Py_ssize_t count = wide.shape[0], width = wide.dtype.itemsize // 4, index = 0
    cdef const uint32_t* p = <const uint32_t*> cnp.PyArray_DATA(wide)
    cdef cnp.ndarray addresses = np.empty(count, "V16")
    cdef uint8_t* out = <uint8_t*> cnp.PyArray_DATA(addresses)
    with nogil:
        while index < count and _read_text(p + index * width, width, out + index * ADDRESS_LEN):
            index += 1
    if index < count:
        raise ValueError(f"{str(wide[index])!r} at index {index} is not an IPv4 or IPv6 address")
    return addresses.reshape(array.shape)


cdef void _masked(
        const uint8_t* p, Py_ssize_t stride, Py_ssize_t count, const uint8_t* prefix, const uint8_t* mask,
        bint mapped, uint8_t* out) noexcept nogil:
    """Set `out` to 1 for each address that matches the prefix, and 0 otherwise.

    It matches if the bits of `mask` are those of `prefix`, and it is an IPv4 address if and only if `mapped`.
    """
    cdef Py_ssize_t index
    cdef int byte
    cdef uint8_t other
    for index in range(count):
        other = 0
        for byte in range(ADDRESS_LEN):
            other |= (p[byte] ^ prefix[byte]) & mask[byte]
        out[index] = other == 0 and ipv4.is_mapped(p) == mapped
        p += stride


def in_network(column, network):
    """Test which IP addresses are in a network.

    Parameters
    ----------
    column : array_like of V16 or S16, or of uint8 with a last dimension of 16
        Addresses in network byte order, as for `ip_to_str`.
    network : str or ipaddress.IPv4Network or ipaddress.IPv6Network
        A network such as "10.0.0.0/8" or "2001:db8::/32", or a single address. An IPv6 network contains no
        IPv4 address.

    Returns
    -------
    ndarray of bool
        One value per address, usable as a mask: ``batch[slimcap.in_network(headers["src"], "10.0.0.0/8")]``.

    Raises
    ------
    TypeError
        `column` does not have items of 16 bytes.
    ValueError
        `network` is not valid, or has bits set after its prefix.

    Examples
    --------
    >>> addresses = slimcap.ip_from_str(["10.0.0.1", "2001:db8::1"])
    >>> slimcap.in_network(addresses, "10.0.0.0/8").tolist()
    [True, False]
    """
    if not isinstance(network, (str, IPv4Network, IPv6Network)):
        raise wrong_type("network", "a str, IPv4Network or IPv6Network", network)
    net = ip_network(network)
    cdef bint mapped = net.version == 4
    before = b"\0" * 10 + b"\xff\xff" if mapped else b""
    cdef bytes prefix = before + net.network_address.packed
    cdef bytes mask = b"\xff" * len(before) + net.netmask.packed
    cdef const uint8_t* wanted = prefix
    cdef const uint8_t* bits = mask
    cdef cnp.ndarray addresses = _addresses(column)
    cdef const uint8_t* p = <const uint8_t*> cnp.PyArray_DATA(addresses)
    cdef Py_ssize_t stride = cnp.PyArray_STRIDE(addresses, 0), count = addresses.shape[0]
    cdef cnp.ndarray inside = np.empty(count, np.bool_)
    cdef uint8_t* out = <uint8_t*> cnp.PyArray_DATA(inside)
    with nogil:
        _masked(p, stride, count, wanted, bits, mapped, out)
    return inside.reshape(_shape(column))
