"""Convert batches to tables of pyarrow, pandas and polars. The libraries are imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from slimcap.sink.arrow import ArrowStream

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from slimcap.packet.batch import Batch, _Addresses, _Payload


def library(name: str, extra: str) -> Any:
    """Import an optional library.

    Raises
    ------
    ImportError
        It is not installed; the message names the extra to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{name!r} is not installed: pip install 'slimcap[{extra}]' ({error})") from error


def table_of(stream: Any) -> pyarrow.Table:
    """Return an Arrow stream (PyCapsule protocol) as a table. Requires pyarrow.

    `pyarrow.table` imports pandas first, which takes longer than a ring can hold packets.

    Parameters
    ----------
    stream : object
        It has the method `__arrow_c_stream__`.

    Returns
    -------
    pyarrow.Table
        All batches of the stream.

    Raises
    ------
    ImportError
        pyarrow is not installed.
    """
    table: pyarrow.Table = library("pyarrow", "arrow").RecordBatchReader.from_stream(stream).read_all()
    return table


def to_arrow(
    batch: Batch,
    columns: Iterable[str] | None,
    payload: _Payload,
    addresses: _Addresses,
    header_options: dict[str, Any],
) -> pyarrow.Table:
    """Implement `Batch.to_arrow`; `header_options` are those of `Batch.headers`."""
    if payload is True:  # pyarrow cannot filter or sort a binary_view
        payload = "large_binary"
    return table_of(ArrowStream(batch, columns, payload=payload, addresses=addresses, **header_options))


def to_pandas(
    batch: Batch,
    columns: Iterable[str] | None,
    payload: _Payload,
    addresses: _Addresses,
    header_options: dict[str, Any],
) -> pandas.DataFrame:
    """Implement `Batch.to_pandas`; `header_options` are those of `Batch.headers`."""
    pd, pa = library("pandas", "pandas"), library("pyarrow", "pandas")
    # Otherwise pandas makes a Python object of every payload.
    kept = {pa.large_binary(), pa.binary_view()}
    frame: pandas.DataFrame = to_arrow(batch, columns, payload, addresses, header_options).to_pandas(
        types_mapper=lambda kind: pd.ArrowDtype(kind) if kind in kept else None
    )
    return frame


def to_polars(
    batch: Batch,
    columns: Iterable[str] | None,
    payload: _Payload,
    addresses: _Addresses,
    header_options: dict[str, Any],
) -> polars.DataFrame:
    """Implement `Batch.to_polars`; `header_options` are those of `Batch.headers`."""
    pl = library("polars", "polars")
    stream = ArrowStream(batch, columns, payload=payload, addresses=addresses, **header_options)
    frame: polars.DataFrame = pl.DataFrame(stream)
    return frame
