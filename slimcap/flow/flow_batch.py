"""`FlowBatch`: flow records as numpy arrays, and as tables of Arrow libraries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, final, overload

import numpy as np

from slimcap.errors import suggestion, wrong_type
from slimcap.flow.flow_columns import FLOW_DTYPE, with_times
from slimcap.packet.headers.header_array import HeaderArray
from slimcap.packet.record import copy_of

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow
    from numpy.typing import ArrayLike, NDArray

    from slimcap.packet.batch import _Addresses
    from slimcap.sink.arrow import ArrowColumns


ADDRESSES: Final = ("src", "dst", "outer_src", "outer_dst")
TIMES: Final = {f"{side}_{end}": (f"{side}_packets",) for side in ("src", "dst") for end in ("first", "last")}
"""Columns of times that a record may not have, each with the column that is 0 then."""

OPTIONAL: Final = {**TIMES, "outer_src": ("outer_src", "outer_dst"), "outer_dst": ("outer_src", "outer_dst")}
"""Columns that a record may not have, each with those that are all zero then."""


@final
class FlowBatch:
    """Flow records: an array with a row for each.

    ============================ ==============================================================
    ``len(flows)``               number of records
    ``flows["src_bytes"]``       a column of `records`, shape (N,)
    ``flows[10:20]``             a FlowBatch of these rows; also with a boolean mask or an array of
                                 row numbers
    ``flows[3]``                 one row, a numpy.void
    ============================ ==============================================================

    The columns of every record (FLOW_DTYPE, 128 bytes):

    ============= ==== ========================================================================
    first         i8   time of the first packet, nanoseconds since the Unix epoch
    last          i8   time of the last packet
    flow_id       u8   hash of the key and of the time of the flow's first packet: the same for
                       all records of a flow, and in each run
    src           V16  address of the initiator; IPv4 as IPv4-mapped IPv6, ::ffff:0:0/96
    dst           V16  address of the other side
    interface     u4   index into the links of the packets' batch; that of the first packet
    src_port      u2   port of `src`; 0 for protocols without ports
    dst_port      u2   port of `dst`
    src_packets   u8   number of packets that `src` sent
    dst_packets   u8   number of packets that `dst` sent
    src_bytes     u8   bytes on the wire that `src` sent, link-layer headers included
    dst_bytes     u8   bytes on the wire that `dst` sent
    src_ip_bytes  u8   sum of the lengths that the IP headers of these packets state; of those that
                       state 0 or more than there was, the bytes from the IP header on
    dst_ip_bytes  u8   the same for packets that `dst` sent
    src_tcp_flags u2   flags in any TCP header that `src` sent, as in the column `tcp_flags`
    dst_tcp_flags u2   flags in any TCP header that `dst` sent
    vlan_id       u2   outermost VLAN ID of the first packet; 0 without a tag
    protocol      u1   IANA number of the upper layer
    ip_version    u1   4 or 6
    icmp_type     u1   type of the flow's first ICMP message
    icmp_code     u1   code of the flow's first ICMP message
    initiator     u1   a `slimcap.flow.FlowInitiator`
    end_reason    u1   a `slimcap.flow.FlowEnd`
    part          u4   number of records of the flow before this one; 0: it is the first
    ============= ==== ========================================================================

    The features of a table add columns. ``dst_`` is the prefix of the other direction; columns of lengths and
    inter-arrival times without a prefix are those of both. As all columns, they are about the packets of the
    record.

    =================== ====== ================ ============================================================
    src_len_min         u4     lengths          smallest length of a packet on the wire (`total_len`)
    src_len_mean        f8     lengths          mean length
    src_len_max         u4     lengths          largest length
    src_len_std         f8     lengths          standard deviation of the sample; 0 if there is one packet
    src_first           i8     iat              time of the first packet that `src` sent; 0 without one
    src_last            i8     iat              time of the last packet that `src` sent; 0 without one
    src_iat_min         i8     iat              smallest inter-arrival time in nanoseconds, of a packet and
                                                the latest one before; 0 if it is earlier, or without any
    src_iat_mean        f8     iat              mean of the inter-arrival times, in nanoseconds
    src_iat_max         i8     iat              largest inter-arrival time in nanoseconds
    src_iat_std         f8     iat              standard deviation of the sample; 0 if there is one time
    src_syn_packets     u8     flags            number of TCP packets with SYN. Also ``fin``, ``rst``,
                                                ``psh``, ``ack``, ``urg``, ``ece``, ``cwr``, ``ae``
    src_payload_packets u8     payload          number of packets with data after the transport header
    src_payload_bytes   u8     payload          bytes of data, the sum of `l7_len` of `Batch.headers`
    src_retransmissions u8     payload          number of TCP packets whose data ends at or before the
                                                highest sequence number so far: sent again, or late
    splt_len            i4 (N) splt=N           lengths of the first N packets, at most 2**31 - 1, negative
                                                of those that `dst` sent; 0 after the last one
    splt_iat            i8 (N) splt=N           their inter-arrival times in nanoseconds, in both
                                                directions; 0 for the first one
    src_first_bytes     u1 (B) first_bytes=B    first B bytes of data that were captured, in order of
                                                arrival; 0 after them
    src_first_len       u2     first_bytes=B    number of these bytes, at most B
    outer_src           V16    key "tunnel"     address in the outermost IP header, on the side of `src`;
                                                zeros without a tunnel. Also ``outer_dst``
    tunnel_id           u4     key "tunnel"     network identifier of VXLAN, VXLAN-GPE or GENEVE, or GRE key
    community_id        S30    community_id     Community ID version 1
    =================== ====== ================ ============================================================

    A column of addresses can be compared with an address in text; `ip_to_str` converts it. A FlowBatch can
    be pickled, and is an Arrow array and stream (PyCapsule protocol).

    Parameters
    ----------
    records : array_like of FLOW_DTYPE, shape (N,)
        Not copied if it is an array of that dtype, or of one that adds columns to it, which must not change
        then.

    Raises
    ------
    ValueError
        `records` does not have one dimension, or has other columns.

    Examples
    --------
    >>> flows = slimcap.FlowBatch.concat(slimcap.flows("trace.pcap"))
    >>> dns = flows[flows["dst_port"] == 53]
    >>> int(dns["src_packets"].sum())
    120
    """

    __slots__ = ("_records",)

    def __init__(self, records: ArrayLike) -> None:
        array = np.asarray(records)
        if not _has_columns(array.dtype):
            _refuse_other_columns(array.dtype)
            array = np.asarray(records, FLOW_DTYPE)
        if array.ndim != 1:
            raise ValueError(f"records have one dimension, not {array.ndim}")
        self._records = array.view(copy_of(array.dtype), HeaderArray)
        self._records.flags.writeable = False

    @staticmethod
    def concat(batches: Iterable[FlowBatch]) -> FlowBatch:
        """Concatenate batches into one, which owns its memory.

        Parameters
        ----------
        batches : iterable of FlowBatch
            For example `slimcap.flows("trace.pcap")`. Without any batch, the columns are those of its
            attribute `dtype`, if it has one, else those of FLOW_DTYPE.

        Returns
        -------
        FlowBatch
            All records, in order.

        Raises
        ------
        TypeError
            An item is not a FlowBatch.
        ValueError
            Batches have different columns.
        """
        arrays: list[NDArray[Any]] = []
        for batch in batches:
            if not isinstance(batch, FlowBatch):
                raise wrong_type("each of batches", "a FlowBatch", batch)
            arrays.append(np.asarray(batch.records))
            if arrays[-1].dtype != arrays[0].dtype:
                raise ValueError(
                    "batches have different columns: concatenate those of tables with the same features"
                )
        if not arrays:
            return FlowBatch(np.empty(0, getattr(batches, "dtype", FLOW_DTYPE)))
        return FlowBatch(np.concatenate(arrays, dtype=arrays[0].dtype))

    @property
    def records(self) -> NDArray[np.void]:
        """The rows, an ndarray of FLOW_DTYPE and the columns of features, shape (N,), read-only."""
        return self._records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[np.void]:
        return iter(np.asarray(self._records))

    @overload
    def __getitem__(self, key: str, /) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, key: int | np.integer[Any], /) -> np.void: ...
    @overload
    def __getitem__(self, key: slice | Sequence[int] | NDArray[Any], /) -> FlowBatch: ...
    def __getitem__(self, key: Any, /) -> Any:
        if isinstance(key, str):
            if key not in self._names:
                similar = suggestion(key, self._names)
                raise ValueError(f"unknown column {key!r}{similar}: a flow has {', '.join(self._names)}")
            return self._records[key]
        if isinstance(key, (list, tuple)) and any(isinstance(one, str) for one in key):
            raise TypeError("a FlowBatch has one column at a time: `flows.records[names]` has several")
        found = np.asarray(self._records)[key]
        return found if isinstance(found, np.void) else FlowBatch(found)

    def __reduce__(self) -> tuple[Any, ...]:
        return FlowBatch, (np.asarray(self._records).copy(),)

    def __repr__(self) -> str:
        if not len(self):
            return "<FlowBatch: 0 records>"
        records = self._records
        packets = int(records["src_packets"].sum() + records["dst_packets"].sum())
        size = int(records["src_bytes"].sum() + records["dst_bytes"].sum())
        first = np.datetime64(int(records["first"].min()), "ns")
        return f"<FlowBatch: {len(self):,} records, {packets:,} packets, {size:,} bytes, from {first}>"

    def _ipython_key_completions_(self) -> list[str]:
        """Return the names of the columns, which IPython completes after ``flows["``."""
        return list(self._names)

    @property
    def _names(self) -> tuple[str, ...]:
        return self._records.dtype.names or ()

    # Arrow. The sink layer is above this one, so it is imported only when these are called.

    def _arrow(
        self,
        columns: Iterable[str] | None = None,
        addresses: _Addresses = "text",
        names: Literal["slimcap", "nfstream"] = "slimcap",
    ) -> ArrowColumns:
        from slimcap.sink.arrow import ArrowColumns, text_addresses

        if names == "nfstream":
            from slimcap.sink.nfstream_names import NFSTREAM_ADDRESSES, nfstream_columns

            text = text_addresses(addresses, NFSTREAM_ADDRESSES)
            return ArrowColumns(nfstream_columns(np.asarray(self._records)), columns, text=text)
        if names != "slimcap":
            raise ValueError(f"names must be 'slimcap' or 'nfstream', not {names!r}")
        array = np.asarray(self._records)
        text = text_addresses(addresses, ADDRESSES) | {"community_id"}
        return ArrowColumns(array.view(with_times(array.dtype)), columns, text=text, optional=OPTIONAL)

    def to_arrow(
        self,
        columns: Iterable[str] | None = None,
        *,
        addresses: _Addresses = "text",
        names: Literal["slimcap", "nfstream"] = "slimcap",
    ) -> pyarrow.Table:
        """Convert the records to a pyarrow Table. Requires `slimcap[arrow]`.

        Parameters
        ----------
        columns : iterable of str, optional
            Names of the columns, in order. Default: all.
        addresses : {"text", "binary"}, default "text"
            Type of addresses. "binary" is fixed-size binary of 16 bytes, IPv4 as IPv4-mapped IPv6.
        names : {"slimcap", "nfstream"}, default "slimcap"
            Names and units of the columns: those of `records`, or those of nfstream, a Python package, which
            has times in milliseconds. These are its columns for every flow, those of "lengths", "iat" and
            "flags", and of `splt`. Two things differ from nfstream: `src` is the initiator, not the sender of
            the first packet, and times between packets are not rounded.

        Returns
        -------
        pyarrow.Table
            N rows; times are timestamp[ns, UTC], `splt_len` and `splt_iat` fixed-size lists. It owns its
            memory.

        Raises
        ------
        ImportError
            pyarrow is not installed.
        ValueError
            A column does not exist, or `addresses` or `names` is not valid.
        """
        from slimcap.sink.dataframes import table_of

        return table_of(self._arrow(columns, addresses, names))

    def to_pandas(
        self,
        columns: Iterable[str] | None = None,
        *,
        addresses: _Addresses = "text",
        names: Literal["slimcap", "nfstream"] = "slimcap",
    ) -> pandas.DataFrame:
        """Convert the records to a pandas DataFrame. Requires `slimcap[pandas]`.

        Parameters
        ----------
        columns : iterable of str, optional
            As for `to_arrow`.
        addresses : {"text", "binary"}, default "text"
            As for `to_arrow`.
        names : {"slimcap", "nfstream"}, default "slimcap"
            As for `to_arrow`.

        Returns
        -------
        pandas.DataFrame
            N rows; times are datetime64[ns, UTC]. It owns its memory.

        Raises
        ------
        ImportError
            pandas or pyarrow is not installed.
        ValueError
            A column does not exist, or `addresses` or `names` is not valid.
        """
        from slimcap.sink.dataframes import library

        library("pandas", "pandas")
        frame: pandas.DataFrame = self.to_arrow(columns, addresses=addresses, names=names).to_pandas()
        return frame

    def to_polars(
        self,
        columns: Iterable[str] | None = None,
        *,
        addresses: _Addresses = "text",
        names: Literal["slimcap", "nfstream"] = "slimcap",
    ) -> polars.DataFrame:
        """Convert the records to a polars DataFrame. Requires `slimcap[polars]`.

        Parameters
        ----------
        columns : iterable of str, optional
            As for `to_arrow`.
        addresses : {"text", "binary"}, default "text"
            As for `to_arrow`.
        names : {"slimcap", "nfstream"}, default "slimcap"
            As for `to_arrow`.

        Returns
        -------
        polars.DataFrame
            N rows; times are Datetime("ns", "UTC"). It owns its memory.

        Raises
        ------
        ImportError
            polars is not installed.
        ValueError
            A column does not exist, or `addresses` or `names` is not valid.
        """
        from slimcap.sink.dataframes import library

        frame: polars.DataFrame = library("polars", "polars").DataFrame(
            self._arrow(columns, addresses, names)
        )
        return frame

    def __arrow_c_schema__(self) -> object:
        return self._arrow().__arrow_c_schema__()

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        return self._arrow().__arrow_c_array__(requested_schema)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._arrow().__arrow_c_stream__(requested_schema)


def _has_columns(dtype: np.dtype[Any]) -> bool:
    """Return True for FLOW_DTYPE, and for a dtype that has its columns and others after them."""
    have, needed = dtype.fields, FLOW_DTYPE.fields
    return have is not None and needed is not None and have.items() >= needed.items()


def _refuse_other_columns(dtype: np.dtype[Any]) -> None:
    """Raise ValueError for a structured dtype without some of the columns, which numpy would not convert."""
    names = dtype.names
    missing = [name for name in FLOW_DTYPE.names or () if names is not None and name not in names]
    if missing:
        raise ValueError(f"records must have the columns of FLOW_DTYPE: {', '.join(missing)} are missing")
