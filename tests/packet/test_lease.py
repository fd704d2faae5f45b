"""Lease: a read-only buffer that is released by release(), or when its last view is deleted."""

import ctypes
import gc
import io
import itertools
import mmap
import pickle

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, Batch, read
from slimcap.packet.lease import Lease
from support.batches import is_locked

CONTENT = bytes(range(64)) * 64


def mapped(content):
    area = mmap.mmap(-1, len(content))
    area.write(content)
    return area


SOURCES = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "part": lambda content: memoryview(b"<" + content + b">")[1:-1],
    "numpy": lambda content: np.frombuffer(content, "u1"),
    "numpy_u4": lambda content: np.frombuffer(content, "u4"),
    "numpy_2d": lambda content: np.frombuffer(content, "u1").reshape(-1, 16),
    "mmap": mapped,
    "lease": Lease,
}


@pytest.fixture(params=SOURCES)
def source(request):
    return SOURCES[request.param](CONTENT)


@pytest.fixture
def memory():
    return bytearray(CONTENT)


# ---- what it shows


def test_a_lease_shows_the_memory_of_any_buffer(source):
    lease = Lease(source)
    assert lease.nbytes == len(CONTENT)
    assert bytes(lease) == CONTENT
    assert np.frombuffer(lease, "u1").tobytes() == CONTENT


def test_a_lease_does_not_copy(memory):
    lease = Lease(memory)
    memory[5] = 200
    assert memoryview(lease)[5] == 200


@pytest.mark.parametrize(
    "empty",
    [b"", bytearray(), memoryview(b""), np.zeros(0), np.zeros((0, 4))],
    ids=["bytes", "bytearray", "memoryview", "numpy", "numpy_2d"],
)
def test_empty_memory_can_be_leased(empty):
    lease = Lease(empty)
    assert (lease.nbytes, lease.released, bytes(lease)) == (0, False, b"")


def test_buffer_is_plain_bytes(source):
    view = memoryview(Lease(source))
    assert (view.format, view.itemsize, view.ndim) == ("B", 1, 1)
    assert (view.shape, view.strides, view.c_contiguous) == ((len(CONTENT),), (1,), True)


def test_repr_shows_size_and_views():
    lease = Lease(CONTENT)
    view = memoryview(lease)
    assert repr(lease) == f"<Lease: {len(CONTENT)} bytes, 1 views>"
    view.release()
    lease.release()
    assert repr(lease) == "<Lease: released>"


# ---- read-only, also over memory that is not


def test_memoryview_is_readonly(source):
    view = memoryview(Lease(source))
    assert view.readonly
    with pytest.raises(TypeError, match="read-only"):
        view[0] = 1


def test_arrays_cannot_be_made_writeable(source):
    array = np.frombuffer(Lease(source), "u1")
    for part in (array, array[3:9], array.view("u2"), array.reshape(4, -1).T):
        assert not part.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            part.flags.writeable = True
        with pytest.raises(ValueError, match="read-only"):
            part[0] = 1


@pytest.mark.parametrize(
    "write",
    [
        lambda lease: io.BytesIO(b"no").readinto(lease),
        lambda lease: (ctypes.c_char * 4).from_buffer(lease),
        lambda lease: np.ndarray((4,), "u1", lease).fill(0),
    ],
    ids=["readinto", "ctypes", "ndarray"],
)
def test_writable_buffers_are_refused(memory, write):
    lease = Lease(memory)
    with pytest.raises((TypeError, BufferError, ValueError)):
        write(lease)
    assert memory == CONTENT
    assert lease.exports == 0


# ---- what it refuses


@pytest.mark.parametrize("source", [None, 5, "text", [1, 2], Lease], ids=str)
def test_objects_without_a_buffer_are_refused(source):
    with pytest.raises(TypeError):
        Lease(source)


def test_a_lease_without_a_source_is_refused():
    with pytest.raises(TypeError):
        Lease()


STRIDED = {
    "memoryview_step": lambda memory: memoryview(memory)[::2],
    "memoryview_backwards": lambda memory: memoryview(memory)[::-1],
    "numpy_step": lambda memory: np.frombuffer(memory, "u1")[::2],
    "numpy_column": lambda memory: np.frombuffer(memory, "u1").reshape(-1, 16)[:, 1],
    "numpy_fortran": lambda memory: np.frombuffer(memory, "u1").reshape(-1, 16).T,
}


@pytest.mark.parametrize("stride", STRIDED)
def test_buffers_that_are_not_contiguous_are_refused(memory, stride):
    with pytest.raises((BufferError, ValueError), match="contiguous"):
        Lease(STRIDED[stride](memory))
    assert not is_locked(memory)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(protocol):
    with pytest.raises(TypeError):
        pickle.dumps(Lease(CONTENT), protocol)


def test_lease_cannot_be_subclassed():
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (Lease,), {})


# ---- exports and release


def test_exports_counts_open_views(source):
    lease = Lease(source)
    assert lease.exports == 0
    first = memoryview(lease)
    second = np.frombuffer(lease, "u1")
    part, column = first[4:9], second[::7]
    assert lease.exports == 2  # these hold on to the first two
    first.release()
    part.release()
    del second
    assert lease.exports == 1
    del column
    assert lease.exports == 0


def test_leases_on_a_lease_are_views_of_the_one_that_borrowed_the_memory(memory):
    lease = Lease(memory)
    part = Lease(lease)
    third = Lease(memoryview(part)[2:])
    assert (lease.exports, part.exports, third.exports) == (2, 0, 0)
    part.release()
    assert bytes(third) == CONTENT[2:]
    third.release()
    lease.release()
    assert not is_locked(memory)


@pytest.mark.parametrize(
    "open_view",
    [memoryview, Lease, lambda lease: np.frombuffer(lease, "u1"), lambda lease: memoryview(lease)[2:5]],
    ids=["memoryview", "lease", "numpy", "slice"],
)
def test_release_raises_while_a_view_is_open(memory, open_view):
    lease = Lease(memory)
    view = open_view(lease)
    with pytest.raises(BufferError, match="open"):
        lease.release()
    assert not lease.released
    assert is_locked(memory)
    del view
    lease.release()
    assert lease.released
    assert not is_locked(memory)


def test_release_can_be_called_again(memory):
    lease = Lease(memory)
    assert is_locked(memory)
    for _ in range(3):
        lease.release()
        assert (lease.released, lease.nbytes, lease.exports) == (True, 0, 0)
        assert not is_locked(memory)


@pytest.mark.parametrize("use", [bytes, memoryview, Lease, lambda lease: np.frombuffer(lease, "u1")])
def test_a_released_lease_refuses_access(use):
    lease = Lease(CONTENT)
    lease.release()
    with pytest.raises(ValueError, match="released"):
        use(lease)


def test_deleting_a_lease_releases_the_buffer(memory):
    lease = Lease(memory)
    assert is_locked(memory)
    del lease
    assert not is_locked(memory)


def test_a_leased_bytearray_keeps_its_size(memory):
    lease = Lease(memory)
    for resize in (memory.clear, memory.pop, lambda: memory.extend(b"more"), lambda: memory.__delitem__(0)):
        with pytest.raises(BufferError):
            resize()
    assert bytes(lease) == CONTENT


def test_a_leased_mmap_stays_mapped():
    area = mapped(CONTENT)
    lease = Lease(area)
    with pytest.raises(BufferError):
        area.close()
    assert bytes(lease) == CONTENT
    lease.release()
    area.close()
    assert area.closed


# ---- lifetimes

VIEWS = {
    "memoryview": memoryview,
    "numpy": lambda lease: np.frombuffer(lease, "u1"),
    "lease": Lease,
    "slices": lambda lease: memoryview(lease)[:][:],
    "batch_view": lambda lease: whole_batch(lease).payload(0),
    "sub_batch_data": lambda lease: whole_batch(lease)[:1].data,
}


def whole_batch(data):
    """Return a batch of one packet, which is all of the data."""
    row = np.zeros(1, RECORD_DTYPE)
    row["cap_len"] = len(CONTENT)
    return Batch(row, data)


@pytest.mark.parametrize(("one", "two"), list(itertools.combinations(VIEWS, 2)))
def test_views_stay_valid_in_every_order_of_deletion(one, two):
    """Delete the memory, its lease and two views in every order."""
    for order in itertools.permutations(["source", "lease", "one", "two"]):
        memory = bytearray(CONTENT)
        lease = Lease(memory)
        alive = {"source": memory, "lease": lease, "one": VIEWS[one](lease), "two": VIEWS[two](lease)}
        del lease
        for name in order:
            borrowers = alive.keys() - {"source"}
            assert is_locked(memory) == bool(borrowers)
            for left in borrowers:
                assert bytes(alive[left]) == CONTENT
            del alive[name]
        assert not is_locked(memory)


def test_views_keep_the_leased_object_alive():
    views = [np.frombuffer(Lease(bytearray(CONTENT)), "u1") for _ in range(50)]
    churn = [bytearray(len(CONTENT)) for _ in range(50)]
    assert {view.tobytes() for view in views} == {CONTENT}
    assert not any(map(any, churn))


def test_data_of_a_batch_read_from_a_file_does_not_change(data_path):
    data = read(data_path / "mixed.pcap").data
    expected = data.tobytes()
    gc.collect()
    assert [read(data_path / "mixed_be.pcap").data.tobytes() for _ in range(5)] == [expected] * 5
    assert data.tobytes() == expected


# ---- made twice, or not at all


def test_init_again_leases_other_memory():
    first, second = bytearray(CONTENT), bytearray(b"second")
    lease = Lease(first)
    lease.__init__(second)
    assert bytes(lease) == b"second"
    assert (is_locked(first), is_locked(second)) == (False, True)


def test_init_again_raises_while_a_view_is_open():
    first, second = bytearray(CONTENT), bytearray(b"second")
    lease = Lease(first)
    view = memoryview(lease)
    with pytest.raises(BufferError, match="open"):
        lease.__init__(second)
    assert bytes(view) == bytes(lease) == CONTENT
    assert (is_locked(first), is_locked(second)) == (True, False)


def test_init_again_without_a_buffer_changes_nothing(memory):
    lease = Lease(memory)
    with pytest.raises(TypeError):
        lease.__init__("text")
    assert bytes(lease) == CONTENT
    assert is_locked(memory)


def test_init_again_after_release_leases_memory(memory):
    lease = Lease(b"first")
    lease.release()
    lease.__init__(memory)
    assert (lease.released, bytes(lease)) == (False, CONTENT)


def test_a_lease_without_init_is_released():
    lease = Lease.__new__(Lease)
    assert (lease.nbytes, lease.exports, lease.released, repr(lease)) == (0, 0, True, "<Lease: released>")
    lease.release()
    with pytest.raises(ValueError, match="released"):
        memoryview(lease)
    lease.__init__(b"now")
    assert bytes(lease) == b"now"
