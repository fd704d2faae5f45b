"""Options of sources that read capture files."""

from typing import TYPE_CHECKING, Annotated, TypedDict

from slimcap.option_set import Option, between

if TYPE_CHECKING:
    from slimcap.filter import Filter, Machine


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
            "A tcpdump expression or a classic BPF program. Packets that do not match are read, and counted "
            "in `stats().packets_received`, but not returned. The filter sees at most `snaplen` bytes of a "
            "packet. Default: all packets match.",
            kind="str, Machine or sequence of (code, jt, jf, k)",
        ),
    ]
    block_size: Annotated[
        int,
        Option(
            1 << 20,
            "Number of bytes to read at a time, from 64 bytes to 1 GiB. A batch is not larger, except for a "
            "single larger packet.",
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
