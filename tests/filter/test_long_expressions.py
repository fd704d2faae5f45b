"""Long expressions: compiled in parts, and interrupted by signals."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slimcap import FilterError, read
from slimcap.filter import Machine, build_program, compile_expression
from slimcap.filter.alternatives import match_any, split_alternatives
from slimcap.mock import MockRingSource
from support.bpf_oracles import ETHERNET, LibpcapMachine
from support.samples import DATA
from support.threads import Background
from support.traffic import ethernet, udp, udp6

MANY = 120


def hosts(count: int, first: int = 0) -> list[str]:
    return [f"host 10.{i >> 8}.{i & 255}.1" for i in range(first, first + count)]


@pytest.mark.parametrize(
    "expression",
    [
        "host 192.0.2.1",
        " or ".join(hosts(50)),
        " or ".join([*hosts(MANY), "tcp and udp"]),
        " or ".join(["vlan", *hosts(MANY)]),
        " or ".join([*hosts(MANY), "not ip"]),
        " or ".join([*hosts(MANY), "src or dst port 80"]),
        " or ".join([*hosts(MANY), "tcp[0] = 1"]),
        " or ".join([*hosts(MANY), "net 10.0.0.0 mask 255.0.0.0"]),
        f"({' or '.join(hosts(MANY))}) and tcp",
        " or ".join([*hosts(MANY), ""]),
        " or ".join(["host 10.0.0.1", *["tcp"] * MANY]),
    ],
)
def test_what_is_not_a_long_list_of_alternatives_stays_whole(expression: str) -> None:
    assert split_alternatives(expression) == [expression]


def test_alternatives_are_split_before_terms_that_stand_alone() -> None:
    parts = split_alternatives(" or ".join(hosts(101)))
    assert [part.count("host") for part in parts] == [50, 50, 1]
    parts = split_alternatives("tcp src port " + " || ".join(map(str, range(1, 102))))
    assert [part[: part.index(" or ")] for part in parts[:2]] == ["tcp src port 1", "tcp src port 51"]
    assert parts[2] == "tcp src port 101"
    names = ["host 10.0.0.1", *[f"10.0.0.{i}" for i in range(2, 60)], "tcp", *hosts(1)]
    assert split_alternatives(" or ".join(names))[1].startswith("host 10.0.0.51 or ")


def test_long_lists_match_as_the_whole_expression_does() -> None:
    """libpcap's program for the whole expression is the oracle; all kinds of terms in random order."""
    rng = random.Random(7)
    batch = read(DATA / "mixed.pcap")
    frames = [bytes(batch.payload(index)) for index in range(len(batch))]
    frames += [frame[:cut] for frame in frames[:20] for cut in range(60)]
    selective = 0
    for _ in range(6):
        terms = [f"host {rng.randrange(256)}.0.0.{i}" for i in range(60)]
        terms += ["host 10.0.0.1", "src host 10.0.0.2 or 10.0.0.3", "tcp dst port 443 or 80", "icmp6"]
        terms += ["ip6 net 2001:db8::/64", "portrange 60-70 or 100-110", "less 50", "ether proto 0x88cc"]
        rng.shuffle(terms)
        chosen = " or ".join(terms)
        assert len(split_alternatives(chosen)) > 1
        whole = LibpcapMachine(compile_expression(f"({chosen})", ETHERNET))
        parts = Machine(compile_expression(chosen, ETHERNET))
        takes = [whole.run(frame) > 0 for frame in frames]
        assert [parts.run(frame) > 0 for frame in frames] == takes
        selective += 0 < sum(takes) < len(takes)
    assert selective == 6


def test_parts_that_reject_all_packets_are_left_out() -> None:
    addresses = [f"host 2001:db8::{i:x}" for i in range(1, MANY)]
    frame = udp6(1)
    both = " or ".join([*hosts(MANY), *addresses])
    machine = Machine(compile_expression(both, 229))
    assert machine.run(frame) > 0
    with pytest.raises(FilterError, match="rejects all"):
        compile_expression(" or ".join(hosts(MANY)), 229)
    with pytest.raises(FilterError, match="syntax error") as raised:
        compile_expression(" or ".join([*hosts(MANY), "host"]), ETHERNET)
    assert len(str(raised.value)) < 5000


def test_programs_that_drop_continue_with_the_next() -> None:
    drop, accept = ((6, 0, 0, 0),), ((6, 0, 0, 9),)
    assert Machine(match_any([drop, drop, accept])).run(b"") == 9
    assert Machine(match_any([accept, drop])).run(b"") == 9
    assert Machine(match_any([drop, drop])).run(b"") == 0


def test_500_hosts_are_compiled_in_a_second_and_fit_in_the_kernel() -> None:
    chosen = " or ".join(hosts(500))
    begin = time.process_time()
    program = compile_expression(chosen, ETHERNET)
    assert time.process_time() - begin < 5  # 20 s as one expression
    assert len(program) < 4096
    machine = Machine(program)
    source = bytes([10, 1, 243, 1])
    frame = bytearray(ethernet(udp(1)))
    assert machine.run(bytes(frame)) == 0
    frame[26:30] = source
    assert machine.run(bytes(frame)) > 0


def test_programs_of_any_length_run_on_files_but_not_in_the_kernel() -> None:
    addresses = " or ".join(f"ether host 02:00:00:00:{i >> 8:02x}:{i & 255:02x}" for i in range(600))
    assert len(compile_expression(addresses, ETHERNET)) > 4096
    wanted = read(DATA / "mixed.pcap", filter="ether[0:4] = 0x02000000 or ether[6:4] = 0x02000000")
    assert len(read(DATA / "mixed.pcap", filter=addresses)) == len(wanted) > 0
    options = {"snaplen": 96, "auto_filter": False, "ignore_vlans": False}
    with pytest.raises(FilterError, match=r"the kernel accepts 4096.*Batch.filter") as raised:
        build_program(ETHERNET, addresses, interface="lo", **options)  # type: ignore[arg-type]
    assert len(str(raised.value)) < 500
    with pytest.raises(FilterError, match=r"loop \(protochain\).*Batch.filter"):
        build_program(ETHERNET, "ip6 protochain 17", interface="lo", **options)  # type: ignore[arg-type]


# ---- other threads and signals meanwhile

SLOW = f"({' or '.join(hosts(300))})"  # more than a second: in parentheses, so that it is not split


@pytest.mark.slow
def test_other_threads_run_and_compile_meanwhile() -> None:
    """With the GIL or a lock held during the compilation there is one gap, as long as that."""
    compiling = Background(lambda: compile_expression(SLOW, ETHERNET))
    begin = last = time.perf_counter()
    longest, compiled = 0.0, 0
    while compiling.is_alive():
        compile_expression("tcp port 80", ETHERNET)
        compiled += 1
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert len(compiling.result()) > 1000
    assert longest < 0.5 * (last - begin)
    assert compiled > 10


class Interrupted(Exception):
    """Raised by the signal handler."""


@pytest.fixture
def interrupted() -> Iterator[None]:
    """Raise Interrupted in the main thread after 100 ms."""

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def set_filter() -> None:
    with MockRingSource() as source:
        source.set_filter(f"not {SLOW}")


@pytest.mark.slow
@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize(
    "call",
    [
        lambda: compile_expression(SLOW, ETHERNET),
        lambda: read(DATA / "mixed.pcap").filter(f"tcp or {SLOW}"),
        lambda: MockRingSource(filter=SLOW),
        set_filter,
    ],
    ids=["compile", "batch", "open", "set_filter"],
)
def test_signal_handler_interrupts_a_compilation(call: Callable[[], Any]) -> None:
    assert threading.current_thread() is threading.main_thread()
    begin = time.perf_counter()
    with pytest.raises(Interrupted):
        call()
    assert time.perf_counter() - begin < 0.8
