"""Checks of `slimcap doctor` of an interface."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from slimcap.errors import LinkError
from slimcap.packet.enums import LinkType
from slimcap.packet.link import Link, link_of
from slimcap.source.live import rtnetlink
from slimcap.source.live.host import ethtool
from slimcap.source.live.host.finding import Finding, Status, as_root, loss, write_command
from slimcap.source.live.host.host_files import parse_cpus, parse_interrupts, parse_mask, read_text

_MERGES: Final = {"rx-gro": "gro", "rx-lro": "lro", "rx-gro-hw": "rx-gro-hw"}  # ethtool's names
_SEGMENTS: Final = {
    "tx-tcp-segmentation": "tso",
    "tx-tcp6-segmentation": "tso",
    "tx-generic-segmentation": "gso",
    "tx-udp-segmentation": "tx-udp-segmentation",
}
_SMALL_RING: Final = 1024  # packets


class _Checked(NamedTuple):
    """An interface, and what several checks need."""

    name: str
    kind: str  # of a virtual interface; "" for hardware
    state: rtnetlink.LinkState
    folder: Path | None  # /sys/class/net/NAME; None if it is that of another network namespace
    is_device: bool  # of hardware, or virtio

    def finding(self, check: str, status: Status, found: str, advice: str = "", *commands: str) -> Finding:
        return Finding(check, status, found, self.name, advice, commands)

    @property
    def quoted(self) -> str:
        """Name for a shell."""
        return shlex.quote(self.name)


def find_net(root: Path) -> Path | None:
    """Return /sys/class/net; None if it cannot be read, or is that of another network namespace.

    /sys shows the network namespace that it was mounted in. It is the thread's own if it has the same
    interfaces with the same indices.
    """
    net = root / "sys/class/net"
    try:
        files = {name: net / name / "ifindex" for name in os.listdir(net)}
        shown = {name: int(file.read_text()) for name, file in files.items() if file.exists()}
        own = {one.name: one.ifindex for one in rtnetlink.interfaces()}
    except (OSError, ValueError):
        return None
    return net if shown == own else None


def check_link(
    name: str, before: rtnetlink.LinkState | None, interval: float, root: Path, net: Path | None
) -> Iterator[Finding]:
    """Check an interface.

    Parameters
    ----------
    name : str
        Its name.
    before : LinkState or None
        Its state `interval` seconds ago.
    interval : float
        Seconds.
    root : Path
        Folder with proc and sys.
    net : Path or None
        What `find_net` returned.

    Yields
    ------
    Finding
        Checks that do not concern this interface are left out.
    """
    try:
        interface = rtnetlink.find(name)
        state = rtnetlink.state(interface.ifindex, name)
    except LinkError as error:
        yield Finding("interface", Status.PROBLEM, error.strerror or str(error), name)
        return
    folder = None if net is None else net / interface.name
    is_device = folder is not None and (folder / "device").exists()
    one = _Checked(interface.name, interface.kind, state, folder, is_device)
    yield _check_state(one, link_of(interface))
    yield _check_offloads(one)
    yield _check_queues(one)
    if is_device:
        yield _check_interrupts(one, root)
    yield from _check_ring(one)
    yield _check_drops(one, before or state, interval)


def _check_state(one: _Checked, link: Link) -> Finding:
    check, state = "interface", one.state
    found = f"{'up' if state.is_up else 'down'}, {link.type_name}, MTU {state.mtu:,}"
    if not state.is_up:
        advice = "an interface that is down receives nothing"
        return one.finding(check, Status.PROBLEM, found, advice, as_root(f"ip link set dev {one.quoted} up"))
    if not state.has_carrier:
        found = found.replace("up", "up without carrier", 1)
        return one.finding(
            check, Status.PROBLEM, found, "it receives nothing: check the cable or the other end"
        )
    if link.type == LinkType.USER0:
        advice = f"link type ARPHRD_ {link.arphrd} is not supported: no IP header is searched for in packets"
        return one.finding(check, Status.ADVICE, found, advice)
    return one.finding(check, Status.OK, found)


def _check_offloads(one: _Checked) -> Finding:
    """Check what makes packets in a capture differ from those on the wire.

    VLAN stripping does not: the kernel itself takes the tag out of every packet.
    """
    check = "offloads"
    try:
        features = ethtool.features(one.name)
    except (OSError, ValueError) as error:
        return one.finding(check, Status.UNKNOWN, f"the features are not known ({error})")
    active = {name: feature.changeable for name, feature in features.items() if feature.active}
    # By ethtool's names: True if it can be turned off. The loopback interface merges nothing.
    merges = (
        {} if one.state.is_loopback else {_MERGES[name]: active[name] for name in _MERGES if name in active}
    )
    segments = {_SEGMENTS[name]: active[name] for name in _SEGMENTS if name in active}
    found = f"on: {', '.join([*merges, *segments]) or 'none'}"
    if "rx-vlan-hw-parse" in active:
        found += "; VLAN tags are removed by the device, and kept in the column vlan_tci"
    large = "packets can be larger than the MTU, up to 64 KiB or more, and fewer than on the wire"
    received = f"received {large}"
    costs = "Turning it off costs CPU time"
    if any(merges.values()):
        fixed = [name for name, is_changeable in merges.items() if not is_changeable]
        costs += f"; {', '.join(fixed)} cannot be turned off" if fixed else ""
        return one.finding(check, Status.ADVICE, found, f"{received}. {costs}", _turn_off(one, merges))
    if one.kind == "veth" and any(segments.values()):
        advice = f"sent {large}; received ones too, if it is on at the other end. {costs}"
        return one.finding(check, Status.ADVICE, found, advice, _turn_off(one, segments))
    if merges:
        found += f"; it cannot be turned off: {received}"
    elif segments:
        found += f"; sent {large}"
    return one.finding(check, Status.OK, found)


def _turn_off(one: _Checked, offloads: dict[str, bool]) -> str:
    """Return the command that turns off those of the offloads that can be turned off."""
    words = [f"{name} off" for name, is_changeable in offloads.items() if is_changeable]
    return as_root(f"ethtool -K {one.quoted} {' '.join(words)}")


def _check_queues(one: _Checked) -> Finding:
    """Tell how many CPUs receive packets: one for each queue of the device, and those of RPS."""
    check = "queues"
    try:
        queues, maximum = ethtool.receive_channels(one.name)
    except (OSError, ValueError):
        queues, maximum = one.state.rx_queues, 0
    found = f"{queues} receive queue{'s' * (queues != 1)}"
    if maximum > queues:
        found += f" of {maximum} that the device has"
    if one.folder is None:
        note = "RPS is not visible: /sys is that of another network namespace, or not mounted"
        return one.finding(check, Status.UNKNOWN, f"{found}; {note}")
    files = sorted(one.folder.glob("queues/rx-*/rps_cpus"))
    spread = [mask for mask in map(parse_mask, filter(None, map(read_text, files))) if mask]
    rps = f"RPS on {len(spread)}" if spread else "no RPS"
    return one.finding(check, Status.OK, f"{found}, {rps}")


def _check_interrupts(one: _Checked, root: Path) -> Finding:
    """Check if the interrupts of several queues are handled by more than one CPU."""
    check = "interrupts"
    assert one.folder is not None
    text = read_text(root / "proc/interrupts")
    device = (one.folder / "device").resolve()
    numbers = {int(file.name) for file in (device / "msi_irqs").glob("*") if file.name.isdecimal()}
    interrupts = parse_interrupts(text or "", {one.name, device.name}, numbers)
    cpus: dict[int, set[int]] = {}
    for number in interrupts:
        for name in ("effective_affinity_list", "smp_affinity_list"):
            found = parse_cpus(read_text(root / f"proc/irq/{number}/{name}") or "")
            if found:
                cpus[number] = found
                break
    if not cpus:
        return one.finding(check, Status.UNKNOWN, "not shown in /proc/interrupts and /proc/irq")
    handlers = set().union(*cpus.values())
    shown = ", ".join(map(str, sorted(handlers)))
    text = f"{len(cpus)} for receiving, handled by CPU {shown}"
    online = sorted(parse_cpus(read_text(root / "sys/devices/system/cpu/online") or ""))
    if len(cpus) < 2 or len(handlers) > 1 or len(online) < 2:
        return one.finding(check, Status.OK, text)
    advice = "one CPU receives the packets of all queues: spread them (irqbalance would set them again)"
    commands = (
        write_command(online[index % len(online)], f"/proc/irq/{number}/smp_affinity_list")
        for index, number in enumerate(sorted(cpus))
    )
    return one.finding(check, Status.ADVICE, text, advice, *commands)


def _check_ring(one: _Checked) -> Iterator[Finding]:
    """Yield a finding on the receive ring of the device, if it has one."""
    check = "device_ring"
    try:
        ring = ethtool.receive_ring(one.name)
    except (OSError, ValueError):
        return
    found = f"{ring.size:,} packets, at most {ring.maximum:,}"
    drops = one.state.counters.drops
    full = drops.rx_fifo_errors + drops.rx_missed_errors
    if ring.size >= ring.maximum or (ring.size >= _SMALL_RING and not full):
        yield one.finding(check, Status.OK, found)
        return
    advice = "a larger receive ring of the device survives longer bursts"
    command = as_root(f"ethtool -G {one.quoted} rx {ring.maximum}")
    yield one.finding(check, Status.ADVICE, found, advice, command)


def _check_drops(one: _Checked, before: rtnetlink.LinkState, interval: float) -> Finding:
    check = "drops"
    now, then = one.state.counters.drops, before.counters.drops
    status, found = loss(sum(now), sum(then), one.state.counters.rx_packets, interval)
    if status is Status.OK:
        return one.finding(check, status, found)
    found += f" ({', '.join(f'{name} {count:,}' for name, count in now._asdict().items() if count)})"
    if status is Status.PROBLEM and now[1:] == then[1:]:
        status = Status.ADVICE  # rx_dropped also counts packets that have no user
    advice = (
        "rx_missed_errors and rx_fifo_errors: the buffers of the device were full, so make its ring larger, "
        "use more queues or RPS, or stop other programs. rx_dropped: no memory, or no user of such packets"
    )
    return one.finding(check, status, found, advice)
