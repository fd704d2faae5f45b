"""Options of capture file writers."""

from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from slimcap.filter.program import MAX_SNAPLEN
from slimcap.option_set import Option, between
from slimcap.packet.interface import SectionInfo

if TYPE_CHECKING:
    from slimcap.io.compression.encoders import Compression

ALL_BYTES = (1 << 31) - 1
"""The maximum snaplen, which truncates nothing."""


class WriteOptions(TypedDict, total=False):
    """Options of all writers."""

    snaplen: Annotated[
        int,
        Option(
            MAX_SNAPLEN,
            "Maximum number of bytes to write of a packet; longer ones are truncated. Many programs do not "
            "read packets of more than 262144 bytes.",
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


class PcapWriterOptions(WriteOptions, total=False):
    """Options of `PcapWriter`."""

    atomic: Annotated[
        bool,
        Option(
            False,
            "Write to a temporary file in the same directory, and rename it on `close()`. So the file is "
            "either complete or does not exist, and an older one is replaced only by a complete one. After "
            "an exception in the `with` block, after `discard()` or a failed `close()`, the temporary file "
            "is removed.",
        ),
    ]


class SectionOptions(TypedDict, total=False):
    """Description of a pcapng file."""

    comment: Annotated[str | None, Option(None, "Comment on the file. Default: that of `section`.")]
    hardware: Annotated[str | None, Option(None, "Hardware of the host. Default: that of `section`.")]
    os: Annotated[str | None, Option(None, "Operating system of the host. Default: that of `section`.")]
    application: Annotated[
        str | None,
        Option(
            None,
            'Application that wrote the file; "" stores none. Default: that of `section`, else slimcap and '
            "its version.",
        ),
    ]
    section: Annotated[
        SectionInfo | None,
        Option(
            None,
            "A section that was read from a file, for all its options; the texts above replace its own. "
            "Default: none.",
        ),
    ]


class PcapNgWriterOptions(PcapWriterOptions, SectionOptions, total=False):
    """Options of `PcapNgWriter`."""
