"""`slimcap flows`: print the flow records of capture files or of an interface, or write them to tables."""

from __future__ import annotations

import argparse
import os
from typing import Final

from slimcap.cli.arguments import duration
from slimcap.cli.packets.conditions import FILTER_DETAILS
from slimcap.cli.packets.flow_output import add_flow_options, check_flow_options, emit, stream_of
from slimcap.cli.packets.inputs import (
    add_reading,
    expanded,
    merged_batches,
    noting,
    open_merged,
    report_failures,
)
from slimcap.cli.packets.live_flows import capture_flows, check_live_options
from slimcap.cli.packets.live_input import add_exclude, add_live_options
from slimcap.cli.packets.live_metrics import FLOW_METRICS_DETAILS, METRICS_DETAILS, add_metrics
from slimcap.cli.packets.select import Choice, add_choice
from slimcap.cli.terminal.live_line import wanted
from slimcap.cli.terminal.streams import complain, printable, reason, writing

SUMMARY: Final = "print or write the flow records of capture files or of an interface"
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
and so on. All records of a flow have the same flow_id, which is hexadecimal.
--features, --splt and --first-bytes add columns, which lines of text do not
show; a time that a direction does not have is null, and bytes are hexadecimal
text.

Several files are merged in order of time; a folder stands for the files in it.
Packets without an IP header belong to no flow. With --inner, which then
requires no condition, flows are those in tunnels.

With --to, the columns are those of slimcap.FlowBatch; --columns selects some.
FILE is replaced; after Ctrl-C it has the records so far. With --window, FILE
may be a template, {{time:%Y%m%d-%H%M%S}}.parquet: there is one file for each
window. {{time}} is the start of the window (UTC), {{index}} its number, from 0. A
record belongs to the window that its last packet is in, or if that file is
complete already, to the current one. A file of a window that exists is an
error; with {{index}} its number is skipped. --to requires pyarrow:
pip install 'slimcap[parquet]'

With --live, FILE is the name of a network interface, see `slimcap links`, and
the flows are those of the packets from now on:
  slimcap flows --live eth0 --window 5m --to 'flows/{{time:%Y%m%d-%H%M}}.parquet'
Records are printed as they end, and the file of a window is complete at most
two seconds after its end. While the disk is slow, 256 MiB of records may wait;
then packets wait in the --buffer, and at last the kernel drops them. Ctrl-C or
SIGTERM ends all flows, and the capture with exit code 0; a second one kills the
process. SIGUSR1 prints the counts so far. Standard error shows drops, packets,
flows and records meanwhile, and at the end counts, as in `slimcap capture`.

{METRICS_DETAILS}{FLOW_METRICS_DETAILS}
A DURATION is in seconds, or has a unit: s, m, h or d.

{FILTER_DETAILS}"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `slimcap flows`."""
    help = "capture file; - is standard input; with --live, an interface or a pattern"
    command.add_argument("files", nargs="+", metavar="FILE", help=help)
    add_choice(command, "read")
    add_reading(command)
    add_flow_options(command)
    live = command.add_argument_group("live capture")
    live.add_argument("--live", action="store_true", help="capture from network interfaces, which FILE names")
    limit = duration(0.001, 10**9)
    live.add_argument("--duration", type=limit, metavar="DURATION", help="end the capture after as long")
    add_metrics(live)
    add_live_options(live)
    add_exclude(live)


def run(args: argparse.Namespace) -> int:
    """Write the records; return 1 if one of the files was bad, or capturing failed."""
    check_live_options(args)
    for file in args.files:
        if not args.live and not os.path.exists(file) and os.path.exists(f"/sys/class/net/{file}"):
            args.error(f"{printable(file)} is a network interface: capture from it with --live")
    files = [] if args.live else list(expanded(args.files))
    try:
        check_flow_options(args, files)
    except ImportError as error:
        complain(str(error))
        return 1
    return capture_flows(args) if args.live else _read_flows(args, files)


def _read_flows(args: argparse.Namespace, files: list[str]) -> int:
    failures: list[str] = []
    skipped: list[str] = []
    choice = Choice(args.after, args.before, args.count)
    with noting("flows", failures), open_merged("flows", files, args, inner_columns=True) as source:
        bar = wanted(lines=not args.to and args.top is None)
        batches = choice.take(merged_batches(source, "flows", len(files), failures, bar=bar))
        with writing():
            emit(stream_of(batches, args), args)
        skipped += map(reason, source.errors)
    return report_failures(skipped, args.on_error) or report_failures(failures)
