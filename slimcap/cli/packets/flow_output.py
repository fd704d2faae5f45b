"""Flow records as output of a command: options, lines, the largest records, tables."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from slimcap.cli.arguments import duration, names_of, number
from slimcap.cli.packets.conditions import tunnel_ports
from slimcap.cli.packets.table_options import add_table_options, check_table_options, column_names
from slimcap.cli.render.flow_lines import json_lines, text_lines
from slimcap.cli.terminal.streams import write
from slimcap.errors import SlimcapError
from slimcap.flow.flow_batch import FlowBatch
from slimcap.flow.flow_options import (
    FEATURES,
    KEY_PARTS,
    MAX_FIRST_BYTES,
    MAX_FLOWS,
    MAX_SECONDS,
    MAX_SPLT,
    MIN_SECONDS,
    FlowOptions,
)
from slimcap.flow.flow_table import FlowTable
from slimcap.option_set import options_of
from slimcap.packet.batch import Batch
from slimcap.sink.flow_stream import FlowStream
from slimcap.sink.table_file import format_of, pyarrow_for
from slimcap.sink.write import write as write_table

_RANKS: Final = {"bytes": ("src_bytes", "dst_bytes"), "packets": ("src_packets", "dst_packets")}
_TABLE_OPTIONS: Final = (
    *("idle_timeout", "active_timeout", "window", "max_flows", "key"),
    *("features", "splt", "first_bytes", "inner"),
)
_ADDING_COLUMNS: Final = ("features", "splt", "first_bytes")


def add_flow_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the flow table, and of what is written."""
    add = command.add_argument
    add("--json", action="store_true", help="print a JSON object per line")
    add("--top", type=number(int, 1), metavar="N", help="print only the N largest records, the largest first")
    add("--by", choices=tuple(_RANKS), default="bytes", help="what makes a record large (default: bytes)")
    add_table_options(command)
    declared = options_of(FlowOptions)
    for name, metavar, help in (
        ("idle_timeout", "DURATION", "end a flow after as long without a packet"),
        ("active_timeout", "DURATION", "end a record after as long, and continue in another"),
        ("window", "DURATION", "end all records at multiples of as long since 1970 (UTC)"),
        ("max_flows", "N", "maximum number of flows at a time"),
    ):
        default = declared[name].default
        kind = number(int, 1, MAX_FLOWS) if name == "max_flows" else duration(MIN_SECONDS, MAX_SECONDS)
        shown = "" if default is None else f" (default: {f'{default:,}'.removesuffix('.0')})"
        add(f"--{name.replace('_', '-')}", type=kind, default=default, metavar=metavar, help=help + shown)
    parts = ", ".join(KEY_PARTS)
    help = f"what flows differ in besides addresses, ports and protocol: {parts} (default: vlan)"
    add("--key", type=names_of(KEY_PARTS), metavar="NAMES", help=help)
    help = f"add columns: {', '.join(FEATURES)}, separated by commas, or all"
    add("--features", type=names_of((*FEATURES, "all")), default=(), metavar="NAMES", help=help)
    for name, limit, help in (
        ("splt", MAX_SPLT, "add lengths and times of the first N packets of each record"),
        ("first_bytes", MAX_FIRST_BYTES, "add the first N bytes of data of each direction"),
    ):
        add(f"--{name.replace('_', '-')}", type=number(int, 0, limit), default=0, metavar="N", help=help)


def check_flow_options(args: argparse.Namespace, files: Sequence[str]) -> None:
    """End the command if its options do not go together; `files` are read.

    Imports what writes a table, so that a capture does not wait for it. May raise ImportError.
    """
    if args.to and (args.json or args.top is not None):
        args.error("--to cannot be combined with --json or --top")
    check_table_options(args, files)
    if not args.to and not args.json:
        for name in _ADDING_COLUMNS:
            if getattr(args, name):
                args.error(f"--{name.replace('_', '-')} requires --to or --json: lines do not show it")
    if "tunnel" in (args.key or ()) and not args.inner:
        args.error("--key tunnel requires --inner")
    if args.to:
        try:
            pyarrow_for(format_of(args.to))
        except ValueError as error:
            args.error(f"--to: {error}")


def stream_of(batches: Iterator[Batch | None], args: argparse.Namespace) -> FlowStream:
    """Return the flows of batches, with the options of the table that the command was given."""
    options: Any = {name: getattr(args, name) for name in _TABLE_OPTIONS}
    options["tunnel_ports"] = tunnel_ports(args)
    if "all" in args.features:
        options["features"] = FEATURES
    return FlowStream(FlowTable(**options), None, batches)


def emit(stream: FlowStream, args: argparse.Namespace) -> None:
    """Write the records as a table, or print them."""
    if args.to:
        _write_table(stream, args)
        return
    ended: Iterable[FlowBatch] = stream if args.top is None else _largest(stream, args.top, args.by)
    for records in ended:
        write("\n".join([*(json_lines if args.json else text_lines)(records), ""]))


def _write_table(stream: FlowStream, args: argparse.Namespace) -> None:
    try:
        write_table(stream, args.to, columns=column_names(args), addresses=args.addresses)
    except SlimcapError:  # of the source
        raise
    except FileExistsError as error:
        text = (error.strerror or "").replace(", or overwrite=True", ", or remove the file")
        raise FileExistsError(error.errno, text, error.filename) from None
    except ValueError as error:
        text = str(error).replace("give `flows` a window, in seconds", "give --window")
        args.error(f"--to {args.to}: {text}")


def _largest(ended: Iterable[FlowBatch], count: int, by: str) -> Iterator[FlowBatch]:
    """Yield the largest records, in one batch; of equal ones those that ended first. Keeps no others."""
    kept: list[FlowBatch] = []
    for records in ended:
        found = FlowBatch.concat((*kept, records))
        sizes = found[_RANKS[by][0]] + found[_RANKS[by][1]]
        kept = [found[np.argsort(-sizes.astype(np.int64), kind="stable")[:count]]]
    yield from kept
