"""Options of pcapng sections, interfaces and statistics (draft-ietf-opsawg-pcapng, sections 4.1, 4.2, 4.6).

Which fields of `SectionInfo`, `Link` and `InterfaceInfo` have their values, and what clock an interface has.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy

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
)

SECTION_TEXTS = {SECTION_HARDWARE: "hardware", SECTION_OS: "os", SECTION_APPLICATION: "application"}
INTERFACE_TEXTS = {
    INTERFACE_NAME: "name", INTERFACE_DESCRIPTION: "description", INTERFACE_FILTER: "filter",
    INTERFACE_OS: "os", INTERFACE_HARDWARE: "hardware"}
COUNTERS = {
    STATISTICS_RECEIVED: "received", STATISTICS_INTERFACE_DROPS: "interface_dropped",
    STATISTICS_SYSTEM_DROPS: "os_dropped"}
TIMES = {STATISTICS_START: "start", STATISTICS_END: "end"}


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
