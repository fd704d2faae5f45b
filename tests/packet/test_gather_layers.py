"""`Batch.gather` from the start of a layer on."""

from __future__ import annotations

import pytest

from slimcap import read
from slimcap.packet.enums import LINK_TYPE_NAMES
from slimcap.packet.link import Link


@pytest.mark.parametrize(("at", "column"), [("ip", "ip_offset"), ("l4", "l4_offset"), ("l7", "l7_offset")])
@pytest.mark.parametrize("n", [0, 1, 8, 200])
def test_bytes_start_at_the_layer(at, column, n, data_path):
    batch = read(data_path / "mixed.pcap")
    starts = (batch if at == "ip" else batch.headers([column]))[column].tolist()
    found = batch.gather(n, at=at)
    assert found.shape == (len(batch), n)
    absent = 65535 if at == "ip" else 0
    for index, start in enumerate(starts):
        wanted = b"" if start == absent else bytes(batch.payload(index))[start : start + n]
        assert found[index].tobytes() == wanted.ljust(n, b"\0")
    assert len({start == absent for start in starts}) == 2
    assert (batch.gather(n, "link") == batch.gather(n)).all()


def test_other_layers_are_refused(data_path):
    with pytest.raises(ValueError, match="'link', 'ip', 'l4' or 'l7', not 'l5'"):
        read(data_path / "mixed.pcap").gather(4, at="l5")


def test_every_link_type_has_a_name():
    assert len(LINK_TYPE_NAMES) > 150
    for number, name in (
        (197, "ERF"),
        (227, "CAN_SOCKETCAN"),
        (249, "USBPCAP"),
        (195, "IEEE802_15_4_WITHFCS"),
    ):
        assert Link("x", 0, number).type_name == name
    assert Link("x", 0, 60000).type_name == "60000"
