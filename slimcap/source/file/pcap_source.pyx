"""`PcapSource`: a capture file, pcap or pcapng, compressed or not; the first bytes tell which."""
cimport cython
from libc.stdint cimport int64_t

from slimcap.capfile.file_reader cimport FileReader, open_reader
from slimcap.capfile.pcapng_decoder cimport PcapngDecoder
from slimcap.io.event cimport SIGNAL_END, deadline_after
from slimcap.io.watch cimport EndPolicy
from slimcap.packet.rows cimport Rows, blocks_batch
from slimcap.source.base cimport Counters, ZeroCopySource

from slimcap.errors import FileFormatError
from slimcap.option_set import parse
from slimcap.source.file.file_errors import FileErrors
from slimcap.source.file.file_options import PcapOptions


@cython.final
cdef class PcapSource(ZeroCopySource):
    """Read packets from one capture file.

    The format is detected from the content:

    - pcapng with any number of sections and interfaces,
    - classic pcap of either byte order, with microseconds or nanoseconds, also with the longer record headers
      of 1990s Linux and with the longer file header of IXIA,
    - any of these compressed with gzip, bzip2, xz, zstd or lz4. zstd and lz4 require a package
      (``pip install 'slimcap[zstd,lz4]'``); ``slimcap[gzip]`` makes gzip faster.

    A compressed file that is opened by path is decompressed by a read-ahead thread, unless it is followed.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, "-" for standard input, or an object with `readinto` or `read`; it need not be seekable.
    **options
        Those of `PcapOptions`.

    Raises
    ------
    FileFormatError
        The file header is not valid or not supported. Also from calls that read: the file is damaged, or a
        followed file was truncated to less than what was read. It is raised once all packets before the bad
        place were returned, and by every later call, with the path, the byte offset and the number of those
        packets.
    TruncatedFileError
        The file ends in its header. Also from calls that read, as above: it ends in the middle of a record.
    FilterError
        The filter is not a valid program or expression. An expression that is valid, but not for the link
        type of an interface, matches none of its packets: see `unfilterable`. Also from calls that read: a
        host name could not be resolved again, for another link type.
    OSError
        The file cannot be opened or read.
    TimeoutError
        No complete header came within `timeout`.
    ValueError
        An option is out of range, or `follow` was given for a file object.
    ImportError
        Decompression requires a package that is not installed.

    Examples
    --------
    >>> with slimcap.PcapSource("trace.pcap", snaplen=128) as source:
    ...     for packet in source:
    ...         print(packet.timestamp, packet.total_len)
    """

    def __init__(self, file, **options: Unpack[PcapOptions]):
        options = parse(PcapOptions, options)
        self._begin_opening()
        try:
            self._timeout, self._errors = options["timeout"], FileErrors(options["on_error"])
            self._reader = open_reader(
                file, options, self._event, deadline_after(self._timeout),
                EndPolicy() if options["follow"] else None)
            self._links = self._reader.decoder.links
            self._initialised = True
        finally:
            self._leave()

    cdef Rows _fill(self, int64_t deadline):
        if self._reader is None or self._over:
            return None
        try:
            return self._reader.next_rows(deadline)
        except (FileFormatError, OSError) as error:
            self._over = self._errors.skip(error)
            if not self._over:
                self._ended = isinstance(error, FileFormatError)
                raise
            return None
        finally:
            self._links = self._reader.decoder.links

    def stop(self):
        """End the source after the data that is in the file now. May be called from any thread.

        Loops then end, and reads raise EOFError. This is for followed files and FIFOs; an incomplete packet
        at the end is omitted. Any other file is read to its end.
        """
        with cython.critical_section(self._event):  # not the source, which a reader may have locked
            self._event.raise_signal(SIGNAL_END)

    cdef void _tear_down(self) noexcept:
        if self._reader is not None:
            self._reader.close()

    cdef bint _is_left_open(self) noexcept:
        return self._reader is not None and self._reader.file.fileno() >= 0

    cdef int _totals(self, Counters* totals) except -1:
        totals.received = totals.dropped = totals.freezes = 0
        if self._reader is not None:
            totals.dropped = self._reader.decoder.count_dropped()
            totals.received = self._reader.left_out + self._count_read()
        return 0

    cdef Py_ssize_t _snaplen(self) except -1:
        # Not the snaplen that the file states, since its packets may be longer.
        return self._opened().decoder.max_cap_len

    cdef FileReader _opened(self):
        if self._reader is None:
            raise ValueError("this source was never opened: use slimcap.open_file")
        return self._reader

    @property
    def name(self):
        """Name of the file as it was given; "<stdin>" for standard input."""
        return self._opened().file.name

    @property
    def snaplen(self):
        """The snaplen in bytes that the file states for its first interface; 0 or a huge number: no maximum.

        Packets may be longer nevertheless.
        """
        return self._opened().decoder.snaplen

    @property
    def version(self):
        """Version of the file format, (major, minor). In pcapng, of the section that was read last."""
        return self._opened().decoder.version_major, self._opened().decoder.version_minor

    @property
    def byte_order(self):
        """Byte order, "little" or "big". In pcapng, of the section that was read last."""
        return self._opened().decoder.byte_order()

    @property
    def resolution(self):
        """Resolution of the timestamps in nanoseconds per tick; 1 if a tick is shorter.

        In pcapng, of the interface with the finest resolution so far.
        """
        return self._opened().decoder.resolution

    @property
    def format(self):
        """Format of the file, "pcap" or "pcapng"."""
        return "pcapng" if isinstance(self._opened().decoder, PcapngDecoder) else "pcap"

    @property
    def compression(self):
        """Compression of the file, "gzip", "bzip2", "xz", "zstd" or "lz4"; None if it is not compressed."""
        return self._opened().compression()

    @property
    def interfaces(self):
        """The interfaces that the file has described so far, a tuple of InterfaceInfo."""
        return self._opened().decoder.interfaces

    @property
    def sections(self):
        """The sections read so far, a tuple of SectionInfo; at most the first 65,535."""
        return tuple(self._opened().decoder.sections)

    @property
    def errors(self):
        """The error for which the rest of the file was skipped, by `on_error`: a tuple of at most one."""
        self._opened()
        return self._errors.skipped

    @property
    def trailer(self):
        """A batch without packets, with the pcapng blocks after the last packet so far.

        A `PcapNgWriter` that was given all batches writes with it what the file has at its end: statistics,
        names, secrets and other blocks.
        """
        decoder = self._opened().decoder
        return blocks_batch(self._reader.trailer(), decoder.links, decoder.interfaces)

    @property
    def unfilterable(self):
        """Link types for which libpcap cannot compile the filter expression: a dict, link type → its reason.

        It has only link types of packets that were read. None of these packets matched.
        """
        return dict(self._opened().unfilterable())

    @property
    def blocks_left_out(self):
        """Number of blocks, other than packets, that batches do not have, and a writer cannot write.

        They must not be copied according to the format; or are in the other byte order, and their layout is
        not known; or there are more than 64 MiB of them without a packet between them, or in one block.
        """
        return self._opened().blocks_left_out + self._reader.decoder.blocks_left_out

    @property
    def options_left_out(self):
        """Number of options of sections, interfaces and statistics that were not kept, such as comments.

        A file may have any number of them: those beyond 64 MiB in all are left out.
        """
        return self._opened().decoder.options_left_out

    @property
    def progress(self):
        """Progress, (bytes read, size): in bytes of the file as stored; size is None if unknown."""
        return self._opened().file.position, self._opened().file.size

    def __repr__(self):
        state = "closed" if self.closed else f"{self.total_stats.packets_received:,} packets read"
        types = ", ".join(dict.fromkeys(link.type_name for link in self._links)) or "no interface"
        return f"<PcapSource {self._opened().file.name!r}: {types}, {state}>"
