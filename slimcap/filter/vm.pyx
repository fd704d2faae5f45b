"""Interpreter of classic BPF programs, with the same results as the kernel or libpcap.

A program has two registers, A and X, and 16 words of scratch memory. It was checked as by the kernel
(program.py), so that only loads from the packet are checked at run time. Jumps lead forward, so the program
terminates. The exception is libpcap's `protochain`, which jumps back; a run allows one backward jump for each
captured byte.

There are two modes:

- as libpcap's pcap_offline_filter(): a program sees the packet's bytes only. A load of anything else ends the
  program with 0.
- as the kernel (net/core/filter.c: bpf_convert_filter(), convert_bpf_extensions()): a program also sees
  metadata, at offsets near 2^32:

      0          2^31        SKF_LL_OFF       SKF_NET_OFF               SKF_AD_OFF    2^32
      | packet    | nothing   | packet again   | from network header on   | ancillary    |
"""
cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cimport slimcap.wire.ethernet as ethernet
cimport slimcap.wire.vlan as vlan
from slimcap.abi.bpf cimport (
    BPF_ADD,
    BPF_AND,
    BPF_DIV,
    BPF_LSH,
    BPF_MEMWORDS,
    BPF_MOD,
    BPF_MUL,
    BPF_OR,
    BPF_RSH,
    BPF_SUB,
    BPF_X,
    BPF_XOR,
    JA,
    JEQ_K,
    JEQ_X,
    JGE_K,
    JGE_X,
    JGT_K,
    JGT_X,
    JSET_K,
    JSET_X,
    LD_B_ABS,
    LD_B_IND,
    LD_H_ABS,
    LD_H_IND,
    LD_IMM,
    LD_LEN,
    LD_MEM,
    LD_W_ABS,
    LD_W_IND,
    LDX_IMM,
    LDX_LEN,
    LDX_MEM,
    LDX_MSH,
    RET_A,
    RET_K,
    SKF_AD_ALU_XOR_X,
    SKF_AD_HATYPE,
    SKF_AD_IFINDEX,
    SKF_AD_NLATTR,
    SKF_AD_NLATTR_NEST,
    SKF_AD_OFF,
    SKF_AD_PAY_OFFSET,
    SKF_AD_PKTTYPE,
    SKF_AD_PROTOCOL,
    SKF_AD_RANDOM,
    SKF_AD_VLAN_TAG,
    SKF_AD_VLAN_TAG_PRESENT,
    SKF_AD_VLAN_TPID,
    SKF_LL_OFF,
    SKF_NET_OFF,
    ST,
    STX,
    TAX,
    TXA,
)
from slimcap.abi.branch cimport predicted
from slimcap.abi.bytes cimport be16, be32
from slimcap.abi.linux cimport sock_filter

from slimcap.errors import FilterError, integer
from slimcap.filter.program import pack

cdef enum:
    LOOP = JA | BPF_X           # backward jump; no valid instruction has this code, or one above 0xff
    ANCILLARY = 0x100           # codes of ancillary loads; the kernel replaces theirs, too (bpf_anc_helper())
    OPERATION = 0xf0            # BPF_OP()
    ARPHRD_ETHER = 1

_KERNEL_ONLY = {
    <int> SKF_AD_NLATTR: "netlink attributes",
    <int> SKF_AD_NLATTR_NEST: "nested netlink attributes",
    <int> SKF_AD_PAY_OFFSET: "the payload offset of the flow dissector",
    <int> SKF_AD_RANDOM: "random numbers",
}


@cython.final
cdef class Machine:
    """An executable BPF program, with the results that the kernel, or libpcap on a file, would give.

    It has no state that survives a packet, and may be used by any number of threads at once.

    Ancillary loads return the arguments of `run`: protocol, pkttype, ifindex, hatype, vlan_tag,
    vlan_tag_present, vlan_tpid. mark, queue, rxhash and cpu are 0, as for a packet that was not marked or
    hashed; alu_xor_x requires no argument.

    Parameters
    ----------
    program : iterable of (code, jt, jf, k)
        A program that the kernel accepts, or that libpcap compiled for a file: such a program may jump back.

    Raises
    ------
    FilterError
        The program is not valid; or it loads netlink attributes, the payload's offset or random numbers,
        which only the kernel has.

    Examples
    --------
    >>> machine = slimcap.filter.Machine(slimcap.filter.accept(64))
    >>> machine.run(bytes(60))
    64
    """

    def __cinit__(self, program):
        cdef bytes packed = pack(program, loops=True)
        cdef Py_ssize_t index
        cdef sock_filter* step
        self._length = len(packed) // sizeof(sock_filter)
        self._steps = <sock_filter*> PyMem_RawMalloc(len(packed))
        if self._steps is NULL:
            raise MemoryError(f"cannot allocate {len(packed)} bytes")
        memcpy(self._steps, <const char*> packed, len(packed))
        for index in range(self._length):
            step = &self._steps[index]
            if step.code in (LD_W_ABS, LD_H_ABS, LD_B_ABS) and step.k >= <uint32_t> SKF_AD_OFF:
                _make_ancillary(step, index)
            elif step.code == JA and step.k >= self._length:
                step.code = LOOP
                step.k = 0 - step.k

    def __dealloc__(self):
        PyMem_RawFree(self._steps)

    def __len__(self):
        return self._length

    def __repr__(self):
        return f"<Machine: {self._length} instructions>"

    def __reduce__(self):
        raise TypeError("a Machine cannot be pickled: pickle its program instead")

    def run(
            self, const uint8_t[::1] data, wire_len=None, *, pkt_type=None, protocol=None, ifindex=None,
            hatype=None, vlan_tci=None, vlan_tpid=None, network=None):
        """Run the program for one packet.

        With `data` and `wire_len` only, it runs as by libpcap on a file. If any other argument is given, it
        runs as by the kernel. Arguments that are not given then have the values of an untagged packet to this
        host, received from an Ethernet interface with index 0.

        Parameters
        ----------
        data : buffer of uint8, shape (n,)
            The captured bytes, from the link-layer header on.
        wire_len : int, optional
            Length on the wire in bytes. Default: n.
        pkt_type : int, optional
            A PacketType. Default: THIS_HOST.
        protocol : int, optional
            EtherType. Default: 0.
        ifindex : int, optional
            Index of the interface. Default: 0.
        hatype : int, optional
            Type of the interface, ARPHRD_. Default: 1 (ARPHRD_ETHER).
        vlan_tci : int, optional
            TCI of the VLAN tag that the kernel removed. Default: it removed none.
        vlan_tpid : int, optional
            TPID of that tag; ignored without `vlan_tci`. Default: 0x8100.
        network : int, optional
            Offset of the network header in bytes, the base of loads at SKF_NET_OFF. Default: 14.

        Returns
        -------
        int
            Number of bytes to capture of the packet, which may be larger than n; 0 to drop it.

        Raises
        ------
        ValueError
            `wire_len` is less than n.
        OverflowError
            A number does not fit in its field.
        """
        cdef const uint8_t* p = &data[0] if data.shape[0] else NULL
        cdef uint32_t cap_len = data.shape[0]
        cdef uint32_t length = cap_len if wire_len is None else integer("wire_len", wire_len)
        cdef PacketMeta meta
        if data.shape[0] > <Py_ssize_t> 0xffffffff or length < cap_len:
            raise ValueError(
                f"wire_len must be at least {data.shape[0]}, the number of bytes captured, not {length}")
        known = pkt_type, protocol, ifindex, hatype, vlan_tci, vlan_tpid, network
        if all(value is None for value in known):
            return self._run(p, cap_len, length, NULL)
        meta.pkt_type = _index("pkt_type", pkt_type, 0)
        meta.protocol = _index("protocol", protocol, 0)
        meta.ifindex = _index("ifindex", ifindex, 0)
        meta.hatype = _index("hatype", hatype, ARPHRD_ETHER)
        meta.vlan_present = vlan_tci is not None
        meta.vlan_tci = _index("vlan_tci", vlan_tci, 0)
        meta.vlan_tpid = 0 if vlan_tci is None else _index("vlan_tpid", vlan_tpid, vlan.TPID_CUSTOMER)
        meta.network = _index("network", network, ethernet.LEN)
        return self._run(p, cap_len, length, &meta)

    cdef uint32_t _run(
            self, const uint8_t* data, uint32_t cap_len, uint32_t wire_len,
            const PacketMeta* meta) noexcept nogil:
        return execute(self._steps, data, cap_len, wire_len, meta)


cdef object _index(str name, object value, object default):
    """Return an argument that must be an integer, or the default for None."""
    return default if value is None else integer(name, value)


cdef int _make_ancillary(sock_filter* step, Py_ssize_t index) except -1:
    """Replace the code of an ancillary load by one of our own. The size of the load does not matter."""
    cdef int load = <int> (step.k - <uint32_t> SKF_AD_OFF)
    if load in _KERNEL_ONLY:
        raise FilterError(f"instruction {index}: loads {_KERNEL_ONLY[load]}, which only the kernel has")
    step.code = <uint16_t> (ANCILLARY | load)
    return 0


cdef uint32_t execute(
        const sock_filter* step, const uint8_t* data, uint32_t cap_len, uint32_t wire_len,
        const PacketMeta* meta) noexcept nogil:
    """Run a program and return the number of bytes to capture.

    `step` is the first instruction, of a Machine that the caller keeps alive. The packet is the `cap_len`
    bytes at `data`. With `meta` the program runs as by the kernel; with NULL, as by libpcap on a file.
    """
    cdef uint32_t a = 0
    cdef uint32_t x = 0
    cdef uint32_t memory[BPF_MEMWORDS]
    cdef const sock_filter* current
    cdef const uint8_t* p
    cdef uint32_t k, operand
    cdef uint32_t loops_left = cap_len
    cdef int code
    while True:
        current = step
        step += 1
        code = current.code
        k = current.k
        if code == LD_W_ABS:
            p = _locate(data, cap_len, k, 4, meta)
            if p is NULL:
                return 0
            a = be32(p)
        elif code == LD_W_IND:
            p = _locate(data, cap_len, <uint64_t> x + k, 4, meta)
            if p is NULL:
                return 0
            a = be32(p)
        elif code == LD_H_ABS:
            p = _locate(data, cap_len, k, 2, meta)
            if p is NULL:
                return 0
            a = be16(p)
        elif code == LD_H_IND:
            p = _locate(data, cap_len, <uint64_t> x + k, 2, meta)
            if p is NULL:
                return 0
            a = be16(p)
        elif code == LD_B_ABS:
            p = _locate(data, cap_len, k, 1, meta)
            if p is NULL:
                return 0
            a = p[0]
        elif code == LD_B_IND:
            p = _locate(data, cap_len, <uint64_t> x + k, 1, meta)
            if p is NULL:
                return 0
            a = p[0]
        elif code == LDX_MSH:
            p = _locate(data, cap_len, k, 1, meta)
            if p is NULL:
                return 0
            x = (p[0] & 0xf) * 4
        elif code == JEQ_K:
            step += current.jt if predicted(a == k, False) else current.jf
        elif code == JGT_K:
            step += current.jt if predicted(a > k, False) else current.jf
        elif code == JGE_K:
            step += current.jt if predicted(a >= k, False) else current.jf
        elif code == JSET_K:
            step += current.jt if predicted(a & k, False) else current.jf
        elif code == JEQ_X:
            step += current.jt if predicted(a == x, False) else current.jf
        elif code == JGT_X:
            step += current.jt if predicted(a > x, False) else current.jf
        elif code == JGE_X:
            step += current.jt if predicted(a >= x, False) else current.jf
        elif code == JSET_X:
            step += current.jt if predicted(a & x, False) else current.jf
        elif code == JA:
            step += k
        elif code == LOOP:
            if loops_left == 0:
                return 0
            loops_left -= 1
            step -= k
        elif code == RET_K:
            return k
        elif code == RET_A:
            return a
        elif code == LD_IMM:
            a = k
        elif code == LD_LEN:
            a = wire_len
        elif code == LD_MEM:
            a = memory[k]
        elif code == LDX_IMM:
            x = k
        elif code == LDX_LEN:
            x = wire_len
        elif code == LDX_MEM:
            x = memory[k]
        elif code == ST:
            memory[k] = a
        elif code == STX:
            memory[k] = x
        elif code == TAX:
            x = a
        elif code == TXA:
            a = x
        else:
            # The conditions above must all have the same form to be compiled to a switch.
            if code < ANCILLARY:
                operand = x if code & BPF_X else k
                if operand == 0 and _divides(code):
                    return 0
                a = _compute(code & OPERATION, a, operand, meta is not NULL)
            elif meta is NULL:
                return 0
            else:
                a = _ancillary(code - ANCILLARY, a, x, meta)


cdef inline const uint8_t* _locate(
        const uint8_t* data, uint32_t cap_len, uint64_t offset, uint32_t size,
        const PacketMeta* meta) noexcept nogil:
    """Return the address that a load of `size` bytes reads; NULL if it is out of bounds."""
    if offset + size <= cap_len:
        return data + offset
    if meta is not NULL:
        return _locate_outside(data, cap_len, <uint32_t> offset, size, meta.network)
    return NULL


cdef const uint8_t* _locate_outside(
        const uint8_t* data, uint32_t cap_len, uint32_t offset, uint32_t size,
        uint64_t network) noexcept nogil:
    """Return the address that the kernel reads for an offset outside the packet; NULL if it is out of bounds.

    See bpf_internal_load_pointer_neg_helper(). Offsets have 32 bits, so that X + k may wrap around to an
    offset in the packet.
    """
    cdef uint64_t position = offset
    if offset >= <uint32_t> SKF_NET_OFF:
        position = network + (offset - <uint32_t> SKF_NET_OFF)
    elif offset >= <uint32_t> SKF_LL_OFF:
        position = offset - <uint32_t> SKF_LL_OFF
    return data + position if position + size <= cap_len else NULL


cdef inline bint _divides(int code) noexcept nogil:
    return code & OPERATION == BPF_DIV or code & OPERATION == BPF_MOD


cdef inline uint32_t _compute(int operation, uint32_t a, uint32_t operand, bint kernel) noexcept nogil:
    """Return `a` operation `operand`. A divisor must not be 0.

    In C, a shift by 32 or more is undefined. libpcap's result is then 0; the kernel uses the number modulo
    32, as processors do (kernel/bpf/core.c: ___bpf_prog_run()).
    """
    if operation == BPF_AND:
        return a & operand
    elif operation == BPF_ADD:
        return a + operand
    elif operation == BPF_SUB:
        return a - operand
    elif operation == BPF_MUL:
        return a * operand
    elif operation == BPF_DIV:
        return a // operand
    elif operation == BPF_MOD:
        return a % operand
    elif operation == BPF_OR:
        return a | operand
    elif operation == BPF_XOR:
        return a ^ operand
    elif operation == BPF_LSH:
        return a << (operand & 31) if kernel or operand < 32 else 0
    elif operation == BPF_RSH:
        return a >> (operand & 31) if kernel or operand < 32 else 0
    else:  # BPF_NEG
        return 0 - a


cdef uint32_t _ancillary(int load, uint32_t a, uint32_t x, const PacketMeta* meta) noexcept nogil:
    """Return the result of an ancillary load (convert_bpf_extensions())."""
    if load == SKF_AD_PROTOCOL:
        return meta.protocol
    if load == SKF_AD_PKTTYPE:
        return meta.pkt_type
    if load == SKF_AD_IFINDEX:
        return meta.ifindex
    if load == SKF_AD_HATYPE:
        return meta.hatype
    if load == SKF_AD_ALU_XOR_X:
        return a ^ x
    if load == SKF_AD_VLAN_TAG:
        return meta.vlan_tci
    if load == SKF_AD_VLAN_TAG_PRESENT:
        return meta.vlan_present
    if load == SKF_AD_VLAN_TPID:
        return meta.vlan_tpid
    return 0  # mark, queue, rxhash, cpu
