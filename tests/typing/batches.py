"""The types of batches and leases. Read by mypy, and run by tests/package/test_typing.py."""

from typing import Any, assert_type

import numpy as np
import pandas
import polars
import pyarrow
from numpy.typing import NDArray

import slimcap
from slimcap import (
    HEADER_DTYPE,
    RECORD_DTYPE,
    Batch,
    HeaderStatus,
    InterfaceInfo,
    IPLayer,
    Link,
    PacketView,
    View,
)
from slimcap.filter import Machine, accept
from slimcap.packet.interface import OtherBlock, SectionInfo, Statistics
from slimcap.packet.lease import Lease
from slimcap.sink.arrow import ArrowColumns, ArrowStream


def check_making(batch: Batch) -> None:
    assert_type(Batch(batch.records, batch.data), Batch)
    assert_type(Batch(np.zeros(1, RECORD_DTYPE), b"", links=[Link("eth0", 0, 1)]), Batch)
    assert_type(Batch(records=[], data=bytearray()), Batch)
    assert_type(slimcap.concat([batch, batch]), Batch)
    assert_type(slimcap.concat(iter([batch])), Batch)
    assert_type(RECORD_DTYPE, np.dtype[np.void])


def check_headers(batch: Batch) -> None:
    rows = batch.headers()
    assert_type(rows, NDArray[np.void])
    assert_type(batch.headers(["src", "community_id"], inner=True), NDArray[np.void])
    assert_type(batch.headers(inner=True, tunnel_ports={"vxlan": [4789, 8472]}), NDArray[np.void])
    assert_type(HEADER_DTYPE, np.dtype[np.void])
    assert_type(HeaderStatus(0), HeaderStatus)
    assert_type(slimcap.ip_to_str(rows["src"]), NDArray[np.str_])
    assert_type(slimcap.ip_from_str(["10.0.0.1"]), NDArray[np.void])
    assert_type(slimcap.in_network(rows["src"], "10.0.0.0/8"), NDArray[np.bool_])


def check_indexing(batch: Batch) -> None:
    assert_type(len(batch), int)
    assert_type(batch["timestamp"], NDArray[np.int64])
    assert_type(batch["offset"], NDArray[np.uint64])
    assert_type(batch["total_len"], NDArray[np.uint32])
    assert_type(batch["cap_len"], NDArray[np.uint32])
    assert_type(batch["flags"], NDArray[np.uint32])
    assert_type(batch["ip_offset"], NDArray[np.uint16])
    assert_type(batch["interface"], NDArray[np.uint32])
    assert_type(batch["vlan_tci"], NDArray[np.uint16])
    assert_type(batch["vlan_tpid"], NDArray[np.uint16])
    assert_type(batch["pkt_type"], NDArray[np.uint8])
    for name in RECORD_DTYPE.names or ():
        assert_type(batch[name], NDArray[Any])
    assert_type(batch[0], PacketView)
    assert_type(batch[np.int64(0)], PacketView)
    assert_type(batch[:2], Batch)
    assert_type(batch[[0, 2]], Batch)
    mask: NDArray[np.bool_] = batch["ip_offset"] != slimcap.NO_IP  # numpy says Any
    assert_type(batch[mask], Batch)
    assert_type(batch[np.argsort(batch["total_len"])], Batch)
    for packet in batch:
        assert_type(packet, PacketView)


def check_filtering(batch: Batch) -> None:
    program = accept(64)
    machine = Machine(program)
    assert_type(batch.filter(program), Batch)
    assert_type(batch.filter(machine), Batch)
    assert_type(machine.run(b"", 60, pkt_type=slimcap.PacketType.OUTGOING, vlan_tci=7), int)
    assert_type(len(machine), int)


def check_contents(batch: Batch) -> None:
    assert_type(batch.records, NDArray[np.void])
    assert_type(batch.data, NDArray[np.uint8])
    assert_type(batch.links, tuple[Link, ...])
    assert_type(batch.interfaces, tuple[InterfaceInfo, ...])
    assert_type(batch.comments, dict[int, str])
    assert_type(batch.with_comments({0: "a", 1: ["b", "c"]}), Batch)
    assert_type(batch.blocks, tuple[tuple[int, OtherBlock | Statistics | SectionInfo | int], ...])
    assert_type(batch.with_blocks(batch.blocks), Batch)
    assert_type(batch.total_bytes, int)
    assert_type(batch.timestamps, NDArray[np.datetime64])
    assert_type(batch.payload(0), View)
    assert_type(batch.ip_layer(0), IPLayer)
    assert_type(batch.gather(64), NDArray[np.uint8])


def check_tables(batch: Batch) -> None:
    assert_type(batch.to_arrow(), pyarrow.Table)
    assert_type(batch.to_arrow(["payload", "total_len"], payload="hex"), pyarrow.Table)
    assert_type(batch.to_pandas(payload=False, addresses="binary", inner=True), pandas.DataFrame)
    assert_type(batch.to_polars(columns=iter(["timestamp"])), polars.DataFrame)
    assert_type(polars.DataFrame(ArrowStream(iter([batch]), ["total_len"])), polars.DataFrame)
    assert_type(len(ArrowColumns(batch.records, text=())), int)


def check_lifetime(batch: Batch) -> None:
    assert_type(batch.copy(), Batch)
    with batch as same:
        assert_type(same, Batch)
    del same
    batch.release()
    assert_type(batch.released, bool)


def check_lease() -> None:
    lease = Lease(bytearray(8))
    assert_type(memoryview(lease)[0], int)
    assert_type(lease.nbytes, int)
    assert_type(lease.exports, int)
    lease.release()
    assert_type(lease.released, bool)


def refused(batch: Batch, lease: Lease) -> None:
    """Never run: each of these lines is an error that a type checker finds."""
    Batch(batch.records)  # type: ignore[call-arg]
    Batch(batch.records, "text")  # type: ignore[arg-type]
    batch[1.5]  # type: ignore[call-overload]
    batch["total_len"] = 1  # type: ignore[index]
    batch.payload("total_len")  # type: ignore[arg-type]
    batch.records = None  # type: ignore[misc, assignment]
    batch.close()  # type: ignore[attr-defined]
    batch.to_arrow(payload="utf8")  # type: ignore[arg-type]
    batch.to_arrow(addresses="hex")  # type: ignore[arg-type]
    ArrowStream([batch.records])  # type: ignore[list-item]
    Lease("text")  # type: ignore[arg-type]
    len(lease)  # type: ignore[arg-type]

    class Mine(Batch):  # type: ignore[misc]
        pass
