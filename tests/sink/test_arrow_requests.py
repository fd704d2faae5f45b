"""Schemas that a consumer requests: any that the C data interface allows, and those it must not give."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from slimcap import Batch
from slimcap.sink.arrow import ArrowStream

RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
NAME = b"arrow_schema"


class Schema(ctypes.Structure):
    """struct ArrowSchema."""


Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(Schema))),
    ("dictionary", ctypes.c_void_p),
    ("release", RELEASE),
    ("private_data", ctypes.c_void_p),
]
release = RELEASE(lambda schema: None)
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
set_name = ctypes.pythonapi.PyCapsule_SetName
set_name.argtypes = [ctypes.py_object, ctypes.c_char_p]
pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype = ctypes.c_void_p
pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]


def child(name: bytes | None, kind: bytes | None) -> Any:
    return ctypes.pointer(Schema(format=kind, name=name, release=release))


def schema_of(*children: Any) -> Schema:
    pointers = (ctypes.POINTER(Schema) * len(children))(*children)
    return Schema(
        format=b"+s",
        name=b"",
        n_children=len(children),
        children=ctypes.cast(pointers, ctypes.POINTER(ctypes.POINTER(Schema))),
        release=release,
    )


def payload_format(exported: Any) -> bytes:
    """Return the format of the payload in a schema capsule."""
    schema = Schema.from_address(pointer_of(exported, NAME))
    [found] = [
        schema.children[index].contents.format
        for index in range(schema.n_children)
        if schema.children[index].contents.name == b"payload"
    ]
    return found


@pytest.fixture
def batch() -> Batch:
    return Batch([], b"")


@pytest.mark.parametrize(
    "before",
    [
        child(None, b"i"),
        child(b"other", b"i"),
        child(b"payload", None),
        ctypes.POINTER(Schema)(),
    ],
    ids=["no name", "other", "no format", "no child"],
)
def test_other_columns_of_a_requested_schema_are_ignored(batch: Batch, before: Any) -> None:
    wanted = schema_of(before, child(b"payload", b"z"))
    exported, _ = batch.__arrow_c_array__(new_capsule(ctypes.addressof(wanted), NAME, None))
    assert payload_format(exported) == b"Z"
    assert batch.__arrow_c_stream__(new_capsule(ctypes.addressof(wanted), NAME, None))


def test_a_requested_schema_without_children_changes_nothing(batch: Batch) -> None:
    for wanted in (schema_of(), Schema(format=b"+s", n_children=5, release=release)):
        exported, _ = batch.__arrow_c_array__(new_capsule(ctypes.addressof(wanted), NAME, None))
        assert payload_format(exported) == b"vz"


def test_a_released_requested_schema_is_refused(batch: Batch) -> None:
    wanted = Schema(n_children=1 << 40)
    capsule = new_capsule(ctypes.addressof(wanted), NAME, None)
    for export in (batch.__arrow_c_array__, batch.__arrow_c_stream__, ArrowStream(batch).__arrow_c_stream__):
        with pytest.raises(ValueError, match="was released"):
            export(capsule)


@pytest.mark.parametrize("wanted", [0, "schema", b"", object(), [None]])
def test_a_requested_schema_must_be_a_capsule(batch: Batch, wanted: object) -> None:
    for export in (batch.__arrow_c_array__, batch.__arrow_c_stream__):
        with pytest.raises((ValueError, TypeError)):
            export(wanted)


@pytest.mark.parametrize("name", [None, b"arrow_array", b"used_arrow_schema"])
def test_a_capsule_of_another_name_is_refused(batch: Batch, name: bytes | None) -> None:
    capsule = new_capsule(ctypes.addressof(schema_of()), name, None)
    for export in (batch.__arrow_c_array__, batch.__arrow_c_stream__):
        with pytest.raises(ValueError, match="PyCapsule"):
            export(capsule)


def test_capsules_that_a_consumer_renames_are_freed(batch: Batch) -> None:
    used = b"used"
    capsules = [*batch.__arrow_c_array__(), batch.__arrow_c_stream__(), batch.__arrow_c_schema__()]
    for capsule in capsules:
        assert set_name(capsule, used) == 0
    capsules.clear()
    del capsule
