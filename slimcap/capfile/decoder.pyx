"""Base class of capture file decoders, which convert bytes to rows and do no input themselves."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from slimcap.abi.bytes cimport SLIMCAP_LITTLE_ENDIAN
from slimcap.packet.options cimport Allowance
from slimcap.packet.record cimport Record


def max_cap_len(uint32_t link_type):
    """Return the maximum captured length of packets of a link type, in bytes: the same as libpcap's."""
    return max_caplen(link_type)


cdef class Decoder:
    """Base class of decoders: see `PcapDecoder` and `PcapngDecoder`."""

    def __cinit__(self, *args, **kwargs):
        self.links = self.interfaces = ()
        self.sections = []
        self.memory = Allowance()

    def __init__(self):
        raise TypeError("Decoder is what decoders have in common: use PcapDecoder or PcapngDecoder")

    def decode(self, const uint8_t[::1] data, Record[::1] rows, uint64_t start=0):
        """Decode the complete packets in `data[start:]`, as many as `rows` can hold.

        Afterwards `position` is the offset in `data` of the first byte that was not decoded, and `needed` the
        number of bytes required from there on to continue, as far as is known. `fault` is the reason if
        decoding cannot continue, else None.

        Parameters
        ----------
        data : buffer of uint8, shape (n,)
            Bytes of the file. `offset` in the rows counts from the start of this buffer.
        rows : array of RECORD_DTYPE, shape (m,)
            Array that the rows are written to.
        start : int, default 0
            Offset in `data` of the first byte to decode: at first the end of the file's header if the decoder
            was given that, afterwards `position`.

        Returns
        -------
        int
            Number of rows written.

        Raises
        ------
        RuntimeError
            Another thread is decoding with this.
        """
        if self._busy:
            raise RuntimeError("another thread is decoding with this: one at a time")
        self._busy = True
        try:
            return self._decode(
                &data[0] if data.shape[0] else NULL, data.shape[0], start,
                &rows[0] if rows.shape[0] else NULL, rows.shape[0])
        finally:
            self._busy = False

    # Pointers, because making a memoryview of memory costs more than decoding a few hundred packets.
    cdef Py_ssize_t _decode(
            self, const uint8_t* data, uint64_t size, uint64_t start, Record* rows,
            Py_ssize_t capacity) except -1:
        raise NotImplementedError

    cdef str byte_order(self):
        return "big" if self.swapped == SLIMCAP_LITTLE_ENDIAN else "little"

    cdef uint64_t count_dropped(self) except? 0:
        """Return the number of packets dropped while capturing, according to the file."""
        return 0
