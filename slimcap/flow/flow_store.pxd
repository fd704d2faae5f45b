"""The flows of a table: an open-addressing hash table, and lists in order of the flows' last packets.

    slots    | hash, flow |             a flow is found at most MAX_PROBES - 1 slots after its home
    records  | FlowRecord |             of each flow
    nodes    | seen | prev | next |     of each flow: its time, and its neighbours in a list

Memory for all flows is reserved at once; the kernel provides a page when a flow first uses it. Slots are
doubled when more than five of eight are used. The homes of flows are in order of their hashes, so that this
copies the slots from start to end.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from slimcap.abi.branch cimport rarely
from slimcap.abi.c_library cimport aligned_alloc
from slimcap.flow.flow_key cimport FlowPacket, KeyRules, has_key
from slimcap.flow.flow_record cimport FlowRecord

cdef enum:
    MAX_PROBES = 512        # random hashes never need as many: among a million flows one may need 150
    FIRST_SLOTS = 1024
    # Numbers of nodes. The first two are the heads of the lists; next to them are the flows unseen longest.
    NO_FLOW = 0             # also a slot without a flow
    OPEN_FLOWS = 0
    CLOSED_FLOWS = 1        # TCP connections that were closed
    FIRST_FLOW = 2

cdef struct Slot:
    uint32_t hash
    uint32_t flow

cdef struct Node:
    int64_t seen            # time of the table at the flow's last packet
    uint32_t prev
    uint32_t next           # also of the list of free nodes

cdef struct FlowStore:
    FlowRecord* records
    Node* nodes
    Slot* slots
    uint32_t homes          # number of slots that are a home; MAX_PROBES more follow
    uint32_t max_homes
    uint32_t max_flows
    uint32_t count
    uint32_t fresh          # number of the first node that was never used
    uint32_t free           # first of the list of free nodes; NO_FLOW if there is none


cdef inline Slot* new_slots(uint32_t homes) noexcept nogil:
    """Allocate empty slots; the last one is never used, so that each search ends."""
    return <Slot*> calloc(<size_t> homes + MAX_PROBES + 1, sizeof(Slot))


cdef inline bint open_store(FlowStore* store, uint32_t max_flows) noexcept nogil:
    """Allocate the memory for `max_flows` flows; return False if there is not enough."""
    cdef size_t nodes = <size_t> max_flows + FIRST_FLOW
    memset(store, 0, sizeof(FlowStore))
    store.max_flows = max_flows
    store.homes = FIRST_SLOTS
    store.max_homes = max(<uint32_t> (<uint64_t> max_flows * 8 // 5 + 1), <uint32_t> FIRST_SLOTS)
    store.records = <FlowRecord*> aligned_alloc(sizeof(FlowRecord), nodes * sizeof(FlowRecord))
    store.nodes = <Node*> aligned_alloc(sizeof(Node), nodes * sizeof(Node))
    store.slots = new_slots(store.homes)
    if store.records is NULL or store.nodes is NULL or store.slots is NULL:
        close_store(store)
        return False
    store.fresh = FIRST_FLOW
    store.nodes[OPEN_FLOWS].prev = store.nodes[OPEN_FLOWS].next = OPEN_FLOWS
    store.nodes[CLOSED_FLOWS].prev = store.nodes[CLOSED_FLOWS].next = CLOSED_FLOWS
    return True


cdef inline void close_store(FlowStore* store) noexcept nogil:
    free(store.records)
    free(store.nodes)
    free(store.slots)
    memset(store, 0, sizeof(FlowStore))


# ---- slots

cdef inline size_t home_of(uint32_t homes, uint32_t hash) noexcept nogil:
    """Return the slot at which the search for a hash starts: in order of the hashes."""
    return <size_t> (<uint64_t> hash * homes >> 32)


cdef inline uint32_t find_flow(
        const FlowStore* store, const FlowPacket* packet, const KeyRules* rules,
        uint32_t* reverse) noexcept nogil:
    """Return the flow of a packet, or NO_FLOW; set `reverse` to 1 if the flow's `dst` sent the packet."""
    cdef const Slot* slot = store.slots + home_of(store.homes, packet.hash)
    cdef const Slot* end = slot + MAX_PROBES
    while slot.flow != NO_FLOW and slot < end:
        if slot.hash == packet.hash and has_key(&store.records[slot.flow], packet, rules, reverse):
            return slot.flow
        slot += 1
    return NO_FLOW


cdef inline Slot* free_slot(Slot* slots, uint32_t homes, uint32_t hash) noexcept nogil:
    """Return the slot for a flow with this hash; NULL if all that it may have are used."""
    cdef Slot* slot = slots + home_of(homes, hash)
    cdef Slot* end = slot + MAX_PROBES
    while slot < end:
        if slot.flow == NO_FLOW:
            return slot
        slot += 1
    return NULL


cdef inline void grow_slots(FlowStore* store) noexcept nogil:
    """Double the number of slots. Without memory for that they stay as they are, and get full."""
    cdef uint32_t homes = <uint32_t> min(<uint64_t> store.homes * 2, <uint64_t> store.max_homes)
    cdef Slot* slots = new_slots(homes)
    cdef Slot* target
    cdef size_t index
    if slots is not NULL:
        for index in range(<size_t> store.homes + MAX_PROBES):
            if store.slots[index].flow == NO_FLOW:
                continue
            target = free_slot(slots, homes, store.slots[index].hash)
            if target is NULL:
                free(slots)
                slots = NULL
                break
            target[0] = store.slots[index]
    if slots is NULL:
        store.max_homes = store.homes
        return
    free(store.slots)
    store.slots, store.homes = slots, homes


cdef inline void remove_slot(FlowStore* store, uint32_t flow, uint32_t hash) noexcept nogil:
    """Remove a flow's slot, and move later ones closer to their homes."""
    cdef Slot* slots = store.slots
    cdef size_t hole = home_of(store.homes, hash), index
    while slots[hole].flow != flow:
        hole += 1
    index = hole + 1
    while slots[index].flow != NO_FLOW:
        if home_of(store.homes, slots[index].hash) <= hole:
            slots[hole] = slots[index]
            hole = index
        index += 1
    slots[hole].flow = NO_FLOW


cdef inline uint32_t unseen_longest(const FlowStore* store, uint32_t hash) noexcept nogil:
    """Return the flow, of those in the slots that a hash may have, which had no packet for the longest time.

    All of these slots are used.
    """
    cdef const Slot* slot = store.slots + home_of(store.homes, hash)
    cdef uint32_t found = slot.flow
    cdef int index
    for index in range(MAX_PROBES):
        if store.nodes[slot[index].flow].seen < store.nodes[found].seen:
            found = slot[index].flow
    return found


# ---- lists

cdef inline void unlink_node(Node* nodes, uint32_t flow) noexcept nogil:
    nodes[nodes[flow].prev].next = nodes[flow].next
    nodes[nodes[flow].next].prev = nodes[flow].prev


cdef inline void append_node(Node* nodes, uint32_t flow, uint32_t head) noexcept nogil:
    cdef uint32_t last = nodes[head].prev
    nodes[flow].prev, nodes[flow].next = last, head
    nodes[last].next = nodes[head].prev = flow


cdef inline uint32_t take_node(FlowStore* store) noexcept nogil:
    """Return a free node; fewer than `max_flows` are used."""
    cdef uint32_t flow = store.free
    store.count += 1
    if flow != NO_FLOW:
        store.free = store.nodes[flow].next
        return flow
    store.fresh += 1
    return store.fresh - 1


cdef inline void give_node(FlowStore* store, uint32_t flow) noexcept nogil:
    store.nodes[flow].next = store.free
    store.free = flow
    store.count -= 1
