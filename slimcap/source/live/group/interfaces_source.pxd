from slimcap.source.live.group.ring_group cimport Member, RingGroup
from slimcap.source.live.ring_source cimport RingSource

cdef class InterfacesSource(RingGroup):
    cdef object _choice         # InterfaceChoice
    cdef object _monitor        # LinkMonitor
    cdef object _netns          # the option
    cdef int _home              # descriptor of the namespace in which the source was opened, or -1
    cdef object _on_change
    cdef object _changes        # deque of LinkChanges to report
    cdef bint _is_outdated      # `_update` was not completed
    cdef dict _found            # index → Interface, of those chosen when they were listed last
    cdef dict _by_index         # index → Member, of those that are open
    cdef dict _numbers          # name → number
    cdef list _infos            # InterfaceInfo by number
    cdef dict _past_stats       # name → Stats of rings that were closed, and
    cdef dict _past_accounts    # name → Account of them
    cdef int _update(self, bint is_first) except -1
    cdef int _set_buffer(self, Py_ssize_t count) except -1
    cdef int _compare(self, interface, former, bint is_first) except -1
    cdef object _link_of(self, interface)
    cdef int _open_ring(self, interface, bint is_first) except -1
    cdef int _number(self, Member member, link) except -1
    cdef int _check_names(self, set names) except -1
    cdef int _add_ring(self, RingSource ring, link) except -1
    cdef int _tell(self) except -1
