"""Interfaces of another network namespace, by path, name and process identifier."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import slimcap
from slimcap import Link, LinkError, LinkNotFound
from support.cli import COMMAND, PATIENCE
from support.netns import OWN_NAMESPACE, Namespace, NewNamespace, Veth, lacking
from support.threads import wait_until
from support.traffic import LiveSource, arp, collect, ethernet, frames_of, payloads, udp

MS_BIND, MNT_DETACH = 4096, 2


@contextlib.contextmanager
def named(namespace: Namespace, name: str) -> Iterator[str]:
    """Give a namespace a name, as `ip netns attach` does."""
    path = Path("/run/netns", name)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        path.parent.mkdir(exist_ok=True)
        path.touch(exist_ok=False)
    except OSError as error:
        lacking(f"no name can be given to a namespace ({error})")
    try:
        if libc.mount(namespace.path.encode(), os.fsencode(path), None, MS_BIND, None):
            lacking(f"a namespace cannot be mounted (errno {ctypes.get_errno()})")
        try:
            yield name
        finally:
            libc.umount2(os.fsencode(path), MNT_DETACH)
    finally:
        path.unlink()


def here() -> str:
    return os.readlink(OWN_NAMESPACE)


def test_capture_in_another_namespace(veth: Veth, kind: type[LiveSource]) -> None:
    home = here()
    with kind("right", netns=veth.namespace.path, filter="udp port 5000") as source:
        assert here() == home
        veth.send([arp(), *frames_of(3)])
        assert payloads(collect(source, 3)) == frames_of(3)
        assert source.total_stats.packets_received == 3
        assert source.link_drops == (0, 0, 0)
        assert source.link.is_up
        veth.namespace.ip("link set right down")
        assert not source.link.is_up
        veth.namespace.ip("link set right up")
        veth.namespace.wait_until_up("right")
        veth.send(frames_of(2))
        assert payloads(collect(source, 2)) == frames_of(2)
        veth.namespace.ip("link delete right")
        with pytest.raises(slimcap.LinkGone):
            source.next_packet(timeout=5)


def test_filter_with_vlan_is_compiled_in_the_namespace(veth: Veth, kind: type[LiveSource]) -> None:
    """libpcap opens the interface for it, and `ip broadcast` is that of its address."""
    veth.namespace.ip("address add 198.51.100.9/28 dev right")
    with kind("right", netns=veth.namespace.path, filter="ip broadcast or vlan 7") as source:
        tagged = ethernet(b"\0\7\x08\0" + udp(1), 0x8100)
        broadcast = bytearray(ethernet(udp(2)))
        broadcast[30:34] = bytes((198, 51, 100, 15))
        veth.send([ethernet(udp(3)), tagged, bytes(broadcast)])
        assert [packet.total_len for packet in collect(source, 2)] == [len(tagged) - 4, len(broadcast)]


def test_link_knows_how_to_get_to_its_namespace(
    veth: Veth, new_namespace: NewNamespace, kind: type[LiveSource]
) -> None:
    other = new_namespace()
    veth.namespace.ip("address add 192.0.2.2/24 dev right")
    for link in (
        Link("right", netns=veth.namespace.path),
        *slimcap.links("right", netns=veth.namespace.path),
    ):
        again = pickle.loads(pickle.dumps(link))
        assert link == again
        assert link.netns == again.netns == veth.namespace.path
        assert (again.is_up, again.is_vlan) == (True, False)
        assert [str(one) for one in again.addresses] == ["192.0.2.2/24"]
        assert Link.addresses_of([again, Link("lo")])[link] == link.addresses
        with kind(again) as source:
            assert source.link is again
            veth.send(frames_of(2))
            assert payloads(collect(source, 2)) == frames_of(2)
        with pytest.raises(LinkNotFound, match="another network namespace"):
            kind(link, netns=other.path)
    with veth.namespace.inside():
        plain = Link("right")
    assert plain.netns is None
    assert plain != link
    with pytest.raises(LinkNotFound, match="another network namespace"):
        kind(plain)
    with kind(plain, netns=veth.namespace.path) as source:
        assert source.link == link
        assert source.link.is_up


def test_path_that_has_become_another_namespace_is_refused(
    veth: Veth, new_namespace: NewNamespace, kind: type[LiveSource], tmp_path: Path
) -> None:
    path = tmp_path / "link"
    path.symlink_to(veth.namespace.path)
    link = Link("lo", netns=path)
    path.unlink()
    path.symlink_to(new_namespace().path)
    for use in (lambda: link.is_up, lambda: kind(link)):
        with pytest.raises(LinkNotFound, match="was looked up in another network namespace"):
            use()
    path.unlink()
    with pytest.raises(LinkNotFound, match="no such file"):
        _ = link.addresses


def test_namespace_by_name_and_process(veth: Veth, kind: type[LiveSource]) -> None:
    with veth.namespace.inside():
        sleeper = subprocess.Popen(["sleep", "60"])
    try:
        wait_until(lambda: os.readlink(f"/proc/{sleeper.pid}/ns/net") != here())
        with named(veth.namespace, f"slimcap-{os.getpid()}") as name:
            for netns in (name, f"/run/netns/{name}", Path("/run/netns", name), sleeper.pid):
                assert {link.name for link in slimcap.links(netns=netns)} == {"lo", "left", "right"}
                with kind("right", netns=netns) as source:
                    veth.send(frames_of(1))
                    assert payloads(collect(source, 1)) == frames_of(1)
        with pytest.raises(LinkNotFound, match=rf"there is no network namespace '{name}': `ip netns list`"):
            kind("right", netns=name)
    finally:
        sleeper.kill()
        sleeper.wait()
    with pytest.raises(LinkNotFound, match=f"there is no process {sleeper.pid}"):
        slimcap.links(netns=sleeper.pid)


def test_what_is_not_a_namespace_is_refused(kind: type[LiveSource], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    before = os.listdir("/proc/self/fd")
    for path in (tmp_path / "file", tmp_path / "fifo", tmp_path, "/proc/self/ns/mnt"):
        with pytest.raises(LinkError, match="not a network namespace"):
            kind("lo", netns=path)
    with pytest.raises(LinkNotFound, match="no such file"):
        kind("lo", netns=tmp_path / "none")
    for name in ("", ".", "..", "a\0b"):
        with pytest.raises(ValueError, match="netns must be the name of a network namespace, or a path"):
            kind("lo", netns=name)
    for number in (0, -1, 1 << 40):
        with pytest.raises(ValueError, match="netns must be 1 to"):
            kind("lo", netns=number)
    for other in (b"x", 1.5, True):
        with pytest.raises(TypeError, match="netns must be a name, a path or a process identifier"):
            kind("lo", netns=other)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="netns is for a lookup"):
        Link("lo", 1, 1, netns="x")  # type: ignore[call-overload]
    assert os.listdir("/proc/self/fd") == before


def test_no_permission_says_what_to_do(veth: Veth) -> None:
    code = """
import ctypes, slimcap, sys
ctypes.CDLL(None).prctl(24, 21)  # drop CAP_SYS_ADMIN from the bounding set, for the child
import os
os.execv(sys.executable, [sys.executable, "-Pc", '''
import sys, slimcap
try:
    slimcap.links(netns=sys.argv[1])
except PermissionError as error:
    print(error)
''', sys.argv[1]])
"""
    fd = int(veth.namespace.path.rpartition("/")[2])
    done = subprocess.run(
        [sys.executable, "-Pc", code, veth.namespace.path],
        capture_output=True, text=True, timeout=PATIENCE, pass_fds=[fd],
    )  # fmt: skip
    assert "entering a network namespace requires CAP_SYS_ADMIN: run as root (sudo)" in done.stdout, done


def test_threads_and_forks_stay_where_they_are(veth: Veth, kind: type[LiveSource]) -> None:
    home, seen, stop = here(), set[str](), threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.add(here())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(20):
            with kind("right", netns=veth.namespace.path):
                seen.add(here())
            with pytest.raises(LinkNotFound):
                kind("no-such", netns=veth.namespace.path)
            pid = os.fork()
            if pid == 0:
                os._exit(here() != home)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        watcher.join()
    assert seen == {home}


def test_commands_accept_a_namespace(veth: Veth, tmp_path: Path) -> None:
    def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *args, f"--netns=/proc/{os.getpid()}/fd/{fd}"],
            capture_output=True, timeout=PATIENCE, text=True,
        )  # fmt: skip

    fd = int(veth.namespace.path.rpartition("/")[2])
    listed = run("links", "--json")
    assert {json.loads(line)["name"] for line in listed.stdout.splitlines()} == {"lo", "left", "right"}
    for command in (["capture", "right"], ["top", "right", "--batch=1"], ["flows", "--live", "right"]):
        done = run(*command, "--duration=0.1")
        assert (done.returncode, "0 packets captured" in done.stderr) == (0, True), done
    missing = run("capture", "no-such")
    assert (missing.returncode, "no interface 'no-such'" in missing.stderr) == (1, True)
    done = subprocess.run(
        [COMMAND, "links", "--netns", "no-such-name"], capture_output=True, timeout=PATIENCE, text=True
    )
    assert (done.returncode, "`ip netns list`" in done.stderr) == (1, True)
    done = subprocess.run(
        [COMMAND, "flows", "x.pcap", "--netns=x"], capture_output=True, timeout=PATIENCE, text=True
    )
    assert "--netns requires --live" in done.stderr
