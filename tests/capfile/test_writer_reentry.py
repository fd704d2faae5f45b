"""File objects that call the writer that writes to them, also while it is being opened."""

from __future__ import annotations

import io

import pytest

from slimcap import Link, PcapNgWriter, PcapSource, PcapWriter
from slimcap.mock import build_packet
from support.batches import batch_of

PACKET = build_packet("192.0.2.1", "192.0.2.2", 1234, 53)
CALLS = {
    "write_packet": lambda writer: writer.write_packet(PACKET),
    "write_batch": lambda writer: writer.write_batch(batch_of([bytes(PACKET)])),
    "flush": lambda writer: writer.flush(),
    "close": lambda writer: writer.close(),
    "discard": lambda writer: writer.discard(),
    "add_interface": lambda writer: writer.add_interface(Link("eth7", 7, 1)),
    "write_statistics": lambda writer: writer.write_statistics(0, received=1),
    "init": lambda writer: writer.__init__(io.BytesIO()),
}


class Meddler(io.BytesIO):
    """Calls `meddle(writer)` whenever the writer uses it."""

    writer = None

    def __init__(self, meddle):
        super().__init__()
        self.errors = []
        self._meddle = meddle

    def _call(self):
        if self.writer is not None:
            try:
                self._meddle(self.writer)
            except Exception as error:
                self.errors.append(error)

    @property
    def name(self):
        self._call()
        return "meddler"

    def write(self, data):
        self._call()
        return super().write(data)

    def flush(self):
        self._call()


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("kind", [PcapWriter, PcapNgWriter])
@pytest.mark.parametrize("call", CALLS)
def test_calls_of_a_file_object_are_refused_and_the_file_is_whole(kind, call, compression):
    """pcap has neither interfaces nor statistics, so that these calls do nothing."""
    writer = kind.__new__(kind)
    file = Meddler(CALLS[call])
    file.writer = writer
    writer.__init__(file, compression=compression)
    writer.write_batch(batch_of([bytes(PACKET)] * 3))
    writer.write_packet(PACKET)
    writer.flush()
    writer.close()
    file.writer = None
    if kind is PcapNgWriter or call not in ("add_interface", "write_statistics"):
        assert file.errors
        allowed = (RuntimeError, TypeError) if call == "init" else (RuntimeError, ValueError)
        closing = call in ("close", "discard")
        assert all(isinstance(error, allowed) for error in file.errors) or closing, file.errors
    with PcapSource(io.BytesIO(file.getvalue())) as source:
        assert [bytes(packet) for packet in source] == [bytes(PACKET)] * 4
