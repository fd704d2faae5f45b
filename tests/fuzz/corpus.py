"""Valid inputs that fuzz targets mutate."""

from __future__ import annotations

import bz2
import functools
import lzma
from collections.abc import Callable

import lz4.frame
import zstandard

from support.builders.captures import SAMPLES
from support.builders.compressed import gzip_member
from support.builders.conversations import packet4, packet6
from support.builders.encapsulations import NOT_TAGS, NOT_TUNNELS, TAGS, TEREDO, TUNNELS
from support.builders.layers import noise
from support.builders.pcap import Packet, paced
from support.builders.pcapng_captures import PCAPNG
from support.builders.protocols import odd_headers, transports, tunnels

LARGE = ("mixed", "snap96", "max_caplen", "resolutions", "bad/caplen_262145")
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip_member,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "lz4": functools.partial(lz4.frame.compress, content_checksum=True),
}

PLAIN = noise(20_000, "x") + bytes(300_000) + noise(3000, "y") * 20


@functools.cache
def captures() -> dict[str, bytes]:
    """Return the small samples by name, so that most damage hits a header."""
    return {name: make() for name, make in (SAMPLES | PCAPNG).items() if not name.startswith(LARGE)}


@functools.cache
def compressed_captures() -> list[bytes]:
    """Return a small capture of each format in each kind of compression."""
    return [pack(captures()[name]) for pack in PACKERS.values() for name in ("null.pcap", "simple.pcapng")]


@functools.cache
def packets() -> list[Packet]:
    """Return Ethernet frames of all transports and tunnels, and with contradictory headers."""
    rare = [build(packet4(2)) for build in (TAGS | TUNNELS | NOT_TAGS | NOT_TUNNELS).values()]
    rare += [build(packet6(1)) for build in TEREDO.values()]
    return [packet for frames in (transports(), tunnels(), odd_headers(), rare) for packet in paced(frames)]


@functools.cache
def streams() -> dict[str, bytes]:
    """Return a compressed stream of each kind, of some noise and much repetition."""
    return {kind: pack(PLAIN) for kind, pack in PACKERS.items()}
