"""`slimcap capture`: show the packets of an interface as lines, or write them to a capture file."""

from __future__ import annotations

import argparse
import importlib
import signal
from contextlib import nullcontext
from typing import Final

from slimcap.capfile.pcap_writer import PcapWriter
from slimcap.cli.packets.live_input import (
    add_live_input,
    described,
    live_batches,
    live_totals,
    open_live_input,
    read_words,
)
from slimcap.cli.packets.live_metrics import METRICS_DETAILS, LiveMetrics, add_metrics, exported
from slimcap.cli.packets.packet_sink import CaptureFileSink, PacketSink
from slimcap.cli.recording.recording_options import RECORDING_DETAILS, add_recording, is_recording
from slimcap.cli.recording.recording_sink import RecordingSink
from slimcap.cli.render.lines import Lines, json_lines, text_lines
from slimcap.cli.terminal.live_line import StatusLine, wanted
from slimcap.cli.terminal.run_as import run_as, user
from slimcap.cli.terminal.signals import Request, asked_by_signal, ended_by_signals
from slimcap.cli.terminal.streams import complain, reason, say
from slimcap.errors import SlimcapError
from slimcap.io.compression.encoders import encoder_for
from slimcap.packet.enums import NO_IP
from slimcap.sink.open_writer import writer_class
from slimcap.source.live.group.interfaces_source import InterfacesSource
from slimcap.source.live.open_live import LiveCapture

SUMMARY: Final = "capture packets from a network interface"
DETAILS: Final = f"""\
Lines and JSON objects are those of `slimcap read`. Without options, only IP
packets are captured, also those with VLAN tags or PPPoE headers; ARP and other
packets without IP require --everything or an EXPRESSION such as arp. The latter
are those of tcpdump, see pcap-filter(7); they require libpcap (Debian: apt
install libpcap0.8). As with tcpdump, the interface may be given with -i, and
the expression as the last words:
  slimcap capture -i eth0 -c 100 -w web.pcap tcp port 80
A DURATION is in seconds, or has a unit: s, m, h or d.

A capture file has nanosecond timestamps, and VLAN tags are reinserted; pcapng
also has the interface, the expression, and at the end the counts. Packets are
in it after --latency, in a compressed file after about a second. While it is
written, standard error shows drops, packets and rates if it is a terminal and
rich is installed (pip install 'slimcap[cli]'), unless the file is standard
output and a terminal or a pipe.

Packets of several interfaces are not in order of time: those of one come up to
--latency before those of another. Wireshark's reordercap sorts a file. Only
pcapng keeps the interface of each packet; pcap has one link type for all.

While the output is slow, packets wait in the --buffer. Its 64 MiB hold those of
2.5 seconds at low rates, and of a second at 100,000 packets/s of 350 bytes.

{RECORDING_DETAILS}
--user sets the user, the group, and the other groups of that user, and drops
all capabilities, once the interface is open: files, the metrics and the CMD of
--post-rotate are those of the user. It requires a single interface.

SIGUSR1 prints the counts so far. Ctrl-C or SIGTERM ends the capture after the
packets captured so far, with exit code 0; a second one kills the process. While
the interface is down, the capture waits. If it fails, the file contains the
packets before the error. At the end, standard error shows the same counts as
tcpdump:
  captured              packets printed or written
  received by filter    packets that passed the filter, including those dropped
  dropped by kernel     packets dropped because they were not read fast enough
  dropped by interface  packets lost before the filter, if any

{METRICS_DETAILS}"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `slimcap capture`."""
    add_live_input(command)
    add_metrics(command)
    add = command.add_mutually_exclusive_group().add_argument
    add("-w", dest="file", metavar="FILE", help="write a pcap file, or pcapng by its suffix; - is stdout")
    add("--json", action="store_true", help="print a JSON object per line")
    command.add_argument("--user", type=user, metavar="NAME", help="become user NAME before files are opened")
    add_recording(command)


def run(args: argparse.Namespace) -> int:
    """Capture until the end, and write the totals to standard error; return 1 if the source failed."""
    read_words(args)
    recording = is_recording(args)
    status = StatusLine(shown=wanted(lines=args.file in (None, "-")))
    try:
        with open_live_input(args) as source:
            _drop_rights(source, args)
            _run(source, args, status, recording=recording)
    except (SlimcapError, OSError) as error:
        complain(reason(error))
        return 1
    return 0


def _drop_rights(source: LiveCapture, args: argparse.Namespace) -> None:
    """Become the user of --user, before files are opened."""
    if args.user is not None:
        if isinstance(source, InterfacesSource):
            args.error("--user requires one interface: those that appear later could not be captured from")
        # What is imported when it is needed: the user may not read the folders of this interpreter.
        importlib.import_module("concurrent.futures.thread")
        encoder_for(args.file, "infer", None)
        run_as(args.user)


def _run(source: LiveCapture, args: argparse.Namespace, status: StatusLine, *, recording: bool) -> None:
    """Open what the capture requires besides its source, and capture."""
    with (
        ended_by_signals(source, hangup=not recording),
        asked_by_signal(source) as counts,
        asked_by_signal(source, signal.SIGHUP) if recording else nullcontext(Request()) as reopen,
        exported(source, args.metrics) as metrics,
    ):
        sink = _sink(source, args, recording=recording)
        _capture(source, args, sink, status, metrics, counts, reopen)


def _sink(source: LiveCapture, args: argparse.Namespace, *, recording: bool) -> PacketSink:
    """Open the output."""
    if args.file is None:
        return Lines(json_lines if args.json else text_lines)
    if isinstance(source, InterfacesSource) and writer_class(args.file, None) is PcapWriter:
        complain("pcap does not keep the interface of a packet: a FILE whose name ends in .pcapng does")
    return RecordingSink(source, args) if recording else CaptureFileSink(args.file, source, args.snaplen)


def _capture(
    source: LiveCapture,
    args: argparse.Namespace,
    sink: PacketSink,
    status: StatusLine,
    metrics: LiveMetrics,
    counts: Request,
    reopen: Request,
) -> None:
    """Copy packets from the source to the output, then write the totals."""
    complain(
        f"listening on {described(source)}, snaplen {args.snaplen}"
        + (", IP packets only (see --everything)" if _is_ip_only(source, args) else "")
    )
    captured = 0

    def meanwhile(now: float) -> float:
        """Do what is due between two reads, and return the time at which to do that again."""
        sink.flush(now)
        status.refresh(now, source)
        if reopen.pending and isinstance(sink, RecordingSink):
            reopen.pending = False
            sink.reopen()
        if counts.pending:
            counts.pending = False
            status.erase()
            say(live_totals(source, captured))
        return min(status.due, sink.due)

    try:
        for batch in live_batches(source, meanwhile, args.count, args.duration):
            if batch is not None:
                sink.add(batch, source)
                status.add(batch)
                metrics.add(batch)
                captured += len(batch)
            del batch  # it would keep its block from the kernel during the next read
    finally:
        try:
            sink.close()
        finally:
            status.erase()
            say(live_totals(source, captured))


def _is_ip_only(source: LiveCapture, args: argparse.Namespace) -> bool:
    """Return True if packets other than IP are left out without having been asked for."""
    has_ip = any(link.ip_offset != NO_IP for link in source.links)
    return args.filter is None and not args.everything and has_ip
