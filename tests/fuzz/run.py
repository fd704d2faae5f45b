"""Fuzz one of the decoders with atheris, for long, in an environment with `pip install atheris`:

    python tests/fuzz/run.py pcap -max_len=65536 CORPUS_FOLDER tests/data tests/data/bad
    python tests/fuzz/run.py headers -max_total_time=3600 CORPUS_FOLDER

The targets are the files `fuzz_*.py` next to this one; what follows the name goes to libFuzzer. New inputs go
to CORPUS_FOLDER. The compiled modules steer the search only if clang built them with
`-fsanitize=fuzzer-no-link`, and reads a little out of bounds show only with AddressSanitizer; without both it
is mutation at random.
`tests/test_fuzz.py` and `tests/test_fuzz_targets.py` call each target thousands of times in every test run.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit(f"usage: run.py {{{','.join(TARGETS)}}} [option of libFuzzer …] [folder …]")
    atheris = importlib.import_module("atheris")
    sys.path.append(str(HERE.parent))  # what targets and tests share
    target = importlib.import_module(f"fuzz_{sys.argv.pop(1)}")
    atheris.instrument_all()
    atheris.Setup(sys.argv, target.test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
