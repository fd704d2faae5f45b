"""Fixtures of the live tests: a network namespace each, so that they can run in parallel."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slimcap import RingSource, SocketSource
from support.capture_command import CaptureCommand, StartCapture
from support.netns import Namespace, NewNamespace, Veth, lacking
from support.screen import Screen
from support.traffic import LiveSource, OpenSource

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}


@pytest.fixture(scope="session", autouse=True)
def may_go_live() -> None:
    """Skip (see `lacking`) without `ip` or the capabilities."""
    if shutil.which("ip") is None:
        lacking("ip is not installed (Debian: apt install iproute2)")
    status = Path("/proc/self/status").read_text()
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    missing = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        lacking(f"live tests need {', '.join(missing)}: run them as root, or under `unshare -Urn`")
    try:
        Namespace().close()
    except OSError as error:
        lacking(f"no network namespace can be made here ({error})")


@pytest.fixture
def new_namespace() -> Iterator[NewNamespace]:
    """Makes network namespaces, which are removed after the test."""
    with contextlib.ExitStack() as stack:

        def make() -> Namespace:
            namespace = Namespace()
            stack.callback(namespace.close)
            return namespace

        yield make


@pytest.fixture
def namespace(new_namespace: NewNamespace) -> Namespace:
    """A fresh network namespace."""
    return new_namespace()


@pytest.fixture
def veth(namespace: Namespace) -> Veth:
    """A veth pair in a fresh namespace, up and silent."""
    left, right = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
    ends = ("left", "right")
    namespace.ip_batch(
        f"link add left address {left.hex(':')} type veth peer name right address {right.hex(':')}",
        # As Namespace.quiet does, and before they are up: otherwise IPv6 would start to speak.
        *(f"link set dev {end} addrgenmode none" for end in ends),
        *(f"link set dev {end} up" for end in ends),
    )
    namespace.wait_until_up(*ends)
    return Veth(namespace, *ends, left, right)


@pytest.fixture(params=[RingSource, SocketSource], ids=["ring", "socket"])
def kind(request: pytest.FixtureRequest) -> type[LiveSource]:
    """Each kind of live source."""
    live_source: type[LiveSource] = request.param
    return live_source


@pytest.fixture
def opened(veth: Veth, kind: type[LiveSource]) -> Iterator[OpenSource]:
    """Opens sources of each kind at the right end of the veth pair, or at another interface."""
    with contextlib.ExitStack() as stack:

        def open_source(name: str = "right", **options: Any) -> LiveSource:
            if kind is RingSource:
                # Each block timeout uses up a block for a single packet, and the machine may be busy.
                options = {"block_size": 1 << 16, "num_blocks": 64} | options
            with veth.namespace.inside():
                return stack.enter_context(kind(name, **options))

        yield open_source


@pytest.fixture
def capture(veth: Veth) -> Iterator[StartCapture]:
    """Starts `slimcap capture` in the namespace of the veth pair; kills it after the test."""
    with contextlib.ExitStack() as stack:

        def start(*args: str | Path, **options: Any) -> CaptureCommand:
            started = CaptureCommand(veth, *args, **options)
            stack.callback(started.close)
            return started

        yield start


@pytest.fixture
def screen() -> Iterator[Screen]:
    """A terminal, for a program to write to."""
    made = Screen()
    yield made
    made.close()
