"""Live sources: memory and descriptors, views that outlive a source, forked processes."""

from __future__ import annotations

import os
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slimcap import (
    RingSource,
    Stats,
    View,
)
from support.netns import Namespace, Veth
from support.threads import in_child
from support.traffic import (
    PAGE,
    SMALL,
    LiveSource,
    OpenSource,
    collect,
    ethernet,
    frames_of,
)


def test_views_outlive_source_and_close(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    frames = frames_of(40)
    veth.send(frames)
    view, _, _ = source.next_payload_zero_copy(timeout=10)
    layer, _, _ = source.next_ip_packet_zero_copy(timeout=10)
    batch = source.next_batch(timeout=10)
    array = batch.data
    source.close()
    del source
    veth.send([ethernet(bytes(1000), 0x0800)] * 100)
    assert isinstance(view, View)
    assert (bytes(view), bytes(layer)) == (frames[0], frames[1][14:])
    assert [bytes(batch.payload(i)) for i in range(len(batch))] == frames[2 : 2 + len(batch)]
    del batch, view, layer
    assert frames[5] in array.tobytes()


def resources_of(namespace: Namespace) -> tuple[int, int, int]:
    """Return the numbers of descriptors and ring mappings, and the promiscuity of the interface."""
    promiscuity = namespace.ip("-d link show right").split("promiscuity ")[1].split()[0]
    return (
        len(os.listdir("/proc/self/fd")),
        Path("/proc/self/maps").read_text().count("socket:"),
        int(promiscuity),
    )


def resident() -> int:
    """Return the resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")
def test_opening_and_closing_many_times_leaves_nothing_behind(veth: Veth, kind: type[LiveSource]) -> None:
    """Threads run in parallel, because each close waits for an RCU grace period (synchronize_rcu)."""
    options = SMALL if kind is RingSource else {"snaplen": 96}
    veth.namespace.ip("link set lo up")  # without it a SocketSource opens slower (kernel_stamps)

    def open_and_close(count: int) -> None:
        for i in range(count):
            source = kind("right", promiscuous=bool(i % 2), **options)
            if i % 5:
                source.close()
                source.close()

    with veth.namespace.inside(), ThreadPoolExecutor(8) as threads:
        list(threads.map(open_and_close, [25] * 8))
        before, memory = resources_of(veth.namespace), resident()
        list(threads.map(open_and_close, [125] * 8))
        assert resources_of(veth.namespace) == before
        if "libasan" not in os.environ.get("LD_PRELOAD", ""):  # which keeps what was freed for a while
            assert resident() - memory < 1 << 20


def test_close_with_views_open_frees_the_ring_with_the_last_view(veth: Veth, kind: type[LiveSource]) -> None:
    mappings = 1 if kind is RingSource else 0
    with veth.namespace.inside():
        before = resources_of(veth.namespace)
        source = kind("right", promiscuous=True)
        veth.send(frames_of(1))
        batch = source.next_batch(timeout=10)
        assert resources_of(veth.namespace)[1:] == (mappings, 1)
        source.close()
        assert resources_of(veth.namespace) == (before[0], mappings, 0)
        assert bytes(batch.payload(0)) == frames_of(1)[0]
        del batch
        assert resources_of(veth.namespace) == before


# ---- other processes


def test_forked_process_leaves_the_capture_alone(veth: Veth, opened: OpenSource) -> None:
    source = opened(promiscuous=True)
    veth.send(frames_of(2))
    batch = source.next_batch(timeout=10)

    def child() -> bool:
        nonlocal batch
        data = bytes(batch.payload(0))
        del batch
        with pytest.raises(RuntimeError, match=f"was opened by process {os.getppid()}"):
            source.next_batch(timeout=1)
        assert source.link_drops is not None
        source.unblock()
        source.close()
        return data == frames_of(2)[0]

    assert in_child(child) == "True"
    assert "promiscuity 1" in veth.namespace.ip("-d link show right")
    assert bytes(batch.payload(0)) == frames_of(2)[0]
    got = batch.copy()
    del batch
    veth.send(frames_of(200))
    assert len(got) + len(collect(source, 202 - len(got))) == 202
    assert source.total_stats == Stats(202, 0, 0)
    before = time.thread_time()
    with pytest.raises(TimeoutError):
        source.next_packet(timeout=0.3)
    assert time.thread_time() - before < 0.15, "spins"


def test_close_while_a_forked_process_has_a_copy(veth: Veth, opened: OpenSource) -> None:
    """The copy of the socket does not keep the interface promiscuous."""
    source = opened(promiscuous=True)
    go_on, wait = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(wait)
        os.read(go_on, 1)
        os._exit(0)
    try:
        source.close()
        assert "promiscuity 0" in veth.namespace.ip("-d link show right")
    finally:
        os.close(wait)
        os.waitpid(pid, 0)
        os.close(go_on)


def test_source_that_was_not_closed_warns(veth: Veth, kind: type[LiveSource]) -> None:
    with veth.namespace.inside():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            source = kind("right")
            del source
            closed = kind("right")
            closed.close()
            del closed
        (warning,) = caught
    assert warning.category is ResourceWarning
    assert str(warning.message) == (
        f"<{kind.__name__} 'right': ETHERNET> was not closed: use it as a context manager, or call close()"
    )
