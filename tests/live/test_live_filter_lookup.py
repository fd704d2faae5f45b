"""Names in filter expressions: a slow lookup blocks neither Ctrl-C nor other threads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.netns import lacking

SCRIPT = """
import json, signal, socket, sys, threading, time
from slimcap.filter import compile_expression

server = socket.socket(type=socket.SOCK_DGRAM)  # a name server that does not answer
server.bind(("127.0.0.1", 53))
seconds = {}

def other():
    begin = time.monotonic()
    compile_expression("udp port 53", 1)
    seconds["other"] = time.monotonic() - begin
    signal.raise_signal(signal.SIGINT)

threading.Timer(0.3, other).start()
begin = time.monotonic()
try:
    compile_expression("host slow.example", 1)
except KeyboardInterrupt:
    seconds["interrupted"] = time.monotonic() - begin - 0.3
seconds["asked"] = len(server.recv(1000))
print(json.dumps(seconds))
"""


def test_slow_lookup_can_be_interrupted_and_other_threads_go_on(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        lacking("unshare is not installed (Debian: apt install util-linux)")
    names = tmp_path / "resolv.conf"
    names.write_text("nameserver 127.0.0.1\noptions timeout:20\n")
    script = tmp_path / "lookup.py"
    script.write_text(SCRIPT)
    setup = 'ip link set lo up && mount --bind "$1" /etc/resolv.conf && exec "$2" -P "$3"'
    command = ["unshare", "-mn", "sh", "-c", setup, "sh", str(names), sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "mount" in done.stderr:
        pytest.skip(f"/etc/resolv.conf cannot be replaced here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    seconds = json.loads(done.stdout)
    assert seconds["asked"] > 0
    assert seconds["other"] < 1
    assert seconds["interrupted"] - seconds["other"] < 0.5  # 0.05, but machines may be busy
