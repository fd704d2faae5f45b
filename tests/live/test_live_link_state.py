"""Live sources on an interface that goes down, is deleted, moved or renamed."""

from __future__ import annotations

import contextlib
import errno
import time

import pytest

from slimcap import (
    LinkDown,
    LinkGone,
)
from support.netns import NewNamespace, Veth
from support.threads import Background
from support.traffic import (
    LiveSource,
    OpenSource,
    collect,
    ethernet,
    frames_of,
    payloads,
    udp,
)


def set_link(veth: Veth, state: str) -> None:
    veth.namespace.ip(f"link set dev right {state}")
    if state == "up":
        veth.namespace.wait_until_up("left", "right")


# ---- down


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
def test_capture_goes_on_after_down_and_up(veth: Veth, opened: OpenSource, inside: bool) -> None:
    """Outside: the reading thread is in another namespace than the interface."""
    source = opened()
    veth.send(frames_of(3))
    with veth.namespace.inside() if inside else contextlib.nullcontext():
        time.sleep(0.1)  # for the block to retire
        set_link(veth, "down")
        assert payloads(collect(source, 3)) == frames_of(3)
        began = time.thread_time()
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.5)
        assert time.thread_time() - began < 0.25, "spins"
        set_link(veth, "up")
        for i in range(3):
            veth.send([ethernet(udp(i))])
            assert payloads(collect(source, 1)) == [ethernet(udp(i))]


def test_down_is_not_gone_for_a_thread_in_another_namespace(veth: Veth, kind: type[LiveSource]) -> None:
    """Its own namespace has no interface of that index."""
    veth.namespace.ip("link add high index 40000 type veth peer name low")
    veth.namespace.ip("link set high up")
    with veth.namespace.inside():
        source = kind("high")
    with source:
        veth.namespace.ip("link set high down")
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.5)


def test_down_and_up_during_a_wait(veth: Veth, opened: OpenSource, background: type[Background]) -> None:
    source = opened()
    with veth.namespace.inside():
        waiting = background(lambda: payloads(collect(source, 1)))
    waiting.wait_until_blocked()
    set_link(veth, "down")
    time.sleep(0.3)
    set_link(veth, "up")
    veth.send(frames_of(1))
    assert waiting.result(12) == frames_of(1)


def test_source_opened_while_down_captures_after_up(veth: Veth, opened: OpenSource) -> None:
    set_link(veth, "down")
    source = opened()
    with veth.namespace.inside():
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.3)
        set_link(veth, "up")
        veth.send(frames_of(1))
        assert payloads(collect(source, 1)) == frames_of(1)


@pytest.mark.parametrize("when", ["before", "opened", "waiting"])
def test_link_down_raise_raises(
    veth: Veth, opened: OpenSource, background: type[Background], when: str
) -> None:
    if when == "before":
        set_link(veth, "down")
    source = opened(link_down="raise")
    if when == "opened":
        set_link(veth, "down")
    with veth.namespace.inside():
        waiting = background(lambda: source.next_packet(timeout=30))
    if when == "waiting":
        waiting.wait_until_blocked()
        set_link(veth, "down")
    with pytest.raises(LinkDown, match=r"ip link set right up.*right") as caught:
        waiting.result(within=3)
    assert caught.value.errno == errno.ENETDOWN
    set_link(veth, "up")
    veth.send(frames_of(1))
    with veth.namespace.inside():
        assert payloads(collect(source, 1)) == frames_of(1)


# ---- gone


@pytest.mark.parametrize("held", [False, True], ids=["", "held"])
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
@pytest.mark.parametrize("link_down", ["wait", "raise"])
def test_deletion_ends_a_wait(
    veth: Veth, opened: OpenSource, background: type[Background], inside: bool, link_down: str, held: bool
) -> None:
    source = opened(link_down=link_down)
    batch = None
    if held:
        veth.send(frames_of(1))
        batch = source.next_batch(timeout=10)
    with veth.namespace.inside() if inside else contextlib.nullcontext():
        waiting = background(lambda: source.next_packet(timeout=30))
    waiting.wait_until_blocked()
    began = time.monotonic()
    veth.namespace.ip("link delete right")
    with pytest.raises((LinkGone, LinkDown) if link_down == "raise" else LinkGone):
        waiting.result(within=5)
    assert time.monotonic() - began < 2.5
    assert batch is None or bytes(batch.payload(0)) == frames_of(1)[0]
    with veth.namespace.inside(), pytest.raises(LinkGone):
        source.next_packet(timeout=3)


def test_new_interface_of_the_same_name_is_another_one(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    veth.namespace.ip("link delete right")
    veth.namespace.ip("link add right type veth peer name left")
    with veth.namespace.inside(), pytest.raises(LinkGone, match="open a new source") as caught:
        source.next_packet(timeout=3)
    assert caught.value.errno == errno.ENODEV
    assert "right" in str(caught.value)


@pytest.mark.parametrize("pause", [0, 0.2])
def test_packets_before_the_deletion_are_delivered(veth: Veth, opened: OpenSource, pause: float) -> None:
    """This includes packets in a block that the kernel has not handed over yet."""
    source = opened()
    veth.send(frames_of(4))
    time.sleep(pause)
    veth.namespace.ip("link delete right")
    with veth.namespace.inside():
        assert payloads(collect(source, 4)) == frames_of(4)
        with pytest.raises(LinkGone):
            source.next_packet(timeout=3)


def test_interface_moved_to_another_namespace_is_gone(
    veth: Veth, opened: OpenSource, new_namespace: NewNamespace
) -> None:
    source = opened()
    veth.namespace.ip(f"link set right netns {new_namespace().path}")
    with veth.namespace.inside(), pytest.raises(LinkGone):
        source.next_packet(timeout=3)


# ---- renamed


def test_renamed_interface_is_still_captured(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    veth.namespace.ip("link set right name other")
    veth.send(frames_of(1))
    assert payloads(collect(source, 1)) == frames_of(1)
