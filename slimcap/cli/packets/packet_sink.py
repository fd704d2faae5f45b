"""Outputs of packets other than lines: tables, and capture files of live packets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slimcap.cli.terminal.streams import writing
from slimcap.packet.batch import Batch
from slimcap.sink.arrow import batch_layout
from slimcap.sink.capture_file import CaptureFile
from slimcap.sink.table_file import TableFile, format_of
from slimcap.source.base import Source
from slimcap.source.file.pcap_source import PcapSource
from slimcap.source.live.live_source import LiveSource


class PacketSink:
    """Base class of outputs of packets. Every method may raise OutputError."""

    def add(self, batch: Batch, source: Source) -> None:
        """Write the packets of a batch, which `source` has read last."""
        raise NotImplementedError

    def end_file(self, source: PcapSource) -> None:
        """Note that a capture file was opened, and read as far as possible. Default: do nothing."""

    def close(self) -> None:
        """Complete the output. Default: do nothing."""


class TableSink(PacketSink):
    """A Parquet, Arrow or CSV file; no file is left if no capture file could be opened."""

    def __init__(self, path: str, columns: Sequence[str] | None, *, files: int, **options: Any) -> None:
        """Open the table; `files` is the number of capture files, `options` are those of TableFile."""
        self._opened = False
        # In CSV payloads are hexadecimal text, so they are left out unless `columns` names them.
        payload = format_of(path) != "csv"
        if columns is None and files > 1:
            columns = ["file_name", *(field.name for field in batch_layout(None, payload).fields)]
        with writing():
            self._file = TableFile(path, columns, payload=payload, **options)

    def add(self, batch: Batch, source: Source) -> None:
        with writing():
            self._file.add(batch)

    def end_file(self, source: PcapSource) -> None:
        self._opened = True

    def close(self) -> None:
        if not self._opened:
            self._file.discard()
            return
        with writing():
            self._file.close()


class CaptureFileSink(PacketSink):
    """A capture file, written as packets arrive; an existing one is overwritten."""

    def __init__(self, file: str, source: LiveSource, snaplen: int) -> None:
        with writing():
            self._file = CaptureFile(file, source, snaplen=snaplen, atomic=False)

    def add(self, batch: Batch, source: Source) -> None:
        with writing():
            self._file.add(batch)

    def close(self) -> None:
        with writing():
            self._file.close()
