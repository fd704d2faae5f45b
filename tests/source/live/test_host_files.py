"""Parsers of /proc and /sys, which may contain anything in a container or a sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcap.source.live.host.host_files import (
    parse_cpus,
    parse_interrupts,
    parse_mask,
    parse_softnet,
    read_number,
    read_text,
)

INTERRUPTS = """\
           CPU0       CPU1
  8:          1          0  IO-APIC   8-edge      rtc0
 24:          5          0 PCI-MSIX-0000:00:03.0   0-edge      virtio2-config
 25:          0        912 PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0
 26:          7          0 PCI-MSIX-0000:00:03.0   2-edge      virtio2-output.0
 31:          0         44  IR-PCI-MSI 524289-edge      eth1-TxRx-0
 32:         44          0  IR-PCI-MSI 524290-edge      eth1-TxRx-1
 33:         44          0  IR-PCI-MSI 524291-edge      eth1-tx-0
 34:         44          0  IR-PCI-MSI 524291-edge      eth10-TxRx-0
 40:         44          0  IR-PCI-MSI 524291-edge      mlx5_comp0@pci:0000:81:00.0
 41:         44          0  IR-PCI-MSI 524291-edge      mlx5_async@pci:0000:81:00.0
NMI:          0          0   Non-maskable interrupts
"""


@pytest.mark.parametrize(
    ("devices", "numbers", "found"),
    [
        ({"eth0", "virtio2"}, set(), [25]),
        ({"eth1"}, set(), [31, 32]),
        ({"eth2", "0000:81:00.0"}, {40, 41}, [40]),
        ({"eth3"}, set(), []),
    ],
)
def test_interrupts_for_receiving_are_those_of_the_device(
    devices: set[str], numbers: set[int], found: list[int]
) -> None:
    assert parse_interrupts(INTERRUPTS, devices, numbers) == found


def test_softnet_counters_of_all_cpus_are_added() -> None:
    text = "0000000a 00000002 00000001 00000000\n000000ff 00000010 00000000\n"
    assert parse_softnet(text) == (0x109, 0x12)
    assert parse_softnet("garbage\n0000000a 00000002\n-1 5\n") == (10, 2)
    assert parse_softnet("") is None
    assert parse_softnet("zz zz\n") is None


def test_lists_and_masks_of_cpus() -> None:
    assert parse_cpus("0-3,8\n") == {0, 1, 2, 3, 8}
    assert parse_cpus("1") == {1}
    for bad in ("", "3-1", "x", "0,", "0-99999999", "-1", "1 2"):
        assert parse_cpus(bad) == set()
    assert parse_mask("00000001,0000000f\n") == 0x10000000F
    for bad in ("", "x", "-1", "0x1", "f" * 20000):
        assert parse_mask(bad) == 0


@given(st.text())
def test_parsers_accept_any_text(text: str) -> None:
    assert isinstance(parse_interrupts(text, {"eth0"}, {1}), list)
    assert isinstance(parse_cpus(text), set)
    assert parse_mask(text) >= 0
    parse_softnet(text)


def test_a_file_that_is_missing_or_no_number_is_none(tmp_path: Path) -> None:
    assert read_text(tmp_path / "missing") is None
    assert read_text(tmp_path) is None
    file = tmp_path / "value"
    for text, number in ((" 42\n", 42), ("", None), ("max", None), ("-1", None), ("1 2", None)):
        file.write_text(text)
        assert read_number(file) == number
    assert read_number(Path("/proc/sys/kernel/pid_max")) == int(Path("/proc/sys/kernel/pid_max").read_text())
