"""The files of `slimcap/wire` are written in one convention; CONTRIBUTING.md ("A new protocol") states it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "slimcap"
WIRE = PACKAGE / "wire"
FILES = {path.stem: path.read_text() for path in WIRE.glob("*.pxd")}

# Files that describe no header of their own, and why.
WITHOUT_HEADER = {
    "ip": "either version of IP, whose headers ipv4 and ipv6 check",
    "transport": "ports, which are also read from truncated headers: each getter has its own bound",
    "upper": "a result",
    "walk_cooked": "a walk",
    "walk_ethertype": "a walk",
    "walk_link": "a walk",
    "walk_result": "a result",
    "walk_tag": "a walk",
    "walk_tunnel": "a walk",
}
PROTOCOLS = sorted(FILES.keys() - WITHOUT_HEADER.keys())

CHECK = re.compile(
    r"^cdef inline (?:uint32_t|bint) check\(const uint8_t\* p, Py_ssize_t n\) noexcept nogil:\n"
    r'    """Return (?:the length|True)',
    re.MULTILINE,
)
FUNCTION = re.compile(r"^cdef (?!struct|enum)(?:.|\n)*?:$", re.MULTILINE)
NAME = re.compile(r"^cdef [^(]*?(\w+)\(|^    ([A-Z]\w+) = ", re.MULTILINE)
TAKEN = re.compile(r"^from slimcap\.wire\.(\w+) cimport", re.MULTILINE)
# A comparison with exactly a header's length, with or without a cast, under the module's name or another one.
LENGTH = r"(?:<\w+> *)?\b(?:\w+\.(?:MIN_LEN|LEN)|(?:ETHERNET|VLAN)_LEN)\b"
COMPARED = re.compile(rf"[<>]=? *{LENGTH}(?! *[-+])|{LENGTH} *[<>]=?")

# Comparisons of a length field, not of the number of captured bytes, with a header's length.
FIELDS_COMPARED = {("packet/headers/dissect.pxd", "if rarely(stated < udp.LEN):")}


def comparisons(text: str) -> list[str]:
    """Return the lines that compare something with the length of a header."""
    code = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in code if COMPARED.search(line)]


def test_every_file_without_a_header_exists() -> None:
    assert WITHOUT_HEADER.keys() <= FILES.keys()
    assert {name for name in FILES if name.startswith("walk_")} <= WITHOUT_HEADER.keys()
    assert len(PROTOCOLS) >= 20


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_says_what_it_is(name: str) -> None:
    docstring = re.match(r'"""(?:.|\n)*?"""', FILES[name])
    assert docstring is not None
    assert ast.literal_eval(docstring[0]).strip()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_docstring_of_a_protocol_cites_its_standard_and_draws_its_bytes(name: str) -> None:
    docstring = FILES[name].split('"""')[1]
    assert re.search(r"\bRFC \d+|\bIEEE 802|\b3GPP TS|\bLINKTYPE_|\bdraft-[a-z]|\bCisco", docstring)
    assert re.search(r"^    .*\|", docstring, re.MULTILINE)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_has_a_check(name: str) -> None:
    assert len(CHECK.findall(FILES[name])) == 1


@pytest.mark.parametrize("name", sorted(WITHOUT_HEADER))
def test_only_protocols_have_a_check(name: str) -> None:
    assert not re.search(r"\bcheck\(const", FILES[name])


@pytest.mark.parametrize("name", sorted(FILES))
def test_functions_are_inline_and_cannot_fail(name: str) -> None:
    found = FUNCTION.findall(FILES[name])
    assert found or name == "upper"
    assert [
        one for one in found if not (one.startswith("cdef inline ") and one.endswith(" noexcept nogil:"))
    ] == []


@pytest.mark.parametrize("name", PROTOCOLS)
def test_names_do_not_repeat_the_name_of_their_file(name: str) -> None:
    names = {function or constant for function, constant in NAME.findall(FILES[name])}
    assert "check" in names
    assert [one for one in names if re.search(rf"(?:^|_){name}_|_{name}$", one.lower())] == []


@pytest.mark.parametrize("path", sorted(WIRE.glob("*.pxd")), ids=lambda path: path.stem)
def test_names_of_a_protocol_are_used_with_the_name_of_its_file(path: Path) -> None:
    """`tcp.check(p, n)`, not `check(p, n)` or `tcp_check(p, n)`."""
    assert [name for name in TAKEN.findall(path.read_text()) if name in PROTOCOLS] == []


def test_lengths_of_headers_are_compared_in_check_alone() -> None:
    files = [
        path for path in PACKAGE.rglob("*.p*") if path.suffix in (".pyx", ".pxd") and path.parent != WIRE
    ]
    assert len(files) > 60
    found = {
        (str(path.relative_to(PACKAGE)), line) for path in files for line in comparisons(path.read_text())
    }
    assert found == FIELDS_COMPARED


@pytest.mark.parametrize("name", [name for name in WITHOUT_HEADER if name.startswith("walk_")])
def test_walks_leave_the_lengths_of_headers_to_check(name: str) -> None:
    assert comparisons(FILES[name]) == []


@pytest.mark.parametrize(
    ("line", "is_comparison"),
    [
        ("if n < tcp.MIN_LEN:", True),
        ("if n <= udp.LEN or p[0]:", True),
        ("if packet.cap_len >= ETHERNET_LEN:", True),
        ("if <uint32_t> ethernet.LEN > n:", True),
        ("if n >= <Py_ssize_t> sll.LEN:", True),
        ("if cap_len < ethernet.LEN + VLAN_LEN + 2:", False),  # more than a header
        ("if not udp.check(p, n):", False),
        ("row.ip_offset = ethernet.LEN  # n >= ethernet.LEN", False),
    ],
)
def test_comparison_with_the_length_of_a_header_is_found(line: str, is_comparison: bool) -> None:
    assert bool(comparisons(line)) is is_comparison
