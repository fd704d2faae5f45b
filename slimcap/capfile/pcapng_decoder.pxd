from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.bytes cimport bswap32, load32
from slimcap.abi.clock cimport Clock
from slimcap.abi.pcap_format cimport LENGTH_SIZE, PCAPNG_ORDER, PCAPNG_SECTION, PcapngBlock
from slimcap.capfile.decoder cimport Decoder
from slimcap.packet.annotations cimport Instant
from slimcap.packet.options cimport Allowance, Options
from slimcap.packet.record cimport Record

cdef enum:
    MIN_BLOCK = sizeof(PcapngBlock) + LENGTH_SIZE
    MAX_BLOCK = 128 << 20               # the same as Wireshark's

cdef enum Halt:
    HALT_NOT
    HALT_DATA       # more bytes are required, or more rows
    HALT_BLOCK      # at a block that describes the file
    HALT_OPTIONS    # after a packet whose options need more memory
    HALT_FAULT

cdef enum Fault:
    FAULT_NO_SECTION
    FAULT_ORDER
    FAULT_LENGTH
    FAULT_TRAILER
    FAULT_SHORT
    FAULT_INTERFACE
    FAULT_CAPLEN
    FAULT_OVERRUN
    FAULT_ANOTHER

cdef struct Interface:
    Clock clock
    uint32_t linktype, snaplen
    uint64_t dropped            # packets dropped, according to its packet blocks

cdef class PcapngDecoder(Decoder):
    cdef str _name
    cdef uint32_t _wanted               # maximum number of bytes to show of a packet
    cdef Interface* _interfaces         # interfaces of all sections, _count of them; owned
    cdef uint32_t _count, _room
    cdef uint32_t _section              # number of the current section's first interface
    cdef bint _in_section
    cdef list _infos                    # InterfaceInfos of all interfaces so far
    cdef bint _changed                  # `links` and `interfaces` have to be made from them
    cdef Py_ssize_t _rows               # rows written by the current decode()
    cdef PcapngBlock _head              # of the block that stopped the walk, which is complete
    cdef Allowance _allowance           # for blocks, and options of statistics, of the current decode()
    cdef Options _options               # of the packet that stopped the walk,
    cdef int64_t _drops                 # the number of packets dropped before it, or -1,
    cdef bint _clamped                  # and whether 64 bits of nanoseconds do not hold its time,
    cdef Instant _instant               # which is this
    cdef Fault _trouble
    cdef uint64_t _value, _limit        # the invalid value, and the valid one or limit
    cdef int _run(self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room) except -1
    cdef Halt _walk(self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room) noexcept nogil
    cdef void _walk_plain(
        self, const uint8_t* data, uint64_t size, Record* rows, Py_ssize_t room, uint64_t* position,
        Py_ssize_t* rows_written, uint64_t* sum_of_lengths) noexcept nogil
    cdef Halt _next_block(self, const uint8_t* p, uint64_t left, PcapngBlock* block) noexcept nogil
    cdef Halt _incomplete(self, const uint8_t* p, const PcapngBlock* block) noexcept nogil
    cdef Halt _read_packet(
        self, const uint8_t* p, const PcapngBlock* block, Record* row, Py_ssize_t number) noexcept nogil
    cdef Halt _read_options(
        self, const uint8_t* payload, uint32_t cap_len, Interface* interface, Record* row,
        Py_ssize_t number) noexcept nogil
    cdef Halt _fail(self, Fault fault, uint64_t value, uint64_t limit) noexcept nogil
    cdef int _keep_options(self) except -1
    cdef const Instant* _time(self) noexcept nogil
    cdef bint _read_block(self, const uint8_t* p) except -1
    cdef str _read_section(self, const uint8_t* p, uint32_t length)
    cdef str _read_interface(self, const uint8_t* p, uint32_t length)
    cdef str _read_statistics(self, const uint8_t* p, uint32_t length)
    cdef int64_t _time_of(self, uint32_t number, uint32_t high, uint32_t low) noexcept
    cdef str _add_interface(self, Interface interface, uint8_t tsresol, tuple options)
    cdef int _keep_block(self, object block) except -1
    cdef tuple _description(self, Options* options, uint32_t block)
    cdef object _read_other(self, const uint8_t* p, PcapngBlock block)
    cdef int _grow(self) except -1
    cdef str _explain(self)


cdef inline bint read_block_head(const uint8_t* p, bint* swapped, PcapngBlock* block) noexcept nogil:
    """Read the head of the block at `p`, converted to native byte order. MIN_BLOCK bytes must be readable.

    A section header sets `swapped` for all blocks from there on; return False if its byte-order magic is not
    valid.
    """
    cdef uint32_t order
    memcpy(block, p, sizeof(PcapngBlock))
    if block.type == PCAPNG_SECTION:
        order = load32(p + sizeof(PcapngBlock))
        if order != PCAPNG_ORDER and bswap32(order) != PCAPNG_ORDER:
            return False
        swapped[0] = order != PCAPNG_ORDER
    if swapped[0]:
        block.type, block.length = bswap32(block.type), bswap32(block.length)
    return True


cdef inline bint is_block_length(uint32_t length) noexcept nogil:
    return length % 4 == 0 and MIN_BLOCK <= length <= MAX_BLOCK
