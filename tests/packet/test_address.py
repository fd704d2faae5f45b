"""Columns of addresses as text and in networks, compared with `socket` and `ipaddress`."""

from __future__ import annotations

import random
import socket
from ipaddress import IPv4Network, ip_address, ip_network

import numpy as np
import pytest

from slimcap import in_network, ip_from_str, ip_to_str, read


def packed(text: str) -> bytes:
    address = ip_address(text).packed
    return bytes(10) + b"\xff\xff" + address if len(address) == 4 else address


def column(*texts: str) -> np.ndarray:
    return np.frombuffer(b"".join(map(packed, texts)), "V16")


IPV4 = ["0.0.0.0", "1.2.3.4", "10.20.30.40", "99.100.101.199", "255.255.255.255", "192.0.2.1"]
IPV6 = ["::", "::1", "2001:db8::1", "2001:db8:1:2:3:4:5:6", "fe80::1:0:0:1", "ff02::1:ff00:1", "::2:3"]
IPV6 += ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "1::8", "64:ff9b::102:304", "::fffe:1.2.3.4"]


def random_texts(count: int) -> list[str]:
    randomness = random.Random(11)
    texts = []
    for _ in range(count):
        size = randomness.choice((4, 16))
        address = bytes(randomness.choice((0, randomness.randrange(256))) for _ in range(size))
        texts.append(socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, address))
    return texts


def canonical(text: str) -> str:
    address = ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return (
        str(mapped)
        if mapped
        else socket.inet_ntop(socket.AF_INET if address.version == 4 else socket.AF_INET6, address.packed)
    )


@pytest.mark.parametrize(
    "texts", [IPV4, IPV6, IPV4 + IPV6, random_texts(2000), []], ids=["4", "6", "both", "random", "none"]
)
def test_addresses_become_text_and_back(texts):
    addresses = column(*texts)
    assert ip_to_str(addresses).tolist() == [canonical(text) for text in texts]
    assert ip_from_str(np.array(texts, "U")).tobytes() == addresses.tobytes()
    assert ip_from_str(ip_to_str(addresses)).tobytes() == addresses.tobytes()


def test_text_is_as_wide_as_ipv4_without_ipv6():
    assert ip_to_str(column(*IPV4)).dtype == "U15"
    assert ip_to_str(column(*IPV4, "::1")).dtype == "U39"


def test_every_kind_of_address_column_is_accepted():
    addresses = column(*IPV4, *IPV6)
    expected = ip_to_str(addresses).tolist()
    inside = in_network(addresses, "192.0.2.0/24").tolist()
    rows = np.zeros(len(addresses), [("a", "u1"), ("src", "V16"), ("b", "u1")])
    rows["src"] = addresses
    matrix = addresses.view("u1").reshape(-1, 16)
    wide = np.zeros((len(addresses), 20), "u1")
    wide[:, 3:19] = matrix
    for kind in (rows["src"], matrix, wide[:, 3:19], addresses.view("S16"), list(addresses)):
        assert ip_to_str(kind).tolist() == expected
        assert in_network(kind, "192.0.2.0/24").tolist() == inside
    assert ip_to_str(addresses[::-2]).tolist() == expected[::-2]
    assert ip_to_str(addresses[:4].reshape(2, 2)).tolist() == [expected[:2], expected[2:4]]
    assert ip_to_str(addresses[1]).item() == expected[1]


@pytest.mark.parametrize(
    "wrong", [[1, 2], np.zeros(3, "V6"), np.zeros((3, 4), "u1"), b"", ["10.0.0.1"], None]
)
def test_columns_without_addresses_are_refused(wrong):
    for call in (ip_to_str, lambda column: in_network(column, "::/0")):
        with pytest.raises(TypeError, match="16 bytes each"):
            call(wrong)


WRONG = [
    "",
    "1.2.3",
    "1.2.3.4.5",
    "256.1.1.1",
    "01.2.3.4",
    " 1.2.3.4",
    "1.2.3.4/8",
    "::g",
    ":::",
    "é",
    "1::2::3",
]
WRONG += ["1" * 45, "1" * 46, "1" * 100, "fe80::1%eth0", "2001:db8:0000:0000:0000:0000:0000:0000:0001"]


@pytest.mark.parametrize("wrong", WRONG)
def test_text_that_is_not_an_address_is_refused(wrong):
    with pytest.raises(ValueError, match="at index 2"):
        ip_from_str(["1.2.3.4", "::1", wrong])
    with pytest.raises(ValueError, match="not an IPv4 or IPv6 address"):
        ip_from_str(wrong)


@pytest.mark.parametrize("wrong", [[1, 2], [b"1.2.3.4"], None])
def test_addresses_are_read_from_text_only(wrong):
    with pytest.raises(TypeError):
        ip_from_str(wrong)


NETWORKS = ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.0/24", "192.0.2.1/32", "128.0.0.0/1", "::/0", "2001:db8::/32"]
NETWORKS += ["::1/128", "8000::/1", "2001:db8::/127", "192.0.2.1", "::/96", "100.64.0.0/10", "fe80::/10"]


@pytest.mark.parametrize("network", NETWORKS)
def test_in_network_agrees_with_ipaddress(network):
    texts = IPV4 + IPV6 + random_texts(500) + ["10.1.2.3", "100.64.5.6", "100.128.0.0", "2001:db9::"]
    net = ip_network(network)
    addresses = [ip_address(canonical(text)) for text in texts]
    expected = [address.version == net.version and address in net for address in addresses]
    assert in_network(column(*texts), network).tolist() == expected
    assert in_network(column(*texts), net).tolist() == expected
    assert any(expected)


def test_in_network_gives_a_mask_for_a_batch(data_path):
    batch = read(data_path / "mixed.pcap")
    mask = in_network(batch.headers(["src"])["src"], IPv4Network("192.0.2.0/24"))
    assert mask.dtype == np.bool_
    assert 0 < len(batch[mask]) < len(batch)


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "nowhere", ""])
def test_invalid_networks_are_refused(network):
    with pytest.raises(ValueError, match=r"network|host bits"):
        in_network(column("1.2.3.4"), network)
