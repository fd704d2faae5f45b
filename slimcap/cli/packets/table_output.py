"""`slimcap read --to`: packets into a table's file."""

from __future__ import annotations

from collections.abc import Sequence

from slimcap.cli.terminal.streams import writing
from slimcap.packet.batch import Batch
from slimcap.sink.table_file import TableFile, format_of
from slimcap.source.file.pcap_source import PcapSource


class Export:
    """Writes packets to a Parquet, Arrow or CSV file, which is there if a capture file could be opened."""

    def __init__(self, path: str, columns: Sequence[str] | None) -> None:
        self._opened = False
        with writing():
            # In CSV payloads are hexadecimal: for who asks for them.
            self._file = TableFile(path, columns, payload=format_of(path) != "csv")

    def add(self, batch: Batch, source: PcapSource) -> None:
        """Write a batch's packets."""
        with writing():
            self._file.add(batch)

    def end_file(self, source: PcapSource) -> None:
        """A file is over: there was one."""
        self._opened = True

    def end(self) -> None:
        """Give the file its name."""
        if not self._opened:
            self._file.discard()
            return
        with writing():
            self._file.close()
