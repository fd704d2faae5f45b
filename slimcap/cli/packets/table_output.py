"""Table files as output of `slimcap read --to`."""

from __future__ import annotations

from collections.abc import Sequence

from slimcap.cli.terminal.streams import writing
from slimcap.packet.batch import Batch
from slimcap.sink.table_file import TableFile, format_of
from slimcap.source.file.pcap_source import PcapSource


class Export:
    """Writes packets to a Parquet, Arrow or CSV file; no file is left if no capture file could be opened."""

    def __init__(self, path: str, columns: Sequence[str] | None) -> None:
        self._opened = False
        with writing():
            # In CSV payloads are hexadecimal text, so they are left out unless `columns` names them.
            self._file = TableFile(path, columns, payload=format_of(path) != "csv")

    def add(self, batch: Batch, source: PcapSource) -> None:
        """Write the packets of a batch."""
        with writing():
            self._file.add(batch)

    def end_file(self, source: PcapSource) -> None:
        """Note that a capture file could be opened."""
        self._opened = True

    def end(self) -> None:
        """Complete the file, or discard it if no capture file could be opened."""
        if not self._opened:
            self._file.discard()
            return
        with writing():
            self._file.close()
