"""Options of capture file writers."""

from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from slimcap.errors import in_range
from slimcap.filter.program import MAX_SNAPLEN
from slimcap.option_set import Option, between
from slimcap.packet.interface import SectionInfo

if TYPE_CHECKING:
    from slimcap.io.compression.encoders import Compression

ALL_BYTES = (1 << 31) - 1  # the maximum snaplen, which truncates nothing


def _even(name: str, value: int | None) -> int | None:
    if value is not None and in_range(name, value, 0, 30) % 2:
        raise ValueError(f"{name} must be an even number, not {value}")
    return value


class WriteOptions(TypedDict, total=False):
    """Options of all writers."""

    snaplen: Annotated[
        int,
        Option(
            MAX_SNAPLEN,
            "Maximum number of bytes to write of a packet. Many programs do not read more than 262144.",
            between(1, ALL_BYTES),
        ),
    ]
    compression: Annotated[
        "Compression | Literal['infer'] | None",
        Option(
            "infer",
            'Compression format. "infer": by the extension of the path: .gz, .zst, .xz, .lz4, .bz2, or none.',
            kind='{"infer", "gzip", "zstd", "xz", "lz4", "bzip2"} or None',
        ),
    ]
    level: Annotated[int | None, Option(None, "Compression level. Default: that of the tool of that name.")]
    fcs_len: Annotated[
        int | None,
        Option(
            None,
            "Length in bytes of the frame check sequence at the end of all packets, an even number up to 30. "
            "In pcapng it is that of interfaces that were not read from a file. Default: not stored.",
            _even,
        ),
    ]
    keep_partial: Annotated[
        bool,
        Option(
            False,
            "An atomic writer that is discarded, or fails, leaves its temporary file, unless that is "
            "empty. It has all packets that were written.",
        ),
    ]


class PcapWriterOptions(WriteOptions, total=False):
    """Options of `PcapWriter`."""

    atomic: Annotated[
        bool,
        Option(
            False,
            "Write to a temporary file in the same directory, which `close()` renames: an older file is "
            "replaced only by a complete one. After an exception in the `with` block, after `discard()` or a "
            "failed `close()`, the temporary file is removed.",
        ),
    ]


class SectionOptions(TypedDict, total=False):
    """Description of a pcapng file."""

    comment: Annotated[str | None, Option(None, "Comment on the file. Default: that of `section`.")]
    hardware: Annotated[str | None, Option(None, "Hardware of the host. Default: that of `section`.")]
    os: Annotated[str | None, Option(None, "Operating system of the host. Default: that of `section`.")]
    application: Annotated[
        str | None,
        Option(None, 'Application; "" for none. Default: that of `section`, else slimcap and its version.'),
    ]
    section: Annotated[
        SectionInfo | None,
        Option(None, "A section that was read from a file, for its texts and other options. Default: none."),
    ]


class PcapNgWriterOptions(PcapWriterOptions, SectionOptions, total=False):
    """Options of `PcapNgWriter`."""


class InterfaceOptions(TypedDict, total=False):
    """Description of an interface of a pcapng file."""

    snaplen: Annotated[
        int | None,
        Option(
            None,
            "Maximum number of bytes captured of a packet, 0 for all. It is only stored: longer packets are "
            "accepted. Default: the writer's `snaplen`.",
            between(0, (1 << 32) - 1),
        ),
    ]
    comment: Annotated[str | None, Option(None, "Comment on the interface. Default: none.")]
    filter: Annotated[str | None, Option(None, "Capture filter. Default: not stored.")]
    hardware: Annotated[str | None, Option(None, "Hardware of the host. Default: not stored.")]
    os: Annotated[str | None, Option(None, "Operating system of the host. Default: not stored.")]


_UNSIGNED = between(0, (1 << 64) - 1)
_TIME = "in nanoseconds since the Unix epoch. Default: "


class StatisticsOptions(TypedDict, total=False):
    """Packet counters of an interface, and their times."""

    received: Annotated[int | None, Option(None, "Packets received. Default: not stored.", _UNSIGNED)]
    dropped: Annotated[
        int | None,
        Option(None, "Packets dropped, as in `Stats.packets_dropped`. Default: not stored.", _UNSIGNED),
    ]
    interface_dropped: Annotated[
        int | None, Option(None, "Packets that the interface dropped. Default: not stored.", _UNSIGNED)
    ]
    filter_accepted: Annotated[
        int | None, Option(None, "Packets that the filter accepted. Default: not stored.", _UNSIGNED)
    ]
    start: Annotated[int | None, Option(None, f"Start of the capture, {_TIME}not stored.", _UNSIGNED)]
    end: Annotated[int | None, Option(None, f"End of the capture, {_TIME}not stored.", _UNSIGNED)]
    at: Annotated[
        int | None, Option(None, f"Time of the counters, {_TIME}`end` if given, else now.", _UNSIGNED)
    ]
