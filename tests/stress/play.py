"""Call the library from many threads for seconds or hours: nothing may crash, hang, get lost or come twice.

    python tests/stress/play.py                      # all scenarios, one minute in all
    python tests/stress/play.py mocks --minutes 60
    python tests/stress/play.py mocks --play 123/4   # what failed, from the seed that was shown

The scenarios are the files `stress_*.py` next to this one. Each plays in child processes with a memory
limit, a random thread switch interval and, at times, a storm of signals. A child that raises, crashes or does
not end is shown with its output. The exit status is 1 then. How threads take turns is not repeatable, so a
seed may have to be played again. `live` captures in its own network namespace, which requires root:
without root it is played only if it is named.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import os
import random
import resource
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
SCENARIOS: Final = sorted(path.stem.removeprefix("stress_") for path in HERE.glob("stress_*.py"))
SLICE: Final = 10.0  # seconds that a child plays at most
PATIENCE: Final = 30.0  # seconds that it may take longer, by default
MEMORY: Final = 4 << 30


def short(scenario: str) -> str:
    """Return the name of a scenario that may be a path."""
    return Path(scenario).stem.removeprefix("stress_")


def play(scenario: str, seed: str, seconds: float) -> None:
    """Play one scenario in this process; print how much it did."""
    for folder in (HERE, HERE.parent, Path(scenario).parent):
        sys.path.append(str(folder))
    module = importlib.import_module(f"stress_{short(scenario)}")
    players = importlib.import_module("players")
    # AddressSanitizer, which is preloaded, and ThreadSanitizer reserve terabytes of addresses.
    if "lib" not in os.environ.get("LD_PRELOAD", "") and not players.THREAD_SANITIZER:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()  # the parent sends SIGABRT if this takes too long
    rng = random.Random(seed)
    sys.setswitchinterval(rng.choice((1e-6, 1e-4, 5e-3)))
    if rng.random() < 0.5:  # system calls are interrupted
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
    process = os.getpid()
    try:
        print(module.play(rng, seconds))
    finally:
        if os.getpid() == process:  # else it kills the interpreter, which ends without handlers
            signal.setitimer(signal.ITIMER_REAL, 0)


class Child:
    """A process that plays a scenario."""

    def __init__(self, scenario: str, seed: str, seconds: float, patience: float) -> None:
        self.scenario, self.seed = scenario, seed
        self._deadline = time.monotonic() + seconds + patience
        self._process = subprocess.Popen(
            [sys.executable, __file__, scenario, "--play", seed, "--seconds", str(seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> tuple[bool, str]:
        """Wait for the end; return True if it went well, and the output."""
        try:
            output, _ = self._process.communicate(timeout=max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False, f"{self.kill()}\nit did not end"
        code = self._process.returncode
        end = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return code == 0, output if code == 0 else f"{output}\n{end}"

    def kill(self) -> str:
        """Kill the process, and those that it forked; return its output, which ends with its stacks."""
        self._process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.communicate()[0]


def run(scenarios: list[str], minutes: float, seed: int, patience: float) -> int:
    """Play the scenarios in turns, two at a time; return 1 if one failed."""
    end = time.monotonic() + minutes * 60
    share = min(SLICE, minutes * 120 / len(scenarios))
    counts = dict.fromkeys(scenarios, 0)
    failed = turn = 0
    running: list[Child] = []
    try:
        while running or turn < len(scenarios) or time.monotonic() < end:
            while len(running) < 2 and (turn < len(scenarios) or time.monotonic() < end):
                running.append(Child(scenarios[turn % len(scenarios)], f"{seed}/{turn}", share, patience))
                turn += 1
            child = running.pop(0)
            went_well, output = child.finish()
            if went_well:
                counts[child.scenario] += int(output.split()[-1])
            else:
                failed = 1
                command = f"{sys.executable} {__file__} {child.scenario} --play {child.seed}"
                print(f"{short(child.scenario)}: {output}\n  repeat: {command}", flush=True)
    finally:
        for child in running:
            child.kill()
    for scenario, count in counts.items():
        print(f"{short(scenario)}: {count:,} packets or calls")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO", help=f"one of {', '.join(SCENARIOS)} (default: all)")
    add("--minutes", type=float, default=1, help="how long to play in all (default: 1)")
    add("--seed", type=int, help="seed of the choices (default: random, and shown)")
    add("--play", metavar="SEED", help="play one scenario in this process")
    add("--seconds", type=float, default=SLICE, help=f"how long to --play (default: {SLICE:g})")
    add(
        "--patience",
        type=float,
        default=PATIENCE,
        help=f"seconds that it may take longer (default: {PATIENCE:g})",
    )
    args = parser.parse_args()
    scenarios = args.scenarios or [name for name in SCENARIOS if name != "live" or os.geteuid() == 0]
    for name in scenarios:
        if name not in SCENARIOS and not name.endswith(".py"):
            parser.error(f"unknown scenario {name!r}: use one of {', '.join(SCENARIOS)}")
    if args.play:
        play(scenarios[0], args.play, args.seconds)
        return 0
    seed = secrets.randbelow(1 << 32) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    return run(scenarios, args.minutes, seed, args.patience)


if __name__ == "__main__":
    sys.exit(main())
