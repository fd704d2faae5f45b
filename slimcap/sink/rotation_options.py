"""Options of capture files that are split."""

import os
from collections.abc import Callable, Sequence
from typing import Annotated, TypedDict

from slimcap.capfile.write_options import SectionOptions, WriteOptions
from slimcap.capfile.writer import Writer
from slimcap.errors import integer, wrong_type
from slimcap.option_set import Option, between
from slimcap.sink.open_writer import Format


def _positive(name: str, value: int) -> int:
    found = integer(name, value)
    if found < 1:
        raise ValueError(f"{name} must be at least 1, not {found}")
    return found


def _paths(name: str, value: Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise wrong_type(name, "a sequence of str", value)
    return tuple(map(os.fspath, value))


class RotationOptions(TypedDict, total=False):
    """When a file ends, and what happens to it then."""

    max_bytes: Annotated[
        int | None,
        Option(
            None,
            "Maximum size of a file in bytes, before compression. A packet that is larger gets a file of its "
            "own. Default: no maximum.",
            _positive,
        ),
    ]
    max_seconds: Annotated[
        int | None,
        Option(
            None,
            "Length of a file's interval in seconds. Intervals are counted from the Unix epoch. A packet "
            "that is older than the interval of the current file does not end it. Default: no limit.",
            _positive,
        ),
    ]
    max_packets: Annotated[
        int | None, Option(None, "Maximum number of packets in a file. Default: no maximum.", _positive)
    ]
    max_files: Annotated[
        int | None,
        Option(None, "Maximum number of new files to keep: the oldest is removed. Default: all.", _positive),
    ]
    overwrite: Annotated[
        bool,
        Option(False, "Replace files that exist; False: raise FileExistsError, but see `skip_existing`."),
    ]
    on_file: Annotated[
        Callable[[str], object] | None,
        Option(None, "Called with the path of each complete file. Default: no callback.", kind="callable"),
    ]


class RotatingOptions(RotationOptions, WriteOptions, SectionOptions, total=False):
    """Options of `RotatingWriter`."""

    format: Annotated[
        Format | None,
        Option(None, "Default: from the suffix. pcap does not have the options from `comment` to `section`."),
    ]
    link_type: Annotated[int, Option(1, "LINKTYPE_ number, as for `open_writer`.", between(0, 0xFFFF))]
    skip_existing: Annotated[
        bool,
        Option(
            True,
            "Skip the numbers of files that exist, if the template has {index} and `overwrite` is False: a "
            "capture that is started again continues them. False: raise FileExistsError.",
        ),
    ]
    number_existing: Annotated[
        bool,
        Option(
            False,
            "Instead of raising FileExistsError, insert -1, -2, … before the suffixes of a name that exists: "
            "two files of a template with {time} may begin in the same second.",
        ),
    ]
    reserved: Annotated[
        tuple[str, ...],
        Option((), "Paths that no file gets, as if they existed.", _paths, kind="sequence of str"),
    ]
    background: Annotated[
        bool,
        Option(
            False,
            "Complete files on a separate thread, because writing a file to its device takes time, in which "
            "a ring may overflow. Errors are raised, and `on_file` is called, by later calls of the writer.",
        ),
    ]
    first_index: Annotated[
        int, Option(0, "{index} of the first file, from 0 to 2^63 - 1.", between(0, (1 << 63) - 1))
    ]
    on_begin: Annotated[
        Callable[[str, Writer], object] | None,
        Option(
            None,
            "Called with the path that a new file will have, and its writer, before the first packet. "
            "Default: no callback.",
            kind="callable",
        ),
    ]
    on_end: Annotated[
        Callable[[Writer], object] | None,
        Option(
            None,
            "Called with the writer of each file after its last packet, for instance to write statistics. "
            "Default: no callback.",
            kind="callable",
        ),
    ]
