from libc.stdint cimport int64_t, uint64_t

from slimcap.capfile.file_reader cimport FileReader
from slimcap.io.watch cimport EndPolicy
from slimcap.packet.annotations cimport Annotations
from slimcap.packet.lease cimport Block, Pool
from slimcap.packet.options cimport Allowance
from slimcap.packet.rows cimport Rows
from slimcap.source.base cimport Counters, ZeroCopySource
from slimcap.source.file.merge_heap cimport Head

cdef class Part:
    cdef object file            # as the caller gave it
    cdef str name
    cdef FileReader reader      # None if the file is not open
    cdef Rows rows              # of which `head` has the next ones; None: there are none
    cdef Head head
    cdef Block numbers          # uint32: our number for each interface of the file
    cdef Py_ssize_t known       # length of `numbers`
    cdef dict seen              # description → number of interfaces of the file that have it
    cdef tuple infos            # the file's InterfaceInfos,
    cdef dict counters          # and for each that has counters (our number, InterfaceInfo); never changed
    cdef object size            # bytes on disk, or None

cdef class FilesSource(ZeroCopySource):
    cdef object _errors         # FileErrors
    cdef dict _options          # of the readers of all files
    cdef dict _numbers          # (description, its occurrence in the file) → interface number
    cdef list _infos            # an InterfaceInfo for each of the links; replaced when counters change,
    cdef tuple _interfaces      # and as a tuple; made again when there are more
    cdef set _open_parts
    cdef dict _sections         # the first section of each file, by the file's order
    cdef list _late             # blocks at the end of files, for the next rows,
    cdef int64_t _late_size     # and what they take of `_kept`
    cdef Allowance _described   # for options of sections and interfaces of the open files,
    cdef Allowance _pending     # for blocks that the readers keep for their next packets,
    cdef Allowance _kept        # and for what the source keeps of both
    cdef Pool _row_blocks
    cdef uint64_t _left_out     # of finished files: packets that did not match the filter,
    cdef uint64_t _blocks_left_out  # blocks between packets that were not kept,
    cdef dict _unfilterable     # link types for which the filter cannot be compiled,
    cdef uint64_t _options_left_out  # options of sections, interfaces and statistics that were not kept,
    cdef uint64_t _dropped      # packets lost while capturing,
    cdef uint64_t _bytes        # and bytes read
    cdef object _size           # total bytes of all files, or None
    cdef Py_ssize_t _max_len       # maximum bytes of a packet
    cdef int _set_up(self, dict options) except -1
    cdef int _open_part(
        self, Part part, dict options, int64_t deadline, EndPolicy end=*, bint ahead=*) except -1
    cdef bint _read_part(self, Part part, int64_t deadline) except -1
    cdef int _number(self, Part part) except -1
    cdef int _number_as(self, Part part, object info) except -1
    cdef object _affordable(self, object described, object texts)
    cdef Rows _take_run(self, Part part, Py_ssize_t count)
    cdef Rows _complete(self, Rows rows)
    cdef void _close_part(self, Part part) noexcept
    cdef int _finish(self, Part part) except -1
    cdef int _keep_late(self, Annotations trailer) except -1

cdef Part new_part(object file, Py_ssize_t order)
cdef Annotations only_others(Annotations annotations)
