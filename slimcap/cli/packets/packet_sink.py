"""Outputs of packets other than lines: tables, and capture files of live packets."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Final

from slimcap.cli.terminal.streams import writing
from slimcap.io.compression.encoders import compression_of
from slimcap.packet.batch import Batch
from slimcap.sink.arrow import batch_layout
from slimcap.sink.capture_file import CaptureFile
from slimcap.sink.table_file import TableFile, format_of
from slimcap.source.base import Source
from slimcap.source.file.pcap_source import PcapSource
from slimcap.source.live.open_live import LiveCapture

FLUSH_INTERVAL: Final = 1.0  # seconds that a packet stays in a compressor at most


class PacketSink:
    """Base class of outputs of packets. Every method may raise OutputError.

    `due` is the time to call `flush` next, in seconds of `time.monotonic`; infinity if never.
    """

    due = math.inf

    def add(self, batch: Batch, source: Source) -> None:
        """Write the packets of a batch, which `source` has read last."""
        raise NotImplementedError

    def end_file(self, source: PcapSource) -> None:
        """Note that a capture file was opened, and read as far as possible. Default: do nothing."""

    def flush(self, now: float) -> None:
        """Write out what was added if it is due; `now` is a `time.monotonic` time. Default: do nothing."""

    def close(self) -> None:
        """Complete the output. Default: do nothing."""

    def abandon(self) -> None:
        """End the output after Ctrl-C. Default: complete it."""
        self.close()


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

    def abandon(self) -> None:
        self._file.discard()

    def close(self) -> None:
        if not self._opened:
            self._file.discard()
            return
        with writing():
            self._file.close()


class CaptureFileSink(PacketSink):
    """A capture file, written as packets arrive; an existing one is overwritten.

    A compressor is flushed every `FLUSH_INTERVAL` seconds, which costs some of the compression.
    """

    def __init__(self, file: str, source: LiveCapture, snaplen: int) -> None:
        self._compressed = compression_of(file) is not None
        with writing():
            self._file = CaptureFile(file, source, snaplen=snaplen, atomic=False)

    def add(self, batch: Batch, source: Source) -> None:
        if self._compressed and self.due == math.inf:
            self.due = time.monotonic() + FLUSH_INTERVAL
        with writing():
            self._file.add(batch)

    def flush(self, now: float) -> None:
        if now >= self.due:
            self.due = math.inf
            with writing():
                self._file.flush()

    def close(self) -> None:
        with writing():
            self._file.close()
