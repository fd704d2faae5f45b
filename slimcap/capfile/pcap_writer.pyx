"""Writer of classic pcap (draft-ietf-opsawg-pcap) with nanosecond timestamps."""
cimport cython
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.pcap_format cimport PCAP_NANO, PcapFileHeader, PcapRecordHeader
from slimcap.capfile.pcap_decoder cimport FCS_PRESENT, FCS_SHIFT
from slimcap.capfile.writer cimport Frame, Writer, frame_of, put_frame
from slimcap.packet.batch cimport Batch
from slimcap.packet.packet cimport Packet
from slimcap.packet.record cimport Record
from slimcap.wire.walk_link cimport LINKTYPE_ETHERNET

from slimcap.capfile.write_options import PcapWriterOptions
from slimcap.option_set import parse

# Seconds are an unsigned 32-bit number (draft-ietf-opsawg-pcap, section 5), which ends in 2106.
cdef int64_t TIME_END = <int64_t> NANOSECONDS << 32


@cython.final
cdef class PcapWriter(Writer):
    """Writer of a classic pcap file, with nanosecond timestamps and in native byte order.

    `write_batch` passes its packets on to the file, or to the compressor, before it returns. `write_packet`
    collects up to 1 MiB of packets, which `flush()`, `close()` and `write_batch` write, too. Use the writer
    as a context manager, or close it.

    After a failed write, bytes that were not written stay in the buffer, and the next call starts with them:
    the file never continues in the middle of a packet. Only one thread may write at a time.

    If the kernel removed a VLAN tag from an Ethernet frame (`RecordFlag.VLAN_STRIPPED`), it is reinserted.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, which is created or truncated; "-" for standard output; or an object with a `write` method,
        which `close()` flushes and leaves open.
    link_type : int, default 1
        LINKTYPE_ number of all packets, as in `Link.type`; 1 is Ethernet.
    **options
        Those of `PcapWriterOptions`.

    Raises
    ------
    OSError
        The file cannot be opened or written.
    ValueError
        `link_type` or an option is not valid; or `atomic` was given without a path.
    TypeError
        `file` is neither a path nor an object with a `write` method.
    ImportError
        The compression requires a package that is not installed.

    Examples
    --------
    >>> with slimcap.PcapWriter("copy.pcap") as writer:
    ...     writer.write_batch(batch)
    """

    cdef object _links          # the links of the last batch, and
    cdef bytes _wrong           # for each, 1 if its link type differs from the file's; None if none does

    def __init__(self, file, link_type=1, **options: Unpack[PcapWriterOptions]):
        self._open(file, link_type, parse(PcapWriterOptions, options))
        self._begin_file()

    cdef int _begin_file(self) except -1:
        cdef PcapFileHeader h
        h.magic = PCAP_NANO
        h.version_major, h.version_minor = 2, 4
        h.thiszone = h.sigfigs = 0
        h.snaplen = self._snaplen
        h.linktype = self._link_type
        if self._fcs_len is not None:
            h.linktype |= FCS_PRESENT | <uint32_t> self._fcs_len // 2 << FCS_SHIFT
        return self._begin(&h, sizeof(h))

    def write_batch(self, Batch batch not None):
        """Write all packets of a batch.

        Parameters
        ----------
        batch : Batch
            The packets. They are not used after the call. pcap has no place for their comments, and for
            descriptions of their interfaces.

        Raises
        ------
        ValueError
            A timestamp is before 1970 or after 2106; a packet's interface has another link type; the batch
            was released; or the writer is closed. Nothing of the batch was written.
        OSError
            A write failed. `packets_written` includes those packets of the batch that a later call will
            write. The others are lost.
        RuntimeError
            Another thread is writing.
        """
        self._write_batch(batch)

    def write_packet(self, Packet packet not None):
        """Write one packet, which must be of the writer's link type; that is not checked.

        Parameters
        ----------
        packet : Packet or PacketView
            The packet. It is not used after the call.

        Raises
        ------
        ValueError
            The timestamp is before 1970 or after 2106, or the writer is closed.
        OSError
            A write failed. If `packets_written` includes the packet, a later call will write it.
        RuntimeError
            Another thread is writing.
        """
        cdef Record row
        self._enter()
        try:
            packet.read(&row)
            if not _is_time(row.timestamp):
                raise ValueError(_bad_time("the packet", row.timestamp))
            self._write_rows(&row, 0, 1, packet._ptr, row.cap_len)
        finally:
            self._busy = False

    cdef int _check(self, Batch batch) except -1:
        cdef const Record* rows = batch._rows
        cdef const uint8_t* wrong
        cdef Py_ssize_t index, count = batch._count, links
        if batch._links is not self._links:
            kinds = bytes([link.type != self._link_type for link in batch._links])
            self._links, self._wrong = batch._links, kinds if any(kinds) else None
        with nogil:
            index = _first_bad_time(rows, count)
        if index < count:
            raise ValueError(_bad_time(f"packet {self._packets + index}", rows[index].timestamp))
        if self._wrong is None:
            return 0
        wrong, links = self._wrong, len(self._wrong)
        with nogil:
            index = _first_of_wrong_link(rows, count, wrong, links)
        if index < count:
            link = batch._links[rows[index].interface]
            raise ValueError(
                f"packet {self._packets + index} is of {link.name!r} with link type {link.type}, "
                f"and the file has link type {self._link_type}")
        return 0

    cdef Py_ssize_t _size_of(
            self, const Record* rows, Py_ssize_t index, const uint8_t* data, uint64_t size) noexcept nogil:
        cdef Frame frame
        frame_of(&rows[index], data, size, self._snaplen, self._link_type == LINKTYPE_ETHERNET, &frame)
        return sizeof(PcapRecordHeader) + <Py_ssize_t> frame.cap_len

    cdef Py_ssize_t _pack(
            self, const Record* rows, Py_ssize_t index, Py_ssize_t count, const uint8_t* data, uint64_t size,
            uint8_t* out, Py_ssize_t* at, Py_ssize_t room) noexcept nogil:
        cdef Py_ssize_t position = at[0]
        cdef bint ethernet = self._link_type == LINKTYPE_ETHERNET
        cdef uint32_t snaplen = self._snaplen
        cdef uint64_t time
        cdef PcapRecordHeader h
        cdef Frame frame
        while index < count:
            frame_of(&rows[index], data, size, snaplen, ethernet, &frame)
            time = rows[index].timestamp
            h.seconds, h.fraction = <uint32_t> (time // NANOSECONDS), <uint32_t> (time % NANOSECONDS)
            h.caplen, h.len = frame.cap_len, frame.total_len
            if room - position < <Py_ssize_t> (sizeof(h) + <uint64_t> h.caplen):
                break
            memcpy(out + position, &h, sizeof(h))
            put_frame(out + position + sizeof(h), &frame)
            position += sizeof(h) + h.caplen
            index += 1
        at[0] = position
        return index


cdef inline bint _is_time(int64_t timestamp) noexcept nogil:
    return 0 <= timestamp < TIME_END


cdef str _bad_time(str what, int64_t timestamp):
    if timestamp == INT64_MAX or timestamp == INT64_MIN:
        return f"{what} has a time that 64 bits of nanoseconds do not hold, which only pcapng keeps"
    return f"{what} has the time {timestamp} ns, and a pcap file has 0 to {TIME_END - 1} (until 2106)"


cdef Py_ssize_t _first_bad_time(const Record* rows, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(count):
        if not _is_time(rows[index].timestamp):
            return index
    return count


cdef Py_ssize_t _first_of_wrong_link(
        const Record* rows, Py_ssize_t count, const uint8_t* wrong, Py_ssize_t links) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(count):
        if rows[index].interface < links and wrong[rows[index].interface]:
            return index
    return count
