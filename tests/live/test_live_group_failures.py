"""Sources with several rings while something fails, is interrupted, or happens at the worst moment."""

from __future__ import annotations

import gc
import os
import random
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import slimcap
from slimcap import FanoutSource, FilterError, Link, LinkChange, LinkNotFound
from slimcap.source.live import ring_source, rtnetlink
from slimcap.source.live.host.free_memory import require_memory
from slimcap.source.live.rtnetlink import LinkMonitor
from support.netns import Namespace, NewNamespace
from support.threads import Background, wait_until
from support.traffic import frames_of

SMALL: dict[str, Any] = {"block_size": 1 << 16, "num_blocks": 8}
PATIENCE = 10.0
KINDS: list[tuple[Any, dict[str, Any]]] = [(["eth*"], {}), (["no-such*"], {}), ("eth0", {"workers": 3})]
kinds = pytest.mark.parametrize(("interfaces", "options"), KINDS, ids=["several", "none", "workers"])


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt."""


def cable(namespace: Namespace, *names: str) -> None:
    commands = []
    for name in names:
        commands.append(f"link add {name} type veth peer name far-{name}")
        commands += [f"link set dev {end} addrgenmode none up" for end in (name, f"far-{name}")]
    namespace.ip_batch(*commands)
    namespace.wait_until_up(*names)


def opened(namespace: Namespace, interfaces: Any = ("eth*",), **options: Any) -> Any:
    with namespace.inside():
        return slimcap.open_live(interfaces, **SMALL | options)


def settle(source: Any, seconds: float = 0.2) -> int:
    """Read until no packet has come for some time; return the number of packets."""
    found = 0
    with suppress(TimeoutError):
        while True:
            found += len(source.next_batch(timeout=seconds))
    return found


def descriptors() -> list[str]:
    return [f"{name} {os.readlink(path)}" for name in os.listdir("/proc/self/fd")
            if os.path.lexists(path := f"/proc/self/fd/{name}")]  # fmt: skip


@contextmanager
def at_next_opening(call: Callable[[], object], skip: int = 0) -> Iterator[None]:
    """Make a call in the middle of the opening of a ring, after `skip` others."""
    real, count = require_memory, 0

    def hook(size: int, charged: bool) -> None:
        nonlocal count
        count += 1
        if count == skip + 1:
            call()
        real(size, charged=charged)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring_source, "require_memory", hook)
        yield


@kinds
def test_what_is_not_closed_warns_once_and_leaks_nothing(
    namespace: Namespace, interfaces: Any, options: dict[str, Any]
) -> None:
    cable(namespace, "eth0", "eth1")
    before = descriptors()
    with pytest.warns(ResourceWarning) as found:  # noqa: PT031
        source = opened(namespace, interfaces, **options)
        del source
        gc.collect()
    assert len(found) == 1
    assert "was not closed" in str(found[0].message)
    found.clear()
    gc.collect()
    assert len(descriptors()) == len(before)


def descriptors_before(namespace: Namespace, interfaces: Any, options: dict[str, Any]) -> int:
    """Return the number of descriptors after a source was opened and closed once."""
    cable(namespace, "eth0", "eth1", "eth2")
    opened(namespace, interfaces, **options).close()
    gc.collect()
    return len(descriptors())


@kinds
def test_too_few_descriptors_leak_none(
    namespace: Namespace, interfaces: Any, options: dict[str, Any]
) -> None:
    before = descriptors_before(namespace, interfaces, options)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    failures = 0
    with namespace.inside(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for limit in range(3, 200):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            try:
                slimcap.open_live(interfaces, **SMALL | options).close()
            except OSError as error:
                assert "Too many open files" in str(error)  # noqa: PT017
                failures += 1
            else:
                break
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        gc.collect()
    assert failures > 5
    assert len(descriptors()) == before


@pytest.mark.slow
@pytest.mark.parametrize(("interfaces", "options"), [KINDS[0], KINDS[2]], ids=["several", "workers"])
def test_too_little_address_space_leaks_nothing(
    namespace: Namespace, interfaces: Any, options: dict[str, Any]
) -> None:
    before = descriptors_before(namespace, interfaces, options)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    failures = 0
    for added in range(60, 4 << 10, 200):  # in blocks of 64 KiB; each ring has 64 MiB
        with namespace.inside():
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (added << 16), hard))
            try:
                slimcap.open_live(interfaces, **options).close()
            except (OSError, MemoryError):
                failures += 1
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    gc.collect()
    assert failures > 5
    assert len(descriptors()) == before


def test_packets_that_close_discards_were_not_delivered(namespace: Namespace) -> None:
    cable(namespace, "eth0", "eth1")
    with opened(namespace) as source:
        namespace.send("far-eth0", frames_of(10))
        for _ in range(3):
            source.next_packet(timeout=PATIENCE)
        before = source.account()
    assert source.account() == before
    assert (before.delivered, before.in_flight) == (3, 7)


@pytest.mark.parametrize("what", ["close", "stop", "next_batch", "account", "stats", "unblock"])
def test_on_change_may_call_the_source(namespace: Namespace, what: str) -> None:
    cable(namespace, "eth0", "eth1")
    calls: list[str] = []

    def call(change: LinkChange) -> None:
        calls.append(change.kind)
        getattr(source, what)()

    source = opened(namespace, on_change=call)
    namespace.send("far-eth0", frames_of(3))
    assert settle(source) == 3
    namespace.ip("link del eth1")
    error = {
        "close": slimcap.CaptureStopped,
        "stop": EOFError,
        "next_batch": RuntimeError,
        "unblock": slimcap.CaptureUnblocked,
    }.get(what, TimeoutError)
    with source, pytest.raises(error):
        source.next_batch(timeout=0.3)
    assert calls


def test_workers_end_that_were_stopped_before_they_were_taken(namespace: Namespace) -> None:
    cable(namespace, "eth0")
    with opened(namespace, "eth0", workers=2) as source:
        namespace.send("far-eth0", frames_of(3))
        source.stop()
        assert sum(len(batch) for worker in source.workers() for batch in worker.batches(timeout=2)) == 3


def test_links_of_another_namespace_are_opened_there(
    namespace: Namespace, new_namespace: NewNamespace
) -> None:
    other = new_namespace()
    for one in (namespace, other):
        cable(one, "eth0")
    links = slimcap.links("eth0", netns=other.path)
    with opened(namespace, links) as source:
        other.send("far-eth0", frames_of(2))
        assert settle(source) == 2
    with pytest.raises(ValueError, match="give `netns`"):
        opened(namespace, [*links, "eth*"])
    with pytest.raises(LinkNotFound, match="another network namespace"):
        opened(namespace, links, netns=namespace.path)


@pytest.mark.parametrize("skip", [0, 1])
def test_an_interface_may_vanish_while_it_is_opened(namespace: Namespace, skip: int) -> None:
    cable(namespace, "eth0", "eth1")
    with (
        at_next_opening(lambda: namespace.ip(f"link del eth{skip}"), skip),
        opened(namespace) as source,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        assert f"eth{1 - skip}" in repr(source)
        namespace.send(f"far-eth{1 - skip}", frames_of(2))
        assert settle(source) == 2
        assert "2 received" not in repr(source)
        cable(namespace, f"eth{skip}")
        settle(source)
        namespace.send(f"far-eth{skip}", frames_of(2))
        assert settle(source) == 2


def test_one_that_appears_while_the_filter_is_changed_has_the_new_one(namespace: Namespace) -> None:
    cable(namespace, "eth0")
    with opened(namespace) as source:
        setting: list[Background] = []

        def change() -> None:
            setting.append(Background(lambda: source.set_filter("udp port 9999")))
            time.sleep(0.05)

        with at_next_opening(change):
            cable(namespace, "eth1")
            settle(source)
        setting[0].result()
        namespace.send("far-eth1", frames_of(3))
        assert settle(source) == 0
        assert [one.filter for one in source.interfaces] == ["udp port 9999"] * 2


def test_the_filter_of_the_interfaces_is_the_current_one(namespace: Namespace) -> None:
    cable(namespace, "eth0", "eth1")
    for interfaces, options in (KINDS[0], KINDS[2]):
        with opened(namespace, interfaces, **options) as source:
            source.set_filter("udp")
            assert {one.filter for one in source.interfaces} == {"udp"}
            with suppress(FilterError):
                source.set_filter("no such filter")
            namespace.send("far-eth0", frames_of(1))
            batch = source.next_batch(timeout=PATIENCE)
            assert {one.filter for one in batch.interfaces} == {"udp"}


def test_other_threads_count_while_interfaces_come_and_go(namespace: Namespace) -> None:
    over: list[int] = []
    with opened(namespace) as source:

        def ask() -> None:
            while not over:
                _ = source.total_stats, source.link_drops, source.stats_by_interface, repr(source)
                source.account()

        asking = [Background(ask) for _ in range(2)]
        reading = Background(lambda: sum(map(len, source.batches())))
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            for _ in range(4):
                cable(namespace, *(f"eth{number}" for number in range(8)))
                namespace.ip_batch(*(f"link del eth{number}" for number in range(8)))
        finally:
            sys.setswitchinterval(interval)
            over.append(1)
            source.stop()
        for one in (*asking, reading):
            one.result()


def test_counters_of_an_interface_never_decrease(namespace: Namespace) -> None:
    """Also while its ring is read to the end."""
    cable(namespace, "eth0", "eth1")
    with opened(namespace, latency=0.3) as source:
        namespace.send("far-eth0", frames_of(5))
        assert settle(source, 0.5) == 5
        namespace.send("far-eth0", frames_of(5))
        namespace.ip("link del eth0")
        early = 0
        with suppress(TimeoutError):  # most times the block is not handed over yet
            early = len(source.next_batch(timeout=0.05))
        assert source.stats_by_interface["eth0"].packets_received == 10
        assert early + settle(source, 0.5) == 5
        assert source.stats_by_interface["eth0"].packets_received == 10


# A socket that is opened just then is closed when it is deallocated, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_reads_miss_no_interface(namespace: Namespace) -> None:
    """A signal handler raises at a random moment while a ring is opened or closed."""
    rng = random.Random(7)

    def interrupt(*_: object) -> None:
        raise Interrupted

    former = signal.signal(signal.SIGALRM, interrupt)
    hits = 0
    changes: list[LinkChange] = []
    try:
        with opened(namespace, on_change=changes.append, block_size=1 << 12) as source:
            for round_ in range(40):
                commands = ["link del eth0"]
                if round_ % 2 == 0:
                    commands = ["link add eth0 type veth peer name far-eth0", "link set eth0 up"]
                namespace.ip_batch(*commands)
                try:
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.0001, 0.004))
                    source.next_batch(timeout=0.02)
                except TimeoutError:
                    pass
                except Interrupted:
                    hits += 1
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                settle(source, 0.05)
                expected = "no interface" if round_ % 2 else "eth0"
                if expected not in repr(source):
                    settle(source, 1.5)  # a ring that is read until its time is over
                assert expected in repr(source), round_
    finally:
        signal.signal(signal.SIGALRM, former)
    assert hits > 5
    kinds = [change.kind for change in changes]
    assert kinds.count("added") == kinds.count("removed") == 20


def test_an_interrupted_request_does_not_delay_the_answers_by_one(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with namespace.inside():
        monitor = LinkMonitor()
    try:
        real = rtnetlink._messages

        def interrupt(_: bytes) -> Any:
            raise Interrupted

        monkeypatch.setattr(rtnetlink, "_messages", interrupt)
        with pytest.raises(Interrupted):
            monitor.interfaces()
        monkeypatch.setattr(rtnetlink, "_messages", real)
        cable(namespace, "eth0")
        assert "eth0" in [one.name for one in monitor.interfaces()]
    finally:
        monitor.close()


def test_more_rings_than_events_of_one_wait(namespace: Namespace) -> None:
    count = 70
    namespace.ip_batch(*(f"link add m{n} type veth peer name far-m{n}" for n in range(count)))
    ends = [f"{prefix}m{n}" for n in range(count) for prefix in ("", "far-")]
    namespace.ip_batch(*(f"link set {end} addrgenmode none up" for end in ends))
    namespace.wait_until_up(*ends)
    with opened(namespace, ["m*"], block_size=1 << 12, num_blocks=4) as source:
        for n in range(count):
            namespace.send(f"far-m{n}", frames_of(2))
        namespace.ip("link add later type veth peer name far-later")  # the monitor reports, too
        time.sleep(0.1)
        assert settle(source) == 2 * count


def test_an_interface_with_the_name_of_a_pattern_is_given_as_a_link(namespace: Namespace) -> None:
    cable(namespace, "e[1]", "e1")
    with namespace.inside():
        links = [Link("e[1]")]
    with opened(namespace, links) as source:
        assert repr(source) == "<InterfacesSource: e[1]>"
    with opened(namespace, "e[1]") as source:
        assert repr(source) == "<InterfacesSource: e1>"


def test_two_interfaces_that_swap_names(namespace: Namespace) -> None:
    cable(namespace, "eth0", "eth1")
    with opened(namespace) as source:
        namespace.send("far-eth0", frames_of(1))
        assert settle(source) == 1
        namespace.ip_batch("link set eth0 name other", "link set eth1 name eth0", "link set other name eth1")
        settle(source)
        namespace.send("far-eth0", frames_of(2))
        batch = source.next_batch(timeout=PATIENCE)
        assert {batch.links[number].name for number in batch["interface"].tolist()} == {"eth1"}
        assert source.stats_by_interface["eth1"].packets_received == 3


def test_a_packet_has_capacity_for_those_of_any_interface_to_come(namespace: Namespace) -> None:
    def by_type(link_type: int) -> int:
        return 2000 if link_type == slimcap.LinkType.RAW else 60

    cable(namespace, "eth0")
    with opened(namespace, ["eth0", "ip*"], snaplen=by_type) as source:
        packet = source.new_packet()
        device = namespace.tun("ip0")
        settle(source)
        os.write(device, frames_of(1)[0][14:])
        whole = source.next_packet(timeout=PATIENCE)
        os.write(device, frames_of(1)[0][14:])
        assert bytes(source.next_packet(packet, timeout=PATIENCE).payload) == bytes(whole.payload)


def test_an_interface_that_vanished_does_not_make_a_filter_invalid(namespace: Namespace) -> None:
    cable(namespace, "eth0", "eth1")
    with opened(namespace) as source:
        namespace.ip("link del eth0")
        source.set_filter("udp port 9999")
        namespace.send("far-eth1", frames_of(2))
        assert settle(source) == 0
        with pytest.raises(FilterError):
            source.set_filter("no such filter")


def test_the_filter_may_be_changed_while_workers_are_opened(namespace: Namespace) -> None:
    cable(namespace, "eth0")
    source = FanoutSource.__new__(FanoutSource)
    setting: list[Background] = []

    def change() -> None:
        setting.append(Background(lambda: source.set_filter("udp port 9999")))
        time.sleep(0.05)

    with at_next_opening(change), namespace.inside():
        source.__init__("eth0", workers=2, **SMALL)  # type: ignore[misc]
    setting[0].result()
    with source:
        namespace.send("far-eth0", frames_of(2))
        assert settle(source) == 0


def test_drops_of_an_interface_are_counted_once_for_all_workers(namespace: Namespace) -> None:
    device = namespace.tun("tap0", tap=True)
    with opened(namespace, "tap0", workers=3) as source:
        namespace.ip("link set tap0 down")
        for frame in frames_of(3):
            with suppress(OSError):  # EIO, and the driver counts it as dropped
                os.write(device, frame)
        assert source.link_drops == (3, 0, 0)


def test_a_file_of_renamed_and_later_interfaces_is_complete(namespace: Namespace, tmp_path: Path) -> None:
    cable(namespace, "eth0")
    path = tmp_path / "several.pcapng"
    with opened(namespace, ["eth*", "ip*"]) as source:
        writing = Background(lambda: slimcap.write(source, path))
        cable(namespace, "eth1")
        device = namespace.tun("ip0")
        wait_until(lambda: "eth1, ip0" in repr(source))
        for number in range(2):
            namespace.send(f"far-eth{number}", frames_of(2 + number))
        os.write(device, frames_of(1)[0][14:])
        wait_until(lambda: source.account().delivered == 6)
        namespace.ip_batch("link set eth1 name eth7")
        wait_until(lambda: "eth7" in repr(source))
        namespace.send("far-eth1", frames_of(4))
        source.stop()
        writing.result()
    with slimcap.open_file(path) as file:
        names = [file.links[packet.interface].name for packet in file]
        counted = {one.link.name: one.received for one in file.interfaces}
    assert {name: names.count(name) for name in names} == {"eth0": 2, "eth1": 3, "ip0": 1, "eth7": 4}
    assert counted == {"eth0": 2, "eth1": None, "ip0": 1, "eth7": 7}


def test_a_file_has_the_counters_of_all_workers(namespace: Namespace, tmp_path: Path) -> None:
    cable(namespace, "eth0")
    path = tmp_path / "workers.pcapng"
    with opened(namespace, "eth0", workers=3) as source:
        namespace.send("far-eth0", frames_of(20))
        source.stop()
        slimcap.write(source, path)
    with slimcap.open_file(path) as file:
        assert sum(map(len, file.batches())) == 20
        assert [(one.received, one.os_dropped) for one in file.interfaces] == [(20, 0)]
