"""Writing classic pcap (draft-ietf-opsawg-pcap) with nanoseconds."""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.pcap_format cimport PCAP_NANO, PcapFileHeader, PcapRecordHeader
from slimcap.capfile.writer cimport SNAPLEN, Frame, Writer, check_link_type, frame_of, put_frame
from slimcap.packet.batch cimport Batch
from slimcap.packet.packet cimport Packet
from slimcap.packet.record cimport Record
from slimcap.wire.walk_link cimport LINKTYPE_ETHERNET

cdef enum:
    NANOSECONDS = 1_000_000_000

# Seconds have 32 bits and no sign (draft-ietf-opsawg-pcap, section 5): up to 2106.
cdef int64_t TIME_END = <int64_t> NANOSECONDS << 32


@cython.final
cdef class PcapWriter(Writer):
    """A capture file to write packets to: classic pcap with nanoseconds, of this machine's byte order.

    `write_batch` hands its packets over to the file, or to what compresses it, before it returns.
    `write_packet` collects packets until there is a mebibyte of them; `flush()`, `close()` and `write_batch`
    write them out. Use it as a context manager, or close it.

    What a failed write leaves unwritten stays in the buffer, and the next call begins with it: the file never
    goes on in the middle of a packet. One thread may write at a time.

    A VLAN tag that the kernel took out of an Ethernet frame (`RecordFlag.VLAN_STRIPPED`) is put back.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, which is created or emptied; "-" for standard output; or an object with `write`, which
        `close()` flushes and leaves open.
    link_type : int
        LINKTYPE_ number of all packets, as in `Link.type`; 1 is Ethernet.
    snaplen : int
        Most bytes to write of a packet. Many programs read no packet above 262144 bytes.
    compression : {"infer", "gzip", "zstd", "xz", "lz4", "bzip2"} or None
        "infer" goes by the end of the path: .gz, .zst, .xz, .lz4, .bz2.
    level : int, optional
        How hard to compress; what the command of that name does by default.
    atomic : bool
        Write under another name in the same folder until `close()`: the file is whole, or not there. An older
        one is replaced only then. An exception in the `with` block, `discard()` and a failed `close()` leave
        no file.

    Raises
    ------
    OSError
        The file cannot be opened or written.
    ValueError
        `link_type`, `snaplen`, `compression` or `level` is out of range; `atomic` without a path.
    ImportError
        The compression takes a package that is not installed.
    """

    cdef uint32_t _link_type
    cdef object _links          # the links that were looked at last, and
    cdef bytes _wrong           # which of them have another link type; None if none has

    def __init__(
            self, file, link_type=1, *, snaplen=SNAPLEN, compression="infer", level=None, atomic=False):
        check_link_type(link_type)
        self._open(file, snaplen, compression, level, atomic)
        self._link_type = link_type
        self._begin_file()

    cdef int _begin_file(self) except -1:
        cdef PcapFileHeader h
        h.magic = PCAP_NANO
        h.version_major, h.version_minor = 2, 4
        h.thiszone = h.sigfigs = 0
        h.snaplen = self._snaplen
        h.linktype = self._link_type
        return self._begin(&h, sizeof(h))

    def write_batch(self, Batch batch not None):
        """Write all packets of a batch.

        Parameters
        ----------
        batch : Batch
            Needed only during the call.

        Raises
        ------
        ValueError
            A time that the file cannot have, before 1970 or after 2106; a packet of an interface with another
            link type; the batch was released, or the writer is closed. Nothing of the batch was written.
        OSError
            A write failed. `packets_written` says how far it came: those packets will be written by a later
            call, the others will not.
        RuntimeError
            Another thread is writing.
        """
        self._write_batch(batch, None)

    def write_packet(self, Packet packet not None):
        """Write one packet, which is taken to be of the writer's link type.

        Parameters
        ----------
        packet : Packet or PacketView
            Needed only during the call.

        Raises
        ------
        ValueError
            A time that the file cannot have, before 1970 or after 2106; the writer is closed.
        OSError
            A write failed. If `packets_written` counts the packet, it will be written by a later call.
        RuntimeError
            Another thread is writing.
        """
        self._enter()
        try:
            if not _is_time(packet._row.timestamp):
                raise ValueError(_bad_time("the packet", packet._row.timestamp))
            self._write_one(packet)
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
            raise ValueError(_bad_time(f"packet {index}", rows[index].timestamp))
        if self._wrong is None:
            return 0
        wrong, links = self._wrong, len(self._wrong)
        with nogil:
            index = _first_of_wrong_link(rows, count, wrong, links)
        if index < count:
            link = batch._links[rows[index].interface]
            raise ValueError(
                f"packet {index} is of {link.name!r} with link type {link.type}, "
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
