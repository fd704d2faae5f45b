"""`SocketSource`: live capture with recvmmsg(), without a ring."""
from libc.stdint cimport uint8_t

from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport Record
from slimcap.packet.rows cimport Rows, new_rows

import errno

from slimcap.option_set import parse
from slimcap.source.live.live_options import SocketOptions


cdef class SocketSource(LiveSource):
    """Capture packets from a network interface as messages, which are copied and available at once.

    By default only IP packets are captured; ARP and all others require `auto_filter=False` or a `filter`.

    A batch is the result of one system call. Its memory holds up to `batch_size` packets of `snaplen` bytes;
    only pages that packets are written to are used, at least one per packet unless `snaplen` is smaller. The
    memory is not the kernel's, so views may be kept without stopping the capture.

    Opening takes up to 20 ms, until the kernel stamps packets when they arrive. A few datagrams on lo show
    that; if lo is down, opening takes 100 ms.

    RingSource is faster and loses fewer packets. Use SocketSource to get packets without the delay of a block
    timeout, or if there is no memory for a ring.

    Parameters
    ----------
    link : str or Link
        The interface. A Link with `netns` is opened in that network namespace.
    **options
        Those of `SocketOptions`.

    Raises
    ------
    LinkNotFound, LinkGone
        The interface or the network namespace does not exist, or was removed; or the Link is that of another
        network namespace, was replaced by another interface since, or describes an interface of a capture
        file.
    LinkError
        `netns` is not a network namespace.
    FilterError
        The filter cannot be compiled, or is not a program that the kernel accepts.
    PermissionError
        Capturing requires CAP_NET_RAW, and entering a network namespace CAP_SYS_ADMIN; the message tells how
        to grant it.
    ValueError
        An option is out of range.
    OSError
        Any other error of the kernel.

    Examples
    --------
    >>> with slimcap.SocketSource("eth0", snaplen=128) as source:
    ...     packet = source.next_packet(timeout=1)
    """

    def __init__(self, link, **options: Unpack[SocketOptions]):
        options = parse(SocketOptions, options)
        self._begin_opening()
        try:
            self._batch_size, self._buffer_size = options["batch_size"], options["buffer_size"]
            self._open(link, options)
        finally:
            self._leave()

    cdef int _set_up(self) except -1:
        self.socket.set_messages(self._buffer_size)
        self._reader = MessageReader(self._batch_size, self.link.type, self.max_len, self.reinsert_vlan)
        self._data_blocks = Pool(self._batch_size * self._reader.stride)
        self._row_blocks = Pool(self._batch_size * sizeof(Record))
        return 0

    cdef Rows _next_rows(self):
        cdef Block data, rows
        cdef Py_ssize_t count
        if self._queue_empty and not self.draining:
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

        Packets that arrived before the interface went down are in the queue after that error, and it may go
        down once more until they are read: then they are left for the next call.
        """
        for _ in range(2):
            try:
                return self._reader.read(self.socket, data, rows)
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                self.on_error(error.errno)
        return 0
