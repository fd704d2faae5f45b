"""`slimcap read`: show capture files as lines or a summary, or write them to a table file."""

from __future__ import annotations

import argparse
import textwrap
from contextlib import ExitStack
from typing import Final

from slimcap.cli.arguments import add_count
from slimcap.cli.packets.conditions import FILTER_DETAILS, add_conditions, selection, tunnel_ports
from slimcap.cli.packets.inputs import (
    add_reading,
    batches_of,
    expanded,
    noting,
    open_input,
    report_failures,
)
from slimcap.cli.packets.packet_sink import PacketSink, TableSink
from slimcap.cli.packets.select import Choice, add_times
from slimcap.cli.packets.table_options import add_table_options, check_table_options, column_names
from slimcap.cli.render.lines import Lines, json_lines, text_lines
from slimcap.cli.render.summary import Summary
from slimcap.cli.terminal.live_line import wanted
from slimcap.cli.terminal.streams import complain
from slimcap.packet.headers.columns import HEADER_COLUMNS

SUMMARY: Final = "print the packets of capture files, or write them to a table"
DETAILS: Final = f"""\
columns of a line:
  time            UTC, with as many digits as the file has, 6 to 9;
                  "time out of range" before 1677-09-21 and after 2262-04-11
  type            In, Out, B (broadcast), M (multicast), P (to another host),
                  - (unknown)
  lengths         captured bytes / bytes on the wire
  IP layer        source:port => destination:port (protocol number);
                  the port is 0 if there is none
  vlan            VLAN ID of the outermost tag, if there is one
  on              name of the interface, if the file has several

With --json, each packet is an object with timestamp (ISO 8601), timestamp_ns
(since 1970), interface (name, or path of the file), type, cap_len, total_len,
vlan, ip_offset (offset of the IP header in the packet), ip_version, protocol
(number), src, dst, src_port and dst_port. A value is null if the packet does
not have it, or was truncated before it.

With --summary, sizes are bytes on the wire, link-layer headers included. With
--json, the summary is one object; a value is null if it is undefined, as a
rate without packets. Ctrl-C prints the summary of the packets read so far.

With --to, the columns are timestamp, total_len, cap_len, interface,
interface_name, vlan_tci, vlan_tpid, ip_offset, pkt_type, flags and payload,
and file_name first if there are several files. CSV contains the payload, as
hexadecimal text, only if --columns names it. --columns also accepts file_name,
{textwrap.fill(", ".join(("offset", *HEADER_COLUMNS)), 77)}.
Addresses are text, and null (in CSV empty) for packets without; binary ones are
smaller. With --inner, which then requires no condition, header columns describe
the packets in tunnels. --to requires pyarrow: pip install 'slimcap[parquet]'

A FILE may be a folder, which stands for the files in it, or a quoted pattern.

A TIME is in ISO 8601, as 2024-03-01T12:00:00.000000001 (UTC) or
2024-03-01 13:00:00+01:00, or in seconds since 1970.

{FILTER_DETAILS}
An error in a file does not stop the next one from being read; the packets
before the error are printed or written. Long files get a progress bar if
standard error is a terminal and rich is installed (pip install 'slimcap[cli]'),
unless lines go to a terminal or a pipe.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `slimcap read`."""
    add = command.add_argument
    add("files", nargs="+", metavar="FILE", help="capture file; - is standard input")
    add_conditions(command)
    add_times(command)
    add_count(command, "read")
    add_reading(command)
    add("--summary", action="store_true", help="print totals, sizes and protocols instead")
    add("--json", action="store_true", help="print a JSON object per line")
    add_table_options(command)


def run(args: argparse.Namespace) -> int:
    """Read the files one after the other; return 1 if one was bad, or a required package is missing."""
    if args.to and (args.summary or args.json):
        args.error("--to cannot be combined with --summary or --json")
    args.files = list(expanded(args.files))
    check_table_options(args, args.files)
    try:
        sink = _sink(args)
    except ValueError as error:
        args.error(f"--to {args.to}: {error}")
    except ImportError as error:
        complain(str(error))
        return 1
    failures: list[str] = []
    with ExitStack() as stack:
        stack.callback(report_failures, failures, args.on_error)
        try:
            _read(args, sink, failures)
        except BaseException:
            sink.abandon()  # a summary covers what was read so far; a table is discarded
            raise
        sink.close()
    return 1 if failures and args.on_error == "raise" else 0


def _sink(args: argparse.Namespace) -> PacketSink:
    if args.summary:
        return Summary(as_json=args.json)
    if args.to:
        return TableSink(
            args.to,
            column_names(args),
            files=len(args.files),
            inner=args.inner,
            tunnel_ports=tunnel_ports(args),
            addresses=args.addresses or "text",
        )
    return Lines(json_lines if args.json else text_lines)


def _read(args: argparse.Namespace, sink: PacketSink, failures: list[str]) -> None:
    """Copy the packets of the files to a sink, up to the number wanted."""
    choice = Choice(args.after, args.before, args.count)
    bar = wanted(lines=not (args.summary or args.to))
    options = {"concatenated": args.concatenated, **selection(args, inner_columns=bool(args.to))}
    for file in args.files:
        with noting(file, failures), open_input(file, **options) as source:
            try:
                # Without times, no more than are wanted are read, so that a live pipe is not waited for.
                most = choice.left if choice.wants_all else None
                for batch in choice.take(batches_of(source, bar=bar, max_packets=most)):
                    if len(batch):
                        sink.add(batch, source)
            finally:
                sink.end_file(source)
        if not choice.left:
            return
