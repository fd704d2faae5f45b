"""The flows of a table: an open-addressing hash table, and lists in order of the flows' last packets.

    slots    | hash, flow |             a flow is found at most MAX_PROBES - 1 slots after its home
    records  | FlowRecord |             of each flow
    states   | features |               of each flow, if there are any
    nodes    | seen | prev | next |     of each flow: its time, and its neighbours in a list

Memory for all flows is reserved at once; the kernel provides a page when a flow first uses it. Slots are
doubled when more than five of eight are used, a few with each new flow, so that no packet waits for all of
them: the homes of flows are in order of their hashes, so that the flows of the slots before `moved` are in
the new slots.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap

from slimcap.abi.branch cimport rarely
from slimcap.abi.c_library cimport aligned_alloc
from slimcap.flow.flow_key cimport FlowPacket, KeyRules, TunnelColumns, has_key, is_in_tunnel
from slimcap.flow.flow_record cimport FlowRecord

cdef enum:
    MAX_PROBES = 512        # random hashes never need as many: among a million flows one may need 150
    FIRST_SLOTS = 1024
    MOVED_AT_ONCE = 32      # slots, or more to the next one that is free
    LINE = 64               # bytes of a cache line
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
    uint8_t* states         # NULL if there are no features
    Node* nodes
    Slot* slots
    Slot* old_slots         # while they are doubled, those that have flows from `moved` on; else NULL
    uint32_t homes          # number of slots that are a home; MAX_PROBES more follow
    uint32_t old_homes
    uint32_t moved
    uint32_t max_homes
    uint32_t state_size
    uint32_t tunnel         # offset of a flow's tunnel in its state
    uint32_t max_flows
    uint32_t count
    uint32_t fresh          # number of the first node that was never used
    uint32_t free           # first of the list of free nodes; NO_FLOW if there is none


cdef inline void* new_array(size_t count, size_t item_size) noexcept nogil:
    """Allocate an array that starts at a cache line.

    It does not ask for huge pages: a fault may then wait until the kernel has moved others, for milliseconds.
    """
    return aligned_alloc(2 * LINE, (count * item_size + 2 * LINE - 1) & ~<size_t> (2 * LINE - 1))


cdef inline size_t size_of_slots(uint32_t homes) noexcept nogil:
    """Return the size of all slots: the last one is never used, so that each search ends."""
    return (<size_t> homes + MAX_PROBES + 1) * sizeof(Slot)


cdef inline Slot* new_slots(uint32_t homes) noexcept nogil:
    """Allocate empty slots: not with calloc(3), which clears memory that was used before, all at once."""
    cdef size_t size = size_of_slots(homes)
    cdef void* slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if slots == MAP_FAILED:
        return NULL
    return <Slot*> slots


cdef inline void free_slots(Slot* slots, uint32_t homes) noexcept nogil:
    if slots is not NULL:
        munmap(slots, size_of_slots(homes))


cdef inline bint open_store(
        FlowStore* store, uint32_t max_flows, uint32_t state_size, uint32_t tunnel) noexcept nogil:
    """Allocate the memory for `max_flows` flows; return False if there is not enough.

    `state_size` is that of a flow's features, `tunnel` the offset of its tunnel there.
    """
    cdef size_t nodes = <size_t> max_flows + FIRST_FLOW
    memset(store, 0, sizeof(FlowStore))
    store.max_flows, store.state_size, store.tunnel = max_flows, state_size, tunnel
    store.homes = FIRST_SLOTS
    store.max_homes = max(<uint32_t> (<uint64_t> max_flows * 8 // 5 + 1), <uint32_t> FIRST_SLOTS)
    store.records = <FlowRecord*> new_array(nodes, sizeof(FlowRecord))
    store.nodes = <Node*> new_array(nodes, sizeof(Node))
    store.slots = new_slots(store.homes)
    if state_size:
        store.states = <uint8_t*> new_array(nodes, state_size)
    if (store.records is NULL or store.nodes is NULL or store.slots is NULL
            or state_size and store.states is NULL):
        close_store(store)
        return False
    store.fresh = FIRST_FLOW
    store.records[NO_FLOW].ip_version = 0
    store.nodes[OPEN_FLOWS].prev = store.nodes[OPEN_FLOWS].next = OPEN_FLOWS
    store.nodes[CLOSED_FLOWS].prev = store.nodes[CLOSED_FLOWS].next = CLOSED_FLOWS
    return True


cdef inline uint8_t* state_of(const FlowStore* store, uint32_t flow) noexcept nogil:
    return store.states + <size_t> flow * store.state_size


cdef inline void close_store(FlowStore* store) noexcept nogil:
    free(store.records)
    free(store.states)
    free(store.nodes)
    free_slots(store.slots, store.homes)
    free_slots(store.old_slots, store.old_homes)
    memset(store, 0, sizeof(FlowStore))


# ---- slots

cdef inline size_t home_of(uint32_t homes, uint32_t hash) noexcept nogil:
    """Return the slot at which the search for a hash starts: in order of the hashes."""
    return <size_t> (<uint64_t> hash * homes >> 32)


cdef inline bint is_in_old(const FlowStore* store, uint32_t hash) noexcept nogil:
    """Return True if a flow with this hash is, or would be, in the old slots."""
    return rarely(store.old_slots is not NULL) and home_of(store.old_homes, hash) >= store.moved


cdef inline Slot* first_slot(const FlowStore* store, uint32_t hash) noexcept nogil:
    """Return the slot at which the search for a hash starts."""
    if rarely(is_in_old(store, hash)):
        return store.old_slots + home_of(store.old_homes, hash)
    return store.slots + home_of(store.homes, hash)


cdef inline const TunnelColumns* tunnel_of_flow(const FlowStore* store, uint32_t flow) noexcept nogil:
    """Return the tunnel of a flow, if that is a part of the key."""
    return <const TunnelColumns*> (state_of(store, flow) + store.tunnel)


cdef inline bint is_flow_of(
        const FlowStore* store, uint32_t flow, const FlowPacket* packet, const KeyRules* rules,
        uint32_t* reverse) noexcept nogil:
    """Return True if a packet belongs to a flow; set `reverse` to 1 if the flow's `dst` sent it."""
    return has_key(&store.records[flow], packet, rules, reverse) and (
        not rarely(rules.has_tunnel) or is_in_tunnel(tunnel_of_flow(store, flow), packet, reverse[0]))


cdef inline uint32_t find_flow(
        const FlowStore* store, const FlowPacket* packet, const KeyRules* rules,
        uint32_t* reverse) noexcept nogil:
    """Return the flow of a packet, or NO_FLOW; set `reverse` to 1 if the flow's `dst` sent the packet."""
    cdef const Slot* slot = first_slot(store, packet.hash)
    cdef const Slot* end = slot + MAX_PROBES
    while slot.flow != NO_FLOW and slot < end:
        if slot.hash == packet.hash and is_flow_of(store, slot.flow, packet, rules, reverse):
            return slot.flow
        slot += 1
    return NO_FLOW


cdef inline Slot* free_slot(Slot* slot) noexcept nogil:
    """Return the slot for a flow whose search starts at `slot`; NULL if all that it may have are used."""
    cdef Slot* end = slot + MAX_PROBES
    while slot < end:
        if slot.flow == NO_FLOW:
            return slot
        slot += 1
    return NULL


cdef inline void start_growing(FlowStore* store) noexcept nogil:
    """Double the number of slots. Without memory for that they stay as they are, and get full."""
    cdef uint32_t homes = <uint32_t> min(<uint64_t> store.homes * 2, <uint64_t> store.max_homes)
    cdef Slot* slots = new_slots(homes)
    if slots is NULL:
        store.max_homes = store.homes
        return
    store.old_slots, store.old_homes, store.moved = store.slots, store.homes, 0
    store.slots, store.homes = slots, homes


cdef inline void remove_slot(FlowStore* store, uint32_t flow, uint32_t hash) noexcept nogil:
    """Remove a flow's slot, and move later ones closer to their homes."""
    cdef bint is_old = is_in_old(store, hash)
    cdef Slot* slots = store.old_slots if is_old else store.slots
    cdef uint32_t homes = store.old_homes if is_old else store.homes
    cdef Slot* hole = slots + home_of(homes, hash)
    cdef Slot* slot
    while hole.flow != flow:
        hole += 1
    slot = hole + 1
    while slot.flow != NO_FLOW:
        if slots + home_of(homes, slot.hash) <= hole:
            hole[0] = slot[0]
            hole = slot
        slot += 1
    hole.flow = NO_FLOW


cdef inline uint32_t unseen_longest(const FlowStore* store, const Slot* slot) noexcept nogil:
    """Return the flow which had no packet for the longest time, of those in MAX_PROBES slots, all used."""
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
    store.records[flow].ip_version = 0      # no packet belongs to it from now on
    store.nodes[flow].next = store.free
    store.free = flow
    store.count -= 1
