"""Sources as Python objects: construction, garbage collection, pickling, repr."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import pickle
import weakref

import pytest

from slimcap import CaptureStopped, FileFormatError, PcapSource, Source, Stats
from slimcap.source.base import ZeroCopySource
from support.numbered import number_of, numbered, rest_of
from support.readers import READERS


@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")
def test_opening_and_closing_leaks_no_descriptor(sample_of, data_path, open_descriptors):
    path, bad = sample_of("null.pcap").path, data_path / "bad" / "bad_magic.pcap"
    gc.collect()
    before = open_descriptors()
    for i in range(1000):
        source = PcapSource(path)
        if i % 2:
            source.next_packet()
        if i % 3:
            source.close()
        del source
        with pytest.raises(FileFormatError):
            PcapSource(bad)
        with pytest.raises(FileNotFoundError):
            PcapSource("no such file")
    assert open_descriptors() == before


def test_a_source_in_a_cycle_is_collected(sample_of):
    class File(io.BytesIO):
        pass

    file = File(sample_of("null.pcap").data)
    file.source = PcapSource(file)
    file.source.next_payload_zero_copy()
    gone = weakref.ref(file)
    del file
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("kind", [Source, ZeroCopySource])
def test_base_classes_cannot_be_instantiated(kind):
    with pytest.raises(TypeError, match="open_file"):
        kind()


def test_a_python_subclass_of_source_raises_not_implemented_error():
    class Own(Source):
        def __init__(self):
            pass

    with pytest.raises(NotImplementedError):
        Own().next_packet()


def test_pcap_source_is_final():
    with pytest.raises(TypeError):
        type("Own", (PcapSource,), {})


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_sources_can_neither_be_pickled_nor_copied(file_of, duplicate):
    with PcapSource(file_of(numbered(1))) as source:
        with pytest.raises(TypeError, match="pickled"):
            duplicate(source)
        assert rest_of(source) == [0]


def test_repr_names_file_link_type_and_packet_count(file_of):
    path = file_of(numbered(3))
    with PcapSource(path) as source:
        source.next_packet()
        assert repr(source) == f"<PcapSource {str(path)!r}: ETHERNET, 1 packets read>"


# ---- __init__


def bare_methods():
    calls = {name: reader for name, reader in READERS.items() if not reader.in_place}
    calls["iteration"] = next
    calls["batches"] = lambda source: next(source.batches())
    return calls


@pytest.mark.parametrize("kind", [Source, ZeroCopySource, PcapSource])
@pytest.mark.parametrize("call", bare_methods().values(), ids=bare_methods())
def test_reading_an_uninitialised_source_raises(kind, call):
    source = kind.__new__(kind)
    if not hasattr(source, "next_payload_zero_copy"):
        assert kind is Source
    with pytest.raises((EOFError, StopIteration, NotImplementedError, TypeError, ValueError, AttributeError)):
        call(source)
    source.close()
    with pytest.raises((CaptureStopped, StopIteration, AttributeError)):
        call(source)


ATTRIBUTES = ["name", "snaplen", "version", "byte_order", "resolution", "progress", "link", "links", "closed"]


@pytest.mark.parametrize("name", [*ATTRIBUTES, "total_stats"])
def test_attributes_of_an_uninitialised_source_are_empty_or_raise(name):
    source = PcapSource.__new__(PcapSource)
    with contextlib.suppress(AttributeError, ValueError):
        assert getattr(source, name) in (None, (), False, Stats(0, 0, 0))


def test_new_packet_of_an_uninitialised_source_raises_or_is_empty():
    """pytest fails it for an exception that Cython can only print (PytestUnraisableExceptionWarning)."""
    source = PcapSource.__new__(PcapSource)
    with contextlib.suppress(AttributeError, ValueError, TypeError):
        assert len(source.new_packet()) == 0


def test_repr_of_an_uninitialised_source_names_the_class_or_raises():
    source = PcapSource.__new__(PcapSource)
    with contextlib.suppress(AttributeError, ValueError):
        assert "PcapSource" in repr(source)


@pytest.mark.parametrize("closed", [False, True])
def test_init_a_second_time_raises(file_of, closed):
    path = file_of(numbered(3))
    with PcapSource(path) as source:
        first = source.next_payload_zero_copy()[0]
        if closed:
            source.close()
        for _ in range(2):
            with pytest.raises(TypeError, match="once"):
                source.__init__(path)
        assert number_of(first) == 0
        if not closed:
            assert rest_of(source) == [1, 2]


def test_init_after_a_failed_init_works_or_raises_type_error(file_of):
    source = PcapSource.__new__(PcapSource)
    with pytest.raises(FileNotFoundError):
        source.__init__("no such file")
    with contextlib.suppress(TypeError):
        source.__init__(file_of(numbered(2)))
        assert rest_of(source) == [0, 1]
