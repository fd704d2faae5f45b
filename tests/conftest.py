"""What the tests share: the sample captures and what is known of them, peers, threads and FIFOs.

`make_samples`, which builds the samples, `traffic`, frames for live tests, `doubles` and `bpf_oracles` can be
imported by every test module. The fixtures `good` and `sample_of` give a sample as its builder described it:
nothing here decodes a capture file.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

DATA = Path(__file__).parent / "data"

# Children that run `python -c` in the checkout would import its uncompiled folder.
os.environ["PYTHONSAFEPATH"] = "1"

try:
    import slimcap
except ModuleNotFoundError as error:
    if not str(error.name).startswith("slimcap"):
        raise
    raise pytest.UsageError(
        f"{error}: this slimcap is not compiled. Run `pytest`, not `python -m pytest`, or install editable"
    ) from None


# In the background of a shell, and under nohup(1), these are ignored: so they would be in what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def load_by_path(name: str, path: Path) -> types.ModuleType:
    """Import a file that is in no package, once, so that `import name` finds it from then on."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


make_samples = load_by_path("make_samples", DATA / "make_samples.py")
load_by_path("traffic", Path(__file__).parent / "live" / "traffic.py")
load_by_path("doubles", Path(__file__).parent / "doubles.py")
load_by_path("bpf_oracles", Path(__file__).parent / "bpf_oracles.py")
for target in sorted((Path(__file__).parent / "fuzz").glob("fuzz_*.py")):
    load_by_path(target.stem, target)

GOOD = [name for name in make_samples.SAMPLES if not name.startswith("bad/")]


# ---- samples


class Row(NamedTuple):
    """One packet, as it was built."""

    timestamp: int
    offset: int  # of the payload, in the uncompressed file
    total_len: int
    data: bytes


class Sample(NamedTuple):
    """One sample file, as it was built."""

    name: str
    path: Path
    data: bytes  # uncompressed
    linktype: int  # with the bits above it
    magic: int
    big_endian: bool
    snaplen: int
    rows: list[Row]
    ip_offsets: list[int]  # as tshark sees them

    @property
    def facts(self) -> list[tuple[int, int, bytes]]:
        return [(row.timestamp, row.total_len, row.data) for row in self.rows]

    @property
    def starts(self) -> list[int]:
        """Where each record starts, and the last ends."""
        header = 24 if self.magic == make_samples.MODIFIED else 16
        return [row.offset - header for row in self.rows] + [
            self.rows[-1].offset + len(self.rows[-1].data) if self.rows else 24
        ]


@functools.cache
def _ip_offsets() -> dict[str, list[int]]:
    offsets: dict[str, list[int]] = json.loads((DATA / "ip_offsets.json").read_text())
    return offsets


@functools.cache
def _sample_of(name: str) -> Sample:
    """Make a sample while listening to what its builder writes: one header, then records."""
    real_header, real_record = make_samples.pcap_header, make_samples.pcap_record
    now = make_samples.START // 10**9
    headers: list[dict[str, Any]] = []
    records: list[tuple[bytes, int, int, int | None]] = []

    def header(**kwargs: Any) -> bytes:
        headers.append(kwargs)
        return real_header(**kwargs)

    def record(data: bytes, seconds: int = now, fraction: int = 0, **kwargs: Any) -> bytes:
        records.append((data, seconds, fraction, kwargs.get("orig_len")))
        return real_record(data, seconds, fraction, **kwargs)

    try:
        make_samples.pcap_header, make_samples.pcap_record = header, record
        made = make_samples.SAMPLES[name]()
    finally:
        make_samples.pcap_header, make_samples.pcap_record = real_header, real_record
    options = {
        "magic": make_samples.MICRO,
        "big_endian": False,
        "linktype": 1,
        "snaplen": 262144,
        **headers[0],
    }
    tick = 1 if options["magic"] == make_samples.NANO else 1000
    at = 24
    rows = []
    for data, seconds, fraction, orig_len in records:
        at += 24 if options["magic"] == make_samples.MODIFIED else 16
        total = len(data) if orig_len is None else max(orig_len, len(data))
        rows.append(Row(seconds * 10**9 + fraction * tick, at, total, data))
        at += len(data)
    return Sample(
        name,
        DATA / name,
        make_samples.inflated(made) if name.endswith(".gz") else made,
        options["linktype"],
        options["magic"],
        options["big_endian"],
        options["snaplen"],
        rows,
        _ip_offsets_of(name),
    )


def _ip_offsets_of(name: str) -> list[int]:
    """Twins of mixed.pcap share its list."""
    offsets = _ip_offsets()
    if name not in offsets and name.startswith(("mixed", "snap96")):
        return offsets["mixed.pcap"]
    return offsets.get(name, [])


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


class Drained(NamedTuple):
    """What a source gave up to its end, or up to an error."""

    records: np.ndarray  # of all batches; each offset counts from its own batch's data
    payloads: list[bytes]
    error: Exception | None

    @property
    def facts(self) -> list[tuple[int, int, bytes]]:
        """What a `Row` tells, but for the offset."""
        times, totals = self.records["timestamp"].tolist(), self.records["total_len"].tolist()
        return list(zip(times, totals, self.payloads, strict=True))


def _drain(source: Any) -> Drained:
    records, payloads, error = [], [], None
    try:
        for batch in source.batches():
            records.append(batch.records)
            payloads += [bytes(batch.payload(i)) for i in range(len(batch))]
    except Exception as raised:
        error = raised
    return Drained(np.concatenate([np.zeros(0, slimcap.RECORD_DTYPE), *records]), payloads, error)


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


class Background(threading.Thread):
    """A call in a thread of its own, which a hanging test does not wait for."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error

    def result(self, within: float = 10) -> Any:
        """What the call gave or raised."""
        self.join(within)
        assert not self.is_alive(), f"did not end within {within} s"
        if self._error is not None:
            raise self._error
        return self._value


@pytest.fixture
def background() -> type[Background]:
    """`background(call)` starts a call; its `result()` waits for it."""
    return Background


class Fifo:
    """A FIFO whose writing end is ours, so that a reader can open it at once."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._fd = os.open(path, os.O_RDWR)

    def write(self, data: bytes) -> None:
        assert os.write(self._fd, data) == len(data)

    def close(self) -> None:
        fd, self._fd = self._fd, -1  # once only: a reader's thread may end the test while this closes
        if fd >= 0:
            os.close(fd)

    def close_soon(self) -> None:
        """`close`, but only when the caller waits for it."""
        threading.Timer(0.02, self.close).start()


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    """`write` to it, and `close` it to end the reader's file."""
    made = Fifo(tmp_path / "fifo")
    yield made
    made.close()
