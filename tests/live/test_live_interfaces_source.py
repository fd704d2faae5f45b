"""`InterfacesSource`: several interfaces in one source, which appear, vanish and change."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from random import Random
from typing import Any

import pytest

import slimcap
from slimcap import Account, FilterError, InterfacesSource, Link, LinkChange, LinkNotFound, RingExhausted
from support.netns import Namespace, NewNamespace
from support.threads import Background, wait_until
from support.traffic import arp, ethernet, frames_of, udp

SMALL: dict[str, Any] = {"block_size": 1 << 16, "num_blocks": 32}
PATIENCE = 10.0

OpenSeveral = Callable[..., InterfacesSource]


def cable(namespace: Namespace, *names: str) -> None:
    """Make veth pairs: `eth0` is the end of `far-eth0`."""
    commands = []
    for name in names:
        ends = (name, f"far-{name}")
        commands += [f"link add {ends[0]} type veth peer name {ends[1]}"]
        commands += [f"link set dev {end} addrgenmode none" for end in ends]
        commands += [f"link set dev {end} up" for end in ends]
    namespace.ip_batch(*commands)
    namespace.wait_until_up(*names)


@pytest.fixture
def several(namespace: Namespace) -> Iterator[OpenSeveral]:
    """Opens sources of several interfaces in the namespace, which has eth0 and eth1."""
    cable(namespace, "eth0", "eth1")
    with ExitStack() as stack:

        def open_source(interfaces: Any = ("eth*",), **options: Any) -> InterfacesSource:
            with namespace.inside():
                source = slimcap.open_live(interfaces, **SMALL | options)
            assert isinstance(source, InterfacesSource)
            return stack.enter_context(source)

        yield open_source


def take(source: InterfacesSource, count: int) -> Counter[str]:
    """Read `count` packets; return how many came from each interface."""
    found: Counter[str] = Counter()
    while found.total() < count:
        batch = source.next_batch(timeout=PATIENCE)
        (number,) = set(batch["interface"].tolist())
        assert batch.interfaces[number].link is batch.links[number]
        found[batch.links[number].name] += len(batch)
    return found


def send(namespace: Namespace, name: str, count: int = 1) -> None:
    namespace.send(f"far-{name}", frames_of(count))


def test_packets_come_from_all_and_batches_say_where_from(namespace: Namespace, several: OpenSeveral) -> None:
    source = several()
    assert [link.name for link in source.links] == ["eth0", "eth1"]
    send(namespace, "eth0", 3)
    send(namespace, "eth1", 2)
    assert take(source, 5) == {"eth0": 3, "eth1": 2}
    assert source.total_stats == (5, 0, 0)
    assert {name: stats.packets_received for name, stats in source.stats_by_interface.items()} == {
        "eth0": 3,
        "eth1": 2,
    }
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.05)


@pytest.mark.parametrize(
    ("interfaces", "names"),
    [
        ("any", {"lo", "eth0", "eth1", "far-eth0", "far-eth1"}),
        (["any", "!far-*", "!lo"], {"eth0", "eth1"}),
        (["eth1"], {"eth1"}),
        ("*1", {"eth1", "far-eth1"}),
        (["eth0", "!eth*"], {"eth0"}),
        (["no-such-*"], set()),
    ],
    ids=["any", "any-but", "name", "pattern", "named-and-excluded", "none"],
)
def test_names_and_patterns_choose(several: OpenSeveral, interfaces: Any, names: set[str]) -> None:
    assert {link.name for link in several(interfaces).links} == names


def test_a_name_must_exist_and_arguments_must_be_valid(namespace: Namespace, several: OpenSeveral) -> None:
    with pytest.raises(LinkNotFound, match="no-such"):
        several(["eth0", "no-such"])
    with pytest.raises(ValueError, match="no interface is named"):
        several(["!eth0"])
    with pytest.raises(TypeError, match="each of interfaces"):
        several([1])
    with pytest.raises(ValueError, match="link_down"):
        several(link_down="raise")
    with pytest.raises(FilterError):
        several(filter="no such filter")
    with pytest.raises(ValueError, match="on_change"), namespace.inside():
        slimcap.open_live("eth0", on_change=print)
    with namespace.inside():
        links = slimcap.links(["eth0", "eth1"])
    assert several(links).links == links


def test_link_types_differ(namespace: Namespace, several: OpenSeveral) -> None:
    namespace.tun("ip0")
    source = several(["eth0", "ip0"])
    assert sorted(link.type_name for link in source.links) == ["ETHERNET", "RAW"]


def test_an_interface_that_appears_is_captured_from(namespace: Namespace, several: OpenSeveral) -> None:
    changes: list[LinkChange] = []
    source = several(on_change=changes.append)
    reading = Background(lambda: take(source, 1))
    cable(namespace, "eth7")
    wait_until(lambda: any(change.kind == "added" for change in changes))
    send(namespace, "eth7")
    assert reading.result() == {"eth7": 1}
    assert [link.name for link in source.links] == ["eth0", "eth1", "eth7"]
    assert [change.link.name for change in changes if change.kind == "added"] == ["eth7"]


def test_stats_by_interface_stay_the_same_after_the_end(namespace: Namespace, several: OpenSeveral) -> None:
    source = several()
    send(namespace, "eth0", 3)
    send(namespace, "eth1", 2)
    take(source, 5)
    source.stop()
    assert list(source.batches()) == []
    assert source.stats_by_interface == {"eth0": (3, 0, 0), "eth1": (2, 0, 0)}
    source.close()
    assert source.stats_by_interface == {"eth0": (3, 0, 0), "eth1": (2, 0, 0)}


def test_packets_before_the_removal_are_returned(namespace: Namespace, several: OpenSeveral) -> None:
    changes: list[LinkChange] = []
    source = several(on_change=changes.append, latency=0.5)  # the block is handed over after the removal
    send(namespace, "eth0", 4)
    namespace.ip("link del eth0")
    send(namespace, "eth1", 1)
    assert take(source, 5) == {"eth0": 4, "eth1": 1}
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=1.5)
    assert ("removed", "eth0") in [(change.kind, change.link.name) for change in changes]
    assert source.total_stats.packets_received == 5
    assert source.stats_by_interface["eth0"].packets_received == 4


def test_an_interface_that_returns_has_its_number_and_sums(
    namespace: Namespace, several: OpenSeveral
) -> None:
    source = several()
    for round_ in range(1, 4):
        wait_until(lambda: "eth0" in repr(source))
        send(namespace, "eth0")
        assert take(source, 1) == {"eth0": 1}
        assert [link.name for link in source.links] == ["eth0", "eth1"]
        assert source.stats_by_interface["eth0"].packets_received == round_
        namespace.ip("link del eth0")
        with pytest.raises(TimeoutError):
            source.next_batch(timeout=0.2)
        cable(namespace, "eth0")
        with pytest.raises(TimeoutError):
            source.next_batch(timeout=0.2)
    assert source.total_stats.packets_received == 3


def test_a_renamed_interface_is_captured_from_without_loss(
    namespace: Namespace, several: OpenSeveral
) -> None:
    changes: list[LinkChange] = []
    source = several(on_change=changes.append)
    send(namespace, "eth0", 2)
    assert take(source, 2) == {"eth0": 2}
    namespace.ip_batch("link set eth0 name eth9")
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.2)
    send(namespace, "eth0", 3)
    assert take(source, 3) == {"eth9": 3}
    assert ("renamed", "eth9") in [(change.kind, change.link.name) for change in changes]
    namespace.ip_batch("link set eth9 name other")  # no longer matches
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.2)
    send(namespace, "eth0", 3)
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.2)


def test_down_and_up_without_a_restart(namespace: Namespace, several: OpenSeveral) -> None:
    changes: list[LinkChange] = []
    source = several(on_change=changes.append)
    namespace.ip("link set eth0 down")
    began = time.thread_time()
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.3)
    assert time.thread_time() - began < 0.15, "spins"
    namespace.ip("link set eth0 up")
    namespace.wait_until_up("eth0")
    send(namespace, "eth0", 2)
    assert take(source, 2) == {"eth0": 2}
    kinds = [change.kind for change in changes if change.link.name == "eth0"]
    assert kinds == ["down", "up"]


def test_an_exception_of_on_change_loses_no_packet_and_no_change(
    namespace: Namespace, several: OpenSeveral
) -> None:
    seen: list[str] = []

    def fail(change: LinkChange) -> None:
        seen.append(change.kind)
        raise KeyError(change.kind)

    source = several(on_change=fail)
    send(namespace, "eth0", 2)
    namespace.ip_batch("link set eth0 down", "link set eth1 down")
    found = 0
    for _ in range(20):
        with suppress(KeyError, TimeoutError):
            found += len(source.next_batch(timeout=0.1))
    assert found == 2
    assert seen == ["down", "down"]


def test_an_interface_that_cannot_be_captured_from_is_reported(
    namespace: Namespace, several: OpenSeveral
) -> None:
    """An expression about Ethernet does not fit an interface without a link layer."""
    changes: list[LinkChange] = []
    source = several(["eth0", "ip*"], filter="ether host 02:00:00:00:00:01", on_change=changes.append)
    quiet = several(["eth0", "ip*"], filter="ether host 02:00:00:00:00:01")
    namespace.tun("ip0")
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.3)
    (failed,) = [change for change in changes if change.kind == "failed"]
    assert failed.link.name == "ip0"
    assert isinstance(failed.error, FilterError)
    with pytest.warns(RuntimeWarning, match="ip0"), pytest.raises(TimeoutError):
        quiet.next_batch(timeout=0.3)


def test_stop_returns_all_and_ends(namespace: Namespace, several: OpenSeveral) -> None:
    source = several()
    send(namespace, "eth0", 5)
    send(namespace, "eth1", 6)
    source.stop()
    assert sum(map(len, source.batches())) == 11
    with pytest.raises(EOFError):
        source.next_batch()


def test_close_wakes_a_reader(several: OpenSeveral) -> None:
    source = several()
    reading = Background(lambda: list(source.batches()))
    reading.wait_until_blocked()
    source.close()
    assert reading.result() == []
    assert source.closed


def test_set_filter_is_for_all_and_those_to_come(namespace: Namespace, several: OpenSeveral) -> None:
    source = several()
    source.set_filter("udp port 9999")
    for name in ("eth0", "eth1"):
        send(namespace, name, 3)
    cable(namespace, "eth2")
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.3)
    send(namespace, "eth2", 3)
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.2)
    with pytest.raises(FilterError):
        source.set_filter("no such filter")
    source.set_filter(None)
    for name in ("eth0", "eth1", "eth2"):
        send(namespace, name, 2)
    assert take(source, 6) == {"eth0": 2, "eth1": 2, "eth2": 2}


def test_a_thread_of_another_namespace_opens_rings_too(
    namespace: Namespace, several: OpenSeveral, new_namespace: NewNamespace
) -> None:
    source = several()
    other = new_namespace()
    with other.inside():
        cable(namespace, "eth5")
        with pytest.raises(TimeoutError):
            source.next_batch(timeout=0.3)
        send(namespace, "eth5", 2)
        assert take(source, 2) == {"eth5": 2}


def test_links_of_another_namespace_are_opened_there(
    namespace: Namespace, several: OpenSeveral, new_namespace: NewNamespace
) -> None:
    found = slimcap.links("eth*", netns=namespace.path)
    with slimcap.open_live(found, **SMALL) as source:
        assert [link.name for link in source.links] == ["eth0", "eth1"]
        send(namespace, "eth1")
        assert take(source, 1) == {"eth1": 1}
    other = Link("lo", netns=new_namespace().path)
    with pytest.raises(ValueError, match="several network namespaces"):
        slimcap.open_live([*found, other], **SMALL)


def test_netns_opens_the_interfaces_of_that_namespace(namespace: Namespace, several: OpenSeveral) -> None:
    with slimcap.open_live(["eth*"], netns=namespace.path, **SMALL) as source:
        send(namespace, "eth1", 2)
        assert take(source, 2) == {"eth1": 2}
        cable(namespace, "eth4")
        with pytest.raises(TimeoutError):
            source.next_batch(timeout=0.3)
        send(namespace, "eth4")
        assert take(source, 1) == {"eth4": 1}
        assert source.links[2].is_up


def test_views_that_hold_a_ring_end_in_an_error(namespace: Namespace, several: OpenSeveral) -> None:
    source = several(block_size=1 << 12, num_blocks=2, latency=0.001)
    held = []
    for number in range(2):
        namespace.send("far-eth0", [ethernet(udp(number))])
        held.append(source.next_batch(timeout=PATIENCE))
    namespace.send("far-eth0", [ethernet(udp(2))])
    with pytest.raises(RingExhausted, match="2 of 2 blocks are held by views"):
        source.next_batch(timeout=PATIENCE)
    held.clear()
    send(namespace, "eth1")
    assert take(source, 1) == {"eth1": 1}


def test_single_packets_and_zero_copy_come_from_all(namespace: Namespace, several: OpenSeveral) -> None:
    source = several()
    for name in ("eth0", "eth1"):
        send(namespace, name, 2)
    payloads = [bytes(source.next_payload_zero_copy(timeout=PATIENCE)[0]) for _ in range(4)]
    assert sorted(payloads) == sorted(frames_of(2) * 2)


def test_many_interfaces_are_idle_without_cpu(namespace: Namespace, several: OpenSeveral) -> None:
    namespace.ip_batch(*(f"link add many{n} type veth peer name many{n + 30}" for n in range(30)))
    namespace.ip_batch(*(f"link set many{n} addrgenmode none up" for n in range(60)))
    source = several(["many*"], block_size=1 << 12, num_blocks=4)
    assert len(source.links) == 60
    began = time.process_time()
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=1)
    assert time.process_time() - began < 0.1


def test_many_interfaces_share_the_default_memory(namespace: Namespace, several: OpenSeveral) -> None:
    none = {"block_size": None, "num_blocks": None}
    assert several(["eth*"], **none, buffer="2MiB").buffer == 2 << 20
    assert several(["eth0"], **none).buffer == 64 << 20
    namespace.ip_batch(*(f"link add many{n} type veth peer name many{n + 10}" for n in range(10)))
    source = several(["many*"], **none)
    assert len(source.links) == 20
    assert source.buffer == 51 * (512 << 10)  # whole blocks of a twentieth of 512 MiB


def test_a_link_of_another_namespace_is_refused(several: OpenSeveral, new_namespace: NewNamespace) -> None:
    other = new_namespace()
    cable(other, "eth0")
    with other.inside():
        link = Link("eth0")
    with pytest.raises(LinkNotFound):
        several([link])


def test_every_packet_is_accounted_for(namespace: Namespace, several: OpenSeveral) -> None:
    source = several()
    for name, count in (("eth0", 10), ("eth1", 20)):
        send(namespace, name, count)
        namespace.send(f"far-{name}", [arp()] * 3)  # filtered
    first = source.next_packet(timeout=PATIENCE)
    assert first.total_len > 0
    wait_until(lambda: source.account().in_flight == 29)
    take(source, 29)
    assert source.account_by_interface == {
        "eth0": Account(13, 0, 3, 0, 10, 0),
        "eth1": Account(23, 0, 3, 0, 20, 0),
    }
    namespace.ip("link del eth0")
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.3)
    assert source.account_by_interface["eth0"] == Account(None, None, None, 0, 10, 0)
    assert source.account() == Account(None, None, None, 0, 30, 0)


def test_the_account_is_exact_through_chaos(namespace: Namespace, several: OpenSeveral) -> None:
    """Interfaces flap, are renamed, removed and made, while packets come, and the ring is too small."""
    random = Random(18)
    source = several(block_size=1 << 12, num_blocks=4, latency=0.001)
    returned = 0
    for round_ in range(60):
        name = random.choice(["eth0", "eth1"])
        match random.randrange(7):
            case 0:
                namespace.ip_batch(f"link set {name} down", f"link set {name} up")
            case 1 if round_ % 3 == 0:
                namespace.ip(f"link del {name}")
                cable(namespace, name)
            case 2:
                source.set_filter(random.choice([None, "udp", "ip"]))
            case 3:
                namespace.ip_batch(f"link set {name} name other", f"link set other name {name}")
            case _:
                send(namespace, name, random.randrange(200))
        with suppress(TimeoutError):
            for _ in range(random.randrange(4)):
                returned += len(source.next_batch(timeout=0.01))
        for account in (source.account(), *source.account_by_interface.values()):
            if account.link_packets is not None:
                assert account.link_packets == sum(account[1:])  # type: ignore[arg-type]
    source.stop()
    returned += sum(map(len, source.batches()))
    account = source.account()
    stats = source.total_stats
    assert (account.delivered, account.in_flight) == (returned, 0)
    assert (account.dropped, account.delivered) == (
        stats.packets_dropped,
        stats.packets_received - stats.packets_dropped,
    )
    assert account.dropped > 0
