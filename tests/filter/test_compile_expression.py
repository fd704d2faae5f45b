"""Expressions: compiled as tcpdump compiles them."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slimcap.errors import FilterError
from slimcap.filter import (
    Program,
    accept,
    check,
    compile_expression,
    libpcap,
)
from support.bpf_frames import ethernet_frames
from support.bpf_oracles import (
    ETHERNET,
    RET,
    interpret,
    parse_dump,
)
from support.peers import run_peer

EXPRESSIONS = [
    "",
    "ip",
    "ip6",
    "arp",
    "tcp port 80",
    "udp and not port 53",
    "host 192.0.2.10",
    "net 2001:db8::/32",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "vlan 10 and ip",
    "vlan and vlan and ip6",
    "icmp or icmp6",
    "len > 500",
    "ether broadcast",
    "ip[8] % 7 = 3 and greater 64",
    "ip broadcast",
    "port http",
]


@pytest.fixture(scope="module")
def _libpcap() -> None:
    """Skip without libpcap; with SLIMCAP_REQUIRE_LIVE=1, fail."""
    try:
        compile_expression("ip", ETHERNET)
    except FilterError as error:
        if os.environ.get("SLIMCAP_REQUIRE_LIVE") == "1":
            raise
        pytest.skip(str(error))


def compile_with_tcpdump(tcpdump: str, file: Path, expression: str) -> Program | str:
    """Return the program for a file, or the reason why tcpdump refuses it."""
    done = run_peer(tcpdump, "-r", file, "-dd", expression, reads=[file], check=False)
    if done.returncode == 0:
        return parse_dump(done.stdout.decode())
    return done.stderr.decode().splitlines()[-1]


@pytest.mark.usefixtures("_libpcap")
@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.parametrize("name", ["mixed.pcap", "raw101.pcap", "sll.pcap", "snap96.pcap"])
def test_expressions_compile_to_the_program_of_tcpdump(
    name: str, text: str, need_tool: Callable[[str], str], data_path: Path, sample_of: Callable[[str], Any]
) -> None:
    sample = sample_of(name)
    wanted = compile_with_tcpdump(need_tool("tcpdump"), data_path / name, text)
    if isinstance(wanted, str):
        assert name in ("raw101.pcap", "sll.pcap")
        with pytest.raises(FilterError) as raised:
            compile_expression(text, sample.linktype)
        assert str(raised.value) == f"filter {text!r}: {wanted.removeprefix('tcpdump: ')}"
        return
    program = compile_expression(text, sample.linktype, snaplen=sample.snaplen)
    assert program == wanted
    assert check(program) == program
    assert {one[3] for one in program if one[0] == RET} <= {0, sample.snaplen}


@pytest.mark.usefixtures("_libpcap")
def test_compiled_expression_selects_frames() -> None:
    program = compile_expression("vlan 10 and ip", ETHERNET, snaplen=96)
    assert {name for name, frame in ethernet_frames().items() if interpret(program, frame)} == {"VLAN"}
    assert interpret(program, ethernet_frames()["VLAN"]) == 96
    assert compile_expression("", ETHERNET, snaplen=96) == accept(96)


@pytest.mark.usefixtures("_libpcap")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frobnicate all", "filter 'frobnicate all': .*(frobnicate|syntax error)"),
        ("tcp port", "filter 'tcp port': .*syntax error"),
        ("ip and arp and ip6", "filter .*rejects all packets"),
        ("ip\0and", r"filter 'ip\\x00and' contains a NUL"),
        ("host \udcff", "filter "),
        ("vlan " * 50 + "(", "filter "),
    ],
)
def test_invalid_expressions_are_refused(text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        compile_expression(text, ETHERNET)


@pytest.mark.usefixtures("_libpcap")
def test_expression_for_an_unknown_link_type_is_refused() -> None:
    with pytest.raises(FilterError, match=r"filter 'ip': .*link type 9999"):
        compile_expression("ip", 9999)


@pytest.mark.usefixtures("_libpcap")
@pytest.mark.parametrize("reentrant", [True, False])
def test_threads_may_compile_at_the_same_time(
    reentrant: bool, background: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libpcap, "_is_reentrant", lambda _: reentrant)
    wanted = {text: compile_expression(text, ETHERNET) for text in EXPRESSIONS}
    threads = [background(lambda text=text: compile_expression(text, ETHERNET)) for text in EXPRESSIONS * 4]
    assert [thread.result() for thread in threads] == list(wanted.values()) * 4


@pytest.mark.parametrize(
    ("version", "reentrant"),
    [("1.7.4", False), ("1.8.1", True), ("1.10.3 (with TPACKET_V3)", True), ("0.9.8", False), ("2.0", True)],
)
def test_libpcap_is_reentrant_since_version_1_8(version: str, reentrant: bool) -> None:
    class Library:
        def pcap_lib_version(self) -> bytes:
            return f"libpcap version {version}".encode()

    assert libpcap._is_reentrant(Library()) == reentrant  # type: ignore[arg-type]


@pytest.mark.usefixtures("_libpcap")
def test_errors_of_the_helper_thread_keep_nothing_alive() -> None:
    """No thread, no handle and no reference cycle stays after an error."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with pytest.raises(FilterError, match="syntax error"):
                compile_expression("ip and", ETHERNET)
        assert not [one for one in gc.get_objects() if isinstance(one, FilterError)]
    finally:
        gc.enable()
    assert "slimcap-compile" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.usefixtures("_libpcap")
def test_errors_can_be_pickled_and_show_the_start_of_a_long_expression() -> None:
    with pytest.raises(FilterError, match="no VLAN support") as raised:
        compile_expression("vlan or " + "host 10.0.0.1 or " * 40 + "ip", 101)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (type(copy), str(copy), copy.reason) == (
        type(raised.value),
        str(raised.value),
        "no VLAN support for Raw IP",
    )
    assert len(str(copy)) < 300


def test_missing_libpcap_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpcap, "_LIBRARIES", ("libnowhere.so.0.8", "libnowhere.so.1"))
    libpcap._libpcap.cache_clear()
    try:
        with pytest.raises(
            FilterError, match=r"libnowhere.so.0.8 or libnowhere.so.1.*apt install libpcap0.8"
        ):
            compile_expression("ip", ETHERNET)
    finally:
        libpcap._libpcap.cache_clear()


@pytest.mark.usefixtures("_libpcap")
def test_expression_for_a_missing_interface_is_refused() -> None:
    for text in ("ip", "vlan 7"):
        with pytest.raises(FilterError, match=f"filter '{text}': .* nowhere0: there is no such interface"):
            compile_expression(text, ETHERNET, live_interface="nowhere0")
