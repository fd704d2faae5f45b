"""Options of a recording, a capture in several files: declaring and checking them."""

from __future__ import annotations

import argparse
import re
from typing import Final

from slimcap.cli.arguments import number, size
from slimcap.cli.packets.capture_output import add_split, is_split
from slimcap.cli.recording.post_rotate import AT_ONCE, PATIENCE, PostRotate

RECORDING_DETAILS: Final = f"""\
With {{index}} or {{time}} in FILE, or one of --split-..., the capture is a
recording in several files, with the templates of `slimcap convert`:
  slimcap capture eth0 -w '/var/cap/{{time:%Y%m%d-%H%M%S}}.pcapng.zst' \\
    --split-seconds 300 --split-bytes 1G --keep 500G
A file has a temporary name until it is complete, also that of an interval of
--split-seconds in which no more packets come. SIGHUP completes the current
file; the next packet starts a new one. If a name exists, -1, -2, ... is
inserted. Each pcapng file ends with the counters of each interface since the
file before.

--keep and --files remove the oldest files of all recordings with the same
template in this folder. Those are listed in a hidden file there,
.slimcap-recording-..., with their inodes: files that are not listed, or were
replaced since, are never removed. Do not delete it. The current file counts,
but is not removed. Only one process can record with a template at a time.

The CMD of --post-rotate has no shell, and runs in the background, for at most
{AT_ONCE} files at a time. Its first failure is reported. At the end, it is waited
for, up to {PATIENCE:g} seconds.

A temporary file that a crash left is completed by the next recording with the
same template: the last packet is cut off if it is incomplete, and standard
error names the file. If writing fails, as when the disk is full, the capture
ends with exit code 1, and the current file is completed in the same way. If it
is compressed, that requires space, so the next recording does it.
"""

_FIELD: Final = re.compile(r"\{(index|time)\b")
_ONLY_RECORDING: Final = ("keep", "files", "post_rotate")


def add_recording(command: argparse.ArgumentParser) -> None:
    """Add the options of a recording."""
    add_split(command)
    add = command.add_argument_group("recording in several files").add_argument
    add("--keep", type=size, metavar="SIZE", help="remove the oldest files to keep the total below SIZE")
    add("--files", type=number(int, 2), metavar="N", help="remove the oldest files to keep at most N")
    add("--post-rotate", metavar="CMD", help="run CMD with the path of each complete file")


def is_recording(args: argparse.Namespace) -> bool:
    """Return True if the packets go to several files; end the command if options do not go together."""
    has_field = args.file is not None and _FIELD.search(args.file) is not None
    given = [name for name in _ONLY_RECORDING if getattr(args, name) is not None]
    recording = has_field or is_split(args)
    if (recording or given) and args.file in (None, "-"):
        args.error("a recording in several files requires -w and a path")
    if given and not recording:
        args.error(
            f"--{given[0].replace('_', '-')} requires several files: give --split-..., or {{time}} in FILE"
        )
    if args.keep is not None and not (args.split_bytes or args.split_seconds or args.split_packets):
        args.error("--keep requires --split-bytes, --split-seconds or --split-packets")
    if args.post_rotate is not None:
        try:
            PostRotate(args.post_rotate)
        except ValueError as error:
            args.error(f"--post-rotate: {error}")
    return recording
