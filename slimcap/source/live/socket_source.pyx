"""`SocketSource`: live capture with recvmmsg(), without a ring."""
from libc.stdint cimport uint8_t

from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport Record
from slimcap.packet.rows cimport Rows, new_rows

import errno

from slimcap.errors import integer

cdef enum:
    MAX_MESSAGES = 1024             # UIO_MAXIOV, net/socket.c
    MAX_BUFFER = (1 << 30) - 1      # the kernel doubles it, and that must fit in an int


cdef class SocketSource(LiveSource):
    """Capture packets from a network interface as messages, which are copied and available at once.

    A batch is the result of one system call. Its memory holds up to `batch_size` packets of `snaplen` bytes;
    only pages that packets are written to are used, at least one per packet unless `snaplen` is smaller. The
    memory is not the kernel's, so views may be kept without stopping the capture.

    RingSource is faster and loses fewer packets. Use SocketSource to get packets without the delay of a block
    timeout, or if there is no memory for a ring.

    Parameters
    ----------
    link : str or Link
        The interface.
    snaplen : int or strategy, default 262144
        Maximum number of bytes to capture of a packet, or a strategy of `slimcap.filter`, which returns it
        for a link type.
    promiscuous : bool, default False
        Also receive packets that are addressed to other hosts.
    filter : str or sequence of (code, jt, jf, k), optional
        A tcpdump expression or a classic BPF program: only packets that match are captured. Default: see
        `auto_filter`.
    auto_filter : bool, default True
        If there is no `filter`, capture only IP packets; False: all packets.
    ignore_vlans : bool, default False
        Do not capture packets with a VLAN tag.
    reinsert_vlan : bool, default False
        Put back the VLAN tag that the kernel removed, so that bytes and lengths are those on the wire. On
        Ethernet only.
    direction : {"both", "in", "out"}, default "both"
        Capture all packets, only those that this host received, or only those that it sent.
    buffer_size : int, default 4 MiB
        Size in bytes of the socket's receive buffer (SO_RCVBUF), from 1 to 2^30 - 1. Each packet in it needs
        several hundred bytes more than its length. The kernel doubles the size; without CAP_NET_ADMIN, the
        sysctl net.core.rmem_max is the maximum.
    batch_size : int, default 64
        Maximum number of packets per system call, from 1 to 1024.
    timeout : float, optional
        Maximum time in seconds that a read waits. Default: no maximum.
    link_down : {"wait", "raise"}, default "wait"
        What a read does while the interface is down: wait until it is up again, or raise LinkDown.

    Raises
    ------
    LinkNotFound, LinkGone
        The interface does not exist, or was removed.
    FilterError
        The filter cannot be compiled, or is not a program that the kernel accepts.
    PermissionError
        Capturing requires CAP_NET_RAW; the message tells how to grant it.
    ValueError
        An option is out of range.
    OSError
        Any other error of the kernel.

    Examples
    --------
    >>> with slimcap.SocketSource("eth0", snaplen=128) as source:
    ...     packet = source.next_packet(timeout=1)
    """

    def __init__(
            self, link, *, snaplen=262144, promiscuous=False, filter=None, auto_filter=True,
            ignore_vlans=False, reinsert_vlan=False, direction="both", buffer_size=1 << 22, batch_size=64,
            timeout=None, link_down="wait"):
        integer("batch_size", batch_size)
        integer("buffer_size", buffer_size)
        if not 1 <= batch_size <= MAX_MESSAGES:
            raise ValueError(f"batch_size must be 1 to {MAX_MESSAGES} packets, not {batch_size}")
        if not 1 <= buffer_size <= MAX_BUFFER:
            raise ValueError(f"buffer_size must be 1 to {MAX_BUFFER} bytes, not {buffer_size}")
        self._batch_size, self._buffer_size = batch_size, buffer_size
        self._open(link, {
            "snaplen": snaplen, "promiscuous": promiscuous, "filter": filter, "auto_filter": auto_filter,
            "ignore_vlans": ignore_vlans, "reinsert_vlan": reinsert_vlan, "direction": direction,
            "timeout": timeout, "link_down": link_down})

    cdef int _set_up(self) except -1:
        self._socket.set_messages(self._buffer_size)
        self._reader = MessageReader(self._batch_size, self.link.type, self._max_len, self.reinsert_vlan)
        self._data_blocks = Pool(self._batch_size * self._reader.stride)
        self._row_blocks = Pool(self._batch_size * sizeof(Record))
        return 0

    cdef Rows _next_rows(self):
        cdef Block data, rows
        cdef Py_ssize_t count
        if self._queue_empty and not self._draining:
            self._queue_empty = False  # usually no packet arrived since: go straight to poll()
            return None
        data, rows = self._data_blocks.take(), self._row_blocks.take()
        count = self._read(data.ptr, <Record*> rows.ptr)
        if count == 0:
            return None
        self._queue_empty = count < self._batch_size
        return new_rows(rows, count, data, data.size, self._links)

    cdef Py_ssize_t _read(self, uint8_t* data, Record* rows) except -1:
        """Read the packets that are available.

        Packets that arrived before the interface went down are in the queue after that error.
        """
        try:
            return self._reader.read(self._socket, data, rows)
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            self._on_error(error.errno)
        return self._reader.read(self._socket, data, rows)
