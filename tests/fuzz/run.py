"""Fuzz the decoders for minutes or hours: mutate valid inputs at random until something fails.

    python tests/fuzz/run.py                            # all targets, 10 minutes in all
    python tests/fuzz/run.py pcap headers --minutes 60
    python tests/fuzz/run.py pcap --replay fuzz-failures/pcap-AssertionError-fuzz_pcap-24-0123abcd.bin
    python tests/fuzz/run.py pcap --atheris -max_len=65536 CORPUS_FOLDER tests/data tests/data/bad

The targets are the files `fuzz_*.py` next to this one. Inputs run in child processes with a memory limit and
a time limit for each input. An input that raises an unexpected exception, crashes or exceeds a limit is saved
to the output folder with its traceback, and the command that repeats it is shown. The exit status is 1 then.

With --atheris, one target runs under atheris (`pip install atheris`) and what follows goes to libFuzzer. The
compiled modules guide its search only if clang built them with `-fsanitize=fuzzer-no-link`. Small reads out
of bounds show only with AddressSanitizer, with atheris or without.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import importlib
import importlib.util
import itertools
import os
import random
import resource
import secrets
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import IO, Any

HERE = Path(__file__).resolve().parent
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))
CURRENT = struct.Struct("=QQ")  # of the file with the current input: number of inputs before it, its length
SLICE = 60.0  # seconds that a child runs at most
MAX_SAME = 3  # saved inputs that fail in the same line of code
POLL = 0.02  # seconds


class Usage(Exception):
    """Wrong arguments, or a target that cannot run."""


def load_target(name: str) -> ModuleType:
    """Import a target by its name, or by the path of its file."""
    for folder in (HERE, HERE.parent):  # the targets, and what tests share
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    if name in TARGETS:
        return importlib.import_module(f"fuzz_{name}")
    path = Path(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if path.suffix != ".py" or not path.exists() or spec is None or spec.loader is None:
        raise Usage(f"unknown target {name!r}: use one of {', '.join(TARGETS)}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def short(target: str) -> str:
    """Return the name of a target that may be a path."""
    return Path(target).stem.removeprefix("fuzz_")


def limit(memory: int, log: IO[str]) -> None:
    """Limit the memory of this process (MiB; 0: no limit), and log where it is when a signal kills it."""
    faulthandler.enable(log)
    faulthandler.register(signal.SIGALRM, log, chain=True)
    # AddressSanitizer reserves terabytes of addresses.
    if memory and "libasan" not in os.environ.get("LD_PRELOAD", ""):
        resource.setrlimit(resource.RLIMIT_AS, (memory << 20, memory << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def timed(module: ModuleType, data: bytes, seconds: float) -> None:
    """Run an input; SIGALRM kills the process if it takes longer."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        module.test_one_input(data)
    except SystemExit as error:
        raise AssertionError("the target exits") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def save(out: Path, target: str, kind: str, data: bytes, log: str) -> None:
    """Write an input, and next to it the traceback; skip it if there are enough of its kind."""
    out.mkdir(parents=True, exist_ok=True)
    name = f"{short(target)}-{kind}"
    if len(list(out.glob(f"{name}-*.bin"))) >= MAX_SAME:
        return
    path = out / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}.bin"
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(log)
    print(f"{name}: {log.strip().splitlines()[-1] if log.strip() else 'no output'}")
    print(f"  repeat: {sys.executable} {__file__} {target} --replay {path}", flush=True)


# ---- child


def work(target: str, seed: str, seconds: float, current: Path, args: argparse.Namespace) -> None:
    """Mutate inputs and run them for some seconds; save those that raise."""
    with open(current.with_suffix(".log"), "w") as log, open(current, "wb", buffering=0) as file:
        module = load_target(target)
        from mutations import mutate

        seeds, rng = module.seeds(), random.Random(seed)
        failed = False
        limit(args.memory, log)
        end = time.monotonic() + seconds
        for number in itertools.count():
            data = mutate(seeds, rng)
            os.pwrite(file.fileno(), CURRENT.pack(number, len(data)) + data, 0)
            if time.monotonic() > end:
                break
            try:
                timed(module, data, args.limit)
            except Exception as error:
                failed = True
                frame = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{type(error).__name__}-{Path(frame.filename).stem}-{frame.lineno}"
                save(args.out, target, kind, data, "".join(traceback.format_exception(error)))
    sys.exit(int(failed))


# ---- parent


class Child:
    """A process that runs inputs of one target for a while.

    Parameters
    ----------
    target : str
    seed : str
        Seed of the mutations.
    seconds : float
        How long it runs.
    folder : Path
        For its current input and its log.
    args : Namespace
        The arguments of the command.
    """

    def __init__(
        self, target: str, seed: str, seconds: float, folder: Path, args: argparse.Namespace
    ) -> None:
        self.target, self.args = target, args
        self.current = folder / seed.replace("/", "-")
        options = ("--memory", args.memory, "--limit", args.limit, "--out", args.out)
        child = ("--child", seed, seconds, self.current)
        with open(self.current.with_suffix(".err"), "w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, __file__, *map(str, (target, *options, *child))],
                env={"OPENBLAS_NUM_THREADS": "1", **os.environ},
                stderr=stderr,
            )

    def finish(self) -> tuple[int, bool]:
        """Save the input of a crash, if it was one; return the number of inputs, and True if any failed."""
        code = self.process.wait()
        stderr = self.current.with_suffix(".err").read_text(errors="replace")
        file = self.current.read_bytes() if self.current.exists() else b""
        if len(file) < CURRENT.size:
            raise Usage(f"{short(self.target)} does not run:\n{stderr}")
        number, length = CURRENT.unpack_from(file)
        if code == 0 or (code == 1 and not stderr):
            return number, bool(code)
        if code >= 0:
            kind = f"exit{code}"
        else:
            kind = "timeout" if code == -signal.SIGALRM else signal.Signals(-code).name
        log = self.current.with_suffix(".log").read_text(errors="replace") + stderr
        save(self.args.out, self.target, kind, file[CURRENT.size :][:length], log)
        return number + 1, True


def fuzz(targets: list[str], seed: int, args: argparse.Namespace) -> bool:
    """Run children in turns, each target at least once; return True if an input failed."""
    end = time.monotonic() + args.minutes * 60
    share = min(SLICE, args.minutes * 60 * args.jobs / len(targets))
    counts: Counter[str] = Counter()
    failing: set[str] = set()
    turn = 0
    running: list[Child] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            while running or turn < len(targets) or time.monotonic() < end:
                while len(running) < args.jobs and (turn < len(targets) or time.monotonic() < end):
                    target, name = targets[turn % len(targets)], f"{seed}/{turn}"
                    left = share if turn < len(targets) else min(share, end - time.monotonic())
                    running.append(Child(target, name, left, Path(folder), args))
                    turn += 1
                time.sleep(POLL)
                for child in [child for child in running if child.process.poll() is not None]:
                    running.remove(child)
                    count, failed = child.finish()
                    counts[child.target] += count
                    if failed:
                        failing.add(child.target)
        finally:
            for child in running:
                child.process.kill()
                child.process.wait()
    for target in targets:
        result = "failures" if target in failing else "no failure"
        print(f"{short(target)}: {counts[target]:,} inputs, {result}")
    return bool(failing)


def run_atheris(target: str, options: list[str]) -> None:
    """Run one target under atheris."""
    if importlib.util.find_spec("atheris") is None:
        raise Usage("--atheris requires the 'atheris' package: pip install atheris")
    atheris: Any = importlib.import_module("atheris")
    module = load_target(target)
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *options], module.test_one_input)
    atheris.Fuzz()


def replay(target: str, args: argparse.Namespace) -> None:
    """Run one saved input under the same limits."""
    module = load_target(target)
    limit(args.memory, sys.stderr)
    timed(module, args.replay.read_bytes(), args.limit)
    print(f"{args.replay}: no failure")


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse the command line; what is left is for libFuzzer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(TARGETS)} (default: all)")
    add("--minutes", type=float, default=10, help="how long to run in all (default: 10)")
    add("--seed", type=int, help="seed of the mutations (default: random, and shown)")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="child processes (default: one for each CPU)")
    add("--out", type=Path, default=Path("fuzz-failures"), help="folder of failures (default: fuzz-failures)")
    add("--memory", type=int, default=2048, help="memory limit in MiB, 0: none (default: 2048)")
    add("--limit", type=float, default=10, help="time limit for each input in seconds (default: 10)")
    add("--replay", type=Path, metavar="FILE", help="run this input of the target")
    add("--atheris", action="store_true", help="run one target under atheris")
    add("--child", nargs=3, help=argparse.SUPPRESS)
    if "--atheris" in arguments:
        return parser.parse_known_args(arguments)
    return parser.parse_args(arguments), []


def main(arguments: list[str]) -> int:
    args, options = parse(arguments)
    if args.atheris:
        if not args.targets:
            raise Usage("--atheris requires a target")
        run_atheris(args.targets[0], options + args.targets[1:])
        return 0
    if args.child:
        seed, seconds, current = args.child
        work(args.targets[0], seed, float(seconds), Path(current), args)
    targets = args.targets or TARGETS
    for target in targets:
        if target not in TARGETS and not target.endswith(".py"):
            raise Usage(f"unknown target {target!r}: use one of {', '.join(TARGETS)}")
    if args.replay is not None:
        replay(targets[0] if args.targets else args.replay.name.split("-")[0], args)
        return 0
    seed = secrets.randbelow(1 << 32) if args.seed is None else args.seed
    print(f"seed {seed}; failures go to {args.out}", flush=True)
    return int(fuzz(targets, seed, args))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Usage as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
