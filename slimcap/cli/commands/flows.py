"""`slimcap flows`: print the flow records of capture files."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from slimcap.cli.arguments import number
from slimcap.cli.packets.conditions import FILTER_DETAILS
from slimcap.cli.packets.inputs import (
    add_reading,
    expanded,
    merged_batches,
    noting,
    open_merged,
    report_failures,
)
from slimcap.cli.packets.select import Choice, add_choice
from slimcap.cli.render.flow_lines import json_lines, text_lines
from slimcap.cli.terminal.live_line import wanted
from slimcap.cli.terminal.streams import reason, write
from slimcap.flow.flow_batch import FlowBatch
from slimcap.flow.flow_options import MAX_FLOWS, MAX_SECONDS, MIN_SECONDS, FlowOptions
from slimcap.option_set import options_of
from slimcap.sink.flow_stream import flows

SUMMARY: Final = "print the flow records of capture files"
DETAILS: Final = f"""\
columns of a line, in order of the ends of the records:
  time            of the first packet, UTC
  duration        from the first to the last packet
  flow            initiator:port => other side:port (protocol number);
                  the port is 0 if there is none
  packets         sent by the initiator + sent by the other side
  bytes           on the wire, link-layer headers included, in the same way
  vlan            VLAN ID of the outermost tag, if there is one
  end             IDLE or ACTIVE (timeout), END_OF_FLOW (TCP), WINDOW,
                  FORCED (end of the capture), LACK_OF_RESOURCES (--max-flows)

With --json, each record is an object with the columns of slimcap.FlowBatch:
first and last (ISO 8601), first_ns and last_ns (since 1970), flow_id, src, dst,
and so on. All records of a flow have the same flow_id.

Several files are merged in order of time; a folder stands for the files in it.
Packets without an IP header belong to no flow.

{FILTER_DETAILS}"""

_RANKS: Final = {"bytes": ("src_bytes", "dst_bytes"), "packets": ("src_packets", "dst_packets")}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `slimcap flows`."""
    add = command.add_argument
    add("files", nargs="+", metavar="FILE", help="capture file; - is standard input")
    add_choice(command, "read")
    add_reading(command)
    add("--json", action="store_true", help="print a JSON object per line")
    add("--top", type=number(int, 1), metavar="N", help="print only the N largest records, the largest first")
    add("--by", choices=tuple(_RANKS), default="bytes", help="what makes a record large (default: bytes)")
    declared = options_of(FlowOptions)
    for name, metavar, help in (
        ("idle_timeout", "SECONDS", "end a flow after as long without a packet"),
        ("active_timeout", "SECONDS", "end a record after as long, and continue in another"),
        ("window", "SECONDS", "end all records at multiples of as long since 1970 (UTC)"),
        ("max_flows", "N", "maximum number of flows at a time"),
    ):
        default = declared[name].default
        kind = number(int, 1, MAX_FLOWS) if name == "max_flows" else number(float, MIN_SECONDS, MAX_SECONDS)
        shown = "" if default is None else f" (default: {f'{default:,}'.removesuffix('.0')})"
        add(f"--{name.replace('_', '-')}", type=kind, default=default, metavar=metavar, help=help + shown)


def run(args: argparse.Namespace) -> int:
    """Print the records; return 1 if one of the files was bad."""
    failures: list[str] = []
    skipped: list[str] = []
    choice = Choice(args.after, args.before, args.count)
    files = list(expanded(args.files))
    with noting("flows", failures), open_merged("flows", files, args) as source:
        bar = wanted(lines=args.top is None)
        batches = choice.take(merged_batches(source, "flows", len(files), failures, bar=bar))
        ended: Iterable[FlowBatch] = flows(
            batches,
            idle_timeout=args.idle_timeout,
            active_timeout=args.active_timeout,
            window=args.window,
            max_flows=args.max_flows,
        )
        if args.top is not None:
            ended = _largest(ended, args.top, args.by)
        for records in ended:
            write("\n".join([*(json_lines if args.json else text_lines)(records), ""]))
        skipped += map(reason, source.errors)
    return report_failures(skipped, args.on_error) or report_failures(failures)


def _largest(ended: Iterable[FlowBatch], count: int, by: str) -> Iterator[FlowBatch]:
    """Yield the largest records, in one batch; of equal ones those that ended first. Keeps no others."""
    kept = FlowBatch.concat(())
    for records in ended:
        kept = FlowBatch.concat((kept, records))
        sizes = kept[_RANKS[by][0]] + kept[_RANKS[by][1]]
        kept = kept[np.argsort(-sizes.astype(np.int64), kind="stable")[:count]]
    if len(kept):
        yield kept
