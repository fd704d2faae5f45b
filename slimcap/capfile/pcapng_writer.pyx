"""Writer of pcapng (draft-ietf-opsawg-pcapng): one section, native byte order, nanosecond timestamps.

    section header ─ interface ─ packet ─ packet ─ interface ─ packet ─ statistics

    type   length   …   options   length
    4      4                      4         bytes; the length of a block is a multiple of 4

Packets are written without the GIL, all other blocks by Python code.
"""
cimport cython
from libc.stdint cimport UINT32_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cimport slimcap.wire.sll as sll
cimport slimcap.wire.sll2 as sll2
from slimcap.abi.pcap_format cimport (
    INTERFACE_DESCRIPTION,
    INTERFACE_FILTER,
    INTERFACE_HARDWARE,
    INTERFACE_NAME,
    INTERFACE_OS,
    INTERFACE_TIME_RESOLUTION,
    LENGTH_SIZE,
    OPTION_COMMENT,
    OPTION_END,
    OPTION_MOST,
    PACKET_FLAGS,
    PCAPNG_INTERFACE,
    PCAPNG_ORDER,
    PCAPNG_PACKET,
    PCAPNG_SECTION,
    PCAPNG_STATISTICS,
    SECTION_APPLICATION,
    SECTION_HARDWARE,
    SECTION_OS,
    STATISTICS_END,
    STATISTICS_FILTER_ACCEPTED,
    STATISTICS_INTERFACE_DROPS,
    STATISTICS_RECEIVED,
    STATISTICS_START,
    STATISTICS_SYSTEM_DROPS,
    PcapngInterface,
    PcapngOption,
    PcapngPacket,
    PcapngSection,
    PcapngStatistics,
    padded,
)
from slimcap.capfile.writer cimport (
    MAX_LINK_TYPE,
    MAX_SNAPLEN,
    Frame,
    Writer,
    check_link_type,
    frame_of,
    put_frame,
)
from slimcap.packet.batch cimport Batch
from slimcap.packet.lease cimport Block, new_block
from slimcap.packet.packet cimport Packet
from slimcap.packet.record cimport MAX_INTERFACES, Record
from slimcap.wire.walk_link cimport LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2

import time
from operator import index as as_index

from slimcap.packet.enums import PacketType
from slimcap.packet.interface import InterfaceInfo
from slimcap.packet.options import with_comments

cdef enum:
    NANOSECONDS = 9             # if_tsresol: 10^-9
    PADDING = 4
    FLAGS_SIZE = sizeof(PcapngOption) + sizeof(uint32_t)
    UNDESCRIBED = -1            # an interface that has no block in the file yet
    INBOUND = 1
    OUTBOUND = 2
    PKT_TYPES = 5
    MAX_COMMENTS = 128 << 20    # bytes of comments on one object: Wireshark reads no larger blocks

# epb_flags by packet type: direction in bits 0 and 1, reception type in bits 2 to 4 (section 4.3.1).
cdef uint32_t[PKT_TYPES] FLAGS
FLAGS[<int> PacketType.THIS_HOST] = INBOUND | 1 << 2
FLAGS[<int> PacketType.BROADCAST] = INBOUND | 3 << 2
FLAGS[<int> PacketType.MULTICAST] = INBOUND | 2 << 2
FLAGS[<int> PacketType.OTHER_HOST] = INBOUND | 4 << 2
FLAGS[<int> PacketType.OUTGOING] = OUTBOUND

cdef struct Text:
    # A packet's options as in the file, without flags; `at` is NULL if there are none.
    const char* at
    uint64_t size

cdef Text NO_TEXT
NO_TEXT.at, NO_TEXT.size = NULL, 0


@cython.final
cdef class PcapNgWriter(Writer):
    """Writer of a pcapng file, with nanosecond timestamps, interfaces and comments.

    Interfaces are described automatically, from `batch.interfaces`, before their first packet. An interface
    is identified by its `Link`: equal links (name, index, type and description) are one interface of the
    file, even if they are of different batches; different links are different interfaces. Packets without a
    link belong to an interface without a name, of type `link_type`.

    For buffering, failed writes, threads, VLAN tags and closing see `PcapWriter`.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        As for `PcapWriter`.
    link_type : int, default 1
        LINKTYPE_ number of packets without a Link; 1 is Ethernet.
    snaplen : int, default 262144
        As for `PcapWriter`.
    compression : {"infer", "gzip", "zstd", "xz", "lz4", "bzip2"} or None, default "infer"
        As for `PcapWriter`.
    level : int, optional
        As for `PcapWriter`.
    atomic : bool, default False
        As for `PcapWriter`.
    comment : str, optional
        Comment on the file. Default: none.
    hardware, os : str, optional
        Hardware and operating system of the capturing host. Default: not stored.
    application : str, optional
        Application that wrote the file; "" stores none. Default: slimcap and its version.

    Raises
    ------
    OSError
        The file cannot be opened or written.
    ValueError
        A parameter is out of range, a text or a line of `comment` is longer than 65535 bytes, or `comment` is
        longer than 128 MiB.
    TypeError
        `file` is neither a path nor an object with a `write` method, or a text is not a str.
    ImportError
        The compression requires a package that is not installed.

    Examples
    --------
    >>> with slimcap.PcapNgWriter("copy.pcapng", comment="a test") as writer:
    ...     writer.write_batch(batch.with_comments({0: "the first packet"}))
    """

    cdef uint32_t _link_type
    cdef dict _numbers          # numbers of the file's interfaces by Link; None: the one without a name
    cdef list _kinds            # their link types
    cdef object _infos          # the interfaces of the last batch; None: only the links are known
    cdef object _links          # the links of the last batch; None if there are none, and
    cdef Block _map             # an int32_t for each: the interface's number or UNDESCRIBED
    cdef Block _types           # their link types, uint32_t; both have one more, for packets without a link
    cdef Py_ssize_t _known      # number of these links
    cdef Block _texts           # a Text for each row of the batch being written, or None
    cdef object _encoded        # keeps the texts alive

    # The default snaplen is libpcap's MAXIMUM_SNAPLEN: readers reject longer packets.
    def __init__(
            self, file, link_type=1, *, snaplen=262144, compression="infer", level=None, atomic=False,
            comment=None, hardware=None, os=None, application=None):
        cdef bytes head = _section(comment, hardware, os, application)
        check_link_type(link_type)
        self._open(file, snaplen, compression, level, atomic)
        self._link_type = link_type
        self._numbers, self._kinds = {}, []
        self._learn((), None)
        self._begin(<const char*> head, len(head))

    @property
    def interfaces(self):
        """Interfaces of the file so far, by number: a tuple of Link; None is the interface without a name."""
        return tuple(self._numbers or ())

    def add_interface(self, interface, *, snaplen=None, comment=None, filter=None, hardware=None, os=None):
        """Describe an interface, so that packets and statistics can refer to it.

        Parameters
        ----------
        interface : Link or InterfaceInfo
            Name, description and link type of the interface. Of an InterfaceInfo also what the parameters
            below default to.
        snaplen : int, optional
            Maximum number of bytes captured of a packet, 0 for all. It is only stored: longer packets are
            accepted. Default: the writer's `snaplen`.
        comment : str, optional
            Comment on the interface. Default: none.
        filter : str, optional
            Capture filter. Default: not stored.
        hardware, os : str, optional
            Hardware and operating system of the capturing host. Default: not stored.

        Returns
        -------
        int
            Number of the interface, for `write_packet` and `write_statistics`. If the file has the interface
            already, the number of that.

        Raises
        ------
        ValueError
            The file has the interface, and other arguments than `interface` were given; the file has 65535
            interfaces; a value is out of range or a text too long; or the writer is closed.
        OSError, RuntimeError
            As for `write_packet`.
        """
        given = {
            "snaplen": snaplen, "comment": comment, "filter": filter, "hardware": hardware, "os": os}
        given = {name: value for name, value in given.items() if value is not None}
        info = interface if isinstance(interface, InterfaceInfo) else None
        link = interface if info is None else info.link
        self._enter()
        try:
            if link not in self._numbers:
                return self._describe(link, {**self._texts_of(info), **given})
            if given:
                raise ValueError(f"{link.name!r} is described already: interface {self._numbers[link]}")
            return self._numbers[link]
        finally:
            self._busy = False

    def write_batch(self, Batch batch not None):
        """Write all packets of a batch, with their comments.

        A comment of up to 65535 bytes is one option, even with several lines; a longer one is split at the
        ends of lines.

        Parameters
        ----------
        batch : Batch
            The packets. They are not used after the call.

        Raises
        ------
        ValueError
            A timestamp is before 1970; a comment has a line of more than 65535 bytes or more than 128 MiB in
            all; the file would have too many interfaces; the batch was released; or the writer is closed.
            Nothing of the batch was written.
        OSError
            A write failed. `packets_written` includes those packets of the batch that a later call will
            write. The others are lost.
        RuntimeError
            Another thread is writing.
        """
        self._write_batch(batch)

    def write_packet(self, Packet packet not None, *, interface=0, comment=None):
        """Write one packet.

        Parameters
        ----------
        packet : Packet or PacketView
            The packet. It is not used after the call.
        interface : int, default 0
            Number of its interface, as returned by `add_interface`. If the file has no interfaces, 0 adds one
            without a name.
        comment : str, optional
            Comment on the packet, as for `write_batch`. Default: the packet's own.

        Raises
        ------
        ValueError
            The timestamp is before 1970; the interface does not exist; the comment has a line of more than
            65535 bytes or more than 128 MiB in all; or the writer is closed.
        OSError
            A write failed. If `packets_written` includes the packet, a later call will write it.
        RuntimeError
            Another thread is writing.
        """
        self._enter()
        try:
            if packet._row.timestamp < 0:
                raise ValueError(_bad_time("the packet", packet._row.timestamp))
            self._choose(interface)
            if comment is None:
                comment = packet.comment
            self._take_options(None if comment is None else with_comments((), {0: comment}, 1), 1)
            self._write_one(packet)
        finally:
            self._take_options(None, 0)
            self._busy = False

    def write_statistics(
            self, interface=0, *, received=None, dropped=None, interface_dropped=None, filter_accepted=None,
            start=None, end=None, at=None):
        """Write the packet counters of an interface (section 4.6), as of the time `at`.

        Parameters
        ----------
        interface : int, default 0
            Number of the interface, as returned by `add_interface`: its index in `interfaces`.
        received : int, optional
            Packets received. Default: not stored.
        dropped : int, optional
            Packets dropped for lack of memory, as counted by `Stats.packets_dropped`. Default: not stored.
        interface_dropped : int, optional
            Packets that the interface dropped before. Default: not stored.
        filter_accepted : int, optional
            Packets that the filter accepted. Default: not stored.
        start, end : int, optional
            Start and end of the capture, in nanoseconds since the Unix epoch. Default: not stored.
        at : int, optional
            Time of the counters, in nanoseconds since the Unix epoch. Default: `end` if given, else now.

        Raises
        ------
        ValueError
            The interface does not exist, a number is not an unsigned 64-bit number, or the writer is closed.
        OSError, RuntimeError
            As for `write_packet`.
        """
        self._enter()
        try:
            self._choose(interface)
            counters = {
                STATISTICS_RECEIVED: received, STATISTICS_INTERFACE_DROPS: interface_dropped,
                STATISTICS_FILTER_ACCEPTED: filter_accepted, STATISTICS_SYSTEM_DROPS: dropped}
            self._put_statistics(as_index(interface), start, end, end if at is None else at, counters)
        finally:
            self._busy = False

    # Interfaces.

    cdef dict _texts_of(self, object info):
        """Return the fields of an InterfaceInfo that its block has; None: nothing is known."""
        if info is None:
            return {"snaplen": self._snaplen}
        snaplen = info.snaplen
        if self._snaplen < MAX_SNAPLEN:  # packets are truncated
            snaplen = min(snaplen or self._snaplen, self._snaplen)
        return {
            "snaplen": snaplen, "comment": info.comment, "filter": info.filter, "hardware": info.hardware,
            "os": info.os}

    cdef int _describe(self, object link, dict texts) except -1:
        """Write the block of an interface; return its number."""
        cdef bytes block
        number = len(self._kinds)
        if number == MAX_INTERFACES:
            raise ValueError(f"a file has up to {MAX_INTERFACES} interfaces")
        kind = self._link_type if link is None else link.type
        block = _interface(link, kind, texts)
        self._put(<const char*> block, len(block))
        self._numbers[link] = number
        self._kinds.append(kind)
        self._links = None  # the numbers in _map are out of date
        self._learn((), None)
        return number

    cdef int _learn(self, object links, object infos) except -1:
        """Look up the interface numbers and link types of a batch's links; its rows have indices of these."""
        cdef Py_ssize_t count = len(links), i
        cdef Block numbers, types
        self._infos = infos
        if links is self._links:
            return 0
        numbers = new_block((count + 1) * sizeof(int32_t))
        types = new_block((count + 1) * sizeof(uint32_t))
        for i in range(count):
            (<int32_t*> numbers.ptr)[i] = self._numbers.get(links[i], UNDESCRIBED)
            (<uint32_t*> types.ptr)[i] = links[i].type
        (<int32_t*> numbers.ptr)[count] = self._numbers.get(None, UNDESCRIBED)
        (<uint32_t*> types.ptr)[count] = self._link_type
        self._map, self._types, self._known, self._links = numbers, types, count, links
        return 0

    cdef int _choose(self, object interface) except -1:
        """Make all rows that are written next belong to the interface with this number."""
        number = as_index(interface)
        if number == 0 and not self._kinds:
            self._describe(None, self._texts_of(None))
        if not 0 <= number < len(self._kinds):
            raise ValueError(f"interface {number}, where the file has {len(self._kinds)}")
        if self._links is not None or (<int32_t*> self._map.ptr)[0] != <int32_t> number:
            self._map, self._types = new_block(sizeof(int32_t)), new_block(sizeof(uint32_t))
            (<int32_t*> self._map.ptr)[0] = number
            (<uint32_t*> self._types.ptr)[0] = self._kinds[number]
            self._known, self._links = 0, None
        return 0

    cdef int _prepare(self, const Record* row) except -1:
        """Describe the row's interface if it has no block yet; return True if that was so."""
        cdef object links = self._links, infos = self._infos
        if not self._is_new(row):
            return False
        self._describe(self._link_of(row), self._texts_of(self._info_of(row)))
        self._learn(links, infos)
        return True

    cdef Py_ssize_t _size_before(self, const Record* row) except -1:
        link = self._link_of(row)
        kind = self._link_type if link is None else link.type
        return len(_interface(link, kind, self._texts_of(self._info_of(row))))

    cdef bint _is_new(self, const Record* row) noexcept nogil:
        """Return True if the row's interface has no block yet."""
        return (<int32_t*> self._map.ptr)[min(<Py_ssize_t> row.interface, self._known)] == UNDESCRIBED

    cdef object _link_of(self, const Record* row):
        """Return the row's Link, or None."""
        return self._links[row.interface] if row.interface < self._known else None

    cdef object _info_of(self, const Record* row):
        """Return the InterfaceInfo of the row, or None."""
        if self._infos is None or row.interface >= self._known:
            return None
        return self._infos[row.interface]

    # Packets.

    cdef int _check(self, Batch batch) except -1:
        cdef const Record* rows = batch._rows
        cdef Py_ssize_t index = 0, count = batch._count
        with nogil:
            while index < count and rows[index].timestamp >= 0:
                index += 1
        if index < count:
            raise ValueError(_bad_time(f"packet {index}", rows[index].timestamp))
        self._learn(batch._links, batch._interfaces)
        if self._known + len(self._kinds) > MAX_INTERFACES:
            self._check_room(batch)
        return 0

    cdef int _check_room(self, Batch batch) except -1:
        """Raise ValueError if the file would have more interfaces than the format allows."""
        cdef int32_t* numbers = <int32_t*> self._map.ptr
        places = {min(place, self._known) for place in set(batch.records["interface"].tolist())}
        more = sum([numbers[<Py_ssize_t> place] == UNDESCRIBED for place in places])
        if len(self._kinds) + more > MAX_INTERFACES:
            raise ValueError(f"a file has up to {MAX_INTERFACES} interfaces")
        return 0

    cdef int _take_options(self, object options, Py_ssize_t count) except -1:
        cdef Text* texts
        cdef bytes text
        self._texts = self._encoded = None
        if not options:
            return 0
        by_row, encoded, block = {}, [], new_block(count * sizeof(Text))
        for row, code, value in options:
            text = _comments(value, "a comment") if code == OPTION_COMMENT else _option(code, value)
            by_row.setdefault(row, []).append(text)
        texts = <Text*> (<Block> block).ptr
        for row, parts in by_row.items():
            text = b"".join(parts)
            if len(text) > MAX_COMMENTS:
                raise ValueError(f"packet {row} has {len(text)} bytes of comments, of at most {MAX_COMMENTS}")
            encoded.append(text)
            texts[<Py_ssize_t> row].at, texts[<Py_ssize_t> row].size = text, len(text)
        self._encoded, self._texts = encoded, block
        return 0

    cdef Py_ssize_t _size_of(
            self, const Record* rows, Py_ssize_t index, const uint8_t* data, uint64_t size) noexcept nogil:
        cdef Py_ssize_t place = min(<Py_ssize_t> rows[index].interface, self._known)
        cdef uint32_t kind = (<const uint32_t*> self._types.ptr)[place]
        cdef const Text* text = &NO_TEXT
        cdef Frame frame
        if self._texts is not None:
            text = <const Text*> self._texts.ptr + index
        frame_of(&rows[index], data, size, self._snaplen, kind == LINKTYPE_ETHERNET, &frame)
        return _block_length(&frame, _flags(rows[index].pkt_type, kind, &frame), text)

    cdef Py_ssize_t _pack(
            self, const Record* rows, Py_ssize_t index, Py_ssize_t count, const uint8_t* data, uint64_t size,
            uint8_t* out, Py_ssize_t* at, Py_ssize_t room) noexcept nogil:
        cdef Py_ssize_t position = at[0], place, last = self._known
        cdef const int32_t* numbers = <const int32_t*> self._map.ptr
        cdef const uint32_t* types = <const uint32_t*> self._types.ptr
        cdef const Text* texts = <const Text*> self._texts.ptr if self._texts is not None else NULL
        cdef const Text* text
        cdef uint32_t snaplen = self._snaplen, flags
        cdef uint64_t length
        cdef Frame frame
        while index < count:
            place = min(<Py_ssize_t> rows[index].interface, last)
            if numbers[place] == UNDESCRIBED:
                break
            frame_of(&rows[index], data, size, snaplen, types[place] == LINKTYPE_ETHERNET, &frame)
            flags = _flags(rows[index].pkt_type, types[place], &frame)
            text = &texts[index] if texts is not NULL else &NO_TEXT
            length = _block_length(&frame, flags, text)
            if <uint64_t> (room - position) < length or length > UINT32_MAX:
                break
            _put_packet(
                out + position, <uint32_t> length, numbers[place], rows[index].timestamp, &frame, flags, text)
            position += length
            index += 1
        at[0] = position
        return index

    # Statistics.

    cdef int _put_statistics(
            self, uint32_t interface, object start, object end, object at, dict counters) except -1:
        cdef PcapngStatistics h
        cdef bytes options, block
        cdef uint64_t now = _unsigned(time.time_ns() if at is None else at, "at")
        h.type, h.interface_id = PCAPNG_STATISTICS, interface
        h.time_high, h.time_low = <uint32_t> (now >> 32), <uint32_t> now
        options = b"".join(
            [_time_option(STATISTICS_START, start, "start"), _time_option(STATISTICS_END, end, "end")]
            + [_counter_option(code, value) for code, value in counters.items()])
        options = _ended(options)
        h.length = <uint32_t> (sizeof(h) + len(options) + LENGTH_SIZE)
        block = _closed((<const char*> &h)[:sizeof(h)] + options, h.length)
        return self._put(<const char*> block, len(block))


cdef inline uint32_t _flags(uint8_t pkt_type, uint32_t link_type, const Frame* frame) noexcept nogil:
    """Return epb_flags of a packet; 0 if its type is not known or equals that in its link-layer header."""
    cdef uint32_t told = PKT_TYPES
    if pkt_type >= PKT_TYPES:
        return 0
    if link_type == LINKTYPE_LINUX_SLL and sll.check(frame.payload, frame.cap_len):
        told = sll.pkt_type(frame.payload)
    elif link_type == LINKTYPE_LINUX_SLL2 and sll2.check(frame.payload, frame.cap_len):
        told = sll2.pkt_type(frame.payload)
    return 0 if told == pkt_type else FLAGS[pkt_type]


cdef inline uint64_t _block_length(const Frame* frame, uint32_t flags, const Text* text) noexcept nogil:
    cdef uint64_t options = 0
    if flags or text.at is not NULL:
        options = sizeof(PcapngOption)
        if flags:
            options += FLAGS_SIZE
        if text.at is not NULL:
            options += text.size
    return sizeof(PcapngPacket) + padded(frame.cap_len) + options + LENGTH_SIZE


cdef inline void _put_packet(
        uint8_t* out, uint32_t length, uint32_t interface, uint64_t timestamp, const Frame* frame,
        uint32_t flags, const Text* text) noexcept nogil:
    """Write an enhanced packet block (section 4.3) of `length` bytes to `out`."""
    cdef PcapngPacket* h = <PcapngPacket*> out  # aligned: all blocks are multiples of 4, also in the buffer
    cdef uint8_t* end = out + length - LENGTH_SIZE
    h.type, h.length, h.interface_id = PCAPNG_PACKET, length, interface
    h.time_high, h.time_low = <uint32_t> (timestamp >> 32), <uint32_t> timestamp
    h.caplen, h.len = frame.cap_len, frame.total_len
    memcpy(end, &length, LENGTH_SIZE)
    out += sizeof(PcapngPacket)
    if frame.cap_len:
        memset(out + padded(frame.cap_len) - PADDING, 0, PADDING)  # the packet may overwrite most of it
    put_frame(out, frame)
    out += padded(frame.cap_len)
    if out == end:
        return
    if flags:
        out = _put_option(out, PACKET_FLAGS, &flags, sizeof(flags))
    if text.at is not NULL:
        memcpy(out, text.at, text.size)
        out += text.size
    _put_option(out, OPTION_END, NULL, 0)


cdef inline uint8_t* _put_option(
        uint8_t* out, uint16_t code, const void* value, uint32_t size) noexcept nogil:
    """Write an option (section 3.5) to `out`; return the address after it."""
    cdef PcapngOption h
    h.code, h.length = code, <uint16_t> size
    memcpy(out, &h, sizeof(h))
    out += sizeof(h)
    if size:
        memcpy(out, value, size)
        memset(out + size, 0, padded(size) - size)
    return out + padded(size)


cdef str _bad_time(str what, int64_t timestamp):
    return f"{what} has the time {timestamp} ns, and a pcapng file has none before 1970"


cdef bytes _section(object comment, object hardware, object os, object application):
    """Return a section header block (section 4.1), with the section's length given as unknown."""
    cdef PcapngSection h
    cdef bytes options = _ended(b"".join([
        _comments(_encoded(comment, "comment"), "comment") if comment else b"",
        _text_option(SECTION_HARDWARE, hardware, "hardware"),
        _text_option(SECTION_OS, os, "os"),
        _text_option(SECTION_APPLICATION, _this() if application is None else application, "application")]))
    h.type, h.order = PCAPNG_SECTION, PCAPNG_ORDER
    h.version_major, h.version_minor = 1, 0
    h.section_length[0] = h.section_length[1] = 0xffffffff
    h.length = <uint32_t> (sizeof(h) + len(options) + LENGTH_SIZE)
    return _closed((<const char*> &h)[:sizeof(h)] + options, h.length)


cdef bytes _interface(object link, object link_type, dict texts):
    """Return an interface description block (section 4.2), with fields of InterfaceInfo in `texts`."""
    cdef PcapngInterface h
    cdef bytes options
    cdef object snaplen = texts["snaplen"]
    name = link.name if link is not None and link.named else None
    description = None if link is None else link.description
    if not 0 <= link_type <= MAX_LINK_TYPE:
        raise ValueError(f"{name!r} has link type {link_type}, and a file has them from 0 to {MAX_LINK_TYPE}")
    if not 0 <= snaplen <= UINT32_MAX:
        raise ValueError(f"snaplen is a number of bytes from 0 to {UINT32_MAX}, not {snaplen}")
    comment, filter = texts.get("comment"), texts.get("filter")
    options = _ended(b"".join([
        _comments(_encoded(comment, "comment"), "comment") if comment else b"",
        _text_option(INTERFACE_NAME, name, "name"),
        _text_option(INTERFACE_DESCRIPTION, description, "description"),
        _option(INTERFACE_TIME_RESOLUTION, bytes([NANOSECONDS])),
        # Preceded by a type byte: 0 is an expression.
        b"" if not filter else _text_option(INTERFACE_FILTER, "\0" + filter, "filter"),
        _text_option(INTERFACE_OS, texts.get("os"), "os"),
        _text_option(INTERFACE_HARDWARE, texts.get("hardware"), "hardware")]))
    h.type, h.linktype, h.reserved, h.snaplen = PCAPNG_INTERFACE, link_type, 0, snaplen
    h.length = <uint32_t> (sizeof(h) + len(options) + LENGTH_SIZE)
    return _closed((<const char*> &h)[:sizeof(h)] + options, h.length)


cdef bytes _closed(bytes block, uint32_t length):
    """Return a block with its length appended."""
    return block + (<const char*> &length)[:LENGTH_SIZE]


cdef bytes _ended(bytes options):
    """Return options with an end-of-options mark appended; nothing if there are none."""
    return options + _option(OPTION_END, b"") if options else b""


cdef bytes _option(int code, bytes value):
    cdef PcapngOption h
    h.code, h.length = code, len(value)
    return (<const char*> &h)[:sizeof(h)] + value + bytes(padded(len(value)) - len(value))


cdef bytes _comments(bytes encoded, str what):
    """Return a comment as options: as several, split at the ends of lines, if it does not fit into one."""
    cdef list options = []
    cdef Py_ssize_t start = 0, end, size = len(encoded)
    if size > MAX_COMMENTS:
        raise ValueError(f"{what} of {size} bytes, where there can be {MAX_COMMENTS} in all")
    while size - start > OPTION_MOST:
        end = encoded.rfind(b"\n", start, start + OPTION_MOST + 1)
        if end < 0:
            _checked(encoded[start:].partition(b"\n")[0], what)  # raises ValueError: the line is too long
        options.append(_option(OPTION_COMMENT, encoded[start:end]))
        start = end + 1
    options.append(_option(OPTION_COMMENT, encoded[start:]))
    return b"".join(options)


cdef bytes _text_option(int code, object text, str what):
    return _option(code, _checked(_encoded(text, what), what)) if text else b""


cdef bytes _counter_option(int code, object value):
    return b"" if value is None else _option(code, _eight_bytes(_unsigned(value, "a counter")))


cdef bytes _time_option(int code, object value, str what):
    """Return an option with a time, the upper half first."""
    cdef uint64_t number
    cdef uint32_t[2] halves
    if value is None:
        return b""
    number = _unsigned(value, what)
    halves[0], halves[1] = <uint32_t> (number >> 32), <uint32_t> number
    return _option(code, (<const char*> halves)[:sizeof(halves)])


cdef bytes _eight_bytes(uint64_t value):
    return (<const char*> &value)[:sizeof(value)]


cdef object _unsigned(object value, str what):
    number = as_index(value)
    if not 0 <= number <= 0xffffffffffffffff:
        raise ValueError(f"{what} of {number}: there are 64 bits for it, and no sign")
    return number


cdef bytes _encoded(object text, str what):
    if not isinstance(text, str):
        raise TypeError(f"{what} is a text, not {type(text).__name__}")
    return text.encode("utf-8", "surrogateescape")


cdef bytes _checked(bytes value, str what):
    if len(value) > OPTION_MOST:
        raise ValueError(f"{what} of {len(value)} bytes, where there can be {OPTION_MOST}")
    return value


cdef str _this():
    """Return the name of this package, with its version if it is installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"slimcap {version('slimcap')}"
    except PackageNotFoundError:
        return "slimcap"
