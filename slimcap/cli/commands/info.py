"""`slimcap info`: describe capture files and their contents."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any, Final

import numpy as np

from slimcap.cli.packets.conditions import FILTER_DETAILS, add_conditions, selection
from slimcap.cli.packets.inputs import add_reading, batches_of, expanded, noting, open_input, report_failures
from slimcap.cli.render.report_text import info_text, json_text
from slimcap.cli.render.summary import Totals, iso
from slimcap.cli.terminal.live_line import wanted
from slimcap.cli.terminal.streams import write
from slimcap.packet.interface import InterfaceInfo, SectionInfo

SUMMARY: Final = "describe capture files and their contents"
DETAILS: Final = f"""\
Each file is read to its end; a folder stands for the files in it. With --json,
each is one object. A value is null if a file of this format cannot contain it,
or if it is undefined, as a rate without packets.

  bytes             bytes on the wire, link-layer headers included
  first, last       times of the earliest and the latest packet
  times_out_of_range
                    number of times before 1677-09-21 or after 2262-04-11, which
                    do not count for first and last
  in_time_order     true if no packet is earlier than the one before it
  dropped           packets lost while capturing, according to the packets and
                    statistics of a pcapng file
  comments          number of packets with a comment
  sections          sections of a pcapng file, with the program that wrote them
  interfaces        interfaces, with packet counts and metadata;
                    ticks_per_second is the resolution of the timestamps
  error             error in the file; other values cover what precedes it

With --filter or a condition, packets, bytes and what is computed from them
cover the packets that match.

{FILTER_DETAILS}"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `slimcap info`."""
    command.add_argument("files", nargs="+", metavar="FILE", help="capture file; - is standard input")
    command.add_argument("--json", action="store_true", help="print a JSON object per file, one per line")
    add_reading(command)
    command.add_argument("--hash", action="store_true", help="compute the SHA-256 of each file as stored")
    add_conditions(command)


def run(args: argparse.Namespace) -> int:
    """Describe the files; return 1 if one of them was bad."""
    code = 0
    for number, file in enumerate(expanded(args.files)):
        failures: list[str] = []
        options = {"concatenated": args.concatenated, **selection(args)}
        report = _report(file, failures, options, with_hash=args.hash)
        if args.json:
            write(json_text(report))
        elif report["format"]:
            write(("\n" if number else "") + info_text(report))
        code |= report_failures(failures, args.on_error)
    return code


def _report(file: str, failures: list[str], options: dict[str, Any], *, with_hash: bool) -> dict[str, Any]:
    """Return the report on a file, read with these options, as shown by `--json`.

    Errors are appended to `failures`.
    """
    totals, comments, packets = Totals(), 0, Counter[int]()
    about: dict[str, Any] = dict.fromkeys(("format", "compression", "file_size", "sha256"))
    sections: tuple[SectionInfo, ...] = ()
    infos: tuple[InterfaceInfo, ...] = ()
    dropped = 0
    with noting(file, failures), open_input(file, **options) as source:
        try:
            for batch in batches_of(source, bar=wanted(lines=False)):
                totals.add(batch)
                comments += len(batch.comments)
                packets.update(dict(enumerate(np.bincount(batch["interface"]).tolist())))
        finally:
            about |= {"format": source.format, "compression": source.compression}
            about["file_size"] = source.progress[1]
            sections, infos = source.sections, source.interfaces
            dropped = source.total_stats.packets_dropped
    if with_hash and about["format"] and file != "-":  # standard input cannot be read again
        import hashlib  # takes longer to import than any other module that the command needs

        with noting(file, failures), open(file, "rb") as raw:
            about["sha256"] = hashlib.file_digest(raw, "sha256").hexdigest()
    interfaces = [_interface(info, packets[number]) for number, info in enumerate(infos)]
    return {
        "file": file,
        **about,
        "link_types": list(dict.fromkeys(one["link_type"] for one in interfaces)),
        "packets": totals.packets,
        "bytes": totals.bytes,
        "captured_bytes": totals.captured,
        "average_size": totals.bytes / totals.packets if totals.packets else None,
        **totals.span(),
        "in_time_order": totals.in_order,
        "truncated": totals.truncated,
        "dropped": dropped,
        "comments": comments,
        "sections": [_section(one) for one in sections],
        "interfaces": interfaces,
        "error": "; ".join(failures) or None,
    }


def _section(info: SectionInfo) -> dict[str, Any]:
    values = info._asdict() | {"version": ".".join(map(str, info.version))}
    del values["options"]
    return values


def _interface(info: InterfaceInfo, packets: int) -> dict[str, Any]:
    values = info._asdict()
    link = values.pop("link")
    del values["options"], values["file_name"]
    return {
        "name": link.name,
        "description": link.description,
        "link_type": link.type_name,
        "link_type_number": link.type,
        "packets": packets,
        **values,
        "start": iso(info.start),
        "start_ns": info.start,
        "end": iso(info.end),
        "end_ns": info.end,
    }
