"""The array of header columns: comparing addresses with text, and what it shares with plain arrays."""

from __future__ import annotations

import io
import pickle
from ipaddress import ip_address
from itertools import islice, permutations

import numpy as np
import pytest

from slimcap import Batch, in_network, ip_from_str, ip_to_str, read
from slimcap.packet.headers.columns import HEADER_COLUMNS


@pytest.fixture
def batch(data_path) -> Batch:
    return read(data_path / "mixed.pcap")


@pytest.mark.parametrize("columns", [None, ["status", "src", "dst", "src_mac", "dst_mac"]])
def test_addresses_compare_with_text(batch, columns):
    headers = batch.headers(columns)
    for name in ("src", "dst"):
        texts = ip_to_str(headers[name])
        for text in set(texts.tolist()) - {""}:
            found = headers[name] == text
            assert type(found) is np.ndarray
            assert found.dtype == bool
            assert found.any()
            assert found.tolist() == (texts == text).tolist()
            assert (headers[name] != text).tolist() == (texts != text).tolist()
            assert (text == headers[name]).tolist() == found.tolist()
            assert (headers[name] == ip_address(text)).tolist() == found.tolist()
            assert (headers[name] == ip_from_str(text)).tolist() == found.tolist()
            assert (in_network(headers[name], text)).tolist() == found.tolist()


def test_mac_addresses_compare_with_text(batch):
    headers = batch.headers()
    wanted = np.array([bytes(value) == b"\xff" * 6 for value in headers["dst_mac"].tolist()])
    assert wanted.any()
    for text in ("ff:ff:ff:ff:ff:ff", "FF-FF-FF-FF-FF-FF", "ffffffffffff"):
        assert ((headers["dst_mac"] == text) == wanted).all()
    assert not (headers["dst_mac"] == "02:00:00:00:00:99").any()


def test_two_columns_and_two_masks_compare(batch):
    headers = batch.headers()
    assert (headers["src"] == headers["src"]).all()
    assert ((headers["src"] == headers["dst"]) == (headers["dst"] == headers["src"])).all()
    first = headers[headers["src"] == "192.0.2.10"]
    assert (first["src"] == "192.0.2.10").all()
    assert len(first) == len(batch[headers["src"] == "192.0.2.10"]) > 0


@pytest.mark.parametrize(
    ("column", "text"),
    [("src", "192.0.2"), ("src", "example.org"), ("src", ""), ("src_mac", "02:00"), ("src_mac", "x" * 17)],
)
def test_text_that_is_no_address_raises(batch, column, text):
    with pytest.raises(ValueError, match="address"):
        batch.headers()[column] == text  # noqa: B015


def test_unknown_columns_raise_with_what_was_meant(batch):
    with pytest.raises(ValueError, match=r"no column 'source_port', did you mean 'src_port'\?"):
        batch.headers()["source_port"]
    with pytest.raises(ValueError, match=r"no column 'ttl': src, dst$"):
        batch.headers(["src", "dst"])["ttl"]


def test_other_columns_are_plain_arrays(batch):
    headers = batch.headers()
    assert type(headers["ttl"]) is np.ndarray
    assert type(headers["ttl"] + 1) is np.ndarray
    assert headers["ttl"].base is not None  # no copy
    assert headers[["src", "ttl"]].dtype.names == ("src", "ttl")
    assert isinstance(headers[0], np.void)
    assert headers[:3].shape == (3,)


def test_saved_and_pickled_arrays_are_the_same(batch):
    headers = batch.headers()
    file = io.BytesIO()
    np.save(file, headers)
    file.seek(0)
    assert np.load(file).tolist() == headers.tolist()
    again = pickle.loads(pickle.dumps(headers))
    assert ((again["src"] == "192.0.2.10") == (headers["src"] == "192.0.2.10")).all()
    values, counts = np.unique(headers["src"], return_counts=True)
    assert counts.sum() == len(batch)
    assert len(values) == len({bytes(value) for value in headers["src"].tolist()})


# ---- the dtype


@pytest.mark.parametrize("columns", [None, ["src", "ttl"], ["status"]])
def test_renaming_columns_changes_no_other_array(batch, columns):
    before, renamed = batch.headers(columns), batch.headers(columns)
    names = before.dtype.names
    renamed.dtype.names = [f"{name}_" for name in names]
    for headers in (before, batch.headers(columns), batch.headers(columns)):
        assert headers.dtype.names == tuple(headers.dtype.fields) == names
        assert headers[names[0]].tobytes() == renamed[f"{names[0]}_"].tobytes()


def test_any_number_of_sets_of_columns(batch):
    expected = batch.headers(HEADER_COLUMNS)
    for names in islice(permutations(HEADER_COLUMNS, 3), 600):
        found = batch.headers(names)
        assert found.dtype.names == names
        assert found.dtype == np.dtype([(name, expected.dtype[name]) for name in names], align=True)
        assert all((np.asarray(found[name]) == np.asarray(expected[name])).all() for name in names)
