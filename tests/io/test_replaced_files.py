"""Atomic writers keep who may read a file, and write it to its device before it replaces another."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slimcap import PcapNgWriter, PcapWriter, write
from slimcap.io import atomic_file
from slimcap.io.atomic_file import PartialFile
from support.batches import batch_of

BATCH = batch_of([b"abc"])
ACL = "system.posix_acl_access"


def by_pcap(path: Path) -> None:
    with PcapWriter(path, atomic=True) as writer:
        writer.write_batch(BATCH)


def by_pcapng(path: Path) -> None:
    with PcapNgWriter(path, atomic=True) as writer:
        writer.write_batch(BATCH)


def by_parquet(path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    write(BATCH, path, format="parquet")


@pytest.fixture(params=[by_pcap, by_pcapng, by_parquet])
def replace(request: Any) -> Any:
    return request.param


def mode_of(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o400])
def test_mode_of_the_older_file_is_kept(replace: Callable[[Path], None], mode: int, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"older")
    path.chmod(mode)
    replace(path)
    assert mode_of(path) == mode
    assert path.stat().st_size > 5


def test_new_files_have_the_mode_of_the_umask(replace: Callable[[Path], None], tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace(tmp_path / "out")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "out") == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the owner of a file")
def test_owner_of_the_older_file_is_kept(replace: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"older")
    path.chmod(0o640)
    os.chown(path, 12345, 23456)
    replace(path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, mode_of(path)) == (12345, 23456, 0o640)


def test_file_is_private_until_it_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"older")
    path.chmod(0o600)
    before = os.umask(0)
    try:
        with PcapWriter(path, atomic=True) as writer:
            (target,) = set(tmp_path.iterdir()) - {path}
            assert mode_of(target) == 0o600
            writer.write_batch(BATCH)
            writer.flush()
            assert mode_of(target) == 0o600
    finally:
        os.umask(before)
    assert mode_of(path) == 0o600


def test_group_gets_no_rights_of_a_group_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, user: int, group: int) -> None:
        raise PermissionError(1, "not permitted")

    path = tmp_path / "out"
    path.write_bytes(b"older")
    real = os.stat(path)
    older = os.stat_result((stat.S_IFREG | 0o674, *real[1:4], 12345, 23456, *real[6:]))
    monkeypatch.setattr(atomic_file.os, "chown", refuse)
    monkeypatch.setattr(atomic_file.os, "stat", lambda path: older)
    with path.open("r+b") as file:
        atomic_file._inherit(file.fileno(), str(path))
    monkeypatch.undo()
    assert mode_of(path) == 0o644


def test_access_control_list_is_kept(replace: Callable[[Path], None], tmp_path: Path) -> None:
    """Its mask is where the mode has the group's rights: without the list these would be the group's."""
    nobody = 0xFFFFFFFF
    entries = [(0x01, 6, nobody), (0x02, 6, 12345), (0x04, 0, nobody), (0x10, 6, nobody), (0x20, 0, nobody)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    path = tmp_path / "out"
    path.write_bytes(b"older")
    try:
        os.setxattr(path, ACL, acl)
    except OSError:
        pytest.skip("this file system has no access control lists")
    assert mode_of(path) == 0o660
    replace(path)
    assert os.getxattr(path, ACL) == acl
    assert mode_of(path) == 0o660


def test_file_is_on_its_device_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            atomic_file.os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1]
        )
    by_pcap(tmp_path / "out")
    assert calls == ["fsync", "replace"]


def test_error_of_the_device_names_the_file_and_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    path = tmp_path / "out"
    path.write_bytes(b"older")
    monkeypatch.setattr(atomic_file.os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error") as info:
        by_pcap(path)
    assert info.value.filename == str(path)
    assert path.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["x" * 255, "x" * 240 + ".pcap", "ä" * 127, "a" + "€" * 84, "\udcff.pcap"])
def test_names_may_be_as_long_as_the_file_system_allows(
    replace: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    replace(tmp_path / name)
    replace(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    with pytest.raises(OSError, match="name too long") as info:
        replace(tmp_path / (name + "y" * 250))
    assert ".part" not in str(info.value)


def test_partial_files_that_are_dropped_close_their_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        PartialFile(tmp_path / "out")
    assert len(os.listdir("/proc/self/fd")) == before


def test_list_that_a_folder_gives_to_new_files_is_not_kept(tmp_path: Path) -> None:
    """Only root and the owner may read the older file; the folder lets another user read new ones."""
    # Version 2; then tag, permissions and id: user, user 65534, group, mask, other (linux/posix_acl_xattr.h).
    entries = [(1, 6, -1), (2, 6, 65534), (4, 0, -1), (16, 6, -1), (32, 0, -1)]
    default = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    path = tmp_path / "out"
    path.write_bytes(b"older")
    path.chmod(0o660)
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", default)
    except OSError:
        pytest.skip("this file system has no access control lists")
    by_pcap(path)
    assert path.stat().st_size > 5
    assert mode_of(path) == 0o660
    assert ACL not in os.listxattr(path)


def test_name_of_a_folder_is_refused(replace: Callable[[Path], None], tmp_path: Path) -> None:
    for name in ("folder/", "./folder//"):
        with pytest.raises(OSError, match="Is a directory"):
            PartialFile(f"{tmp_path}/{name}")
    assert os.listdir(tmp_path) == []
