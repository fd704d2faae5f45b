"""Fixtures of the live tests: a network namespace each, so that they may run side by side."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.netns import Namespace, Veth, lacking

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}


@pytest.fixture(scope="session", autouse=True)
def may_go_live() -> None:
    """Skips (see `lacking`) what cannot run here."""
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
def new_namespace() -> Iterator[Callable[[], Namespace]]:
    """Makes network namespaces, which end with the test."""
    with contextlib.ExitStack() as stack:

        def make() -> Namespace:
            namespace = Namespace()
            stack.callback(namespace.close)
            return namespace

        yield make


@pytest.fixture
def namespace(new_namespace: Callable[[], Namespace]) -> Namespace:
    """A fresh network namespace."""
    return new_namespace()


@pytest.fixture
def veth(namespace: Namespace) -> Veth:
    """A veth pair in a fresh namespace, up and silent."""
    left, right = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
    namespace.ip(f"link add left address {left.hex(':')} type veth peer name right address {right.hex(':')}")
    for end in ("left", "right"):
        namespace.quiet(end)
        namespace.ip(f"link set dev {end} up")
    for end in ("left", "right"):
        namespace.wait_until_active(end)
    return Veth(namespace, "left", "right", left, right)
