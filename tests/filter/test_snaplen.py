"""Snaplens of programs, and strategies that choose one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from slimcap.errors import FilterError
from slimcap.filter import (
    DROP,
    accept,
    compile_expression,
    fixed,
    ip_only,
    minimal_ipv4_header,
    minimal_ipv4_transport,
    minimal_ipv6_header,
    minimal_ipv6_transport,
    resolve,
    with_snaplen,
)
from support.bpf_oracles import (
    ETHERNET,
    JMP,
    RAW,
    RET,
    RETURN_A,
    TAKE,
    interpret,
)
from support.builders.layers import PPPOE_SESSION, QINQ, TCP, VLAN, ipv4, ipv6
from support.builders.links import ethernet, ppp, pppoe


def test_with_snaplen_lowers_returned_constants() -> None:
    program = ((JMP | 0x10, 1, 0, 0), (RET, 0, 0, 0), (JMP | 0x10, 1, 0, 0), (RET, 0, 0, 60), TAKE)
    assert with_snaplen(program, 96) == (*program[:-1], (RET, 0, 0, 96))
    assert [one[3] for one in with_snaplen(program, 1) if one[0] == RET] == [0, 1, 1]
    assert with_snaplen(program, 262144) == program
    assert with_snaplen(DROP, 10) == DROP


def test_with_snaplen_refuses_computed_lengths() -> None:
    with pytest.raises(FilterError, match=r"instruction 1 .*computed"):
        with_snaplen(RETURN_A, 96)


def calls_with_snaplen(snaplen: int) -> Iterator[Callable[[], object]]:
    yield lambda: accept(snaplen)
    yield lambda: with_snaplen(DROP, snaplen)
    yield lambda: ip_only(ETHERNET, snaplen=snaplen)
    yield lambda: ip_only(147, snaplen=snaplen)
    yield lambda: fixed(snaplen)
    yield lambda: resolve(snaplen, ETHERNET)
    yield lambda: resolve(lambda link_type: snaplen, ETHERNET)
    yield lambda: compile_expression("ip", ETHERNET, snaplen=snaplen)


@pytest.mark.parametrize("snaplen", [0, -1, 262145, 1 << 32])
def test_snaplen_out_of_range_is_refused(snaplen: int) -> None:
    for call in calls_with_snaplen(snaplen):
        with pytest.raises(FilterError, match=f"1 to 262144 bytes, not {snaplen}$"):
            call()


def test_snaplen_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError):
        resolve(96.0, ETHERNET)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        resolve(lambda link_type: "96", ETHERNET)  # type: ignore[arg-type, return-value]


def test_strategies_give_the_snaplen_for_a_link_type() -> None:
    strategies = minimal_ipv4_header, minimal_ipv6_header, minimal_ipv4_transport, minimal_ipv6_transport
    assert [resolve(strategy, RAW) for strategy in strategies] == [20, 40, 74, 54]
    assert [resolve(strategy, ETHERNET) for strategy in strategies] == [50, 70, 104, 84]
    assert resolve(fixed(48), 147) == resolve(48, 147) == 48
    for strategy in strategies:
        with pytest.raises(FilterError, match="link type 147: give a number"):
            resolve(strategy, 147)


def test_strategies_reach_the_end_of_the_longest_headers() -> None:
    """The longest headers that `ip_only` looks into, around a TCP header."""
    tags = [(QINQ, 1), (VLAN, 2)]
    four = ipv4(b"PORTS SEQ. ACK.5F", TCP, "192.0.2.1", "192.0.2.2", options=b"\x01" * 40)
    six = ipv6(b"PORTS SEQ. ACK.5F", TCP, "2001:db8::1", "2001:db8::2")
    program = ip_only(ETHERNET)
    assert program
    for packet, strategy in ((four, minimal_ipv4_transport), (six, minimal_ipv6_transport)):
        frame = ethernet(pppoe(ppp(packet)), PPPOE_SESSION, tags=tags)
        assert interpret(program, frame)
        assert frame[: strategy(ETHERNET)].endswith(b"PORTS SEQ. ACK")
        assert packet[: strategy(RAW)].endswith(b"PORTS SEQ. ACK")
