"""Decoder of pcapng (draft-ietf-opsawg-pcapng): sections of blocks, with packets of the section's interfaces.

    section header ─ interface ─ interface ─ packet ─ packet ─ statistics ─ section header ─ …

    type   length   …   options   length
    4      4                      4         bytes; the length of a block is a multiple of 4

Packets are decoded without the GIL. At all other blocks the walk stops, and Python code reads those that
describe the file (sections, interfaces, statistics), and keeps the rest as they are, for a writer.
"""
cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.branch cimport rarely
from slimcap.abi.bytes cimport bswap16, bswap32, bswap64, load32, load64
from slimcap.abi.clock cimport nanoseconds
from slimcap.abi.pcap_format cimport (
    LENGTH_SIZE,
    OPTION_CUSTOM,
    PACKET_DROPS,
    PACKET_FLAGS,
    PCAPNG_CUSTOM,
    PCAPNG_INTERFACE,
    PCAPNG_JOURNAL,
    PCAPNG_NAMES,
    PCAPNG_OLD_PACKET,
    PCAPNG_ORDER,
    PCAPNG_PACKET,
    PCAPNG_PRIVATE,
    PCAPNG_SECRETS,
    PCAPNG_SECTION,
    PCAPNG_SIMPLE,
    PCAPNG_STATISTICS,
    PcapngBlock,
    PcapngInterface,
    PcapngName,
    PcapngOldPacket,
    PcapngOption,
    PcapngPacket,
    PcapngSecrets,
    PcapngSection,
    PcapngSimplePacket,
    PcapngStatistics,
    padded,
)
from slimcap.capfile.decoder cimport MAX_CAPLEN, MAX_SECTIONS, Decoder, fill_row, max_caplen
from slimcap.capfile.pcap_decoder cimport is_another
from slimcap.capfile.pcapng_fields cimport (
    COUNTERS,
    INTERFACE_TEXTS,
    SECTION_TEXTS,
    TIMES,
    clock_options,
    read_clock,
)
from slimcap.capfile.pcapng_flags cimport apply_flags, flags_of
from slimcap.packet.annotations cimport Annotations, Instant, block_cost
from slimcap.packet.options cimport MAX_KEPT, Allowance, next_option, read_options, swap_value, texts_of
from slimcap.packet.record cimport FLAG_TIME_CLAMPED, MAX_INTERFACES, Record

import sys

from slimcap.packet.interface import InterfaceInfo, OtherBlock, SectionInfo, Statistics
from slimcap.packet.link import Link

cdef enum:
    DROPS_UNKNOWN = 0xffff


@cython.final
cdef class PcapngDecoder(Decoder):
    """Decoder of the packets of a pcapng file.

    The file must be decoded from its first byte on, because sections and interfaces are kept from one
    `decode()` to the next. `links` grows: it has the interfaces of all sections so far.

    Parameters
    ----------
    snaplen : int, default 0
        Maximum number of bytes to show of a packet; 0: all that were captured.
    name : str, default ""
        Name for interfaces that have no name in the file.
    """

    def __cinit__(self, *args, **kwargs):
        self._infos = []
        self._name = ""
        self._wanted = self.max_cap_len = MAX_CAPLEN
        self.resolution = 1000
        self.needed = MIN_BLOCK
        self._allowance = Allowance()

    def __init__(self, uint32_t snaplen=0, str name=""):
        self._name = name
        self._wanted = snaplen or 0xffffffff
        self.max_cap_len = min(self._wanted, <uint32_t> MAX_CAPLEN)

    def __dealloc__(self):
        PyMem_RawFree(self._interfaces)

    cdef Py_ssize_t _decode(
            self, const uint8_t* data, uint64_t size, uint64_t start, Record* rows,
            Py_ssize_t capacity) except -1:
        self.position = min(start, size)
        self._rows = 0
        self.total_bytes = 0
        self.fault = None
        self.annotations = None
        self._allowance.left = MAX_KEPT
        self._run(data, size, rows, capacity)
        return self._rows

    cdef int _run(self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room) except -1:
        """Decode packets, read the block that stopped the walk, and repeat."""
        cdef Halt halt
        while True:
            with nogil:
                halt = self._walk(data, size, rows, room)
            if halt == HALT_OPTIONS:
                self._keep_options()
            elif halt != HALT_BLOCK or not self._read_block(data + self.position):
                break
        if halt == HALT_FAULT:
            self.fault = self._explain()
        if self._changed:
            self._changed = False
            links = self.links
            if len(links) < self._count:
                links = tuple([info.link for info in self._infos])
            self.interfaces = tuple(self._infos)
            self.links = links
        return 0

    cdef int _keep_options(self) except -1:
        """Keep the options of the last packet, for which there was not enough memory."""
        if self.annotations is None:
            self.annotations = Annotations()
        self.annotations.reserve(1, self._options.left)
        self.annotations.keep(self._rows - 1, self._options, self._drops, self._time())
        return 0

    cdef int _keep_block(self, object block) except -1:
        """Keep a block before the next row, up to a limit."""
        if not self._allowance.take(block_cost(block)):
            self.blocks_left_out += 1
            return 0
        if self.annotations is None:
            self.annotations = Annotations()
        self.annotations.blocks.append((self._rows, block))
        return 0

    # Packets, without the GIL.

    cdef Halt _walk(
            self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room) noexcept nogil:
        """Write rows for the packets from `position` on; return why it stopped."""
        cdef uint64_t at = self.position
        cdef Py_ssize_t count = self._rows
        cdef uint64_t total_bytes = self.total_bytes
        cdef PcapngBlock block
        cdef Halt halt = HALT_NOT
        while halt == HALT_NOT:
            if self._in_section and not self.swapped:
                self._walk_plain(data, size, rows, room, &at, &count, &total_bytes)
            halt = self._next_block(data + at, size - at, &block)
            if halt != HALT_NOT:
                break
            if block.type == PCAPNG_PACKET or block.type == PCAPNG_SIMPLE or block.type == PCAPNG_OLD_PACKET:
                if count == room:
                    halt = HALT_DATA
                    break
                rows[count].offset = at
                halt = self._read_packet(data + at, &block, &rows[count], count)
                if halt == HALT_FAULT:
                    break
                total_bytes += rows[count].total_len
                count += 1
            else:
                self._head = block
                halt = HALT_BLOCK
                break
            at += block.length
        self.position = at
        self.total_bytes = total_bytes
        self._rows = count
        return halt

    cdef void _walk_plain(
            self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room, uint64_t* position,
            Py_ssize_t* rows_written, uint64_t* sum_of_lengths) noexcept nogil:
        """Write rows for enhanced packet blocks in native byte order and without options.

        Most files have no other packets. It stops at any other block, and at one that is not valid.
        """
        cdef const Interface* interfaces = self._interfaces + self._section
        cdef const Interface* interface
        cdef uint32_t known = self._count - self._section, first = self._section, cut = self._wanted
        cdef uint64_t at = position[0], total_bytes = sum_of_lengths[0]
        cdef uint64_t around = sizeof(PcapngPacket) + LENGTH_SIZE
        cdef Py_ssize_t count = rows_written[0]
        cdef PcapngPacket h
        cdef Record* row
        while count < room and size - at >= around:
            memcpy(&h, data + at, sizeof(h))
            if h.type != PCAPNG_PACKET or h.interface_id >= known:
                break
            interface = &interfaces[h.interface_id]
            if h.caplen > max_caplen(interface.linktype) or h.length != around + padded(h.caplen):
                break
            if h.length > MAX_BLOCK or size - at < h.length:
                break
            if load32(data + at + h.length - LENGTH_SIZE) != h.length:
                break
            row = &rows[count]
            row.timestamp = nanoseconds(&interface.clock, <uint64_t> h.time_high << 32 | h.time_low)
            if rarely(row.timestamp == INT64_MAX or row.timestamp == INT64_MIN):  # clamped
                break
            row.offset = at + sizeof(h)
            row.interface = first + h.interface_id
            fill_row(row, interface.linktype, data + row.offset, h.caplen, h.len, cut)
            total_bytes += row.total_len
            at += h.length
            count += 1
        position[0], rows_written[0], sum_of_lengths[0] = at, count, total_bytes

    cdef Halt _next_block(self, const uint8_t* p, uint64_t left, PcapngBlock* block) noexcept nogil:
        """Read the head of the block at `p`; HALT_NOT if the whole block is there and its lengths agree."""
        cdef uint32_t again
        self.needed = MIN_BLOCK
        if left < MIN_BLOCK:
            return HALT_DATA
        if not self._in_section and load32(p) != PCAPNG_SECTION:
            return self._fail(FAULT_NO_SECTION, load32(p), PCAPNG_SECTION)
        if not read_block_head(p, &self.swapped, block):
            return self._fail(FAULT_ORDER, load32(p + sizeof(PcapngBlock)), PCAPNG_ORDER)
        if not is_block_length(block.length) or left < block.length:
            return self._incomplete(p, block)
        again = load32(p + block.length - LENGTH_SIZE)
        if self.swapped:
            again = bswap32(again)
        if again != block.length:
            return self._fail(FAULT_TRAILER, again, block.length)
        return HALT_NOT

    cdef Halt _incomplete(self, const uint8_t* p, const PcapngBlock* block) noexcept nogil:
        """Return why the block at `p` is not there: a length that is not valid, or too few bytes."""
        if is_another(p):
            return self._fail(FAULT_ANOTHER, 0, 0)
        if not is_block_length(block.length):
            return self._fail(FAULT_LENGTH, block.length, MAX_BLOCK)
        self.needed = block.length
        return HALT_DATA

    cdef Halt _read_packet(
            self, const uint8_t* p, const PcapngBlock* block, Record* row, Py_ssize_t number) noexcept nogil:
        """Fill in the row of a packet block, which has this number. On entry, `row.offset` is the block's.
        """
        cdef PcapngPacket h
        cdef PcapngOldPacket old
        cdef uint32_t header = (
            sizeof(PcapngSimplePacket) if block.type == PCAPNG_SIMPLE else sizeof(PcapngPacket))
        cdef Interface* interface
        cdef uint64_t left
        if block.length < header + LENGTH_SIZE:
            return self._fail(FAULT_SHORT, block.length, header + LENGTH_SIZE)
        left = block.length - header - LENGTH_SIZE
        if block.type == PCAPNG_SIMPLE:
            memcpy(&h, p, sizeof(PcapngSimplePacket))
            h.time_high = h.time_low = h.caplen = 0
        else:
            memcpy(&h, p, sizeof(PcapngPacket))
        if self.swapped:
            _swap(&h)
        if block.type == PCAPNG_SIMPLE:
            h.len = h.interface_id
            h.interface_id = 0
        elif block.type == PCAPNG_OLD_PACKET:
            memcpy(&old, p, header)
            h.interface_id = bswap16(old.interface_id) if self.swapped else old.interface_id
        if h.interface_id >= self._count - self._section:
            return self._fail(FAULT_INTERFACE, h.interface_id, self._count - self._section)
        interface = &self._interfaces[self._section + h.interface_id]
        self._clamped = False
        if block.type == PCAPNG_SIMPLE:
            h.caplen = min(h.len, interface.snaplen) if interface.snaplen else h.len
            row.timestamp = 0
        else:
            self._instant.ticks = <uint64_t> h.time_high << 32 | h.time_low
            row.timestamp = nanoseconds(&interface.clock, self._instant.ticks)
            self._clamped = row.timestamp == INT64_MAX or row.timestamp == INT64_MIN
        if h.caplen > max_caplen(interface.linktype):
            return self._fail(FAULT_CAPLEN, h.caplen, max_caplen(interface.linktype))
        if h.caplen > left:
            return self._fail(FAULT_OVERRUN, h.caplen, left)
        row.offset += header
        row.interface = self._section + h.interface_id
        fill_row(row, interface.linktype, p + header, h.caplen, h.len, self._wanted)
        if rarely(self._clamped):
            row.flags |= FLAG_TIME_CLAMPED
            self._instant.clock = interface.clock
        self._drops = -1
        if block.type == PCAPNG_OLD_PACKET and old.drops != DROPS_UNKNOWN:
            self._drops = bswap16(old.drops) if self.swapped else old.drops
            _add_drops(interface, self._drops)
        left -= padded(h.caplen)
        if block.type == PCAPNG_SIMPLE or (left == 0 and self._drops < 0 and not self._clamped):
            return HALT_NOT
        self._options.at, self._options.left = p + header + padded(h.caplen), left
        self._options.swapped = self.swapped
        return self._read_options(p + header, h.caplen, interface, row, number)

    cdef Halt _read_options(
            self, const uint8_t* payload, uint32_t cap_len, Interface* interface, Record* row,
            Py_ssize_t number) noexcept nogil:
        """Apply a packet's options to its row. Invalid options are ignored, as by libpcap.

        They are also kept, with a time that was clamped, unless flags that tell no more than the packet type
        are all there is.
        """
        cdef Options options = self._options
        cdef PcapngOption option
        cdef const uint8_t* value
        cdef uint32_t flags = 0, count = 0
        while next_option(&options, &option, &value):
            count += 1
            if option.code == PACKET_FLAGS and option.length == 4:
                flags = bswap32(load32(value)) if options.swapped else load32(value)
                apply_flags(row, flags)
            elif option.code == PACKET_DROPS and option.length == 8:
                _add_drops(interface, bswap64(load64(value)) if options.swapped else load64(value))
        if self._drops < 0 and count == 0 and not self._clamped:
            return HALT_NOT
        if self._drops < 0 and count == 1 and flags and not self._clamped:
            if flags == flags_of(row.pkt_type, interface.linktype, payload, cap_len):
                return HALT_NOT
        if self.annotations is not None and self.annotations.keep(
                number, self._options, self._drops, self._time()):
            return HALT_NOT
        return HALT_OPTIONS

    cdef const Instant* _time(self) noexcept nogil:
        """Return the last packet's time if it was clamped, or NULL."""
        return &self._instant if self._clamped else NULL

    cdef Halt _fail(self, Fault fault, uint64_t value, uint64_t limit) noexcept nogil:
        self._trouble, self._value, self._limit = fault, value, limit
        return HALT_FAULT

    # Other blocks, which are rare, with the GIL.

    cdef bint _read_block(self, const uint8_t* p) except -1:
        """Read the block at `position` and move past it; return False if it is not valid.

        Its head is not read again: another thread may write to the data meanwhile.
        """
        cdef PcapngBlock block = self._head
        if block.type == PCAPNG_SECTION:
            self.fault = self._read_section(p, block.length)
        elif block.type == PCAPNG_INTERFACE:
            self.fault = self._read_interface(p, block.length)
        elif block.type == PCAPNG_STATISTICS:
            self.fault = self._read_statistics(p, block.length)
        else:
            other = self._read_other(p, block)
            if other is None:
                self.blocks_left_out += 1
            else:
                self._keep_block(other)
        if self.fault is not None:
            return False
        self.position += block.length
        return True

    cdef str _read_section(self, const uint8_t* p, uint32_t length):
        cdef PcapngSection h
        cdef Options options
        if length < sizeof(h) + LENGTH_SIZE:
            return f"a section header of {length} bytes"
        memcpy(&h, p, sizeof(h))
        if self.swapped:
            h.version_major, h.version_minor = bswap16(h.version_major), bswap16(h.version_minor)
        if h.version_major != 1 or h.version_minor not in (0, 2):  # 1.2 is an early 1.0
            return f"pcapng version {h.version_major}.{h.version_minor} is not supported"
        self.version_major, self.version_minor = h.version_major, h.version_minor
        self._section = self._count
        options = _options_behind(p, sizeof(h), length, self.swapped)
        found = self._description(&options, PCAPNG_SECTION)
        info = SectionInfo(
            self.byte_order(), (h.version_major, h.version_minor), self._section,
            **texts_of(found, SECTION_TEXTS), options=found)
        if len(self.sections) < MAX_SECTIONS:
            self.sections.append(info)
        if self._in_section:  # a writer begins the first one itself
            self._keep_block(info)
        self._in_section = True
        return None

    cdef tuple _description(self, Options* options, uint32_t block):
        """Return the options of a section or an interface, as many as there is memory for."""
        cdef int64_t before = self.memory.left
        found = read_options(options, block, self.memory, &self.options_left_out)
        self.described += before - self.memory.left
        return found

    cdef str _read_interface(self, const uint8_t* p, uint32_t length):
        cdef PcapngInterface h
        cdef Interface interface
        cdef Options options
        cdef uint8_t tsresol
        if length < sizeof(h) + LENGTH_SIZE:
            return f"an interface description of {length} bytes"
        memcpy(&h, p, sizeof(h))
        interface.linktype = bswap16(h.linktype) if self.swapped else h.linktype
        interface.snaplen = bswap32(h.snaplen) if self.swapped else h.snaplen
        interface.dropped = 0
        options = _options_behind(p, sizeof(h), length, self.swapped)
        fault = read_clock(clock_options(options), &interface.clock, &tsresol)
        found = self._description(&options, PCAPNG_INTERFACE)
        if fault is None and options.left:
            fault = "an option that is longer than its interface description"
        return self._add_interface(interface, tsresol, found) if fault is None else fault

    cdef str _add_interface(self, Interface interface, uint8_t tsresol, tuple options):
        cdef dict texts = texts_of(options, INTERFACE_TEXTS)
        cdef uint32_t tick = max(1, <uint32_t> (interface.clock.multiply >> interface.clock.shift))
        if self._count == MAX_INTERFACES:
            return f"more than {MAX_INTERFACES:,} interfaces"
        if self._count == self._room:
            self._grow()
        self._interfaces[self._count] = interface
        description = texts.pop("description", "")
        name = texts.pop("name", "")
        link = Link(
            name or description or self._name, self._count, interface.linktype, description=description,
            named=bool(name))
        cdef object base = 2 if tsresol & 0x80 else 10, power = tsresol & 0x7f  # 10^19 overflows a C long
        self._infos.append(
            InterfaceInfo(
                link, interface.snaplen, base ** power, interface.clock.seconds, **texts, options=options,
                file_name=self._name))
        self._keep_block(self._count)
        self._changed = True
        if self._count == 0:
            self.snaplen = interface.snaplen
            self.resolution = tick
        self.resolution = min(self.resolution, tick)
        self.max_cap_len = max(self.max_cap_len, min(self._wanted, max_caplen(interface.linktype)))
        self._count += 1
        return None

    cdef int _grow(self) except -1:
        cdef uint32_t room = 2 * self._room + 1
        cdef void* memory = PyMem_RawRealloc(self._interfaces, room * sizeof(Interface))
        if memory is NULL:
            raise MemoryError(f"cannot allocate {room} interfaces")
        self._interfaces = <Interface*> memory
        self._room = room
        return 0

    cdef str _read_statistics(self, const uint8_t* p, uint32_t length):
        cdef PcapngStatistics h
        cdef Options options
        cdef bytes value
        cdef uint32_t number
        cdef int64_t time
        cdef dict counters = {}, times = {}
        if length < sizeof(h) + LENGTH_SIZE:
            return f"interface statistics of {length} bytes"
        memcpy(&h, p, sizeof(h))
        if self.swapped:
            h.interface_id = bswap32(h.interface_id)
            h.time_high, h.time_low = bswap32(h.time_high), bswap32(h.time_low)
        if h.interface_id >= self._count - self._section:
            self.blocks_left_out += 1
            return None  # an unknown interface has no packets: ignore the block
        number = self._section + h.interface_id
        options = _options_behind(p, sizeof(h), length, self.swapped)
        kept = []
        for code, value in read_options(&options, PCAPNG_STATISTICS, self._allowance, &self.options_left_out):
            if len(value) == 8 and code in COUNTERS:
                counters[COUNTERS[code]] = int.from_bytes(value, sys.byteorder)
            elif len(value) == 8 and code in TIMES:
                time = self._time_of(number, load32(<const char*> value), load32(<const char*> value + 4))
                times[TIMES[code]] = time
                kept.append((code, time))
                continue
            kept.append((code, value))
        at = self._time_of(number, h.time_high, h.time_low)
        if len(counters) > ("received" in counters):
            # Both drop counters may count the same packets. So if one is given, an earlier value of the other
            # is void.
            counters = {"interface_dropped": None, "os_dropped": None, **counters}
        self._infos[number] = self._infos[number]._replace(**counters, **times)
        self._keep_block(Statistics(number, at, tuple(kept)))
        self._changed = True
        return None

    cdef object _read_other(self, const uint8_t* p, PcapngBlock block):
        """Return a block that is copied as it is, in native byte order.

        None if it must not be copied, or if it is in the other byte order, and its layout is not known.
        """
        cdef bytearray body
        cdef uint8_t* data
        cdef uint64_t size
        cdef bint ok = not self.swapped or block.type == PCAPNG_JOURNAL
        if block.type == PCAPNG_PRIVATE:
            return None
        body = bytearray(p[sizeof(PcapngBlock):block.length - LENGTH_SIZE])
        data, size = body, len(body)
        if self.swapped and block.type == PCAPNG_NAMES:
            ok = _swap_names(data, size)
        elif self.swapped and block.type == PCAPNG_SECRETS:
            ok = _swap_secrets(data, size)
        elif self.swapped and block.type == PCAPNG_CUSTOM and size >= sizeof(uint32_t):
            swap_value(PCAPNG_CUSTOM, OPTION_CUSTOM, data, size)  # its number, as in an option
            ok = True
        return OtherBlock(block.type, bytes(body)) if ok else None

    cdef int64_t _time_of(self, uint32_t number, uint32_t high, uint32_t low) noexcept:
        """Convert a timestamp of an interface from ticks to nanoseconds."""
        return nanoseconds(&self._interfaces[number].clock, <uint64_t> high << 32 | low)

    cdef uint64_t count_dropped(self) except? 0:
        # Packet blocks and statistics may count the same packets: use the larger number.
        cdef uint32_t i
        total = 0
        for i, told in enumerate(self._infos):
            in_all = min((told.interface_dropped or 0) + (told.os_dropped or 0), 0xffffffffffffffff)
            total += max(self._interfaces[i].dropped, in_all)
        return min(total, 0xffffffffffffffff)

    cdef str _explain(self):
        """Return the reason why the walk stopped, as a text."""
        value, limit = self._value, self._limit
        if self._trouble == FAULT_NO_SECTION:
            return f"not a capture file: 0x{value:08x} where a section header has to be"
        if self._trouble == FAULT_ANOTHER:
            return "another capture file begins here, a pcap file after this pcapng file: cut them apart"
        if self._trouble == FAULT_ORDER:
            return f"a section header with byte-order magic 0x{value:08x}"
        if self._trouble == FAULT_LENGTH:
            return f"a block of {value} bytes: it is a multiple of 4, from {MIN_BLOCK} to {limit}"
        if self._trouble == FAULT_TRAILER:
            return f"a block of {limit} bytes that says {value} at its end"
        if self._trouble == FAULT_SHORT:
            return f"a packet block of {value} bytes: its header takes {limit}"
        if self._trouble == FAULT_INTERFACE:
            return f"a packet of interface {value}, where the section has {limit}"
        if self._trouble == FAULT_CAPLEN:
            return f"a packet of {value} captured bytes: there can be {limit}"
        return f"a packet of {value} captured bytes in a block that has {limit} for it"


cdef inline void _swap(PcapngPacket* h) noexcept nogil:
    h.interface_id = bswap32(h.interface_id)
    h.time_high = bswap32(h.time_high)
    h.time_low = bswap32(h.time_low)
    h.caplen = bswap32(h.caplen)
    h.len = bswap32(h.len)


cdef inline Options _options_behind(
        const uint8_t* p, uint32_t header, uint32_t length, bint swapped) noexcept nogil:
    """Return the options of the block at `p`, which start after its header."""
    cdef Options options
    options.at = p + header
    options.left = length - header - LENGTH_SIZE
    options.swapped = swapped
    return options


cdef inline void _add_drops(Interface* interface, uint64_t drops) noexcept nogil:
    interface.dropped += min(drops, 0xffffffffffffffffULL - interface.dropped)


cdef bint _swap_names(uint8_t* body, uint64_t size) noexcept nogil:
    """Swap the numbers of a name resolution block (section 4.5) up to its options; False if it is damaged."""
    cdef PcapngName record
    cdef uint64_t at = 0
    while at + sizeof(record) <= size:
        memcpy(&record, body + at, sizeof(record))
        record.kind, record.length = bswap16(record.kind), bswap16(record.length)
        memcpy(body + at, &record, sizeof(record))
        at += sizeof(record)
        if record.kind == 0:
            return _swap_options(body + at, size - at)
        at += padded(record.length)
    return False


cdef bint _swap_secrets(uint8_t* body, uint64_t size) noexcept nogil:
    """Swap the numbers of a block of decryption secrets (section 4.7); False if it is damaged."""
    cdef uint64_t header = sizeof(PcapngSecrets) - sizeof(PcapngBlock)
    cdef uint32_t[2] numbers
    if size < header:
        return False
    memcpy(numbers, body, header)
    numbers[0], numbers[1] = bswap32(numbers[0]), bswap32(numbers[1])
    memcpy(body, numbers, header)
    header += padded(numbers[1])
    return header <= size and _swap_options(body + header, size - header)


cdef bint _swap_options(uint8_t* p, uint64_t size) noexcept nogil:
    """Swap codes and lengths of options whose values are texts; False if they are damaged."""
    cdef Options options
    cdef PcapngOption option
    cdef const uint8_t* value
    cdef uint8_t* at
    options.at, options.left, options.swapped = p, size, True
    while True:
        at = <uint8_t*> options.at
        if options.left < sizeof(PcapngOption):
            return options.left == 0
        if not next_option(&options, &option, &value):
            return options.left == 0
        memcpy(at, &option, sizeof(option))
