"""Options of sources that read capture files."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from slimcap.option_set import Option, between

if TYPE_CHECKING:
    from slimcap.filter import Filter, HeaderFilter, Machine
    from slimcap.filter.where_options import WhereOptions


def _header_filter(name: str, where: Any) -> "HeaderFilter":
    from slimcap.filter.header_filter import header_filter  # only here: compiled, and read by the build

    return header_filter(name, where)


class FilesOptions(TypedDict, total=False):
    """Options of all sources that read files."""

    snaplen: Annotated[
        int | None,
        Option(
            None,
            "Maximum number of bytes to read of a packet. Default: all that were captured.",
            between(1, (1 << 32) - 1),
        ),
    ]
    filter: Annotated[
        "Filter | Machine | None",
        Option(
            None,
            "A tcpdump expression, a classic BPF program, or a set of addresses from `slimcap.filter.hosts`. "
            "Packets that do not match are read, and counted in `stats().packets_received`, but not "
            "returned. The filter sees at most `snaplen` bytes of a packet. For a link type for which the "
            "expression cannot be compiled, no packet matches. Default: all packets match.",
            kind="str, HostSet, Machine or sequence of (code, jt, jf, k)",
        ),
    ]
    where: Annotated[
        "WhereOptions | HeaderFilter | None",
        Option(
            None,
            "Conditions on the headers of a packet, as options of `slimcap.filter.HeaderFilter`, such as "
            '``{"host": "192.0.2.1", "port": 443}``. They hold in addition to `filter`, and see headers '
            "after VLAN tags, MPLS labels and PPPoE headers, and in tunnels. Default: all packets match.",
            _header_filter,
            "mapping or HeaderFilter",
        ),
    ]
    concatenated: Annotated[
        bool,
        Option(
            False,
            "Read on where another pcap file begins, as in files that were joined by cat. Its packets have "
            "another interface unless its header is the same. False: that is an error.",
        ),
    ]
    block_size: Annotated[
        int,
        Option(
            1 << 19,
            "Number of bytes to read at a time, from 64 bytes to 1 GiB. A batch is not larger, except for a "
            "single larger packet. The default is the fastest on most CPUs.",
            between(64, 1 << 30),
        ),
    ]
    timeout: Annotated[
        float | None,
        Option(
            None,
            "Maximum time in seconds that a read waits for a FIFO, a terminal, standard input or a followed "
            "file. Default: no maximum.",
        ),
    ]
    on_error: Annotated[
        Literal["raise", "skip", "warn"],
        Option(
            "raise",
            "What to do about a file that is damaged or cannot be opened, once the packets before the damage "
            'were returned: "raise" the error, "skip" the rest of the file, or skip it and "warn" with a '
            "RuntimeWarning. The source's `errors` are those of the files that were skipped. Timeouts and "
            "other errors that are not due to the file are always raised, and so is an error of `open_file`.",
        ),
    ]


class SeveralOptions(FilesOptions, total=False):
    """Options of sources that read several files."""

    file_names: Annotated[
        bool,
        Option(
            False,
            "Keep the interfaces of different files apart, so that the column `file_name` of tables tells "
            "the file of each packet. Otherwise interfaces that several files describe alike are one.",
        ),
    ]


class PcapOptions(FilesOptions, total=False):
    """Options of `PcapSource`."""

    follow: Annotated[
        bool,
        Option(
            False,
            "At the end of the file wait for more data, also for a missing header. The source ends after "
            "`stop()`, or when the file was removed and has been read to its end. A FIFO continues with its "
            "next writer, which requires permission to write to it.",
        ),
    ]
    name: Annotated[
        str | None,
        Option(
            None,
            "Name of a file object, for its interface and in errors. Default: its attribute `name`, or its "
            "type. A path is the name itself.",
        ),
    ]
