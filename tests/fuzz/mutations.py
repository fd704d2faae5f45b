"""Mutations of inputs: bit flips, truncation, splices, numbers near a limit, edits of length fields."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Sequence

Mutation = Callable[[bytearray, int, int], None]

# Numbers near a limit, which a length or another field may claim.
SMALL_CLAIMS = [0, 1, 2, 4, 8, 12, 15, 16, 20, 24, 28, 31, 32, 63, 64, 127, 128, 255, 256, 1500]
LARGE_CLAIMS = [32767, 32768, 65534, 65535, 65536, 262143, 262144, 262145, 1 << 27, (1 << 31) - 1, 1 << 31]
HUGE_CLAIMS = [(1 << 32) - 8, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
CLAIMS = SMALL_CLAIMS + LARGE_CLAIMS + HUGE_CLAIMS
MAX_LEN = 1 << 20  # bytes of an input


def flip_bit(data: bytearray, at: int, value: int) -> None:
    """Flip one bit."""
    data[at] ^= 1 << value % 8


def change_byte(data: bytearray, at: int, value: int) -> None:
    """Replace a byte by another one."""
    data[at] ^= value % 255 + 1


def insert(data: bytearray, at: int, value: int) -> None:
    """Insert up to 40 equal bytes."""
    data[at:at] = bytes([value % 256]) * (value // 256 % 40 + 1)


def delete(data: bytearray, at: int, value: int) -> None:
    """Delete up to 40 bytes."""
    del data[at : at + value % 40 + 1]


def truncate(data: bytearray, at: int, value: int) -> None:
    """Delete all from an offset on."""
    del data[at:]


def repeat(data: bytearray, at: int, value: int) -> None:
    """Repeat up to 200 bytes."""
    data[at:at] = data[at : at + value % 200 + 1]


def claim(data: bytearray, at: int, value: int) -> None:
    """Overwrite 2, 4 or 8 bytes, aligned as the fields of headers are, by a number near a limit."""
    order, size, number = "<>"[value & 1], (4, 4, 2, 8)[value >> 1 & 3], CLAIMS[(value >> 3) % len(CLAIMS)]
    at -= at % min(size, 4)
    field = {2: "H", 4: "I", 8: "Q"}[size]
    data[at : at + size] = struct.pack(order + field, number & (1 << 8 * size) - 1)


def adjust(data: bytearray, at: int, value: int) -> None:
    """Add a little to an aligned field of 2 or 4 bytes, as to a length."""
    order, size = "<>"[value & 1], (4, 2)[value >> 1 & 1]
    at -= at % size
    if at + size <= len(data):
        field = order + {2: "H", 4: "I"}[size]
        (number,) = struct.unpack_from(field, data, at)
        delta = (value >> 2) % 32 - 16 or 16
        struct.pack_into(field, data, at, number + delta & (1 << 8 * size) - 1)


MUTATIONS: list[Mutation] = [flip_bit, change_byte, insert, delete, truncate, repeat, claim, claim, adjust]


def changed(data: bytes, changes: Iterable[tuple[Mutation, int, int]]) -> bytes:
    """Apply mutations, each a function with an offset and a value, which may be any numbers from 0 on."""
    array = bytearray(data)
    for change, at, value in changes:
        if array:
            change(array, at % len(array), value)
    return bytes(array)


def splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Join the beginning of one input to the end of another."""
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def mutate(seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """Mutate one of the seeds one to five times."""
    data = rng.choice(seeds)
    if rng.random() < 0.1:
        data = splice(data, rng.choice(seeds), rng)
    changes = (
        (rng.choice(MUTATIONS), rng.randrange(1 << 32), rng.randrange(1 << 16))
        for _ in range(rng.randint(1, 5))
    )
    return changed(data, changes)[:MAX_LEN]
