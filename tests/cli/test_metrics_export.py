"""The text format of Prometheus, and its export over HTTP and in a file."""

from __future__ import annotations

import http.client
import os
import socket
import time
from pathlib import Path

import pytest

from slimcap.cli.main import main
from slimcap.cli.render.prometheus_text import CONTENT_TYPE, Metric, exposition
from slimcap.cli.terminal.metrics_export import serving, writing_regularly
from support.threads import wait_until


def fetch(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"] or "", response.read().decode()
    finally:
        connection.close()


def test_text_format() -> None:
    hostile = 'a"b\\c\nd\udcff'
    text = exposition(
        [
            Metric("a_total", "Some things.", [({"x": hostile, "y": "1"}, 5), ({}, 2**64)]),
            Metric("b", "None.", []),
        ]
    )
    assert text == (
        "# HELP a_total Some things.\n"
        "# TYPE a_total counter\n"
        r'a_total{x="a\"b\\c\nd\\xff",y="1"} 5'
        "\na_total 18446744073709551616\n"
    )


def test_requests_are_answered_with_the_current_text() -> None:
    count = 0

    def text() -> str:
        nonlocal count
        count += 1
        return f"n {count}\n"

    with serving(0, text, CONTENT_TYPE) as port:
        assert fetch(port) == (200, CONTENT_TYPE, "n 1\n")
        assert fetch(port, "/metrics?x=1") == (200, CONTENT_TYPE, "n 2\n")
        assert fetch(port, method="HEAD") == (200, CONTENT_TYPE, "")
        assert fetch(port, "/")[0] == 404
        assert fetch(port, method="POST")[0] == 501
    with pytest.raises(ConnectionRefusedError):
        fetch(port)


def test_an_error_of_the_text_is_reported_and_passes() -> None:
    errors = [OSError(5, "no counters")]

    def text() -> str:
        if errors:
            raise errors.pop()
        return "x 1\n"

    with serving(0, text, CONTENT_TYPE) as port:
        assert fetch(port)[0] == 503
        assert fetch(port)[2] == "x 1\n"


@pytest.mark.slow
def test_a_slow_client_delays_others_for_two_seconds_at_most(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        serving(0, lambda: "x 1\n", CONTENT_TYPE) as port,
        socket.create_connection(("127.0.0.1", port)) as slow,
    ):
        slow.sendall(b"GET /metrics")
        start = time.monotonic()
        assert fetch(port)[2] == "x 1\n"
        assert 1 < time.monotonic() - start < 8
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_client_does_not_delay_the_end() -> None:
    start = time.monotonic()
    with (
        serving(0, lambda: "x 1\n", CONTENT_TYPE) as port,
        socket.create_connection(("127.0.0.1", port)) as slow,
    ):
        slow.sendall(b"GET ")
    assert time.monotonic() - start < 8


def test_a_port_in_use_is_an_error() -> None:
    with (
        serving(0, str, CONTENT_TYPE) as port,
        pytest.raises(OSError, match=f"in use: '127.0.0.1:{port}'"),
        serving(port, str, CONTENT_TYPE),
    ):
        pass


def test_file_is_replaced_regularly_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "slimcap.prom"
    count = 0

    def text() -> str:
        nonlocal count
        count += 1
        return f"n {count}\n"

    with writing_regularly(str(path), text, 0.02):
        assert path.read_text() == "n 1\n"
        first = path.open()  # an older version stays whole
        wait_until(lambda: path.read_text() != "n 1\n")
        assert first.read() == "n 1\n"
        first.close()
        assert path.stat().st_mode & 0o444 == 0o444
    assert path.read_text() == f"n {count}\n"
    time.sleep(0.1)
    assert path.read_text() == f"n {count}\n"
    assert os.listdir(tmp_path) == ["slimcap.prom"]


def test_file_that_cannot_be_written_is_an_error_at_first_and_shown_once_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "there"
    path = str(folder / "slimcap.prom")
    with pytest.raises(FileNotFoundError), writing_regularly(path, str):
        pass
    folder.mkdir()
    versions = 0

    def text() -> str:
        nonlocal versions
        versions += 1
        return ""

    with writing_regularly(path, text, 0.01):
        (folder / "slimcap.prom").unlink()
        folder.rmdir()
        seen = versions
        wait_until(lambda: versions > seen + 3)
    assert capsys.readouterr().err == f"slimcap: metrics: {path}: No such file or directory\n"


def test_something_else_than_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="regular file"), writing_regularly(str(tmp_path / "fifo"), str):
        pass


@pytest.mark.parametrize("port", ["65536", "99999999999"])
def test_invalid_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capture", "lo", "--metrics", port]) == 2
    assert f"use one up to 65535, or ./{port}" in capsys.readouterr().err


def test_metrics_of_files_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flows", "x.pcap", "--metrics", "0"]) == 2
    assert "--metrics requires --live" in capsys.readouterr().err
