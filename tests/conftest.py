"""Fixtures and settings of all tests: tiers, hypothesis profiles, samples, peers, threads and FIFOs."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import signal
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Children that run `python -c` in the checkout would import its uncompiled folder.
os.environ["PYTHONSAFEPATH"] = "1"

try:
    import slimcap  # noqa: F401
except ImportError as error:
    if "is not compiled" not in str(error):
        raise
    raise pytest.UsageError(f"{error}. With an install, run `pytest`, not `python -m pytest`") from None

import make_samples
from support.files import Fifo
from support.profiles import describe_profile, load_profile
from support.samples import DATA, GOOD, Drained, Sample
from support.samples import drain as _drain
from support.samples import sample_of as _sample_of
from support.threads import Background

TESTS = Path(__file__).parent

# In the background of a shell, and under nohup(1), these are ignored: so they would be in what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


# ---- tiers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all", action="store_true", help="run all tiers: also slow, peer, live and package tests"
    )


@pytest.hookimpl(tryfirst=True)  # before hypothesis reads its options
def pytest_configure(config: pytest.Config) -> None:
    load_profile(config)
    if config.getoption("--all"):
        config.option.markexpr = ""


def pytest_report_header() -> str:
    return describe_profile()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Show the profile where pytest shows no header: with -q."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and session.config.get_verbosity() < 0 and "SLIMCAP_SEED" in os.environ:
        terminal.write_line(describe_profile())


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they need: a peer program (the fixture `need_tool`), or what their folder is for."""
    for item in items:
        if "need_tool" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.peer)
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in ("live", "package"):
            item.add_marker(folder)


def pytest_collection_finish() -> None:
    """Hide the thousands of collected tests from the garbage collector, to make full collections quick."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """Free what a module left in cycles: tracebacks, and the sources and blocks in their frames.

    Freed blocks of a megabyte between small ones stay with the process unless the heap is trimmed.
    """
    yield
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


# ---- samples


@pytest.fixture(scope="session")
def samples() -> types.ModuleType:
    """The module that makes the samples."""
    return make_samples


@pytest.fixture(scope="session")
def data_path() -> Path:
    """The folder of the samples."""
    return DATA


@pytest.fixture(scope="session")
def sample_of() -> Callable[[str], Sample]:
    """Gives the Sample of a name."""
    return _sample_of


@pytest.fixture(params=GOOD)
def good(request: pytest.FixtureRequest) -> Sample:
    """Each sample that can be read to its end."""
    return _sample_of(request.param)


@pytest.fixture(scope="session")
def drain() -> Callable[[Any], Drained]:
    """Reads a source to its end or to an error."""
    return _drain


# ---- peers


@pytest.fixture(scope="session")
def need_tool() -> Callable[[str], str]:
    """Gives the path of a program that tests compare with; skips if it is not installed.

    With SLIMCAP_REQUIRE_LIVE=1 in the environment the test fails instead, so that CI cannot skip in silence.
    """

    def need(name: str) -> str:
        path = shutil.which(name)
        if path is not None:
            return path
        reason = f"{name} is not installed"
        if os.environ.get("SLIMCAP_REQUIRE_LIVE") == "1":
            pytest.fail(f"{reason}, and SLIMCAP_REQUIRE_LIVE=1 asks for it")
        pytest.skip(reason)

    return need


# ---- threads and FIFOs


@pytest.fixture
def background() -> type[Background]:
    """`background(call)` starts a call; its `result()` waits for it."""
    return Background


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    """`write` to it, and `close` it to end the reader's file."""
    made = Fifo(tmp_path / "fifo")
    yield made
    made.close()
