"""Options of capture file writers."""

from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from slimcap.errors import integer
from slimcap.filter.program import MAX_SNAPLEN
from slimcap.option_set import Option, between, instance_of
from slimcap.packet.interface import SectionInfo

if TYPE_CHECKING:
    from slimcap.io.compression.encoders import Compression

ALL_BYTES = (1 << 31) - 1
"""The maximum snaplen, which truncates nothing."""

_TEXT = instance_of(str)


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
            'Compression format. "infer" chooses it by the path\'s extension: .gz, .zst, .xz, .lz4, .bz2, '
            "else none.",
            kind='{"infer", "gzip", "zstd", "xz", "lz4", "bzip2"} or None',
        ),
    ]
    level: Annotated[
        int | None,
        Option(None, "Compression level. Default: that of the command-line tool of that name.", integer),
    ]


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

    comment: Annotated[
        str | None, Option(None, "Comment on the file. Default: that of `section`, else none.", _TEXT)
    ]
    hardware: Annotated[
        str | None,
        Option(None, "Hardware of the capturing host. Default: that of `section`, else none.", _TEXT),
    ]
    os: Annotated[
        str | None,
        Option(None, "Operating system of the capturing host. Default: that of `section`, else none.", _TEXT),
    ]
    application: Annotated[
        str | None,
        Option(
            None,
            'Application that wrote the file; "" stores none. Default: that of `section`, else slimcap and '
            "its version.",
            _TEXT,
        ),
    ]
    section: Annotated[
        SectionInfo | None,
        Option(
            None,
            "A section that was read from a file, for all its options; the texts above replace its own. "
            "Default: only the texts above.",
            instance_of(SectionInfo),
            kind="SectionInfo",
        ),
    ]


class PcapNgWriterOptions(PcapWriterOptions, SectionOptions, total=False):
    """Options of `PcapNgWriter`."""
