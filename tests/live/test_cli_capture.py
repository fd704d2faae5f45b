"""`slimcap capture` and `slimcap links` as programs, on a cable of their own; tcpdump judges the files."""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import select
import signal
import struct
import subprocess
import sysconfig
import termios
import time
from pathlib import Path

import numpy as np
import pytest

import slimcap

COMMAND = str(Path(sysconfig.get_path("scripts")) / "slimcap")
PATIENCE = 20
"""Seconds after which something that should have happened at once counts as never: machines may be busy."""
PR_CAPBSET_DROP, CAP_NET_RAW = 24, 13
ALL, GROUP = b"\xff" * 6, bytes.fromhex("01005e000001")


# ---- frames


def udp(n, size=20):
    """IPv4 and UDP with a number in it."""
    data = struct.pack("!I", n).ljust(size, b"\xaa")
    addresses = b"\xc0\0\2\1\xc0\0\2\2"
    ip = struct.pack("!BBHHHBBH8s", 0x45, 0, 28 + len(data), n & 0xFFFF, 0, 64, 17, 0, addresses)
    return ip + struct.pack("!HHHH", 4000, 5000, 8 + len(data), 0) + data


def frames(veth, count, size=20):
    head = veth.right_mac + veth.left_mac + b"\x08\0"
    return [head + udp(n, size + n % 7) for n in range(count)]


def all_kinds(veth):
    """IP, tagged once and twice, to all kinds of addresses, and what is no IP."""
    kinds = []
    for n, target in enumerate((veth.right_mac, ALL, GROUP, b"\2" * 6)):
        head = target + veth.left_mac
        kinds += [
            head + b"\x08\0" + udp(n, 20 + 300 * n),
            head + b"\x81\0\0\7\x08\0" + udp(n),
            head + b"\x88\xa8\0\x08\x81\0\0\x09\x08\0" + udp(n),
            head + b"\x88\xb5" + bytes(range(60)),
        ]
    return kinds


# ---- the command


class Capture:
    """A `slimcap capture` that runs, and hears what is sent from now on."""

    def __init__(self, veth, *args, link="right", **options):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        with veth.namespace.inside():
            # Unbuffered, or `communicate` would miss what came with the first line.
            self.process = subprocess.Popen([COMMAND, "capture", link, *args], bufsize=0, **(pipes | options))
        if self.process.stderr:
            self.first = self.process.stderr.readline().decode()

    def interrupt(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def end(self):
        """Wait for it: exit code, standard output, standard error."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err.decode()


@pytest.fixture
def capture(veth):
    """Starts captures, which end with the test at the latest."""
    started = []

    def start(*args, **options):
        started.append(Capture(veth, *args, **options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        for pipe in filter(None, (one.process.stdout, one.process.stderr)):
            pipe.close()


def totals(captured, received=None, dropped=0):
    counts = {"captured": captured, "received by filter": captured if received is None else received}
    counts["dropped by kernel"] = dropped
    return "".join(f"{n} packet{'s' * (n != 1)} {what}\n" for what, n in counts.items())


def eventually(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def payloads(path):
    return [bytes(packet.payload) for packet in slimcap.read(path)]


def whole(path, count, least):
    """Whether a capture file has so many packets, of so many bytes at least."""
    return path.exists() and path.stat().st_size >= 24 + count * (16 + least)


# ---- lines


def test_lines(veth, capture):
    running = capture("-n", "5")
    assert running.first == "slimcap: listening on right, ETHERNET, snaplen 262144\n"
    veth.send(frames(veth, 5))
    code, out, err = running.end()
    assert (code, err) == (0, totals(5))
    lines = out.decode().splitlines()
    assert len(lines) == 5
    for n, line in enumerate(lines):
        size = 14 + 28 + 20 + n
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9}  In   "
            rf"{size:>5}/{size:<5}  192\.0\.2\.1:4000 => 192\.0\.2\.2:5000 \(proto: 17\)",
            line,
        )


def test_lines_come_at_once(veth, capture):
    running = capture("--json")
    for n in range(3):
        start = time.time_ns()
        veth.send(frames(veth, 1))
        shown = json.loads(running.process.stdout.readline())
        assert start <= shown["timestamp_ns"] <= time.time_ns(), n
    running.interrupt()
    assert running.end() == (0, b"", totals(3))


def test_count_is_exact(veth, capture):
    running = capture("-n", "7")
    veth.send(frames(veth, 50))
    code, out, err = running.end()
    assert (code, len(out.splitlines())) == (0, 7)
    assert err.startswith("7 packets captured\n")


def test_count_of_nothing(capture):
    assert capture("-n", "0").end() == (0, b"", totals(0))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], 12),
        (["--everything"], 16),
        (["--filter", "udp and len > 900"], 1),
        (["--filter", "vlan 7"], 4),
        (["--direction", "in"], 12),
        (["--direction", "out"], 3),
        (["--direction", "both"], 12),
    ],
)
def test_what_is_captured(veth, capture, options, expected):
    running = capture("--json", *options)
    sent = all_kinds(veth)
    veth.send(sent)
    if "out" in options:
        veth.namespace.send(veth.right, frames(veth, 3))
    shown = [json.loads(running.process.stdout.readline()) for _ in range(expected)]
    running.interrupt()
    assert running.end() == (0, b"", totals(expected))
    assert (
        {one["type"] for one in shown} <= {"OUTGOING"} if "out" in options else {one["vlan"] for one in shown}
    )
    if options == ["--everything"]:
        assert [one["total_len"] for one in shown] == list(map(len, sent))
        assert [one["vlan"] for one in shown] == [None, 7, 8, None] * 4


def test_snaplen(veth, capture, tmp_path):
    path = tmp_path / "out.pcap"
    running = capture("--snaplen", "50", "-n", "3", "-w", path)
    sent = frames(veth, 3, size=100)
    veth.send(sent)
    assert running.end() == (0, b"", totals(3))
    batch = slimcap.read(path)
    assert payloads(path) == [frame[:50] for frame in sent]
    assert batch["total_len"].tolist() == list(map(len, sent))
    assert struct.unpack_from("=I", path.read_bytes(), 16) == (50,)


def test_promiscuous(veth, capture):
    def is_promiscuous():
        return "promiscuity 1" in veth.namespace.ip("-d link show right")

    assert not is_promiscuous()
    running = capture("--promiscuous")
    assert is_promiscuous()
    running.interrupt()
    assert running.end()[0] == 0
    assert not is_promiscuous()


# ---- files


def test_same_as_tcpdump(veth, capture, need_tool, tmp_path):
    ours, theirs = tmp_path / "ours.pcap", tmp_path / "theirs.pcap"
    tcpdump = need_tool("tcpdump")
    sent = all_kinds(veth) * 20
    command = f"{tcpdump} -i right -w {theirs} -U -n -Z root --immediate-mode --nano -s 2000"
    with veth.namespace.inside():
        peer = subprocess.Popen(command.split(), stderr=subprocess.PIPE, text=True)
    try:
        assert "listening on" in peer.stderr.readline()
        running = capture("--everything", "--snaplen", "2000", "-n", str(len(sent)), "-w", ours)
        veth.send(sent)
        assert running.end() == (0, b"", totals(len(sent)))
        eventually(lambda: theirs.exists() and theirs.stat().st_size >= ours.stat().st_size)
        peer.send_signal(signal.SIGINT)
        assert f"{len(sent)} packets captured" in peer.communicate(timeout=PATIENCE)[1]
    finally:
        peer.kill()
        peer.wait()

    def read_by_tcpdump(path):
        command = [tcpdump, "-r", path, "-t", "-nn", "-e", "-xx"]
        return subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE).stdout

    text = read_by_tcpdump(ours)
    assert text.count(b"0x0000:") == len(sent)
    assert text == read_by_tcpdump(theirs)
    assert ours.read_bytes()[:24] == theirs.read_bytes()[:24]
    apart = slimcap.read(ours)["timestamp"] - slimcap.read(theirs)["timestamp"]
    assert np.abs(apart).max() < 10**9


def test_file_on_standard_output(veth, capture):
    running = capture("-w", "-", "-n", "3")
    sent = frames(veth, 3)
    veth.send(sent)
    code, out, err = running.end()
    assert (code, err) == (0, totals(3))
    assert len(out) == 24 + sum(16 + len(frame) for frame in sent)
    assert out.endswith(sent[-1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_with_a_whole_file(veth, capture, tmp_path, number):
    path = tmp_path / "out.pcap"
    running = capture("-w", path)
    sent = frames(veth, 1000)
    veth.send(sent)
    running.interrupt(number)  # most of them are still in the ring
    assert running.end() == (0, b"", totals(1000))
    assert payloads(path) == sent


def test_signal_that_comes_twice(veth, capture, tmp_path):
    """As timeout(1) sends it."""
    path = tmp_path / "out.pcap"
    running = capture("-w", path)
    sent = frames(veth, 100)
    veth.send(sent)
    for _ in range(3):
        running.interrupt()
        time.sleep(0.005)  # so that they do not count as one for the kernel
    assert running.end() == (0, b"", totals(100))
    assert payloads(path) == sent


def test_hangup_under_nohup(veth, capture, tmp_path):
    path = tmp_path / "out.pcap"
    running = capture("-w", path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    running.interrupt(signal.SIGHUP)
    sent = frames(veth, 1)
    veth.send(sent)
    eventually(lambda: whole(path, 1, len(sent[0])))
    running.interrupt()
    assert running.end() == (0, b"", totals(1))


def test_interrupt_while_idle(capture):
    running = capture()
    time.sleep(0.1)
    start = time.monotonic()
    running.interrupt()
    assert running.process.stderr.readline() == b"0 packets captured\n"
    # It takes less than 0.1 s; more only on a machine that has no time for us.
    assert time.monotonic() - start < 2
    assert running.end()[0] == 0


def test_second_interrupt_while_nobody_reads(veth, capture):
    running = capture("--json")
    for _ in range(5):
        veth.send(frames(veth, 400))  # more lines than a pipe holds
        time.sleep(0.05)
    running.interrupt()
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(0.5)
    running.interrupt()
    assert running.process.wait(PATIENCE) == -signal.SIGINT


@pytest.mark.parametrize("busy", [False, True])
def test_duration(veth, capture, tmp_path, busy):
    path = tmp_path / "out.pcap"
    start = time.monotonic()
    running = capture("--duration", "0.5", "-w", path)
    count = 0
    while busy and running.process.poll() is None:
        count += veth.send(frames(veth, 10))
    code, _, err = running.end()
    assert code == 0
    assert 0.5 <= time.monotonic() - start < PATIENCE / 2
    captured = int(err.split()[0])
    assert 10 * busy <= captured <= count
    assert err == totals(captured)
    assert len(payloads(path)) == captured


def test_more_than_the_ring_holds(veth, capture, tmp_path):
    """Blocks go back as they are written."""
    path = tmp_path / "out.pcap"
    running = capture("-w", path)
    sent = frames(veth, 500, size=1200)
    for n in range(1, 21):  # 13 MB through 4
        veth.send(sent)
        eventually(lambda n=n: whole(path, 500 * n, len(sent[0])))
    running.interrupt()
    assert running.end() == (0, b"", totals(10_000))
    assert payloads(path) == sent * 20


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["", "unbuffered"])
def test_drops(veth, capture, unbuffered):
    """Who does not read in time loses packets, and is told how many.

    What was captured comes out whole, though the signal comes in the middle of a write.
    """
    running = capture("--json", env=os.environ | {"PYTHONUNBUFFERED": unbuffered})
    for _ in range(40):
        veth.send(frames(veth, 500, size=1200))  # 26 MB, where the ring holds 16
    time.sleep(0.3)  # the kernel closes its last block, though the machine may be busy
    running.interrupt()
    code, out, err = running.end()
    captured, received, dropped = map(int, re.findall(r"^(\d+) packets", err, re.M))
    assert code == 0
    assert received == 20_000
    assert len(out.splitlines()) == captured == received - dropped
    assert dropped > 0


# ---- what goes wrong


@pytest.mark.parametrize(
    ("file", "message"),
    [("/dev/full", "write: No space left on device"), ("/no/such/folder", "No such file or directory")],
)
def test_no_file(capture, file, message):
    running = capture("-w", file)
    assert running.first == f"slimcap: {file}: {message}\n"
    assert running.end() == (1, b"", "")


def test_full_device_shown_on(veth, capture):
    with open("/dev/full", "wb") as full:
        running = capture("-n", "1", stdout=full)
        veth.send(frames(veth, 1))
        assert running.end() == (1, None, totals(0, 1) + "slimcap: write error: No space left on device\n")


def test_file_that_gets_too_large(veth, capture, tmp_path):
    path = tmp_path / "out.pcap"
    running = capture("-w", path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
    veth.send(frames(veth, 100))
    code, out, err = running.end()
    assert (code, out) == (1, b"")
    assert "packets captured\n" in err
    assert err.endswith(f"slimcap: {path}: write: File too large\n")
    assert path.stat().st_size == 4096


@pytest.mark.parametrize("options", [[], ["--json"], ["-w", "-"]])
def test_pipe_that_nobody_reads(veth, capture, options):
    running = capture(*options)
    running.process.stdout.close()
    veth.send(frames(veth, 1))
    assert running.process.wait(PATIENCE) == 128 + signal.SIGPIPE
    assert b"slimcap: " not in running.process.stderr.read()


def test_interface_that_goes_away(veth, capture, tmp_path):
    path = tmp_path / "out.pcap"
    running = capture("-w", path)
    sent = frames(veth, 100)
    veth.send(sent)
    veth.namespace.ip("link delete left")
    code, out, err = running.end()
    assert (code, out) == (1, b"")
    assert err.endswith(
        totals(100) + "slimcap: right: the interface is gone: open a new source when it is there again\n"
    )
    assert payloads(path) == sent


def test_interface_that_goes_down(veth, capture, tmp_path):
    path = tmp_path / "out.pcap"
    running = capture("-w", path)
    veth.namespace.ip("link set right down")
    time.sleep(0.3)
    assert running.process.poll() is None
    veth.namespace.ip("link set right up")
    (frame,) = frames(veth, 1)
    sent = 0

    def comes_through():  # what is sent before the kernel has seen the carrier is lost
        nonlocal sent
        sent += veth.send([frame])
        return whole(path, 1, len(frame))

    eventually(comes_through)
    running.interrupt()
    code, _, err = running.end()
    assert code == 0
    captured = payloads(path)
    assert err == totals(len(captured))
    assert 0 < len(captured) <= sent
    assert set(captured) == {frame}


def test_no_such_interface(veth, capture, tmp_path):
    path = tmp_path / "out.pcap"
    running = capture("-w", path, link="nowhere")
    assert running.first == (
        "slimcap: no interface 'nowhere' in this network namespace: `ip link` lists those there are\n"
    )
    assert running.end() == (1, b"", "")
    assert not path.exists()


def test_bad_expression(capture, tmp_path):
    path = tmp_path / "out.pcap"
    path.write_bytes(b"what was there before")
    running = capture("-w", path, "--filter", "udp udp udp")
    assert running.first.startswith("slimcap: ")
    assert "udp udp udp" in running.first
    assert running.end() == (1, b"", "")
    assert path.read_bytes() == b"what was there before"


def without_net_raw():
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_NET_RAW)  # for what is executed next


def test_no_privilege(capture, tmp_path):
    path = tmp_path / "out.pcap"
    running = capture("-w", path, preexec_fn=without_net_raw)
    assert running.first.startswith("slimcap: right: socket: capturing needs CAP_NET_RAW: ")
    assert "`sudo setcap cap_net_raw" in running.first
    assert running.end() == (1, b"", "")
    assert not path.exists()


# ---- the status line


class Screen:
    """A terminal, for a program to write to."""

    def __init__(self):
        self._ours, self.theirs = os.openpty()
        termios.tcsetwinsize(self.theirs, (24, 80))
        self.text = b""

    def until(self, pattern):
        """Take in what is written until it has a pattern in it."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, self.text
            if select.select([self._ours], [], [], 0.1)[0]:
                self.text += os.read(self._ours, 1 << 16)
        return found

    def close(self):
        os.close(self._ours)
        os.close(self.theirs)


@pytest.fixture
def screen():
    made = Screen()
    yield made
    made.close()


def test_status_line(veth, capture, screen, tmp_path):
    running = capture("-w", tmp_path / "out.pcap", stderr=screen.theirs)
    screen.until(b"listening on right")
    veth.send(frames(veth, 1234))
    status = screen.until(rb"\r\x1b\[K1,234 packets, \d+\.\d k?packets/s, \d+\.\d k?bit/s, 0 dropped(?=\r)")
    screen.until(rb"\r\x1b\[K1,234 packets, 0\.0 packets/s, 0\.0 bit/s, 0 dropped(?=\r)")
    running.interrupt()
    screen.until(rb"dropped by kernel\r\n")
    assert screen.text.endswith(b"\r\x1b[K" + totals(1234).replace("\n", "\r\n").encode())
    assert running.process.wait(PATIENCE) == 0
    assert len(status[0]) < 80


def test_narrow_terminal(veth, capture, screen, tmp_path):
    termios.tcsetwinsize(screen.theirs, (24, 20))
    running = capture("-w", tmp_path / "out.pcap", stderr=screen.theirs)
    screen.until(rb"\r\x1b\[K0 packets, 0\.0 pack\r")
    running.interrupt()
    assert running.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("options", [[], ["-w", "-"]])
def test_no_status_where_it_would_be_in_the_way(veth, capture, screen, options):
    running = capture(*options, stdout=screen.theirs, stderr=screen.theirs)
    screen.until(b"listening on right")
    time.sleep(0.7)
    running.interrupt()
    screen.until(rb"dropped by kernel\r\n")
    assert b"\x1b" not in screen.text
    assert running.process.wait(PATIENCE) == 0


# ---- links


def links(veth, *args, **options):
    with veth.namespace.inside():
        return subprocess.run(
            [COMMAND, "links", *args], capture_output=True, timeout=PATIENCE, text=True, **options
        )


def test_links(veth):
    veth.namespace.ip("address add 192.0.2.2/24 dev right")
    veth.namespace.sysctl("net/ipv6/conf/right/disable_ipv6", 0)
    veth.namespace.ip("address add 2001:db8::2/64 dev right nodad")
    veth.namespace.tun("tun0", up=False)
    done = links(veth, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}
    told = json.loads(veth.namespace.ip("-json address"))
    assert [*shown] == [one["ifname"] for one in told]
    for one in told:
        row = shown[one["ifname"]]
        addresses = [f"{info['local']}/{info['prefixlen']}" for info in one["addr_info"]]
        assert (row["index"], row["up"]) == (one["ifindex"], "UP" in one["flags"])
        assert row["addresses"] == addresses
    assert (shown["tun0"]["link_type"], shown["right"]["link_type"]) == ("RAW", "ETHERNET")
    assert len(shown["right"]["addresses"]) == 2
    assert {one["may_capture"] for one in shown.values()} == {True}
    lines = links(veth).stdout.splitlines()
    assert [line.split() for line in lines] == [
        [str(row["index"]), name, "up" if row["up"] else "down", row["link_type"], *row["addresses"]]
        for name, row in shown.items()
    ]
    assert len({re.search(r"ETHERNET|RAW", line).start() for line in lines}) == 1


def test_links_without_privilege(veth):
    done = links(veth, preexec_fn=without_net_raw)
    assert done.returncode == 0
    assert "right" in done.stdout
    assert done.stderr.startswith("slimcap: socket: capturing needs CAP_NET_RAW: ")
    shown = links(veth, "--json", preexec_fn=without_net_raw)
    assert shown.stderr == ""
    assert {json.loads(line)["may_capture"] for line in shown.stdout.splitlines()} == {False}


def test_name_that_is_no_text(veth):
    veth.namespace.ip("link set dev right down")
    with veth.namespace.inside():
        subprocess.run([b"ip", b"link", b"set", b"right", b"name", b"a\x1b[2J\xff"], check=True)
    done = links(veth)
    assert done.returncode == 0
    assert "  a\\x1b[2J\\udcff  " in done.stdout
