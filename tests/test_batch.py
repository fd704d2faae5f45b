"""Batch: records over bytes on loan. Indexing, copies, and how long everything lives."""

import copy
import gc
import html.parser
import itertools
import mmap
import pickle
import random
import threading

import numpy as np
import pytest

from slimcap import NO_IP, RECORD_DTYPE, Batch, Lease, Link, Packet, PacketView, View, concat, open_file, read

SIZE = 4096
CONTENT = random.Random(1).randbytes(SIZE)
LENGTHS = (60, 0, 1, 300, 1514, 60)  # of the packets of `rows`
NAMES = RECORD_DTYPE.names


def rows(lengths=LENGTHS, gap=11):
    """Records of packets one behind the other, with a gap before each; every value in them differs."""
    records = np.zeros(len(lengths), RECORD_DTYPE)
    for column, name in enumerate(NAMES):
        records[name] = np.arange(len(lengths)) * 3 + column
    records["cap_len"] = lengths
    records["offset"] = gap + np.cumsum([0, *lengths])[:-1] + np.arange(len(lengths)) * gap
    records["ip_offset"] = [NO_IP if number % 3 == 1 else 14 for number in range(len(lengths))]
    return records


def row(offset=0, cap_len=0, **values):
    record = np.zeros(1, RECORD_DTYPE)
    for name, value in {"offset": offset, "cap_len": cap_len, **values}.items():
        record[name] = value
    return record


def payload_of(record, data=CONTENT):
    return data[int(record["offset"]) :][: int(record["cap_len"])]


def payloads_of(batch):
    return [bytes(batch.payload(index)) for index in range(len(batch))]


def without_offset(records):
    """Records as plain values: where the bytes are may differ between batches of the same packets."""
    return records[[name for name in NAMES if name != "offset"]].tolist()


def is_locked(memory):
    """Whether somebody holds a buffer of this bytearray."""
    try:
        memory.append(0)
    except BufferError:
        return True
    del memory[-1]
    return False


@pytest.fixture
def memory():
    return bytearray(CONTENT)


@pytest.fixture
def batch(memory):
    return Batch(rows(), memory)


@pytest.fixture
def mixed(data_path):
    return data_path / "mixed.pcap"


# ---- construction

BUFFERS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": lambda content: memoryview(b"<" + content)[1:],
    "numpy": lambda content: np.frombuffer(content, "u1"),
    "numpy_u4": lambda content: np.frombuffer(content, "u4"),
    "lease": Lease,
    "view": lambda content: Batch(row(0, len(content)), content).payload(0),
    "data_of_a_batch": lambda content: Batch([], content).data,
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_data_may_be_any_buffer(kind):
    batch = Batch(rows(), BUFFERS[kind](CONTENT))
    assert len(batch) == len(LENGTHS)
    assert payloads_of(batch) == [payload_of(record) for record in rows()]
    assert batch.data.tobytes() == CONTENT


def test_data_is_not_copied(memory):
    batch = Batch(rows(), memory)
    memory[:] = bytes(SIZE)
    assert not batch.data.any()
    assert payloads_of(batch) == [bytes(length) for length in LENGTHS]


RECORDS = {
    "array": rows,
    "list_of_tuples": lambda: rows().tolist(),
    "big_endian": lambda: rows().astype(RECORD_DTYPE.newbyteorder(">")),
    "packed": lambda: rows().astype([(name, RECORD_DTYPE[name]) for name in NAMES]),
    "backwards": lambda: rows()[::-1].copy()[::-1],
    "every_second": lambda: np.repeat(rows(), 2)[::2],
    "read_only": lambda: np.frombuffer(rows().tobytes(), RECORD_DTYPE),
    "records_of_a_batch": lambda: Batch(rows(), CONTENT).records,
}


@pytest.mark.parametrize("kind", RECORDS)
def test_records_may_be_anything_like_an_array(kind):
    batch = Batch(RECORDS[kind](), CONTENT)
    assert batch.records.dtype == RECORD_DTYPE
    assert batch.records.tolist() == rows().tolist()
    assert payloads_of(batch) == [payload_of(record) for record in rows()]


class Provider:
    """Gives the same array to all who ask."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.mark.parametrize("wrap", [lambda array: array, Provider], ids=["array", "provider"])
def test_records_are_copied(wrap):
    records = rows()
    batch = Batch(wrap(records), CONTENT)
    records["total_len"] = 5
    records["offset"] = 2**40
    assert batch.records.tolist() == rows().tolist()


def test_one_record_will_do():
    assert len(Batch(rows()[3], CONTENT)) == len(Batch(rows().tolist()[3], CONTENT)) == 1


@pytest.mark.parametrize("shape", [(2, 3), (6, 1), (1, 6), (1, 2, 3)], ids=str)
def test_records_have_one_dimension(shape, memory):
    with pytest.raises(ValueError, match="one dimension"):
        Batch(rows().reshape(shape), memory)
    assert not is_locked(memory)


INSIDE = [(0, 0), (0, SIZE), (SIZE, 0), (SIZE - 1, 1), (1, SIZE - 1), (2000, 2096)]
OUTSIDE = [
    *[(0, SIZE + 1), (1, SIZE), (SIZE, 1), (SIZE + 1, 0), (SIZE - 1, 2), (0, 2**32 - 1)],
    *[(SIZE, 2**32 - 1), (2**32, 0), (2**32 - 1, 1), (2**63, 0), (2**63 - 1, 1), (2**63, 2**32 - 1)],
    # These wrap around in 64 bits.
    *[(2**64 - 1, 0), (2**64 - 1, 1), (2**64 - 1, 2), (2**64 - 2, 60), (2**64 - 60, 60), (2**64 - 60, 120)],
    *[(2**64 - 2**32 + 1, 2**32 - 1), (2**64 - SIZE, SIZE)],
]


@pytest.mark.parametrize(("offset", "cap_len"), INSIDE)
def test_records_inside_the_data(offset, cap_len):
    batch = Batch(row(offset, cap_len), CONTENT)
    assert payloads_of(batch) == [CONTENT[offset : offset + cap_len]]
    assert batch[0].payload == batch[:][0].payload == CONTENT[offset : offset + cap_len]


@pytest.mark.parametrize("position", [0, 1, 6])
@pytest.mark.parametrize(("offset", "cap_len"), OUTSIDE)
def test_records_outside_the_data(memory, offset, cap_len, position):
    records = np.insert(rows(), position, row(offset, cap_len))
    with pytest.raises(
        ValueError, match=rf"record {position} .* {SIZE} bytes .*offset {offset}, cap_len {cap_len}"
    ):
        Batch(records, memory)
    assert not is_locked(memory)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError, ()),
        (TypeError, (rows(),)),
        (TypeError, (rows(), "text")),
        (TypeError, (rows(), None)),
        (TypeError, (rows(), CONTENT, 5)),
        (BufferError, (rows(), memoryview(CONTENT * 2)[::2])),
        (BufferError, (rows(), Batch(rows(), CONTENT)[0])),
        ((TypeError, ValueError), (None, CONTENT)),
        ((TypeError, ValueError), (["text"], CONTENT)),
        ((TypeError, ValueError), ([(1, 2)], CONTENT)),
        ((TypeError, OverflowError), ([(0, -1, *range(8))], CONTENT)),
        (ValueError, (rows(), b"")),
    ],
    ids=range(12),
)
def test_construction_refuses(error, arguments):
    with pytest.raises(error):
        Batch(*arguments)


def test_links_are_a_tuple():
    links = [Link("eth0", 1, 1), Link("eth1", 2, 1)]
    assert Batch(rows(), CONTENT).links == ()
    assert (
        Batch(rows(), CONTENT, links).links == Batch(rows(), CONTENT, links=iter(links)).links == tuple(links)
    )


def test_no_subclass():
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (Batch,), {})


def test_without_init_there_is_nothing():
    batch = Batch.__new__(Batch)
    assert (len(batch), list(batch), batch.released) == (0, [], True)
    assert (batch.records.shape, batch["flags"].shape, batch.timestamps.shape) == ((0,), (0,), (0,))
    assert repr(batch) == "<Batch: 0 packets>"
    batch.release()
    for use in (*USES.values(), lambda batch: batch[:], pickle.dumps, lambda batch: batch.__enter__().data):
        with pytest.raises((ValueError, IndexError)):
            use(batch)


def test_init_again_takes_other_packets(memory):
    batch = Batch(rows(), bytes(SIZE))
    old = batch.records
    batch.__init__(rows()[::-1], memory, ["link"])
    assert payloads_of(batch) == [payload_of(record) for record in rows()[::-1]]
    assert (batch.links, batch["cap_len"].tolist()) == (("link",), [*reversed(LENGTHS)])
    assert old.tolist() == rows().tolist()
    batch.__init__([], b"")
    assert (len(batch), is_locked(memory)) == (0, False)


def test_init_again_refuses_while_a_view_is_open(batch, memory):
    view = batch.payload(0)
    other = bytearray(SIZE)
    with pytest.raises(BufferError):
        batch.__init__(rows()[:1], other)
    assert (is_locked(memory), is_locked(other)) == (True, False)
    assert (len(batch), bytes(view)) == (len(LENGTHS), payload_of(rows()[0]))


# ---- columns


@pytest.mark.parametrize("name", NAMES)
def test_columns(batch, name):
    column = batch[name]
    assert column.dtype == RECORD_DTYPE[name]
    assert column.tolist() == rows()[name].tolist()
    assert np.shares_memory(column, batch.records)


def test_timestamps():
    batch = Batch(
        np.concatenate([row(timestamp=time) for time in (0, -1, 2**62, 1_709_294_400 * 10**9)]), b""
    )
    assert batch.timestamps.dtype == "M8[ns]"
    assert batch.timestamps.astype("i8").tolist() == batch["timestamp"].tolist()
    assert str(batch.timestamps[3]) == "2024-03-01T12:00:00.000000000"
    assert np.shares_memory(batch.timestamps, batch.records)


ARRAYS = {
    "records": lambda batch: batch.records,
    "column": lambda batch: batch["flags"],
    "timestamps": lambda batch: batch.timestamps,
    "data": lambda batch: batch.data,
    "data_slice": lambda batch: batch.data[5:],
    "sub_records": lambda batch: batch[[1, 0]].records,
    "sub_data": lambda batch: batch[2:].data,
    "copy_records": lambda batch: batch.copy().records,
    "copy_data": lambda batch: batch.copy().data,
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_are_read_only_for_good(batch, memory, kind):
    array = ARRAYS[kind](batch)
    for part in (array, array[:], array[::-1], array.view(np.ndarray), np.asarray(array)):
        assert not part.flags.writeable
        assert part.flags.aligned
        with pytest.raises(ValueError, match="WRITEABLE"):
            part.flags.writeable = True
        with pytest.raises(ValueError, match="WRITEABLE"):
            part.setflags(write=True)
        with pytest.raises(ValueError, match="read-only"):
            part[0] = part[1]
    assert memory == CONTENT


# ---- indexing


@pytest.mark.parametrize("as_index", [int, np.int64, np.int8, np.uint8, np.intp])
def test_a_number_gives_a_packet_view(batch, as_index):
    for index in range(len(LENGTHS)):
        packet = batch[as_index(index)]
        assert type(packet) is PacketView
        assert packet.payload == payload_of(rows()[index])
        assert (packet.timestamp, packet.flags) == (rows()["timestamp"][index], rows()["flags"][index])


class Index:
    """What may stand for an int (PEP 357)."""

    def __index__(self):
        return 3


def test_what_may_stand_for_an_int(batch):
    assert batch.payload(Index()) == batch[Index()].payload == batch[3].payload


@pytest.mark.parametrize("index", range(-len(LENGTHS), len(LENGTHS)))
def test_numbers_count_from_either_end(batch, index):
    record = rows()[index]
    assert batch[index].payload == batch.payload(index) == payload_of(record)
    assert batch.ip_layer(index) == payload_of(record)[record["ip_offset"] :]
    assert batch.payload(np.int64(index)) == payload_of(record)


@pytest.mark.parametrize("index", [6, -7, 100, -(2**63), 2**63 - 1, 2**63, 2**70, -(2**70)])
def test_numbers_out_of_range(batch, index):
    for ask in (batch.__getitem__, batch.payload, batch.ip_layer):
        with pytest.raises(IndexError):
            ask(index)


@pytest.mark.parametrize("index", ["0", 1.0, None, slice(1), [1]], ids=str)
def test_payload_takes_numbers_only(batch, index):
    for ask in (batch.payload, batch.ip_layer):
        with pytest.raises(TypeError):
            ask(index)


MASK = np.array([True, False, False, True, True, False])
KEYS = {
    "all": slice(None),
    "head": slice(2),
    "tail": slice(-2, None),
    "step": slice(None, None, 2),
    "backwards": slice(None, None, -1),
    "back_step": slice(4, 0, -2),
    "none": slice(3, 3),
    "beyond": slice(4, 100),
    "mask": MASK,
    "mask_list": MASK.tolist(),
    "mask_of_none": np.zeros(6, bool),
    "numbers": np.array([4, 0, 4, -1]),
    "numbers_u1": np.array([5, 1], "u1"),
    "numbers_backwards": np.arange(6)[::-2],
    "no_numbers": np.array([], int),
    "list": [3, 3, 2],
    "empty_list": [],
    "ellipsis": ...,
}


@pytest.mark.parametrize("kind", KEYS)
def test_some_rows_are_a_batch_over_the_same_memory(batch, kind):
    part = batch[KEYS[kind]]
    expected = rows()[KEYS[kind]]
    assert type(part) is Batch
    assert len(part) == len(expected)
    assert part.records.tolist() == expected.tolist()
    assert payloads_of(part) == [payload_of(record) for record in expected]
    assert part.links is batch.links
    assert part.data.ctypes.data == batch.data.ctypes.data


def test_a_batch_of_a_batch_of_a_batch(batch):
    chance = random.Random(3)
    for _ in range(50):
        part, expected = batch, rows()
        for _ in range(5):
            key = chance.choice(
                [
                    slice(chance.randint(-3, 1), None),
                    slice(None, None, -1),
                    np.array([chance.random() < 0.7 for _ in expected], bool),
                    [chance.randrange(len(expected)) for _ in range(4)] if len(expected) else [],
                ]
            )
            part, expected = part[key], expected[key]
        assert part.records.tolist() == expected.tolist()
        assert payloads_of(part) == [payload_of(record) for record in expected]


def test_an_index_array_is_needed_only_once(batch):
    key = np.array([1, 2])
    part = batch[key]
    key[:] = 0
    assert part.records.tolist() == rows()[[1, 2]].tolist()


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (TypeError, None),
        (TypeError, True),
        (TypeError, np.bool_(False)),
        (TypeError, ["total_len", "cap_len"]),
        (TypeError, [[0, 1], [2, 3]]),
        (TypeError, np.zeros((1, 1), int)),
        (IndexError, 1.5),
        (IndexError, (0, 1)),
        (IndexError, [6]),
        (IndexError, [0, -7]),
        (IndexError, [1.0]),
        (IndexError, ["total_len", 1]),
        (IndexError, np.ones(5, bool)),
        (IndexError, np.ones(7, bool)),
        (IndexError, np.ones((6, 2), bool)),
        (IndexError, b"total_len"),
        (IndexError, object()),
        ((TypeError, IndexError), slice("a")),
        (ValueError, slice(None, None, 0)),
        (ValueError, "no such column"),
        (ValueError, ""),
    ],
    ids=range(21),
)
def test_bad_keys(batch, memory, error, key):
    with pytest.raises(error):
        batch[key]
    batch.release()
    assert not is_locked(memory)


def test_batches_are_not_written_to(batch):
    with pytest.raises(TypeError):
        batch["flags"] = 0
    with pytest.raises(TypeError):
        del batch[0]
    with pytest.raises(AttributeError):
        batch.records = rows()


# ---- iteration


def test_iteration_gives_packet_views(batch):
    packets = list(batch)
    assert {type(packet) for packet in packets} == {PacketView}
    assert [bytes(packet.payload) for packet in packets] == [payload_of(record) for record in rows()]
    assert [packet.timestamp for packet in packets] == rows()["timestamp"].tolist()


def test_iterations_do_not_disturb_each_other(batch):
    pairs = [(one.timestamp, two.timestamp) for one in batch for two in batch]
    assert pairs == list(itertools.product(rows()["timestamp"].tolist(), repeat=2))


def test_iteration_ends_when_the_bytes_are_gone(batch):
    packets = iter(batch)
    next(packets)
    batch.release()
    with pytest.raises(ValueError, match="released"):
        next(packets)


# ---- payloads and IP layers


def test_payloads_are_views_of_the_data(batch):
    base = batch.data.ctypes.data
    for index, record in enumerate(rows()):
        view = batch.payload(index)
        assert type(view) is View
        assert np.frombuffer(memoryview(view), "u1").ctypes.data == base + record["offset"]


@pytest.mark.parametrize("offset", [0, 1, 59, 60, 61, 65534, NO_IP])
def test_ip_layer_starts_at_its_offset_or_is_empty(offset):
    batch = Batch(row(7, 60, ip_offset=offset), CONTENT)
    assert batch.ip_layer(0) == batch[0].ip_layer == CONTENT[7:67][offset:]


@pytest.mark.parametrize("cap_len", [NO_IP - 1, NO_IP, NO_IP + 1, 70_000])
def test_no_ip_is_no_offset_in_a_packet_that_is_longer(cap_len):
    batch = Batch(row(0, cap_len, ip_offset=NO_IP), b"\x45" * cap_len)
    assert (len(batch.ip_layer(0)), len(batch[0].ip_layer)) == (0, 0)


# ---- gather


def gathered(batch, n):
    """What `batch.gather(n)` is to be."""
    out = np.zeros((len(batch), n), "u1")
    for line, payload in zip(out, payloads_of(batch), strict=True):
        line[: len(payload)] = np.frombuffer(payload[:n], "u1")
    return out


@pytest.mark.parametrize("n", [0, 1, 2, 59, 60, 61, 1513, 1514, 1515, 10_000])
def test_gather(batch, mixed, n):
    for packets in (batch, batch[::-2], batch[:0], read(mixed)):
        matrix = packets.gather(n)
        assert (matrix.dtype, matrix.shape) == (np.uint8, (len(packets), n))
        assert np.array_equal(matrix, gathered(packets, n))


def test_a_gathered_matrix_is_the_callers(batch, memory):
    matrix = batch.gather(64)
    expected = matrix.copy()
    batch.release()
    memory[:] = bytes(SIZE)
    assert np.array_equal(matrix, expected)
    matrix[:] = 1
    assert matrix.flags.owndata


@pytest.mark.parametrize(
    ("error", "n"),
    [(ValueError, -1), (ValueError, -(2**63)), (OverflowError, 2**64), (TypeError, "4"), (TypeError, 1.5)],
)
def test_gather_refuses(batch, error, n):
    with pytest.raises(error):
        batch.gather(n)


@pytest.mark.parametrize("n", [2**45, 2**62, 2**63 - 1])
def test_gather_of_more_than_there_is_memory(batch, n):
    with pytest.raises((MemoryError, ValueError)):
        batch.gather(n)


# ---- copy and concat


def test_a_copy_has_the_packets_without_the_bytes_between(batch):
    own = batch.copy()
    assert without_offset(own.records) == without_offset(batch.records)
    assert payloads_of(own) == payloads_of(batch)
    assert own.data.tobytes() == b"".join(payloads_of(batch))
    assert own["offset"].tolist() == np.cumsum([0, *LENGTHS])[:-1].tolist()


def test_a_copy_is_independent(batch, memory):
    own = batch.copy()
    expected = payloads_of(own)
    view = batch.payload(0)
    own.release()
    assert view == payload_of(rows()[0])
    own = batch.copy()
    del view
    batch.release()
    memory[:] = bytes(SIZE)
    memory.clear()
    del batch
    assert payloads_of(own) == expected
    assert own.records.tolist() == own.copy().records.tolist()


def test_a_copy_of_packets_that_overlap():
    records = np.concatenate([row(0, 100), row(50, 100), row(0, 100), row(99, 0)])
    own = Batch(records, CONTENT).copy()
    assert payloads_of(own) == [CONTENT[:100], CONTENT[50:150], CONTENT[:100], b""]
    assert len(own.data) == 300


def test_concat(batch, mixed):
    def parts():
        # Each is dropped before the next is made.
        yield batch
        yield batch[::-1]
        yield Batch([], b"")
        yield Batch(rows(), CONTENT)[[2, 2]]

    whole = concat(parts())
    expected = np.concatenate([rows(), rows()[::-1], rows()[[2, 2]]])
    assert without_offset(whole.records) == without_offset(expected)
    assert payloads_of(whole) == [payload_of(record) for record in expected]
    assert len(whole.data) == sum(map(len, payloads_of(whole)))


@pytest.mark.parametrize("size", [1, 2, 7, 50, 195])
def test_concat_puts_together_what_was_cut(mixed, size):
    whole = read(mixed)
    again = concat(whole[start : start + size] for start in range(0, len(whole), size))
    assert again.records.tolist() == whole.records.tolist()
    assert again.data.tobytes() == whole.data.tobytes()


def test_concat_of_nothing():
    for nothing in (concat([]), concat([Batch([], b"")] * 3)):
        assert (len(nothing), nothing.data.size, nothing.links) == (0, 0, ())


def test_concat_borrows_nothing(batch, memory):
    whole = concat([batch, batch])
    batch.release()
    assert not is_locked(memory)
    assert len(whole) == 2 * len(LENGTHS)


ETH0, ETH1, TUN0 = Link("eth0", 1, 1), Link("eth1", 2, 1), Link("tun0", 3, 101)


@pytest.mark.parametrize(
    ("links", "together"),
    [
        ([(), ()], ()),
        ([(ETH0,), (ETH0,)], (ETH0,)),
        ([(), (ETH0,), ()], (ETH0,)),
        # A capture file may name more interfaces as it goes on.
        ([(ETH0,), (ETH0, ETH1)], (ETH0, ETH1)),
        ([(ETH0, ETH1, TUN0), (), (ETH0,), (ETH0, ETH1)], (ETH0, ETH1, TUN0)),
        ([(ETH0,), (Link("eth0", 1, 1), TUN0)], (ETH0, TUN0)),
    ],
)
def test_concat_of_links_that_go_together(links, together):
    for order in itertools.permutations(links):
        assert concat(Batch(rows(), CONTENT, some) for some in order).links == together


@pytest.mark.parametrize(
    "links",
    [
        [(ETH0,), (ETH1,)],
        [(ETH0, ETH1), (ETH1,)],
        [(ETH0, ETH1), (ETH0, TUN0)],
        [(ETH0,), (ETH0, ETH1), (TUN0,)],
    ],
)
def test_concat_of_links_that_do_not(links):
    for order in itertools.permutations(links):
        with pytest.raises(ValueError, match="different interfaces"):
            concat(Batch(rows(), CONTENT, some) for some in order)


@pytest.mark.parametrize(
    "wrong", [None, 5, [None], [CONTENT], [rows()], [Batch([], b""), None]], ids=range(6)
)
def test_concat_takes_batches_only(wrong):
    with pytest.raises(TypeError):
        concat(wrong)


# ---- release

USES = {
    "payload": lambda batch: batch.payload(0),
    "ip_layer": lambda batch: batch.ip_layer(-1),
    "packet": lambda batch: batch[0],
    "slice": lambda batch: batch[1:3],
    "mask": lambda batch: batch[MASK],
    "data": lambda batch: batch.data,
    "gather": lambda batch: batch.gather(4),
    "copy": lambda batch: batch.copy(),
    "concat": lambda batch: concat([batch]),
    "next": lambda batch: next(iter(batch), None) or batch.payload(0),
    "headers": lambda batch: batch.headers(),
    "pickle": pickle.dumps,
}
VIEWS = {
    "payload": lambda batch: batch.payload(0),
    "empty_payload": lambda batch: batch.payload(1),
    "payload_slice": lambda batch: batch.payload(0)[5:][:9],
    "ip_layer": lambda batch: batch.ip_layer(0),
    "empty_ip_layer": lambda batch: batch.ip_layer(1),
    "memoryview": lambda batch: memoryview(batch.payload(0)),
    "frombuffer": lambda batch: np.frombuffer(batch.payload(3), "u1")[::7],
    "iterator_of_bytes": lambda batch: iter(batch.payload(0)),
    "lease": lambda batch: Lease(batch.payload(0)),
    "data": lambda batch: batch.data,
    "data_slice": lambda batch: batch.data[10:20],
    "data_memoryview": lambda batch: memoryview(batch.data),
    "data_matrix": lambda batch: batch.data.reshape(64, -1).T,
    "packet": lambda batch: batch[0],
    "packet_payload": lambda batch: batch[0].payload,
    "packet_ip_layer": lambda batch: batch[0].ip_layer,
    "list": lambda batch: list(batch),
    "slice": lambda batch: batch[1:3],
    "mask": lambda batch: batch[MASK],
    "nothing": lambda batch: batch[:0],
    "sub_sub_batch": lambda batch: batch[1:][::2],
    "sub_payload": lambda batch: batch[[3]].payload(0),
    "batch_over_data": lambda batch: Batch([], batch.data),
}
NO_VIEWS = {
    "nothing": lambda batch: None,
    "used": lambda batch: [use(batch) for use in USES.values()] and None,
    "records": lambda batch: batch.records,
    "column": lambda batch: batch["total_len"],
    "timestamps": lambda batch: batch.timestamps,
    "row": lambda batch: batch.records[0],
    "sub_records": lambda batch: batch[::2].records,
    "bytes": lambda batch: bytes(batch.payload(0)),
    "stepped_payload": lambda batch: batch.payload(0)[::2],
    "gathered": lambda batch: batch.gather(10),
    "copy": lambda batch: batch.copy(),
    "packet_copy": lambda batch: batch[0].copy(),
    "text": lambda batch: str(batch.ip_layer(0)),
    "iterator": lambda batch: iter(batch),
}


@pytest.mark.parametrize("kind", VIEWS)
def test_release_refuses_while_a_view_is_open(batch, memory, kind):
    view = VIEWS[kind](batch)
    for _ in range(3):
        with pytest.raises(BufferError, match="open"):
            batch.release()
        assert not batch.released
        assert is_locked(memory)
    assert payloads_of(batch) == [payload_of(record) for record in rows()]
    del view
    batch.release()
    assert batch.released
    assert not is_locked(memory)


@pytest.mark.parametrize("kind", NO_VIEWS)
def test_release_with_nothing_open(batch, memory, kind):
    kept = NO_VIEWS[kind](batch)
    batch.release()
    batch.release()
    assert batch.released
    assert not is_locked(memory)
    del kept


@pytest.mark.parametrize("use", USES)
def test_a_released_batch_has_no_bytes(batch, use):
    batch.release()
    with pytest.raises(ValueError, match="released"):
        USES[use](batch)


def test_records_survive_release(batch):
    early = batch.records
    batch.release()
    assert len(batch) == len(LENGTHS)
    assert early.tolist() == batch.records.tolist() == rows().tolist()
    assert batch["total_len"].tolist() == rows()["total_len"].tolist()
    assert batch.timestamps.astype("i8").tolist() == rows()["timestamp"].tolist()
    assert repr(batch).startswith("<Batch: 6 packets")


def test_with(memory):
    with Batch(rows(), memory) as batch:
        assert is_locked(memory)
        total = int(batch["total_len"].sum())
    assert batch.released
    assert not is_locked(memory)
    assert total == batch["total_len"].sum()


def test_with_refuses_to_end_while_a_view_is_open(batch, memory):
    with pytest.raises(BufferError), batch:
        view = batch.payload(0)
    assert view == payload_of(rows()[0])
    assert is_locked(memory)


def test_a_sub_batch_is_released_on_its_own(batch, memory):
    part = batch[1:]
    deeper = part[::2]
    with pytest.raises(BufferError):
        part.release()
    deeper.release()
    part.release()
    assert part["cap_len"].tolist() == list(LENGTHS[1:])
    assert payloads_of(batch) == [payload_of(record) for record in rows()]
    batch.release()
    assert not is_locked(memory)


# ---- lifetimes


@pytest.mark.parametrize("kind", VIEWS)
def test_views_keep_the_bytes_and_nothing_else_does(memory, kind):
    batch = Batch(rows(), memory)
    view = VIEWS[kind](batch)
    del batch
    gc.collect()
    assert is_locked(memory)
    del view
    assert not is_locked(memory)


@pytest.mark.parametrize("kind", sorted(NO_VIEWS.keys() - {"iterator"}))
def test_what_is_no_view_does_not(memory, kind):
    kept = NO_VIEWS[kind](Batch(rows(), memory))
    assert not is_locked(memory)
    del kept


OUTLIVE = {
    "records": (lambda batch: batch.records.tolist(), lambda batch: batch.records),
    "column": (lambda batch: batch["timestamp"].tolist(), lambda batch: batch["timestamp"]),
    "timestamps": (lambda batch: batch.timestamps.tolist(), lambda batch: batch.timestamps),
    "data": (lambda batch: batch.data.tolist(), lambda batch: batch.data),
    "data_slice": (lambda batch: batch.data[99:200].tolist(), lambda batch: batch.data[:300][99:200]),
    "sub_records": (lambda batch: batch.records[::3].tolist(), lambda batch: batch[::3].records),
    "payload": (lambda batch: list(batch.payload(9)), lambda batch: memoryview(batch.payload(9))),
    "sub_data": (lambda batch: batch.data.tolist(), lambda batch: batch[:3][1:].data),
}


@pytest.mark.parametrize("kind", OUTLIVE)
@pytest.mark.parametrize("block_size", [4096, 1 << 20])
def test_arrays_outlive_batch_and_source(mixed, kind, block_size):
    def first():
        return open_file(mixed, block_size=block_size).next_batch()

    value, make = OUTLIVE[kind]
    expected = value(first())
    kept = make(first())
    gc.collect()
    with open_file(mixed.with_name("mixed_be.pcap"), block_size=block_size) as source:
        churn = list(source.batches())
    assert churn
    assert kept.tolist() == expected


def test_batches_in_cycles_are_collected(memory):
    for _ in range(20):
        links = []
        links.append(Batch(rows(), memory, [links]))
        links.append(links[0].records)
        links.append(links[0][1:])
    assert is_locked(memory)
    del links
    gc.collect()
    assert not is_locked(memory)


@pytest.mark.parametrize("max_packets", [None, 1, 7])
@pytest.mark.parametrize("block_size", [64, 1000, 4096, 20_000])
def test_all_batches_of_a_source_kept_alive(mixed, block_size, max_packets):
    """The source's pool may not hand out what a batch still shows."""
    whole = read(mixed)
    with open_file(mixed, block_size=block_size) as source:
        batches = list(source.batches(max_packets))
    del source
    assert len(batches) > 1
    assert [line for batch in batches for line in without_offset(batch.records)] == without_offset(
        whole.records
    )
    assert [payload for batch in batches for payload in payloads_of(batch)] == payloads_of(whole)
    together = concat(batches)
    assert together.records.tolist() == whole.records.tolist()
    assert together.data.tobytes() == whole.data.tobytes()


@pytest.mark.parametrize("seed", range(5))
def test_some_views_of_a_source_kept_alive(mixed, seed):
    """Whatever is kept of each batch, and for however long: it does not change."""
    chance = random.Random(seed)
    keep = {
        "batch": lambda batch: (batch, payloads_of),
        "records": lambda batch: (batch.records, np.ndarray.tolist),
        "column": lambda batch: (batch["timestamp"], np.ndarray.tolist),
        "data": lambda batch: (batch.data, np.ndarray.tobytes),
        "payload": lambda batch: (batch.payload(-1), bytes),
        "packet": lambda batch: (batch[0], bytes),
        "sub_batch": lambda batch: (batch[::2], payloads_of),
    }
    kept = []
    with open_file(mixed, block_size=chance.choice((500, 2000, 6000))) as source:
        for batch in source.batches(chance.choice((None, 3))):
            for kind in chance.sample(sorted(keep), chance.randrange(4)):
                view, snapshot = keep[kind](batch)
                kept.append((view, snapshot, snapshot(view)))
            if chance.random() < 0.3:
                del kept[chance.randrange(len(kept) + 1) :]
            assert all(snapshot(view) == expected for view, snapshot, expected in kept)


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("array", ["records", "data"])
def test_memory_is_used_again_after_its_last_view(mixed, array):
    with open_file(mixed, block_size=2000) as source:
        addresses = [address(getattr(batch, array)) for batch in source.batches()]
    assert len(addresses) > 15
    # A block that is read into, another in the hands of the loop.
    assert len(set(addresses)) <= 3


@pytest.mark.parametrize("array", ["records", "data"])
def test_memory_is_not_used_again_before(mixed, array):
    with open_file(mixed, block_size=4096) as source:
        kept = getattr(source.next_batch(), array)[-5:]
        content, taken = kept.tobytes(), address(kept)
        for _ in range(3):
            shown = getattr(source.next_batch(), array)
            assert not address(shown) <= taken < address(shown) + shown.nbytes
        assert kept.tobytes() == content


def test_released_memory_is_used_again(mixed):
    with open_file(mixed, block_size=2000) as source:
        released = []
        for batch in source.batches():
            released.append((batch, address(batch.data)))
            batch.release()
    assert len(released) > 15
    assert len({at for _, at in released}) <= 3
    # Their records are their own for as long as they live.
    assert (
        np.concatenate([batch["timestamp"] for batch, _ in released]).tolist()
        == read(mixed)["timestamp"].tolist()
    )


# ---- threads

READS = {
    "gather": (lambda batch: batch.gather(256), np.ndarray.tobytes),
    "copy": (lambda batch: batch.copy(), lambda own: own.data.tobytes()),
    "concat": (lambda batch: concat([batch, batch]), lambda own: own.data.tobytes()),
    "headers": (lambda batch: batch.headers(), np.ndarray.tobytes),
    "payload": (lambda batch: batch.payload(-1), bytes),
    "data": (lambda batch: batch.data, lambda data: data.tobytes()),
    "sub_batch": (lambda batch: batch[-3:], lambda part: part.gather(256).tobytes()),
}


@pytest.mark.parametrize("kind", READS)
def test_release_in_another_thread(background, kind):
    """It succeeds or raises; what was given back may be overwritten at once, and no reader sees it."""
    content = random.Random(5).randbytes(256 * 1000)
    records = np.repeat(row(0, 256, ip_offset=14), 1000)
    records["offset"] = np.arange(1000) * 256
    read_it, snapshot = READS[kind]
    expected = snapshot(read_it(Batch(records, content)))
    for _ in range(15):
        memory = bytearray(content)
        batch = Batch(records, memory)
        barrier = threading.Barrier(2)

        def reader(batch=batch, barrier=barrier):
            results = []
            barrier.wait()
            try:
                for _ in range(5):
                    results.append(snapshot(read_it(batch)))
            except ValueError as error:
                results.append(str(error))
            return results

        job = background(reader)
        barrier.wait()
        for _ in range(1000):
            try:
                batch.release()
            except BufferError:
                continue
            memory[:] = bytes(len(memory))
            memory.clear()
            break
        assert all(result in (expected, "this memory was released") for result in job.result())
        batch.release()
        assert not is_locked(memory)


# ---- pickling


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling(batch, protocol):
    batch = Batch(rows(), CONTENT, (ETH0, TUN0))
    again = pickle.loads(pickle.dumps(batch, protocol))
    assert type(again) is Batch
    assert without_offset(again.records) == without_offset(rows())
    assert payloads_of(again) == payloads_of(batch)
    assert again.links == (ETH0, TUN0)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_the_copy_module(batch, memory, duplicate):
    own = duplicate(batch)
    batch.release()
    memory[:] = bytes(SIZE)
    assert payloads_of(own) == [payload_of(record) for record in rows()]


def test_a_pickled_part_is_no_larger_than_it_needs_to_be(mixed):
    whole = read(mixed)
    part = whole[:1]
    assert len(pickle.dumps(part)) < 2000 < len(pickle.dumps(whole))
    assert payloads_of(pickle.loads(pickle.dumps(part))) == payloads_of(whole)[:1]


def test_pickling_batches_of_a_source(mixed):
    with open_file(mixed, block_size=5000) as source:
        again = [pickle.loads(pickle.dumps(batch)) for batch in source.batches()]
    assert concat(again).records.tolist() == read(mixed).records.tolist()


# ---- what it says of itself

NOON = 1_709_294_400 * 10**9  # 2024-03-01 12:00


def batch_at(*times, total_len=60):
    return Batch(np.concatenate([row(timestamp=time, total_len=total_len) for time in times]), b"")


def test_repr():
    batch = batch_at(NOON + 1_500_000_000, NOON, NOON + 1, total_len=1000)
    assert repr(batch) == "<Batch: 3 packets, 3,000 bytes, 1.500000 s from 2024-03-01T12:00:00.000000000>"


def test_repr_of_many_bytes():
    batch = batch_at(*[NOON] * 1200, total_len=2**32 - 1)
    assert repr(batch).startswith("<Batch: 1,200 packets, 5,153,960,754,000 bytes, 0.000000 s from 2024")


@pytest.mark.parametrize(
    "times", [(-(2**63),), (-(2**63), 0, NOON), (2**63 - 1, -(2**63) + 1), (-(2**63), 2**63 - 1)], ids=str
)
def test_repr_of_any_times(times):
    # The least int64 is numpy's "not a time"; differences may be more than 63 bits.
    text = repr(batch_at(*times))
    assert text.startswith(f"<Batch: {len(times)} packets, ")
    assert " -" not in text
    assert batch_at(*times)._repr_html_().count("<tr>") == 1 + len(times)


class Tags(html.parser.HTMLParser):
    """Checks that tags are balanced, and gathers the cells."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells.append((self.open[-1], data))


@pytest.mark.parametrize("count", [1, 9, 10, 11, 1500])
def test_html(count):
    batch = batch_at(*[NOON] * count)
    tags = Tags(batch._repr_html_())
    shown = min(count, 10)
    assert tags.open == []
    assert [text for tag, text in tags.cells if tag == "th"] == list(NAMES)
    cells = [text for tag, text in tags.cells if tag == "td"]
    assert cells == [str(value) for record in batch.records[:shown].tolist() for value in record]
    notes = [text for tag, text in tags.cells if tag == "p"]
    assert notes == [repr(batch).strip("<>"), *([f"… {count - 10:,} more"] if count > 10 else [])]


# ---- no packets


@pytest.mark.parametrize(
    "make",
    [
        lambda: Batch([], b""),
        lambda: Batch(rows()[:0], CONTENT),
        lambda: Batch(rows(), CONTENT)[:0],
        lambda: Batch(rows(), CONTENT)[np.zeros(6, bool)],
        lambda: Batch([], b"").copy(),
        lambda: pickle.loads(pickle.dumps(Batch([], b""))),
        lambda: concat([]),
        lambda: Batch([], View.__new__(View)),
        lambda: Batch([], mmap.mmap(-1, 1)),
    ],
    ids=range(9),
)
def test_an_empty_batch(make):
    batch = make()
    assert (len(batch), bool(batch), list(batch), repr(batch)) == (0, False, [], "<Batch: 0 packets>")
    assert (batch.records.shape, batch.records.dtype) == ((0,), RECORD_DTYPE)
    assert (batch.timestamps.shape, batch["flags"].shape, batch.gather(5).shape) == ((0,), (0,), (0, 5))
    assert batch.headers().size == batch.headers(["src"]).size == 0
    assert (len(batch[:]), len(batch[::-1]), len(batch.copy())) == (0, 0, 0)
    assert Tags(batch._repr_html_()).open == []
    for index in (0, -1):
        with pytest.raises(IndexError):
            batch[index]
    batch.release()
    assert (batch.released, len(batch)) == (True, 0)


def test_a_file_without_packets(data_path):
    batch = read(data_path / "empty.pcap")
    assert (len(batch), batch.records.size, batch.data.size) == (0, 0, 0)


def test_packets_without_bytes():
    batch = Batch(np.repeat(row(total_len=60), 4), b"")
    assert payloads_of(batch) == [b""] * 4
    assert not batch.gather(3).any()
    assert [packet.total_len for packet in batch] == [60] * 4
    assert isinstance(batch[0].copy(), Packet)
    assert len(concat([batch, batch])) == 8


@pytest.mark.parametrize("count", [0, 1, 3])
def test_total_bytes(count):
    rows = np.zeros(count, RECORD_DTYPE)
    rows["total_len"] = 0xFFFFFFFF
    batch = Batch(rows, b"")
    assert batch.total_bytes == count * 0xFFFFFFFF
    assert type(batch.total_bytes) is int
    assert batch[:1].total_bytes == min(count, 1) * 0xFFFFFFFF
    batch.__init__(rows[:1], b"")
    assert batch.total_bytes == min(count, 1) * 0xFFFFFFFF
