from libc.stdint cimport uint8_t

from slimcap.abi.clock cimport Clock
from slimcap.packet.options cimport Options

# By option code: the fields of SectionInfo, and of Link and InterfaceInfo.
cdef dict SECTION_TEXTS, INTERFACE_TEXTS, COUNTERS, TIMES

cdef str read_clock(tuple options, Clock* clock, uint8_t* tsresol)
cdef tuple clock_options(Options options)
