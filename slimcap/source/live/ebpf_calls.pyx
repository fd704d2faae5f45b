"""The system call bpf(2)."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from slimcap.abi.linux cimport SYS_bpf, c_syscall, errno

import os

cdef enum:
    BPF_MAP_UPDATE_ELEM = 2

cdef struct Update:             # the attributes of BPF_MAP_UPDATE_ELEM (union bpf_attr, linux/bpf.h)
    uint32_t map_fd
    uint32_t padding
    uint64_t key
    uint64_t value
    uint64_t flags


def bpf(int command, uint8_t[::1] attributes not None):
    """Make the system call and return its result; raise OSError if it fails.

    `attributes` is a union bpf_attr. What its pointers point to must live until then.
    """
    cdef long result
    cdef Py_ssize_t size = attributes.shape[0]
    if size == 0:
        raise ValueError("attributes must not be empty")
    with nogil:
        result = c_syscall(SYS_bpf, command, &attributes[0], size)
    if result < 0:
        raise OSError(errno, os.strerror(errno))
    return result


def fill_map(int fd, const uint8_t[::1] keys not None, Py_ssize_t key_size):
    """Add keys of the same size to a map, with values of one byte, 1; raise OSError if that fails."""
    cdef Update update
    cdef uint8_t value = 1
    cdef long result = 0
    cdef Py_ssize_t start = 0, size = keys.shape[0]
    if key_size < 1 or size % key_size:
        raise ValueError("keys must be a whole number of keys")
    memset(&update, 0, sizeof(update))
    update.map_fd = fd
    update.value = <uint64_t> &value
    with nogil:
        while start < size and result >= 0:
            update.key = <uint64_t> &keys[start]
            result = c_syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &update, sizeof(update))
            start += key_size
    if result < 0:
        raise OSError(errno, os.strerror(errno))
