"""`slimcap links`."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from support.capture_command import (
    drop_net_raw,
)
from support.cli import COMMAND, PATIENCE
from support.netns import Veth


def run_links(veth: Veth, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    with veth.namespace.inside():
        return subprocess.run(
            [COMMAND, "links", *args], capture_output=True, timeout=PATIENCE, text=True, **options
        )


def test_links_shows_what_ip_shows(veth: Veth) -> None:
    veth.namespace.ip("address add 192.0.2.2/24 dev right")
    veth.namespace.sysctl("net/ipv6/conf/right/disable_ipv6", 0)
    veth.namespace.ip("address add 2001:db8::2/64 dev right nodad")
    veth.namespace.tun("tun0", up=False)
    done = run_links(veth, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}
    wanted = json.loads(veth.namespace.ip("-json address"))
    assert [*shown] == [one["ifname"] for one in wanted]
    for one in wanted:
        row = shown[one["ifname"]]
        addresses = [f"{info['local']}/{info['prefixlen']}" for info in one["addr_info"]]
        assert (row["index"], row["up"]) == (one["ifindex"], "UP" in one["flags"])
        assert row["addresses"] == addresses
    assert (shown["tun0"]["link_type"], shown["right"]["link_type"]) == ("RAW", "ETHERNET")
    assert len(shown["right"]["addresses"]) == 2
    assert {one["may_capture"] for one in shown.values()} == {True}
    lines = run_links(veth).stdout.splitlines()
    assert [line.split() for line in lines] == [
        [str(row["index"]), name, "up" if row["up"] else "down", row["link_type"], *row["addresses"]]
        for name, row in shown.items()
    ]
    assert len({line.index("RAW" if "RAW" in line else "ETHERNET") for line in lines}) == 1


def test_links_without_privilege(veth: Veth) -> None:
    done = run_links(veth, preexec_fn=drop_net_raw)
    assert done.returncode == 0
    assert "right" in done.stdout
    assert done.stderr.startswith("slimcap: socket: capturing requires CAP_NET_RAW: ")
    shown = run_links(veth, "--json", preexec_fn=drop_net_raw)
    assert shown.stderr == ""
    assert {json.loads(line)["may_capture"] for line in shown.stdout.splitlines()} == {False}


def test_undecodable_interface_name_is_escaped(veth: Veth) -> None:
    veth.namespace.ip("link set dev right down")
    with veth.namespace.inside():
        subprocess.run([b"ip", b"link", b"set", b"right", b"name", b"a\x1b[2J\xff"], check=True)
    done = run_links(veth)
    assert done.returncode == 0
    assert "  a\\x1b[2J\\xff  " in done.stdout
