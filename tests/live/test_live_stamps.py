"""Timestamps of the first packets after opening: those of their arrival."""

from __future__ import annotations

import time

import pytest

from support.netns import Veth
from support.traffic import LiveSource, collect, frames_of


@pytest.mark.parametrize("loopback", ["up", "down"])
def test_first_packet_has_the_time_of_its_arrival(veth: Veth, kind: type[LiveSource], loopback: str) -> None:
    """The kernel stamps packets only while a socket asks for that, and with a delay: so open many times.

    A packet without a stamp has the time at which it is read, which here is later than that of the second.
    """
    veth.namespace.ip(f"link set lo {loopback}")
    frames = frames_of(2)
    with veth.namespace.inside():
        for turn in range(24):
            with kind("right", timeout=10) as source:
                before = time.time_ns()
                veth.send(frames[:1])
                after = time.time_ns()
                time.sleep(0.03)
                veth.send(frames[1:])
                first, second = collect(source, 2)
            assert before <= first.timestamp <= after <= second.timestamp, f"in opening {turn}"
            time.sleep(0.04 * (turn % 3))  # the kernel stops stamping with a delay, too


def test_opening_does_not_take_long(veth: Veth, kind: type[LiveSource]) -> None:
    veth.namespace.ip("link set lo up")
    with veth.namespace.inside():
        took = []
        for _ in range(10):
            began = time.monotonic()
            kind("right").close()
            took.append(time.monotonic() - began)
    assert sorted(took)[5] < 0.1
