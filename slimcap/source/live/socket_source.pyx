"""`SocketSource`: live capture without a ring, by recvmmsg(), for where a ring is not wanted."""
from libc.stdint cimport uint8_t

from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport Record

import errno

cdef enum:
    MOST_MESSAGES = 1024            # UIO_MAXIOV, net/socket.c
    MOST_BUFFER = (1 << 30) - 1     # the kernel doubles it, in an int


cdef class SocketSource(LiveSource):
    """Packets from a network interface, as messages: a packet is there at once, and costs a copy.

    A batch is what one system call brought. Its memory has room for the longest packets; only those pages of
    it are used that packets were written to, at least one a packet unless `snaplen` is less. It is not the
    kernel's, so views that are kept stop nothing.

    RingSource is faster, and loses less. This one delivers a packet without a block timeout, and is for where
    a ring's memory cannot be had.

    Parameters
    ----------
    link : str or Link
        The interface.
    snaplen : int or strategy
        Most bytes to capture of a packet, or a strategy of `slimcap.filter`.
    promiscuous : bool
        Receive what is for other hosts, too.
    filter : str or sequence of (code, jt, jf, k), optional
        A tcpdump expression or a classic BPF program: what passes is captured.
    auto_filter : bool
        Without a filter, capture IP packets only. False: everything.
    ignore_vlans : bool
        Leave out packets with a VLAN tag.
    reinsert_vlan : bool
        Put back the tag that the kernel took out, so that bytes and lengths are those of the wire.
    direction : {"both", "in", "out"}
        Which packets: all, those that this host received, or those that it sent.
    buffer_size : int
        Bytes of packets that the kernel keeps for us, each with several hundred bytes beside. The kernel
        doubles it; without CAP_NET_ADMIN, the sysctl net.core.rmem_max is the most.
    batch_size : int
        Most packets of a system call, up to 1024.
    timeout : float, optional
        Seconds that a read waits at most.
    link_down : {"wait", "raise"}
        What a read does while the interface is down: wait until it is up again, or raise LinkDown.

    Raises
    ------
    LinkNotFound, LinkGone
        There is no such interface, or it vanished.
    FilterError
        The filter cannot be compiled, or is no program the kernel takes.
    PermissionError
        Capturing needs CAP_NET_RAW; the message says how to get it.
    ValueError, OSError
        An option that cannot be, and whatever else the kernel refuses.
    """

    def __init__(
            self, link, *, snaplen=262144, promiscuous=False, filter=None, auto_filter=True,
            ignore_vlans=False, reinsert_vlan=False, direction="both", buffer_size=1 << 22, batch_size=64,
            timeout=None, link_down="wait"):
        if not 1 <= batch_size <= MOST_MESSAGES:
            raise ValueError(f"batch_size is 1 to {MOST_MESSAGES} packets, not {batch_size}")
        if not 1 <= buffer_size <= MOST_BUFFER:
            raise ValueError(f"buffer_size is 1 to {MOST_BUFFER} bytes, not {buffer_size}")
        self._batch_size, self._buffer_size = batch_size, buffer_size
        self._open(link, {
            "snaplen": snaplen, "promiscuous": promiscuous, "filter": filter, "auto_filter": auto_filter,
            "ignore_vlans": ignore_vlans, "reinsert_vlan": reinsert_vlan, "direction": direction,
            "timeout": timeout, "link_down": link_down})

    cdef int _set_up(self) except -1:
        self._socket.set_messages(self._buffer_size)
        self._reader = MessageReader(self._batch_size, self.link.type, self._most, self.reinsert_vlan)
        self._data_blocks = Pool(self._batch_size * self._reader.stride)
        self._row_blocks = Pool(self._batch_size * sizeof(Record))
        return 0

    cdef bint _next_rows(self) except -1:
        cdef Block data, rows
        cdef Py_ssize_t count
        if self._short and not self._draining:
            self._short = False  # mostly nothing came since, and poll() says so, too, and waits
            return False
        data, rows = self._data_blocks.take(), self._row_blocks.take()
        count = self._read(data.ptr, <Record*> rows.ptr)
        if count == 0:
            return False
        self._short = count < self._batch_size
        self._show(rows, count, data, data.size)
        return True

    cdef Py_ssize_t _read(self, uint8_t* data, Record* rows) except -1:
        """What is there. Packets from before the interface went down come after that error."""
        try:
            return self._reader.read(self._socket, data, rows)
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            self._on_error(error.errno)
        return self._reader.read(self._socket, data, rows)
