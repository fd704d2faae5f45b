"""Options of pcapng sections, interfaces and statistics (draft-ietf-opsawg-pcapng, sections 4.1, 4.2, 4.6).

Which fields of `SectionInfo`, `Link` and `InterfaceInfo` have their values, and what clock an interface has.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.bytes cimport bswap64
from slimcap.abi.clock cimport MICROSECONDS, set_resolution
from slimcap.abi.pcap_format cimport (
    INTERFACE_DESCRIPTION,
    INTERFACE_FILTER,
    INTERFACE_HARDWARE,
    INTERFACE_NAME,
    INTERFACE_OS,
    INTERFACE_TIME_OFFSET,
    INTERFACE_TIME_RESOLUTION,
    SECTION_APPLICATION,
    SECTION_HARDWARE,
    SECTION_OS,
    STATISTICS_END,
    STATISTICS_INTERFACE_DROPS,
    STATISTICS_RECEIVED,
    STATISTICS_START,
    STATISTICS_SYSTEM_DROPS,
    PcapngOption,
)
from slimcap.packet.options cimport next_option

SECTION_TEXTS = {SECTION_HARDWARE: "hardware", SECTION_OS: "os", SECTION_APPLICATION: "application"}
INTERFACE_TEXTS = {
    INTERFACE_NAME: "name", INTERFACE_DESCRIPTION: "description", INTERFACE_FILTER: "filter",
    INTERFACE_OS: "os", INTERFACE_HARDWARE: "hardware"}
COUNTERS = {
    STATISTICS_RECEIVED: "received", STATISTICS_INTERFACE_DROPS: "interface_dropped",
    STATISTICS_SYSTEM_DROPS: "os_dropped"}
TIMES = {STATISTICS_START: "start", STATISTICS_END: "end"}


cdef tuple clock_options(Options options):
    """Return the options of an interface that `read_clock` uses, whatever number of others there are.

    The last ones of their kind count, but one of an invalid length, which is an error, always does.
    """
    cdef PcapngOption option
    cdef const uint8_t* value
    cdef uint64_t seconds
    cdef dict found = {}
    while next_option(&options, &option, &value):
        if option.code == INTERFACE_TIME_RESOLUTION and option.length != 1:
            return ((INTERFACE_TIME_RESOLUTION, bytes(option.length)),)
        if option.code == INTERFACE_TIME_OFFSET and option.length != sizeof(seconds):
            return ((INTERFACE_TIME_OFFSET, bytes(option.length)),)
        if option.code == INTERFACE_TIME_RESOLUTION:
            found[INTERFACE_TIME_RESOLUTION] = value[:1]
        elif option.code == INTERFACE_TIME_OFFSET:
            memcpy(&seconds, value, sizeof(seconds))
            seconds = bswap64(seconds) if options.swapped else seconds
            found[INTERFACE_TIME_OFFSET] = (<const char*> &seconds)[:sizeof(seconds)]
    return tuple(found.items())


cdef str read_clock(tuple options, Clock* clock, uint8_t* tsresol):
    """Read the clock of an interface from its options; return what is wrong with them, or None."""
    cdef int64_t seconds = 0
    tsresol[0] = MICROSECONDS
    set_resolution(clock, MICROSECONDS)
    for code, value in options:
        if code == INTERFACE_TIME_RESOLUTION:
            if len(value) != 1:
                return f"if_tsresol of {len(value)} bytes"
            tsresol[0] = value[0]
            if not set_resolution(clock, tsresol[0]):
                return f"timestamps in units finer than 64 bits can tell apart (if_tsresol {tsresol[0]})"
        elif code == INTERFACE_TIME_OFFSET:
            if len(value) != 8:
                return f"if_tsoffset of {len(value)} bytes"
            memcpy(&seconds, <const char*> value, sizeof(seconds))
    clock.seconds = seconds
    return None
