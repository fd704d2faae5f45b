"""What the decoders of capture files have in common: bytes in, rows out. They know nothing of files."""
from libc.stdint cimport uint8_t, uint64_t

from slimcap.abi.bytes cimport SLIMCAP_LITTLE_ENDIAN
from slimcap.packet.record cimport Record


cdef class Decoder:
    """Makes rows of a capture file's bytes; see its subclasses."""

    def __cinit__(self, *args, **kwargs):
        self.links = ()
        self.comments, self.interfaces, self.sections = [], [], []

    def __init__(self):
        raise TypeError("Decoder is what decoders have in common: use PcapDecoder or PcapngDecoder")

    def decode(self, const uint8_t[::1] data, Record[::1] rows, uint64_t start=0):
        """Decode what is whole in `data[start:]`, as many packets as `rows` has room for.

        Afterwards `position` is where in `data` it ended, `needed` how many bytes it takes from there on to
        go on, as far as is known, and `fault` says why no more can be decoded from there on, if that is so.

        Parameters
        ----------
        data : buffer of uint8, shape (n,)
            Bytes of the file; `offset` in the rows counts from its start.
        rows : array of RECORD_DTYPE, shape (m,)
            Written to.
        start : int
            Where to start: at first behind the file's header, if the decoder was given that, then at
            `position`.

        Returns
        -------
        int
            Number of rows written.
        """
        return self._decode(data, start, rows)

    cdef Py_ssize_t _decode(self, const uint8_t[::1] data, uint64_t start, Record[::1] rows) except -1:
        raise NotImplementedError

    cdef str _byte_order(self):
        return "big" if self.swapped == SLIMCAP_LITTLE_ENDIAN else "little"

    cdef object _dropped(self):
        """Packets that were lost while capturing, as far as the file says so."""
        return 0


cdef dict numbered_comments(uint64_t first, object comments):
    """Comments, given as (row, text), by the number of their packet, where that of row 0 is `first`."""
    found = {}
    for row, text in comments or ():
        found.setdefault(first + row, []).append(text)
    return {number: "\n".join(texts) for number, texts in found.items()}
