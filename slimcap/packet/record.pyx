"""`RECORD_DTYPE`, the numpy dtype of the `Record` struct, built from the C layout."""
import numpy as np

from slimcap.packet.enums import NO_IP, RecordFlag


def struct_dtype(fields, size):
    """Return the dtype of a C struct of this size, from (type, offset) of each field by name.

    The fields are in order of their offsets, or numpy could not save an array of it.
    """
    names = sorted(fields, key=lambda name: fields[name][1])
    return np.dtype({
        "names": names,
        "formats": [fields[name][0] for name in names],
        "offsets": [fields[name][1] for name in names],
        "itemsize": size,
    })


cdef dict _fields():
    """Return the fields of `Record`; the offsets are the C compiler's."""
    cdef Record row
    cdef const char* base = <const char*> &row
    return {
        "timestamp": ("i8", <const char*> &row.timestamp - base),
        "offset": ("u8", <const char*> &row.offset - base),
        "total_len": ("u4", <const char*> &row.total_len - base),
        "cap_len": ("u4", <const char*> &row.cap_len - base),
        "interface": ("u4", <const char*> &row.interface - base),
        "vlan_tci": ("u2", <const char*> &row.vlan_tci - base),
        "vlan_tpid": ("u2", <const char*> &row.vlan_tpid - base),
        "ip_offset": ("u2", <const char*> &row.ip_offset - base),
        "pkt_type": ("u1", <const char*> &row.pkt_type - base),
        "flags": ("u4", <const char*> &row.flags - base),
    }


RECORD_DTYPE = struct_dtype(_fields(), sizeof(Record))

if not (RECORD_DTYPE.itemsize == sizeof(Record) == 40 and NO_IP == NO_IP_OFFSET
        and [int(flag) for flag in RecordFlag]
        == [FLAG_VLAN, FLAG_VLAN_STRIPPED, FLAG_TRUNCATED, FLAG_CHECKSUM_VALID, FLAG_CHECKSUM_NOT_READY,
            FLAG_LOSING, FLAG_GSO, FLAG_TIME_CLAMPED]):
    raise ImportError("the compiled layout of Record does not match the Python constants: rebuild slimcap")


def copy_of(dtype):
    """Return a copy of a dtype. numpy's own copies share the fields, so renaming them would change both."""
    return dtype.newbyteorder("=")
