"""`--filter` on files with link types that libpcap cannot filter: other packets are read, with a warning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import slimcap
from slimcap.cli.main import main
from support.builders.pcap import pcap_header, pcap_record
from support.builders.pcapng import Ng
from support.traffic import ethernet, udp

BLUETOOTH = 201
WARNING = (
    "the filter matches no packet of link type BLUETOOTH_HCI_H4_WITH_PHDR: "
    "Bluetooth link-layer type filtering not"
)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; return its exit code and what it wrote to both streams."""

    def call(*args: object) -> tuple[int, str, str]:
        code = main([str(one) for one in args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(params=[False, True], ids=["last", "first"])
def mixed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file with two packets of Ethernet, and one of Bluetooth between them; either interface is first."""
    ng = Ng()
    first = bool(request.param)
    types = (BLUETOOTH, 1) if first else (1, BLUETOOTH)
    data = ng.section() + b"".join(map(ng.interface, types))
    for number, interface in enumerate((int(first), int(not first), int(first))):
        data += ng.packet(ethernet(udp(number)), interface=interface)
    path = tmp_path / "mixed.pcapng"
    path.write_bytes(data)
    return path


def test_read_warns_once(mixed: Path, run: Run) -> None:
    code, out, err = run("read", mixed, "--filter", "udp port 5000")
    assert (code, out.count("\n")) == (0, 2)
    assert err.count("\n") == err.count(f"slimcap: warning: {mixed}: {WARNING}") == 1
    assert run("read", mixed, "--summary")[2] == ""


def test_convert_and_merge_warn_once(mixed: Path, run: Run, tmp_path: Path) -> None:
    other = tmp_path / "bluetooth.pcap"
    other.write_bytes(pcap_header(linktype=BLUETOOTH) + pcap_record(bytes(20)))
    out = tmp_path / "out.pcapng"
    code, _, err = run("convert", mixed, out, "--filter", "udp")
    assert (code, err.count(WARNING), err.count("\n")) == (0, 1, 1)
    assert len(slimcap.read(out)) == 2
    code, _, err = run("merge", "-w", out, mixed, other, "--filter", "udp")
    assert (code, err.count(WARNING), err.count("\n")) == (0, 1, 1)
    assert len(slimcap.read(out)) == 2


def test_syntax_errors_fail_whatever_the_link_type(mixed: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    for command in (("read", mixed), ("convert", mixed, out), ("merge", "-w", out, mixed)):
        code, _, err = run(*command, "--filter", "udp and")
        assert code == 1
        assert "syntax error" in err
        assert "warning" not in err
    assert not out.exists()


def test_sources_of_several_files_tell_all_link_types(mixed: Path, tmp_path: Path) -> None:
    other = tmp_path / "usb.pcap"
    other.write_bytes(pcap_header(linktype=189) + pcap_record(bytes(64)))
    with slimcap.open_files([mixed, other], filter="udp") as source:
        assert source.unfilterable == {}
        assert sum(map(len, source.batches())) == 2
        assert source.unfilterable.keys() == {BLUETOOTH, 189}
    assert source.unfilterable.keys() == {BLUETOOTH, 189}
