"""The other programs of bench/flow_records.py: a row fails unless its program has seen every packet."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import NeedTool

BENCH = Path(__file__).parents[2] / "bench"
WRITE = "from captures import *; write(capture('b', Path(sys.argv[1]), scale=0.001, flows=50))"


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment, cwd=BENCH, check=False
    )


@pytest.mark.parametrize(
    ("name", "tools"),
    [("nfpcapd", ("nfpcapd", "nfdump")), ("softflowd", ("softflowd",)), ("argus", ("argus", "racount"))],
)
def test_every_packet_has_to_be_counted(
    name: str, tools: tuple[str, ...], tmp_path: Path, need_tool: NeedTool
) -> None:
    for tool in tools:
        need_tool(tool)
    written = python("-c", f"import sys; from pathlib import Path; {WRITE}", tmp_path)
    assert written.returncode == 0, written.stderr
    (path,) = tmp_path.glob("*.pcap")
    done = python("flow_peers.py", name, path, 1000)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["packets"], found["sum"]) == (1000, path.stat().st_size - 24 - 16 * 1000)
    assert found["cpu"] > 0
    wrong = python("flow_peers.py", name, path, 1001)
    assert wrong.returncode == 1
    assert f"{name} made records of 1,000 packets, not of 1,001" in wrong.stderr
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)  # softflowd removes the PID file that it is given
