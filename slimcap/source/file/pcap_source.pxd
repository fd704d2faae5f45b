from slimcap.capfile.file_reader cimport FileReader
from slimcap.source.base cimport ZeroCopySource

cdef class PcapSource(ZeroCopySource):
    cdef FileReader _reader     # None: never opened
    cdef object _errors         # FileErrors
    cdef bint _over             # the rest of the file is skipped
    cdef FileReader _opened(self)
