"""Instructions of classic BPF (linux/bpf_common.h and linux/filter.h)."""

cdef extern from "linux/filter.h" nogil:
    enum: BPF_LD, BPF_LDX, BPF_ST, BPF_STX, BPF_ALU, BPF_JMP, BPF_RET, BPF_MISC
    enum: BPF_W, BPF_H, BPF_B
    enum: BPF_IMM, BPF_ABS, BPF_IND, BPF_MEM, BPF_LEN, BPF_MSH
    enum: BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR, BPF_AND, BPF_LSH, BPF_RSH, BPF_NEG, BPF_MOD, BPF_XOR
    enum: BPF_JA, BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET
    enum: BPF_K, BPF_X, BPF_A, BPF_TAX, BPF_TXA
    enum: BPF_MEMWORDS

    # Bases of special load offsets: the kernel's metadata of the packet, its network header, its first byte.
    # They are negative in C; as unsigned offsets they are close to 2^32.
    enum: SKF_AD_OFF, SKF_NET_OFF, SKF_LL_OFF
    enum: SKF_AD_PROTOCOL, SKF_AD_PKTTYPE, SKF_AD_IFINDEX, SKF_AD_NLATTR, SKF_AD_NLATTR_NEST, SKF_AD_MARK
    enum: SKF_AD_QUEUE, SKF_AD_HATYPE, SKF_AD_RXHASH, SKF_AD_CPU, SKF_AD_ALU_XOR_X, SKF_AD_VLAN_TAG
    enum: SKF_AD_VLAN_TAG_PRESENT, SKF_AD_PAY_OFFSET, SKF_AD_RANDOM, SKF_AD_VLAN_TPID, SKF_AD_MAX

cdef enum:
    # Opcodes of complete instructions.
    LD_W_ABS = BPF_LD | BPF_W | BPF_ABS
    LD_H_ABS = BPF_LD | BPF_H | BPF_ABS
    LD_B_ABS = BPF_LD | BPF_B | BPF_ABS
    LD_W_IND = BPF_LD | BPF_W | BPF_IND
    LD_H_IND = BPF_LD | BPF_H | BPF_IND
    LD_B_IND = BPF_LD | BPF_B | BPF_IND
    LD_IMM = BPF_LD | BPF_IMM
    LD_LEN = BPF_LD | BPF_W | BPF_LEN
    LD_MEM = BPF_LD | BPF_MEM
    LDX_IMM = BPF_LDX | BPF_IMM
    LDX_LEN = BPF_LDX | BPF_W | BPF_LEN
    LDX_MEM = BPF_LDX | BPF_MEM
    LDX_MSH = BPF_LDX | BPF_B | BPF_MSH
    ST = BPF_ST
    STX = BPF_STX
    JA = BPF_JMP | BPF_JA
    JEQ_K = BPF_JMP | BPF_JEQ | BPF_K
    JGT_K = BPF_JMP | BPF_JGT | BPF_K
    JGE_K = BPF_JMP | BPF_JGE | BPF_K
    JSET_K = BPF_JMP | BPF_JSET | BPF_K
    JEQ_X = BPF_JMP | BPF_JEQ | BPF_X
    JGT_X = BPF_JMP | BPF_JGT | BPF_X
    JGE_X = BPF_JMP | BPF_JGE | BPF_X
    JSET_X = BPF_JMP | BPF_JSET | BPF_X
    RET_K = BPF_RET | BPF_K
    RET_A = BPF_RET | BPF_A
    TAX = BPF_MISC | BPF_TAX
    TXA = BPF_MISC | BPF_TXA
