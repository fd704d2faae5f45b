"""View behaves like bytes, but is read-only and cannot be pickled or copied."""

from __future__ import annotations

import array
import copy
import ctypes
import io
import itertools
import mmap
import operator
import pickle
import random
import struct
import sys

import numpy as np
import pytest

from slimcap import IPLayer, Packet, View
from slimcap.packet.lease import Lease
from support.batches import batch_of
from support.packets import ip_layer_of, view_of

MAX = sys.maxsize
LENGTHS = (0, 1, 2, 15, 16, 17, 300)
CONTENT = random.Random(1).randbytes(max(LENGTHS))


@pytest.fixture(params=[view_of, ip_layer_of], ids=["View", "IPLayer"])
def make(request):
    return request.param


# ---- the same as bytes


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    "operation",
    [
        len,
        bytes,
        bytearray,
        list,
        tuple,
        sum,
        bool,
        hash,
        lambda content: [*reversed(content)],
        lambda content: [*enumerate(content)],
        lambda content: memoryview(content).tobytes(),
        lambda content: memoryview(content).cast("c").tolist(),
        lambda content: np.frombuffer(content, "u1").tolist() if content else [],
        lambda content: b"<" + content + b">",
        lambda content: b"-".join([content, content]),
        lambda content: io.BytesIO(content).getvalue(),
        lambda content: int.from_bytes(content, "big"),
        lambda content: [byte in content for byte in range(256)],
        lambda content: struct.unpack_from("<H", content) if len(content) > 1 else None,
    ],
)
def test_operations_give_what_bytes_give(make, operation, length):
    content = CONTENT[:length]
    assert operation(make(content)) == operation(content)


@pytest.mark.parametrize("arguments", [(), (":",), (b"-",), (" ", 2), (" ", -3)], ids=str)
@pytest.mark.parametrize("length", LENGTHS)
def test_hex_is_that_of_bytes(make, length, arguments):
    content = CONTENT[:length]
    assert make(content).hex(*arguments) == content.hex(*arguments)


def test_hex_accepts_keywords_and_tobytes_gives_bytes(make):
    assert make(CONTENT).hex(sep=":", bytes_per_sep=4) == CONTENT.hex(":", 4)
    assert make(CONTENT).tobytes() == CONTENT
    assert type(make(CONTENT).tobytes()) is bytes


@pytest.mark.parametrize("length", LENGTHS)
def test_slices_are_those_of_bytes(make, length):
    """All combinations of bounds and steps around the ends, then random ones."""
    content = CONTENT[:length]
    view = make(content)
    chance = random.Random(length)
    bounds = [None, 0, 1, 2, length // 2, length - 1, length, length + 1, -1, -length, -length - 1]
    bounds += [MAX, -MAX - 1, 2**70, -(2**70)]
    steps = [None, 1, 2, 3, -1, -2, MAX, -MAX - 1, 2**70]
    slices = [slice(*three) for three in itertools.product(bounds, bounds, steps)]
    slices += [slice(*(chance.randint(-400, 400) or 1 for _ in range(3))) for _ in range(300)]
    for key in slices:
        part = view[key]
        assert bytes(part) == content[key], key
        # A slice without a step is not copied.
        assert type(part) is (View if key.step in (None, 1) else bytes), key


def test_slices_of_slices_are_those_of_bytes(make):
    chance = random.Random(2)
    for _ in range(200):
        view, content = make(CONTENT), CONTENT
        while content:
            start, stop = chance.randint(-len(content), len(content)), chance.randint(0, len(content))
            view, content = view[start:stop], content[start:stop]
            assert view == content
            if chance.random() < 0.2:
                break


def test_a_slice_shows_the_same_memory(make):
    view = make(CONTENT)
    whole, part = (np.frombuffer(v, "u1").ctypes.data for v in (view, view[20:][10:50]))
    assert part == whole + 30


@pytest.mark.parametrize("as_index", [int, np.int64, np.int8], ids=["int", "int64", "int8"])
def test_indices_count_from_either_end(make, as_index):
    content = CONTENT[:50]
    view = make(content)
    for index in range(-60, 60):
        if -50 <= index < 50:
            assert view[as_index(index)] == content[index]
            assert type(view[index]) is int
        else:
            with pytest.raises(IndexError):
                view[as_index(index)]


@pytest.mark.parametrize("index", [0, -1, MAX, -MAX - 1, 2**70, -(2**70)])
def test_an_empty_view_has_no_index(make, index):
    with pytest.raises(IndexError):
        make(b"")[index]


@pytest.mark.parametrize("key", ["1", 1.0, None, (0, 1), b"1", [0], ..., np.array([0, 1])], ids=str)
def test_keys_of_other_types_are_refused(make, key):
    with pytest.raises(TypeError):
        make(CONTENT)[key]


@pytest.mark.parametrize("key", [slice("a", None), slice(None, 1.5), slice(None, None, "b")], ids=str)
def test_slices_of_other_types_are_refused(make, key):
    with pytest.raises(TypeError):
        make(CONTENT)[key]


def test_a_step_of_zero_is_refused(make):
    with pytest.raises(ValueError, match="step"):
        make(CONTENT)[::0]


# ---- comparing


SAME = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "View": view_of,
    "IPLayer": ip_layer_of,
    "Lease": Lease,
    "Packet": Packet,
    "PacketView": lambda content: batch_of([content])[0],
    "array": lambda content: array.array("B", content),
    "ctypes": lambda content: (ctypes.c_ubyte * len(content))(*content),
}


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("length", LENGTHS)
def test_equal_to_any_buffer_of_the_same_bytes(make, length, kind):
    content = CONTENT[:length]
    view, same, longer = make(content), SAME[kind](content), SAME[kind](content + b"\0")
    assert (view == same, same == view, view != same, same != view) == (True, True, False, False)
    assert (view == longer, longer == view, view != longer, longer != view) == (False, False, True, True)
    if length:
        other = SAME[kind](content[:-1] + bytes([content[-1] ^ 1]))
        assert (view == other, other == view, view != other, other != view) == (False, False, True, True)


def released(buffer):
    buffer.release()
    return buffer


def closed_mmap():
    area = mmap.mmap(-1, 10)
    area.close()
    return area


UNEQUAL = {
    "None": lambda: None,
    "int": lambda: 0,
    "str": lambda: "text",
    "tuple": lambda: tuple(CONTENT),
    "released_memoryview": lambda: released(memoryview(CONTENT)),
    "released_lease": lambda: released(Lease(CONTENT)),
    "closed_mmap": closed_mmap,
}


@pytest.mark.parametrize("kind", UNEQUAL)
def test_unequal_to_everything_without_such_a_buffer(make, kind):
    # None of these has a buffer of bytes: comparing raises no error, as with bytes.
    view, other = make(CONTENT), UNEQUAL[kind]()
    assert (view == other, other == view, view != other, other != view) == (False, False, True, True)


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_views_have_no_order(make, compare):
    for other in (CONTENT, make(CONTENT), 5):
        with pytest.raises(TypeError, match="not supported"):
            compare(make(CONTENT), other)


def test_a_view_finds_its_bytes_in_a_dict(make):
    found = {CONTENT[:n]: n for n in range(50)}
    assert [found[make(CONTENT[:n])] for n in range(50)] == list(range(50))
    assert len({make(CONTENT), view_of(CONTENT), CONTENT}) == 1


@pytest.mark.parametrize(
    ("length", "shown"),
    [(0, "0 bytes: "), (3, "3 bytes: 00 01 02"), (17, f"17 bytes: {bytes(range(16)).hex(' ')} …")],
)
def test_repr_shows_the_first_bytes(make, length, shown):
    view = make(bytes(range(length)))
    assert repr(view) == f"<{type(view).__name__}: {shown}>"


# ---- read-only


def test_items_and_attributes_cannot_be_set(make):
    view = make(CONTENT)
    with pytest.raises(TypeError):
        view[0] = 1
    with pytest.raises(TypeError):
        del view[0]
    with pytest.raises(AttributeError):
        view.note = 1
    with pytest.raises(TypeError, match="read-only"):
        memoryview(view)[0] = 1


def test_arrays_over_a_view_cannot_be_made_writeable(make):
    numbers = np.frombuffer(make(CONTENT), "u1")
    assert not numbers.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        numbers.flags.writeable = True


@pytest.mark.parametrize(
    "write",
    [lambda view: (ctypes.c_char * 2).from_buffer(view), lambda view: io.BytesIO(b"no").readinto(view)],
    ids=["ctypes", "readinto"],
)
def test_writable_buffers_are_refused(make, write):
    view = make(CONTENT)
    with pytest.raises((TypeError, BufferError)):
        write(view)
    assert view == CONTENT


# ---- unlike bytes


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(make, protocol):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(make(CONTENT), protocol)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_the_copy_module_is_refused(make, duplicate):
    with pytest.raises(TypeError, match=r"bytes\(view\)"):
        duplicate(make(CONTENT))


@pytest.mark.parametrize("kind", [View, IPLayer])
def test_views_cannot_be_made_directly(kind):
    with pytest.raises(TypeError, match="made by"):
        kind()
    with pytest.raises(TypeError):
        kind(b"bytes")


@pytest.mark.parametrize("kind", [View, IPLayer])
def test_a_view_without_init_is_empty(kind):
    view = kind.__new__(kind)
    assert (len(view), bytes(view), view[:], view[5:], view[::-1], view.hex(), list(view)) == (
        *(0, b"", b"", b"", b"", "", []),
    )
    assert memoryview(view).nbytes == 0
    assert (view == b"", hash(view) == hash(b"")) == (True, True)
    with pytest.raises(IndexError):
        view[0]


def test_subclasses_do_not_mix_with_the_free_list():
    class Slotted(View):
        __slots__ = ()

    class Layer(IPLayer):
        pass

    for kind in (Slotted, Layer):
        kept = []
        for number in range(300):
            made = kind.__new__(kind)
            assert type(made) is kind
            kept.append(view_of(bytes([number & 0xFF])))
            del made
        assert {type(view) for view in kept} == {View}
        assert [view[0] for view in kept] == [number & 0xFF for number in range(300)]
