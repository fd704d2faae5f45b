"""Random traffic between few hosts, in which every rule of flows comes up."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from slimcap import Batch, Packet
from slimcap.mock import build_packet
from support.builders.layers import (
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    icmp,
    icmpv6,
    ip,
    ipv4_fragments,
    ipv6_fragments,
    mac,
    tcp,
    udp,
)
from support.builders.links import arp, ethernet
from support.packets import decoded_batch

START = 1_700_000_000_000_000_000
HOSTS = {4: ("192.0.2.1", "192.0.2.2", "198.51.100.7"), 6: ("2001:db8::1", "2001:db8::2", "fe80::1")}
PORTS = (53, 80, 1024, 40000)
STEPS = (0, 0, 1, 1_000_000, 400_000_000, 3_000_000_000, -2_000_000, 20_000_000_000, -400_000_000_000)
WEIGHTS = (20, 20, 20, 40, 40, 8, 8, 2, 0.5)
FLAGS = (0x02, 0x12, 0x10, 0x10, 0x18, 0x11, 0x11, 0x04, 0x14, 0xF0)
SEQUENCES = (0, 30, 60, 2**32 - 30, 2**32 - 1)
VLANS = ((), (), (), ((0x8100, 7),), ((0x8100, 9), (0x8100, 3)))


def packets_of(rng: random.Random) -> list[bytes]:
    """Return an IP packet, or all fragments of one, some of them missing."""
    version = rng.choice((4, 4, 6))
    src, dst = rng.choices(HOSTS[version], k=2)
    ports = rng.choice(PORTS), rng.choice(PORTS)
    data = rng.randbytes(rng.randrange(60))
    kind = rng.randrange(10)
    if kind < 5:
        flags, seq = rng.choice(FLAGS), rng.choice(SEQUENCES)
        return [ip(tcp(data, src, dst, *ports, seq=seq, flags=flags), TCP, src, dst)]
    if kind < 7:
        return [ip(udp(data, src, dst, *ports), UDP, src, dst)]
    if kind == 7 and version == 4:
        return [ip(icmp(rng.choice((0, 3, 8, 13, 14)), rng.randrange(2), bytes(8)), ICMP, src, dst)]
    if kind == 7:
        return [ip(icmpv6(rng.choice((1, 128, 129, 135)), 0, bytes(8), src, dst), ICMPV6, src, dst)]
    if kind == 8:
        whole = udp(rng.randbytes(2) + bytes(100), src, dst, *ports)
        cut = ipv4_fragments if version == 4 else ipv6_fragments
        fragments = list(cut(whole, UDP, src, dst, 40))
        return rng.sample(fragments, rng.randrange(1, 4)) if rng.random() < 0.5 else fragments
    return [ip(bytes(30), rng.choice((47, 50, 132, 89)), src, dst)]


def frames(rng: random.Random, count: int) -> Iterator[bytes]:
    while count > 0:
        if rng.random() < 0.05:
            yield ethernet(arp(1, mac(1), "192.0.2.1", mac(2), "192.0.2.2"), 0x0806)
            count -= 1
            continue
        tags = rng.choice(VLANS)
        for packet in packets_of(rng):
            frame = ethernet(packet, tags=tags, pad=rng.random() < 0.3)
            yield frame[: rng.randrange(len(frame) + 1)] if rng.random() < 0.05 else frame
            count -= 1


def random_traffic(seed: int, count: int) -> Batch:
    """Return about `count` packets with random times, of which some are earlier than those before."""
    rng = random.Random(seed)
    payloads = list(frames(rng, count))
    times = START + np.cumsum(rng.choices(STEPS, WEIGHTS, k=len(payloads)))
    interfaces = [rng.randrange(2) for _ in payloads]
    lengths = [len(payload) + rng.choice((0, 0, 0, 4)) for payload in payloads]
    return decoded_batch(payloads, timestamp=times, interface=interfaces, total_len=lengths)


def parts_of(batch: Batch, seed: int) -> Iterator[Batch]:
    """Yield a batch in parts of random length."""
    rng, start = random.Random(seed), 0
    while start < len(batch):
        end = start + rng.choice((1, 2, 63, 64, 65, 200))
        yield batch[start:end]
        start = end


A, B = "192.0.2.1", "198.51.100.7"
SYN, SYN_ACK, ACK, FIN, RST = 0x02, 0x12, 0x10, 0x11, 0x04


def tcp_packet(seconds: float, flags: int, src: int = 40000, dst: int = 80, *, back: bool = False) -> Packet:
    """Build a packet from port `src` of A to port `dst` of B, or the reverse."""
    ends = (B, A, dst, src) if back else (A, B, src, dst)
    return build_packet(*ends, 6, timestamp=START + round(seconds * 1e9), tcp_flags=flags)


def udp_packet(seconds: float, src: int = 40000, dst: int = 53, *, host: str = A, size: int = 0) -> Packet:
    return build_packet(host, B, src, dst, 17, bytes(size), timestamp=START + round(seconds * 1e9))


def batch_at(*packets: Packet) -> Batch:
    """Return packets as a batch."""
    return decoded_batch(
        [bytes(packet.payload) for packet in packets], timestamp=[packet.timestamp for packet in packets]
    )
