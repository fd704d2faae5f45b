"""Fixtures of the mock tests: both kinds of mock, opened for one test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slimcap.mock import MockRingSource
from support.mocks import KINDS, SMALL, Mock, fill
from support.threads import Background
from support.upstream import packets


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> type[Mock]:
    """Each class of mocks."""
    kind: type[Mock] = request.param
    return kind


@pytest.fixture
def opened(kind: type[Mock]) -> Iterator[Callable[..., Mock]]:
    """Opens a mock whose reads time out after 5 seconds."""
    with contextlib.ExitStack() as stack:
        yield lambda *link, **options: stack.enter_context(kind(*link, **{"timeout": 5} | options))


@pytest.fixture
def ring() -> Iterator[Callable[..., MockRingSource]]:
    """Opens a mock ring whose reads time out after 5 seconds."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(MockRingSource(**{"timeout": 5} | options))


@pytest.fixture
def full(kind: type[Mock], opened: Callable[..., Mock]) -> Callable[..., tuple[Mock, list[bytes]]]:
    """Opens a mock and fills it; gives the mock and the frames that it holds."""

    def make(**options: Any) -> tuple[Mock, list[bytes]]:
        mock = opened(**SMALL[kind] | options)
        return mock, fill(mock)

    return make


@pytest.fixture
def produce() -> Callable[[Mock], Background]:
    """Adds upstream's 10,000 packets to a mock in a thread, and then ends the capture."""

    def start(mock: Mock) -> Background:
        def add() -> None:
            for packet in packets():
                mock.add_packet(packet, timeout=10)
            mock.done()

        mock.run()
        return Background(add)

    return start
