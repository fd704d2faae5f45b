"""The longest packets of each link type, which are those that libpcap reads."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

import slimcap
from slimcap import FileFormatError
from slimcap.cli.main import main
from support.builders.pcap import pcap_header, pcap_record
from support.builders.pcapng import Ng
from support.peers import run_peer

DBUS, USBPCAP, EBHSCR = 231, 249, 279
LONGEST = {1: 1 << 18, 101: 1 << 18, 189: 1 << 18, 220: 1 << 18, USBPCAP: 1 << 20, EBHSCR: 8 << 20}


def pcap_of(linktype: int, size: int) -> bytes:
    return pcap_header(linktype=linktype) + pcap_record(bytes(size)) + pcap_record(b"end")


def pcapng_of(linktype: int, size: int) -> bytes:
    ng = Ng()
    return ng.section() + ng.interface(linktype) + ng.packet(bytes(size)) + ng.packet(b"end")


@pytest.mark.parametrize("make", [pcap_of, pcapng_of])
@pytest.mark.parametrize("linktype", LONGEST)
def test_longest_packet_is_read_and_a_longer_one_is_an_error(
    linktype: int, make: Callable[[int, int], bytes]
) -> None:
    size = LONGEST[linktype]
    batch = slimcap.read(io.BytesIO(make(linktype, size)))
    assert batch["cap_len"].tolist() == [size, 3]
    with pytest.raises(FileFormatError, match=f"{size + 1} captured bytes: there can be {size}"):
        slimcap.read(io.BytesIO(make(linktype, size + 1)))


@pytest.mark.parametrize("linktype", [USBPCAP, EBHSCR])
def test_longest_packet_is_not_truncated_by_convert(linktype: int, tmp_path: Path) -> None:
    (tmp_path / "in.pcap").write_bytes(pcap_of(linktype, LONGEST[linktype]))
    for name in ("out.pcap", "out.pcapng"):
        assert main(["convert", str(tmp_path / "in.pcap"), str(tmp_path / name)]) == 0
        assert slimcap.read(tmp_path / name)["cap_len"].tolist() == [LONGEST[linktype], 3]


@pytest.mark.parametrize("linktype", LONGEST)
def test_tcpdump_has_the_same_maximum(linktype: int, need_tool: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "longest.pcap"
    for more in (0, 1):
        path.write_bytes(pcap_of(linktype, LONGEST[linktype] + more))
        done = run_peer(need_tool("tcpdump"), "-qtnr", path, check=False)
        assert (b"bogus" in done.stderr or done.returncode != 0) == bool(more), done.stderr
