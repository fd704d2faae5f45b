"""`slimcap read` as a program: standard input and output, pipes, and Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from support.cli import COMMAND, PATIENCE, environment, run_slimcap, sample_path, start_slimcap
from support.samples import DATA
from support.threads import wait_until


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with far more packets than a pipe holds as lines."""
    mixed = (DATA / "mixed.pcap").read_bytes()
    file = tmp_path_factory.mktemp("cli") / "long.pcap"
    file.write_bytes(mixed[:24] + mixed[24:] * 100)
    return file


# ---- standard input and output


def test_standard_input_is_read() -> None:
    done = run_slimcap("read", "-", input=(DATA / "mixed.pcap.gz").read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 195


@pytest.mark.slow
def test_damaged_standard_input_is_named_stdin() -> None:
    done = run_slimcap("read", "-", input=(DATA / "bad" / "cut_data.pcap").read_bytes())
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr.startswith(b"slimcap: <stdin>: ")


@pytest.mark.slow
def test_lines_appear_while_the_input_stays_open() -> None:
    mixed = (DATA / "mixed.pcap").read_bytes()
    process = start_slimcap("read", "-")
    with process:
        process.stdin.write(mixed[: 24 + 16 + 42])
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"no IP layer\n")  # while the input stays open
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("redirection", "message"),
    [
        pytest.param("read - <&-", b"slimcap: <stdin>: Bad file descriptor\n", marks=pytest.mark.slow),
        ("read - >&-", b"slimcap: write error: Bad file descriptor\n"),
        pytest.param("read no.pcap 2>&-", b"", marks=pytest.mark.slow),
        pytest.param(
            "read --summary - >/dev/full",
            b"slimcap: write error: No space left on device\n",
            marks=[
                pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full"),
                pytest.mark.slow,
            ],
        ),
    ],
    ids=["closed input", "closed output", "closed error", "full output"],
)
def test_closed_or_full_standard_streams_fail(redirection: str, message: bytes) -> None:
    mixed = (DATA / "mixed.pcap").read_bytes()
    shell = ["sh", "-c", f'exec "$0" {redirection}', COMMAND]
    done = subprocess.run(
        shell, input=mixed, capture_output=True, timeout=PATIENCE, check=False, env=environment()
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", message)


@pytest.mark.parametrize(
    ("mode", "changes"),
    [
        ([], {}),
        pytest.param(["--json"], {}, marks=pytest.mark.slow),
        pytest.param([], {"PYTHONUNBUFFERED": "1"}, marks=pytest.mark.slow),
    ],
    ids=["lines", "JSON", "unbuffered"],
)
def test_output_pipe_that_closes_early_ends_with_the_status_of_sigpipe(
    mode: list[str], changes: dict[str, str], long_file: Path
) -> None:
    process = start_slimcap(
        "read", *mode, str(long_file), stdin=subprocess.DEVNULL, env=environment(**changes)
    )
    with process:
        assert b"2024-03-01" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    "args",
    [
        ["--version"],
        pytest.param(["read", "--summary", sample_path("mixed.pcap")], marks=pytest.mark.slow),
        pytest.param(["convert", sample_path("mixed.pcap"), "-"], marks=pytest.mark.slow),
    ],
    ids=["version", "summary", "convert"],
)
def test_output_pipe_without_a_reader_ends_with_the_status_of_sigpipe(args: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = start_slimcap(*args, stdin=subprocess.DEVNULL, stdout=writer)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        os.close(writer)
    assert (process.returncode, err) == (128 + signal.SIGPIPE, b"")


# ---- Ctrl-C


def interrupt(process: subprocess.Popen[bytes]) -> bytes:
    """Press Ctrl-C; return what is on standard error then."""
    process.send_signal(signal.SIGINT)
    # It takes some 0.1 s; more on a busy machine.
    assert process.wait(5) == 128 + signal.SIGINT
    return process.stderr.read()


def test_interrupt_while_waiting_for_input() -> None:
    with start_slimcap("read", "-") as process:
        process.stdin.write((DATA / "raw101.pcap").read_bytes())
        process.stdin.flush()
        assert len([process.stdout.readline() for _ in range(7)]) == 7
        assert interrupt(process) == b""
        assert process.stdout.read() == b""


@pytest.mark.slow
def test_interrupt_while_the_output_pipe_is_full(long_file: Path) -> None:
    with start_slimcap("read", str(long_file)) as process:
        process.stdout.readline()
        capacity = fcntl.fcntl(process.stdout.fileno(), fcntl.F_GETPIPE_SZ)
        wait_until(lambda: bytes_in(process.stdout.fileno()) > capacity * 3 // 4, PATIENCE)
        assert interrupt(process) == b""


@pytest.mark.slow
def test_interrupt_prints_the_summary_so_far(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with start_slimcap("read", "--summary", sample_path("mixed.pcap"), str(fifo)) as process:
        with open(fifo, "wb") as writer:  # which waits until the other end is open: it reads by now
            writer.write((DATA / "raw101.pcap").read_bytes())
            writer.flush()
            wait_until(lambda: bytes_in(writer.fileno()) == 0, PATIENCE)
            assert interrupt(process) == b""
        assert process.stdout.read().splitlines()[0] in (b"packets         202", b"packets         195")


def bytes_in(pipe: int) -> int:
    """Return how many bytes in a pipe have not been read."""
    size = struct.Struct("i")
    (left,) = size.unpack(fcntl.ioctl(pipe, termios.FIONREAD, size.pack(0)))
    return int(left)
