"""Writer of pcapng (draft-ietf-opsawg-pcapng) in native byte order.

    section header ─ interface ─ packet ─ packet ─ interface ─ packet ─ statistics

Packets are written without the GIL, all other blocks by Python code. Timestamps are in nanoseconds, except of
interfaces that come from a pcapng file: these keep their resolution and offset.
"""
cimport cython
from libc.stdint cimport INT64_MAX, UINT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.clock cimport NANO, NANOSECONDS, Clock, set_resolution, ticks_at
from slimcap.abi.pcap_format cimport (
    INTERFACE_FCS_LENGTH,
    INTERFACE_TIME_OFFSET,
    INTERFACE_TIME_RESOLUTION,
    LENGTH_SIZE,
    OPTION_END,
    PACKET_FLAGS,
    PCAPNG_INTERFACE,
    PCAPNG_OLD_PACKET,
    PCAPNG_PACKET,
    PCAPNG_SECTION,
    PCAPNG_SIMPLE,
    PCAPNG_STATISTICS,
    STATISTICS_FILTER_ACCEPTED,
    STATISTICS_INTERFACE_DROPS,
    STATISTICS_RECEIVED,
    STATISTICS_SYSTEM_DROPS,
    PcapngOption,
    PcapngPacket,
    PcapngStatistics,
    padded,
)
from slimcap.capfile.pcapng_blocks cimport interface_block, other_block, section_block, statistics_block
from slimcap.capfile.pcapng_decoder cimport MAX_BLOCK
from slimcap.capfile.pcapng_fields cimport INTERFACE_TEXTS, SECTION_TEXTS, TIMES, read_clock
from slimcap.capfile.pcapng_flags cimport flags_of
from slimcap.capfile.writer cimport MAX_LINK_TYPE, Frame, Writer, frame_of, put_frame
from slimcap.packet.annotations cimport Annotations, Instant, OptionRun, with_comments
from slimcap.packet.batch cimport Batch
from slimcap.packet.lease cimport Block, new_block
from slimcap.packet.options cimport Options, encode_options, next_option, put_option, with_texts
from slimcap.packet.packet cimport Packet
from slimcap.packet.record cimport FLAG_TIME_CLAMPED, FLAG_VLAN_STRIPPED, MAX_INTERFACES, Record
from slimcap.packet.view cimport View
from slimcap.wire.vlan cimport LEN as VLAN_LEN
from slimcap.wire.walk_link cimport LINKTYPE_ETHERNET
from slimcap.wire.walk_result cimport INFO_UNKNOWN_TYPE

import sys
import time

import numpy as np

from slimcap.capfile.write_options import ALL_BYTES, InterfaceOptions, PcapNgWriterOptions, StatisticsOptions
from slimcap.errors import in_range, integer, wrong_type
from slimcap.option_set import accepts, changed, parse
from slimcap.packet.interface import InterfaceInfo, OtherBlock, SectionInfo, Statistics
from slimcap.packet.link import Link

cdef enum:
    PADDING = 4
    FLAGS_SIZE = sizeof(PcapngOption) + sizeof(uint32_t)
    UNDESCRIBED = -1            # an interface that has no block in the file yet

cdef struct Place:
    # An interface in the file.
    Clock clock
    uint32_t link_type
    int32_t number              # or UNDESCRIBED; then the rest is what its block will tell

cdef struct Text:
    # A packet's options as in the file; `at` is NULL if there are none.
    const uint8_t* at
    uint64_t size
    bint flagged                # flags are among them

cdef bytes IN_NANOSECONDS = bytes([NANO])   # if_tsresol
cdef dict STATISTICS = {
    **TIMES, STATISTICS_RECEIVED: "received", STATISTICS_INTERFACE_DROPS: "interface_dropped",
    STATISTICS_FILTER_ACCEPTED: "filter_accepted", STATISTICS_SYSTEM_DROPS: "dropped"}
cdef set WRITTEN_HERE = {PCAPNG_INTERFACE, PCAPNG_OLD_PACKET, PCAPNG_PACKET, PCAPNG_SECTION, PCAPNG_SIMPLE,
                         PCAPNG_STATISTICS}


@cython.final
cdef class PcapNgWriter(Writer):
    """Writer of a pcapng file, with interfaces, comments and other options of packets.

    Interfaces are described automatically, from `batch.interfaces`, before their first packet. An interface
    is identified by its `Link`: equal links (name, index, type and description) are one interface of the
    file, even if they are of different batches; different links are different interfaces. Packets without a
    link belong to an interface without a name, of type `link_type`.

    Timestamps are in nanoseconds. An interface that was read from a pcapng file keeps all its options, among
    them the resolution and offset of its timestamps, unless a time needs a finer resolution. The packets keep
    their options, and blocks between the packets (`Batch.blocks`) are written in their place.

    For buffering, failed writes, threads, VLAN tags and closing see `PcapWriter`.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        As for `PcapWriter`.
    link_type : int, default 1
        LINKTYPE_ number of packets without a Link; 1 is Ethernet.
    **options
        Those of `PcapNgWriterOptions`.

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

    cdef dict _numbers          # numbers of the section's interfaces by Link; None: the one without a name
    cdef list _in_file          # Links of the section's interfaces by number,
    cdef Block _described       # and a Place for each of them
    cdef set _fine              # those whose times need nanoseconds
    cdef object _infos          # the interfaces of the last batch; None: only the links are known
    cdef object _links          # the links of the last batch; None if there are none, and
    cdef Block _places          # a Place for each, and one more for packets without a link
    cdef list _found            # indices of those that have a block in the section
    cdef Py_ssize_t _known      # number of these links
    cdef frozenset _over        # numbers of the batch's interfaces with packets beyond their snaplen
    cdef Annotations _annotations   # of the batch being written, or None

    def __init__(self, file, link_type=1, **options: Unpack[PcapNgWriterOptions]):
        options = parse(PcapNgWriterOptions, options)
        cdef bytes head = _section(options)
        self._check_new()
        self._numbers, self._in_file, self._described, self._fine = {}, [], new_block(0), set()
        self._over = frozenset()
        self._learn((), None)
        self._open(file, link_type, options)
        self._begin(<const char*> head, len(head))

    @property
    def interfaces(self):
        """Interfaces of the section so far, by number: a tuple of Link; None is the one without a name."""
        return tuple(self._in_file or ())

    @accepts(InterfaceOptions)
    def add_interface(self, interface, **options: Unpack[InterfaceOptions]):
        """Describe an interface, so that packets and statistics can refer to it.

        Parameters
        ----------
        interface : Link or InterfaceInfo
            Name, description and link type of the interface. Of an InterfaceInfo also what the parameters
            below default to.
        **options
            Those of `InterfaceOptions`.

        Returns
        -------
        int
            Number of the interface, for `write_packet` and `write_statistics`. If the file has the interface
            already, the number of that.

        Raises
        ------
        ValueError
            The file has the interface, and other arguments than `interface` were given; the file has 262,144
            interfaces; a value is out of range or a text too long; or the writer is closed.
        OSError, RuntimeError
            As for `write_packet`.
        """
        given = changed(InterfaceOptions, parse(InterfaceOptions, options))
        info = interface if isinstance(interface, InterfaceInfo) else None
        link = interface if info is None else info.link
        if not isinstance(link, Link):
            raise wrong_type("interface", "a Link or an InterfaceInfo", interface)
        self._enter()
        try:
            if link not in self._numbers:
                self._describe(link, info, given)
                self._links = None  # what _places has may be out of date
                self._learn((), None)
            elif given:
                raise ValueError(f"{link.name!r} is described already: interface {self._numbers[link]}")
            return self._numbers[link]
        finally:
            self._busy = False

    def write_batch(self, Batch batch not None):
        """Write all packets of a batch, with their options, and the blocks between them.

        A block that begins another section ends this one: interfaces are numbered from 0 again.

        Parameters
        ----------
        batch : Batch
            The packets. They are not used after the call.

        Raises
        ------
        ValueError
            A timestamp is before 1970, and its interface was not read from a file that has such; the options
            of a packet are longer than 128 MiB; the file would have too many interfaces; the batch was
            released; or the writer is closed. Nothing of the batch was written.
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
        cdef Record row
        self._enter()
        try:
            own_comment = packet.read(&row)
            if row.timestamp < 0 and not self._in_file:
                raise ValueError(_bad_time("the packet", row.timestamp))
            self._choose(interface)
            if self._first_bad_time(&row, 1) == 0:
                raise ValueError(_bad_time("the packet", row.timestamp))
            if comment is None:
                comment = own_comment
            elif not isinstance(comment, str):
                raise wrong_type("comment", "a str", comment)
            self._annotate(None if comment is None else with_comments(None, {0: comment}, 1))
            self._write_rows(&row, 0, 1, packet._ptr, row.cap_len)
        finally:
            self._annotate(None)
            self._busy = False

    @accepts(StatisticsOptions)
    def write_statistics(self, interface=0, **options: Unpack[StatisticsOptions]):
        """Write the packet counters of an interface (section 4.6), as of the time `at`.

        Times are rounded down to the resolution of the interface.

        Parameters
        ----------
        interface : int, default 0
            Number of the interface, as returned by `add_interface`: its index in `interfaces`.
        **options
            Those of `StatisticsOptions`.

        Raises
        ------
        ValueError
            The interface does not exist, a number is not an unsigned 64-bit number, or the writer is closed.
        OSError, RuntimeError
            As for `write_packet`.
        """
        given = changed(StatisticsOptions, parse(StatisticsOptions, options))
        self._enter()
        try:
            self._choose(interface)
            at = given.pop("at", given.get("end"))
            self._put_statistics((<Place*> self._places.ptr)[0], time.time_ns() if at is None else at, [
                (code, given[name] if name in TIMES.values() else _eight_bytes(given[name]))
                for code, name in STATISTICS.items() if name in given])
        finally:
            self._busy = False

    cdef int _put_statistics(self, Place place, object at, object options) except -1:
        """Write statistics, whose times are in nanoseconds: ints."""
        cdef bytes block = statistics_block(
            place.number, _tick_of(&place.clock, at),
            tuple([
                (code, value if isinstance(value, bytes) else _halves(_tick_of(&place.clock, value)))
                for code, value in options]))
        return self._put(<const char*> block, len(block))

    # Interfaces.

    cdef tuple _options_of(self, object link, object info, dict given):
        """Return the options of an interface's block."""
        cdef tuple options = None if info is None or link in self._fine else info.options
        cdef Clock clock
        if options is None or not _keeps_clock(info, options, &clock):
            options = () if info is None or info.options is None else info.options
            options = tuple([
                option for option in options
                if option[0] != INTERFACE_TIME_RESOLUTION and option[0] != INTERFACE_TIME_OFFSET])
            options += ((INTERFACE_TIME_RESOLUTION, IN_NANOSECONDS),)
        if self._fcs_len is not None and (info is None or info.options is None):
            options += ((INTERFACE_FCS_LENGTH, bytes([self._fcs_len])),)
        texts = {"comment": None if info is None else info.comment, "name": None, "description": None}
        if link is not None:
            texts.update(name=link.name if link.named else None, description=link.description)
        for name in ("filter", "os", "hardware"):
            texts[name] = None if info is None else getattr(info, name)
        return with_texts(options, INTERFACE_TEXTS, {**texts, **given})

    cdef object _snaplen_of(self, object info, object given):
        """Return the snaplen that an interface's block tells."""
        snaplen = given
        if snaplen is None:
            snaplen = self._snaplen if info is None else info.snaplen
            if info is not None and self._snaplen < ALL_BYTES:  # packets are truncated
                snaplen = min(snaplen or self._snaplen, self._snaplen)
        return in_range("snaplen", snaplen, 0, UINT32_MAX)

    cdef bytes _block_of(self, object link, object info, dict given):
        """Return the block that describes an interface."""
        snaplen = self._snaplen_of(info, given.pop("snaplen", None))
        kind = self._link_type if link is None else link.type
        if not 0 <= kind <= MAX_LINK_TYPE:
            raise ValueError(
                f"{link.name!r} has link type {kind}, and a file has them from 0 to {MAX_LINK_TYPE}")
        return interface_block(kind, snaplen, self._options_of(link, info, given))

    cdef int _describe(self, object link, object info, dict given) except -1:
        """Write the block of an interface that has none; `given` are texts that replace those of `info`."""
        cdef Py_ssize_t number = len(self._in_file)
        cdef Place place
        if number == MAX_INTERFACES:
            raise ValueError(f"a section has up to {MAX_INTERFACES:,} interfaces")
        block = self._block_of(link, info, given)
        place = self._place_of(link, info)
        place.number = number
        self._put(<const char*> block, len(block))
        self._described.resize((number + 1) * sizeof(Place))
        (<Place*> self._described.ptr)[number] = place
        self._numbers[link] = number
        self._in_file.append(link)
        return 0

    cdef Place _place_of(self, object link, object info):
        """Return the place of an interface, which may have no block yet."""
        cdef Place place
        cdef object number = self._numbers.get(link)
        if number is not None:
            return (<Place*> self._described.ptr)[<Py_ssize_t> number]
        place.number, place.link_type = UNDESCRIBED, self._link_type if link is None else link.type
        if (info is None or info.options is None or link in self._fine
                or not _keeps_clock(info, info.options, &place.clock)):
            set_resolution(&place.clock, NANO)
            place.clock.seconds = 0
        return place

    cdef int _learn(self, object links, object infos) except -1:
        """Look up the places of a batch's links; its rows have indices of these."""
        cdef Py_ssize_t count = len(links), i
        cdef Block places
        self._infos = infos
        if links is self._links:
            return 0
        places = new_block((count + 1) * sizeof(Place))
        for i in range(count):
            (<Place*> places.ptr)[i] = self._place_of(links[i], None if infos is None else infos[i])
        (<Place*> places.ptr)[count] = self._place_of(None, None)
        self._places, self._known, self._links = places, count, links
        self._found = [i for i in range(count + 1) if (<Place*> places.ptr)[i].number != UNDESCRIBED]
        return 0

    cdef int _forget(self) except -1:
        """Begin a section, which has no interfaces yet."""
        cdef Py_ssize_t index
        self._numbers, self._in_file, self._described = {}, [], new_block(0)
        for index in self._found:
            (<Place*> self._places.ptr)[index] = self._place_of(self._link_at(index), self._info_at(index))
        self._found = []
        return 0

    cdef int _choose(self, object interface) except -1:
        """Make all rows that are written next belong to the interface with this number."""
        number = integer("interface", interface)
        if number == 0 and not self._in_file:
            self._describe(None, None, {})
            self._links = ()  # what _places has is out of date
        if not 0 <= number < len(self._in_file):
            raise ValueError(f"interface {number}, where the file has {len(self._in_file)}")
        if self._links is not None or (<Place*> self._places.ptr).number != <int32_t> number:
            self._places = new_block(sizeof(Place))
            (<Place*> self._places.ptr)[0] = (<Place*> self._described.ptr)[<Py_ssize_t> number]
            self._known, self._links = 0, None
        return 0

    cdef int _prepare(self, const Record* row) except -1:
        """Describe the row's interface if it has no block, or a clock too coarse; return True if that was so.
        """
        cdef Place* place = self._place(row)
        cdef uint64_t ticks
        if row.flags & FLAG_TIME_CLAMPED or ticks_at(&place.clock, row.timestamp, &ticks):
            if place.number != UNDESCRIBED:
                return False
        elif row.timestamp < 0 or self._links is None:
            raise ValueError(_bad_time("a packet", row.timestamp))
        else:
            link = self._link_at(row.interface)
            self._fine.add(link)
            self._numbers.pop(link, None)
        self._find(min(<Py_ssize_t> row.interface, self._known))
        return True

    cdef int _find(self, Py_ssize_t index) except -1:
        """Find the place of a batch's interface in the file; describe it if it has none."""
        link = self._link_at(index)
        if link not in self._numbers:
            self._describe(link, self._info_at(index), {})
        (<Place*> self._places.ptr)[index] = self._place_of(link, None)
        self._found.append(index)
        return 0

    cdef Py_ssize_t _size_before(self, const Record* row) except -1:
        return len(self._block_of(self._link_at(row.interface), self._info_at(row.interface), {}))

    cdef bint _is_new(self, const Record* row) noexcept nogil:
        """Return True if the row's interface has no block yet."""
        return self._place(row).number == UNDESCRIBED

    cdef Place* _place(self, const Record* row) noexcept nogil:
        return <Place*> self._places.ptr + min(<Py_ssize_t> row.interface, self._known)

    cdef object _link_at(self, Py_ssize_t index):
        """Return a Link of the batch, or None."""
        return self._links[index] if index < self._known else None

    cdef bint _knows_all(self) noexcept:
        """Return True if all links of the batch have a block in the section."""
        cdef const Place* without_link = <const Place*> self._places.ptr + self._known
        return len(self._found) - (without_link.number != UNDESCRIBED) == self._known

    cdef object _info_at(self, Py_ssize_t index):
        """Return an InterfaceInfo of the batch, or None."""
        if self._infos is None or index >= self._known:
            return None
        info = self._infos[index]
        return info._replace(snaplen=0) if index in self._over else info

    # Blocks between packets.

    cdef int _write_all(self, Batch batch, View view) except -1:
        cdef Py_ssize_t start = 0, stop
        if batch._annotations is not None:
            for row, block in batch._annotations.blocks:
                stop = min(max(<Py_ssize_t> row, start), batch._count)
                self._write_rows(batch._rows, start, stop, view._ptr, view._len)
                start = stop
                self._put_block(block)
        return self._write_rows(batch._rows, start, batch._count, view._ptr, view._len)

    cdef int _check_block(self, object block) except -1:
        """Raise if a block cannot be written."""
        if isinstance(block, OtherBlock):
            _check_other(block)
        elif not isinstance(block, SectionInfo):
            number = block.interface if isinstance(block, Statistics) else block
            if not 0 <= number < self._known:
                raise ValueError(f"a block of interface {number}, where the batch has {self._known}")
        return 0

    cdef int _put_block(self, object block) except -1:
        """Write a block that is not a packet."""
        cdef bytes encoded
        if isinstance(block, OtherBlock):
            encoded = other_block(block.type, block.body)
        elif isinstance(block, SectionInfo):
            encoded = section_block(block.options or ())
            self._forget()
        elif isinstance(block, Statistics):
            self._find(block.interface)
            return self._put_statistics(
                (<Place*> self._places.ptr)[<Py_ssize_t> block.interface], block.at, block.options)
        else:
            return self._find(block)
        return self._put(<const char*> encoded, len(encoded))

    cdef Py_ssize_t _limit(self, Batch batch, int64_t* room) except -1:
        cdef Py_ssize_t limit = batch._count
        if batch._annotations is not None:
            for row, block in batch._annotations.blocks:
                if row > 0:
                    limit = min(limit, <Py_ssize_t> row)
                    break
                room[0] -= self._size_of_block(block)
        return limit

    cdef Py_ssize_t _size_of_block(self, object block) except -1:
        if isinstance(block, OtherBlock):
            return len(other_block(block.type, block.body))
        if isinstance(block, SectionInfo):
            return len(section_block(block.options or ()))
        if isinstance(block, Statistics):
            return sizeof(PcapngStatistics) + LENGTH_SIZE + len(encode_options(
                [(code, value if isinstance(value, bytes) else bytes(8)) for code, value in block.options]))
        if (<Place*> self._places.ptr)[<Py_ssize_t> block].number != UNDESCRIBED:
            return 0
        return len(self._block_of(self._link_at(block), self._info_at(block), {}))

    # Packets.

    cdef int _check(self, Batch batch) except -1:
        cdef Py_ssize_t bad
        self._learn(batch.links, batch._interfaces)
        bad = self._first_bad_time(batch._rows, batch._count)
        if bad < batch._count:
            raise ValueError(_bad_time(f"packet {self._packets + bad}", batch._rows[bad].timestamp))
        self._over = frozenset() if self._knows_all() else beyond_snaplen(batch)
        if self._known + len(self._in_file) > MAX_INTERFACES:
            self._check_room(batch)
        if batch._annotations is not None:
            for _, block in batch._annotations.blocks:
                self._check_block(block)
        return 0

    cdef Py_ssize_t _first_bad_time(self, const Record* rows, Py_ssize_t count) noexcept:
        """Return the first packet from before 1970 whose interface has no such times; `count` if none is."""
        cdef Py_ssize_t index = 0
        cdef uint64_t ticks
        with nogil:
            while index < count and (
                    rows[index].timestamp >= 0
                    or rows[index].flags & FLAG_TIME_CLAMPED
                    or ticks_at(&self._place(&rows[index]).clock, rows[index].timestamp, &ticks)):
                index += 1
        return index

    cdef int _check_room(self, Batch batch) except -1:
        """Raise ValueError if the file would have more interfaces than the format allows."""
        cdef Place* places = <Place*> self._places.ptr
        used = {min(place, self._known) for place in set(batch.records["interface"].tolist())}
        more = sum([places[<Py_ssize_t> place].number == UNDESCRIBED for place in used])
        if len(self._in_file) + more > MAX_INTERFACES:
            raise ValueError(f"a section has up to {MAX_INTERFACES:,} interfaces")
        return 0

    cdef int _annotate(self, Annotations annotations) except -1:
        cdef const OptionRun* run
        self._annotations = annotations
        if annotations is not None:
            run = annotations.longer_than(MAX_BLOCK)
            if run is not NULL:
                number = self._packets + run.row
                raise ValueError(f"packet {number} has options of {run.size} bytes, of at most {MAX_BLOCK}")
        return 0

    cdef Text _text_of(self, const OptionRun* run, uint32_t flags) noexcept nogil:
        """Return the options of a packet with these flags; `run` may be NULL."""
        cdef Text text
        cdef Instant instant
        cdef Options options
        cdef PcapngOption option
        cdef const uint8_t* value
        text.at, text.size, text.flagged = NULL, 0, False
        if run is not NULL:
            options = self._annotations.options_of(run)
            if flags & FLAG_TIME_CLAMPED and self._annotations.instant_of(run, &instant):
                options.left -= sizeof(PcapngOption) + sizeof(instant)
            if options.left:
                text.at, text.size = options.at, options.left
            while not text.flagged and next_option(&options, &option, &value):
                text.flagged = option.code == PACKET_FLAGS
        return text

    cdef uint64_t _clamped_tick(
            self, const Clock* clock, const Record* row, const OptionRun* run) noexcept nogil:
        """Return the tick to write for a time that was clamped; `run` may be NULL.

        It is the time of the file if the clock is as there, otherwise the nearest of `timestamp`.
        """
        cdef Instant instant
        cdef uint64_t ticks
        if run is not NULL and self._annotations.instant_of(run, &instant) and (
                instant.clock.multiply == clock.multiply and instant.clock.divide == clock.divide
                and instant.clock.shift == clock.shift and instant.clock.seconds == clock.seconds):
            return instant.ticks
        ticks_at(clock, row.timestamp, &ticks)
        return ticks

    cdef Py_ssize_t _size_of(
            self, const Record* rows, Py_ssize_t index, const uint8_t* data, uint64_t size) noexcept nogil:
        cdef uint32_t kind = self._place(&rows[index]).link_type
        cdef const OptionRun* run = NULL
        cdef Text text
        cdef Frame frame
        if self._annotations is not None:
            run = self._annotations.run_of(index)
        text = self._text_of(run, rows[index].flags)
        frame_of(&rows[index], data, size, self._snaplen, kind == LINKTYPE_ETHERNET, &frame)
        return _block_length(&frame, _flags(rows[index].pkt_type, kind, &frame, &text), &text)

    cdef Py_ssize_t _pack(
            self, const Record* rows, Py_ssize_t index, Py_ssize_t count, const uint8_t* data, uint64_t size,
            uint8_t* out, Py_ssize_t* at, Py_ssize_t room) noexcept nogil:
        cdef Py_ssize_t position = at[0], last = self._known, first
        cdef const Place* places = <const Place*> self._places.ptr
        cdef const Place* place
        cdef const Record* row
        cdef const OptionRun* run = NULL
        cdef const OptionRun* end = NULL
        cdef Text text, nothing
        cdef uint32_t snaplen = self._snaplen, flags
        cdef uint64_t length, ticks
        cdef Frame frame
        text = nothing = self._text_of(NULL, 0)
        if self._annotations is not None:
            run = <const OptionRun*> self._annotations._runs.ptr
            end = run + self._annotations._count
            run += self._annotations.find(index)
        while index < count:
            row = &rows[index]
            if run == end and _is_plain(row):
                first = index
                index = self._pack_plain(rows, index, count, data, size, out, &position, room)
                if index == first:
                    break
                continue
            place = &places[min(<Py_ssize_t> row.interface, last)]
            if place.number == UNDESCRIBED:
                break
            if row.flags & FLAG_TIME_CLAMPED:
                ticks = self._clamped_tick(
                    &place.clock, row, run if run != end and run.row == index else NULL)
            elif not ticks_at(&place.clock, row.timestamp, &ticks):
                break
            frame_of(row, data, size, snaplen, place.link_type == LINKTYPE_ETHERNET, &frame)
            if run != end:
                text = self._text_of(run, row.flags) if run.row == index else nothing
            flags = _flags(row.pkt_type, place.link_type, &frame, &text)
            length = _block_length(&frame, flags, &text)
            if <uint64_t> (room - position) < length or length > UINT32_MAX:
                break
            _put_packet(out + position, <uint32_t> length, place.number, ticks, &frame, flags, &text)
            if run != end and run.row == index:
                run += 1
                text = nothing
            position += length
            index += 1
        at[0] = position
        return index

    cdef Py_ssize_t _pack_plain(
            self, const Record* rows, Py_ssize_t index, Py_ssize_t count, const uint8_t* data, uint64_t size,
            uint8_t* out, Py_ssize_t* at, Py_ssize_t room) noexcept nogil:
        """Write packets as `_pack` does, until one is not plain: most files have no others."""
        cdef Py_ssize_t position = at[0], last = self._known
        cdef const Place* places = <const Place*> self._places.ptr
        cdef const Place* place
        cdef uint32_t snaplen = self._snaplen
        cdef uint64_t length, ticks
        cdef Frame frame
        while index < count and _is_plain(&rows[index]):
            place = &places[min(<Py_ssize_t> rows[index].interface, last)]
            if place.number == UNDESCRIBED or not ticks_at(&place.clock, rows[index].timestamp, &ticks):
                break
            frame_of(&rows[index], data, size, snaplen, False, &frame)
            length = _block_length(&frame, 0, NULL)
            if <uint64_t> (room - position) < length or length > UINT32_MAX:
                break
            _put_packet(out + position, <uint32_t> length, place.number, ticks, &frame, 0, NULL)
            position += length
            index += 1
        at[0] = position
        return index


def latest_time(Batch batch not None):
    """Return the latest timestamp of a batch that was not clamped; 0 if there is none."""
    cdef View _view = batch._open()  # so that the batch is not released meanwhile
    cdef const Record* rows = batch._rows
    cdef Py_ssize_t index, count = batch._count
    cdef int64_t latest = 0
    with nogil:
        for index in range(count):
            if rows[index].timestamp > latest and rows[index].timestamp != INT64_MAX:
                latest = rows[index].timestamp
    return latest


def beyond_snaplen(Batch batch not None):
    """Return the numbers of the interfaces with packets beyond their snaplen, a frozenset.

    libpcap does not read such packets from pcapng, so they need another snaplen. Interfaces that come from a
    pcapng file are left out: they are kept as they are.
    """
    cdef const Record* rows = batch._rows
    cdef Py_ssize_t index, count = batch._count, known = len(batch.interfaces)
    limits = np.array(
        [info.snaplen if info.snaplen and info.options is None else UINT32_MAX for info in batch.interfaces],
        np.uint32)
    beyond = np.zeros(known, np.uint8)
    cdef const uint32_t[::1] limit = limits
    cdef uint8_t[::1] out = beyond
    with nogil:
        for index in range(count):
            if rows[index].interface < known:
                out[rows[index].interface] |= _written_len(&rows[index]) > limit[rows[index].interface]
    return frozenset(np.flatnonzero(beyond).tolist())


cdef inline uint64_t _written_len(const Record* row) noexcept nogil:
    """Return the number of bytes of a packet in a file, with a VLAN tag that is reinserted."""
    return <uint64_t> row.cap_len + (VLAN_LEN if row.flags & FLAG_VLAN_STRIPPED else 0)


cdef bint _keeps_clock(object info, tuple options, Clock* clock) except -1:
    """Read the clock of an interface from its options; False if the fields of `info` tell another one."""
    cdef uint8_t tsresol
    if read_clock(options, clock, &tsresol) is not None:
        return False
    ticks = (2 if tsresol & 0x80 else 10) ** <object> (tsresol & 0x7f)
    return info.time_offset == clock.seconds and info.ticks_per_second == ticks


cdef object _tick_of(const Clock* clock, object ns):
    """Return the last tick that is not after this time; 0 if the first one is. `ns` may exceed int64."""
    since = max(0, ns - clock.seconds * <object> NANOSECONDS) * <object> clock.divide
    tick = -((-since << clock.shift) // clock.multiply)  # rounded up, as finer clocks have several at a time
    if tick * clock.multiply >> clock.shift > since:
        tick -= 1
    return min(tick, 0xffffffffffffffff)


cdef bytes _halves(uint64_t ticks):
    """Return a time as in options, the upper half first."""
    cdef uint32_t[2] halves
    halves[0], halves[1] = <uint32_t> (ticks >> 32), <uint32_t> ticks
    return (<const char*> halves)[:sizeof(halves)]


cdef int _check_other(object block) except -1:
    """Raise if a block cannot be copied as it is."""
    if not isinstance(block.body, bytes):
        raise wrong_type("the body of a block", "bytes", block.body)
    if len(block.body) % 4 or len(block.body) > MAX_BLOCK:
        raise ValueError(f"a block of {len(block.body)} bytes: it is a multiple of 4, up to {MAX_BLOCK}")
    if not 0 < block.type <= UINT32_MAX or block.type in WRITTEN_HERE:
        raise ValueError(f"a block of type {block.type} is not one that a writer copies")
    return 0


cdef inline bint _is_plain(const Record* row) noexcept nogil:
    """Return True if a packet has no VLAN tag to reinsert, no clamped time and no flags to write."""
    return row.pkt_type == INFO_UNKNOWN_TYPE and not row.flags & (FLAG_TIME_CLAMPED | FLAG_VLAN_STRIPPED)


cdef inline uint32_t _flags(
        uint8_t pkt_type, uint32_t link_type, const Frame* frame, const Text* text) noexcept nogil:
    """Return the flags to write for a packet, 0 for none."""
    return 0 if text.flagged else flags_of(pkt_type, link_type, frame.payload, frame.cap_len)


cdef inline uint64_t _block_length(const Frame* frame, uint32_t flags, const Text* text) noexcept nogil:
    """Return the size of a packet's block; `text` may be NULL."""
    cdef uint64_t options = 0 if text is NULL else text.size
    if flags or options:
        options += sizeof(PcapngOption) + (FLAGS_SIZE if flags else 0)
    return sizeof(PcapngPacket) + padded(frame.cap_len) + options + LENGTH_SIZE


cdef inline void _put_packet(
        uint8_t* out, uint32_t length, uint32_t interface, uint64_t ticks, const Frame* frame,
        uint32_t flags, const Text* text) noexcept nogil:
    """Write an enhanced packet block (section 4.3) of `length` bytes to `out`; `text` may be NULL."""
    cdef PcapngPacket* h = <PcapngPacket*> out  # aligned: all blocks are multiples of 4, also in the buffer
    cdef uint8_t* end = out + length - LENGTH_SIZE
    cdef uint32_t zero = 0
    h.type, h.length, h.interface_id = PCAPNG_PACKET, length, interface
    h.time_high, h.time_low = <uint32_t> (ticks >> 32), <uint32_t> ticks
    h.caplen, h.len = frame.cap_len, frame.total_len
    memcpy(end, &length, LENGTH_SIZE)
    out += sizeof(PcapngPacket)
    if frame.cap_len:
        memcpy(out + padded(frame.cap_len) - PADDING, &zero, PADDING)  # the packet may overwrite most of it
    put_frame(out, frame)
    out += padded(frame.cap_len)
    if out == end:
        return
    if flags:
        out = put_option(out, PACKET_FLAGS, &flags, sizeof(flags))
    if text is not NULL and text.at is not NULL:
        memcpy(out, text.at, text.size)
        out += text.size
    put_option(out, OPTION_END, NULL, 0)


cdef str _bad_time(str what, int64_t timestamp):
    if timestamp < 0:
        return f"{what} has the time {timestamp} ns, and a pcapng file has none before 1970"
    return f"{what} has the time {timestamp} ns, which is between two ticks of its interface's clock"


cdef bytes _section(dict options):
    """Return the header of the first section."""
    section = options["section"]
    texts = {name: options[name] for name in ("comment", "hardware", "os", "application")}
    if section is not None:
        texts = {name: getattr(section, name) if text is None else text for name, text in texts.items()}
    if options["application"] is None and not texts["application"]:
        texts["application"] = _this()
    before = None if section is None else section.options
    return section_block(with_texts(() if before is None else before, SECTION_TEXTS, texts))


cdef bytes _eight_bytes(uint64_t value):
    return (<const char*> &value)[:sizeof(value)]


cdef str _this():
    """Return the name and the version of this package."""
    return f"slimcap {sys.modules['slimcap'].__version__}"  # asking importlib.metadata takes 30 ms
