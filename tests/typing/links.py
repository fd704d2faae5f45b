"""The types of interfaces. Read by mypy, and run by tests/package/test_typing.py."""

from ipaddress import IPv4Interface, IPv6Interface
from typing import assert_type

from slimcap import Link, LinkType
from slimcap.source.live.interfaces import links


def check_interface() -> None:
    link = Link("lo")
    assert_type(link, Link)
    assert_type(link.name, str)
    assert_type(link.index, int)
    assert_type(link.type, int)
    assert_type(link.arphrd, int | None)
    assert_type(link.description, str)
    assert_type(link.named, bool)
    assert_type(link.type_name, str)
    assert_type(link.ip_offset, int)
    assert_type(link.is_up, bool)
    assert_type(link.is_vlan, bool)
    assert_type(link.addresses, tuple[IPv4Interface | IPv6Interface, ...])
    assert_type(links(), tuple[Link, ...])
    assert_type(links(["l?", "lo"]), tuple[Link, ...])
    assert_type(Link.addresses_of(links("lo")), dict[Link, tuple[IPv4Interface | IPv6Interface, ...]])
    assert_type(link.namespace, int)
    assert_type(link.netns, str | int | None)


def check_link_of_a_file(link: Link) -> None:
    assert_type(link.arphrd, int | None)
    assert_type(link.ip_offset, int)
    assert_type(Link(link.name, link.index, link.type), Link)
    assert_type(Link(link.name, link.index, link.type, link.arphrd), Link)


def check_link_type() -> None:
    assert_type(LinkType(1), LinkType)
    assert_type(LinkType.of(5000), int)
    assert_type(Link("eth0", 0, LinkType.RAW), Link)


def refused(link: Link) -> None:
    """Never run: each of these lines is an error that a type checker finds."""
    Link()  # type: ignore[call-overload]
    Link(b"lo")  # type: ignore[call-overload]
    Link("lo", 1)  # type: ignore[call-overload]
    link.index = 3  # type: ignore[misc]
