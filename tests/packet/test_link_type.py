"""LinkType: names and numbers, and the type of links."""

import copy
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from slimcap import Link, LinkType, read

SOURCES = Path(__file__).parents[2] / "slimcap"

# LINKTYPE_ numbers of draft-ietf-opsawg-pcaplinktype; 12 and 14 are DLT_RAW of the BSDs.
REGISTERED = {
    "NULL": 0,
    "ETHERNET": 1,
    "PPP": 9,
    "RAW_BSD": 12,
    "RAW_OPENBSD": 14,
    "PPP_HDLC": 50,
    "PPP_ETHER": 51,
    "RAW": 101,
    "C_HDLC": 104,
    "IEEE802_11": 105,
    "FRELAY": 107,
    "LOOP": 108,
    "ENC": 109,
    "LINUX_SLL": 113,
    "PFLOG": 117,
    "IEEE802_11_PRISM": 119,
    "IEEE802_11_RADIOTAP": 127,
    "USER0": 147,
    "IEEE802_11_AVS": 163,
    "PPP_PPPD": 166,
    "PPI": 192,
    "PPP_WITH_DIR": 204,
    "C_HDLC_WITH_DIR": 205,
    "FRELAY_WITH_DIR": 206,
    "MPLS": 219,
    "IPNET": 226,
    "IPV4": 228,
    "IPV6": 229,
    "DBUS": 231,
    "NFLOG": 239,
    "NETLINK": 253,
    "PKTAP": 258,
    "LINUX_SLL2": 276,
}
NUMBER = re.compile(r"^    LINKTYPE_(\w+) = (\d+)$", re.M)


def test_members_have_the_registered_numbers():
    assert {member.name: int(member) for member in LinkType} == REGISTERED


def test_link_types_in_c_are_members():
    """They are compared at import, and none of them is left out there."""
    found = NUMBER.findall((SOURCES / "wire/walk_link.pxd").read_text())
    assert len(found) > 10
    assert {name: int(number) for name, number in found}.items() <= REGISTERED.items()
    compared = (SOURCES / "packet/headers/columns.pyx").read_text()
    assert not [name for name, _ in found if f"LinkType.{name} == LINKTYPE_{name}" not in compared]


@pytest.mark.parametrize("number", [0, 1, 147, 276, np.uint32(1), LinkType.RAW])
def test_type_of_a_link_with_a_known_number_is_a_member(number):
    link = Link("eth0", 0, number)
    assert isinstance(link.type, LinkType)
    assert link.type == number
    assert link.type_name == link.type.name


@pytest.mark.parametrize("number", [2, 302, 0xFFFF, np.uint32(9999)])
def test_type_of_a_link_with_another_number_is_an_int(number):
    link = Link("eth0", 0, number)
    assert type(link.type) is int
    assert (link.type, link.type_name) == (number, str(number))


def test_links_of_files_and_of_this_host_have_members(sample_of):
    assert read(sample_of("sll.pcap").path).links[0].type is LinkType.LINUX_SLL
    assert Link("lo").type is LinkType.ETHERNET


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_links_survive_pickling_and_copying(protocol):
    for number in (1, 5000):
        link = Link("eth0", 0, number)
        for again in (pickle.loads(pickle.dumps(link, protocol)), copy.deepcopy(link)):
            assert again == link
            assert type(again.type) is type(link.type)
            assert hash(again) == hash(link)


def test_a_member_is_its_number_in_text_and_json():
    assert (str(LinkType.RAW), f"{LinkType.RAW}", json.dumps(LinkType.RAW)) == ("101", "101", "101")
    assert repr(LinkType.RAW) == "LinkType.RAW"


@pytest.mark.parametrize("number", ["ETHERNET", None, 1.0, b"1"])
def test_a_link_type_is_an_integer(number):
    with pytest.raises(TypeError, match="link_type must be an integer"):
        LinkType.of(number)
    with pytest.raises(TypeError, match=r"type must be an integer|an index and a type"):
        Link("eth0", 0, number)
