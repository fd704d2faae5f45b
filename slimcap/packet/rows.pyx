"""`Rows`: decoded packets on their way from a decoder to batches, with everything that belongs to them.

    decoder ──► Rows ──► Batch, Batch, …    batches of all or some of the rows, over the same memory
                     └─► View, Packet, …    single packets
"""
cimport cython

from slimcap.packet.batch cimport Batch, new_batch
from slimcap.packet.lease cimport Block, Hold, lease_block, new_block
from slimcap.packet.record cimport Record


@cython.final
@cython.no_gc_clear
@cython.freelist(16)
cdef class Rows:
    """A block of records over a block of bytes, and the links, interfaces and annotations of its packets."""

    cdef Batch batch(self, Py_ssize_t start, Py_ssize_t count):
        """Return a batch of `count` rows from `start` on."""
        cdef Batch batch
        if self._block_hold is None:  # one hold serves the record arrays of all batches of these rows
            self._block_hold = lease_block(self.block, self.count * sizeof(Record)).hold
        batch = new_batch(
            <const Record*> self.block.ptr + start, count, self._block_hold,
            lease_block(self.data, self.data_size), self.links)
        batch._interfaces = self.interfaces
        if self.annotations is not None:
            batch._annotations = self.annotations.part(start, start + count, start + count == self.count)
        if count == self.count:
            batch._total_bytes = self.total_bytes
        return batch

    cdef Hold lend(self):
        """Return the owner that views of single packets keep alive."""
        if self._data_hold is None:
            self._data_hold = lease_block(self.data, self.data_size).hold
        return self._data_hold

    cdef object comment(self, Py_ssize_t row):
        """Return the comment on a packet, or None."""
        return None if self.annotations is None else self.annotations.comment(row)


cdef Rows new_rows(Block block, Py_ssize_t count, Block data, Py_ssize_t data_size, tuple links):
    """Make rows of the records in `block`, over the bytes in `data`, without interfaces and annotations."""
    cdef Rows rows = Rows.__new__(Rows)
    rows.block, rows.count = block, count
    rows.data, rows.data_size = data, data_size
    rows.total_bytes = -1
    rows.links = links
    return rows


cdef Batch blocks_batch(Annotations annotations, tuple links, tuple interfaces):
    """Return a batch without packets, with these blocks."""
    cdef Batch batch = new_batch(NULL, 0, None, lease_block(new_block(0), 0), links)
    batch._interfaces, batch._annotations = interfaces, annotations
    return batch
