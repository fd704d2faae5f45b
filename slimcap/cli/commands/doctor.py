"""`slimcap doctor`: tell whether this host can capture well, and what to do."""

from __future__ import annotations

import argparse
from typing import Final

from slimcap.cli.arguments import duration
from slimcap.cli.render.finding_lines import finding_lines
from slimcap.cli.render.report_text import json_text
from slimcap.cli.terminal.streams import write
from slimcap.source.live.host.diagnosis import diagnose
from slimcap.source.live.host.finding import Finding, Status

SUMMARY: Final = "check if this host can capture well, and say what to do"
DETAILS: Final = """\
Nothing is changed: commands to run are shown. Without root, what cannot be seen
is reported as unknown.

checks of the host:
  privileges      packet sockets may be opened
  kernel          the features that slimcap uses
  libpcap         compiles filter expressions
  ring_memory     memory for the default ring
  memory_limit    of the control group, which holds for all but the ring
  receive_buffer  of a SocketSource: net.core.rmem_max
  backlog         packets lost where they wait for a CPU
  cpu_governor    the CPUs do not slow down
checks of each interface; those that do not concern it are left out:
  interface       exists, is up, has a carrier; link type and MTU
  offloads        what makes packets larger than on the wire: GRO, LRO, TSO, GSO
  queues          receive queues, and RPS
  interrupts      of several queues are handled by several CPUs
  device_ring     receive ring of the device
  drops           packets lost by the interface

  ok        nothing is to do
  advice    capturing works, and could be better; or 1 packet in 10,000 was lost
            before now
  problem   capturing fails, or packets are being lost now
  unknown   it cannot be seen

With --json, each finding is an object with check, interface (null for the
host), status, found, advice (what it means and what can be done; "" if nothing)
and commands (a list of commands for a shell).

The exit code is 1 if there is a problem; with --strict, also if there is
advice. What is unknown does not change it.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `slimcap doctor`."""
    help = "network interface; default: all that are up"
    command.add_argument("interfaces", nargs="*", metavar="INTERFACE", help=help)
    command.add_argument("--json", action="store_true", help="print a JSON object per finding, one per line")
    command.add_argument("--strict", action="store_true", help="exit with 1 also if there is advice")
    command.add_argument(
        "--interval",
        type=duration(0, 3600),
        default=1,
        metavar="DURATION",
        help="time between two readings of the drop counters (default: 1s)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the findings; return 1 if something needs doing."""
    findings = diagnose(args.interfaces, args.interval)
    write("".join(map(_json, findings)) if args.json else finding_lines(findings))
    bad = {Status.PROBLEM, Status.ADVICE} if args.strict else {Status.PROBLEM}
    return int(any(finding.status in bad for finding in findings))


def _json(finding: Finding) -> str:
    order = ("check", "interface", "status", "found", "advice", "commands")
    return json_text({name: getattr(finding, name) for name in order})
