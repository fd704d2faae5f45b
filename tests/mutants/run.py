"""Mutation tests: build slimcap with one deliberate fault at a time, and check that a test finds it.

    python tests/mutants/run.py                       all mutants of the default tier
    python tests/mutants/run.py bpf-shift-by-32 …     some of them
    python tests/mutants/run.py --memory              those that only AddressSanitizer finds

A mutant is a file NAME.patch next to this one: a line that says what the fault is, the test that has to
fail, and a diff for `git apply`. For each one, the patch is applied to a private copy of the tree, the copy
is built incrementally, and the named test is run; if it passes, the default tier of its folder. A test that
fails, crashes or hangs has found the fault.

The exit status is 1 if a mutant survived, or if a patch cannot be applied or built. The environment has to
have the build tools, git, and the test dependencies (`pip install -e '.[dev]'`).
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NOT_COPIED = shutil.ignore_patterns(".*", "build", "build-*", "dist", "__pycache__", "*.so")
TIERS = ("default", "memory")
TEST_SECONDS = 90  # for the named test, which takes a few; what takes longer hangs
FOLDER_SECONDS = 1800
SETUP = ("-Dbuildtype=debugoptimized", "-Ddebug=false", "-Doptimization=1")
SETUP_MEMORY = ("-Dbuildtype=debugoptimized", "-Db_sanitize=address,undefined", "-Db_lundef=false")

# An editable install of slimcap would be found before PYTHONPATH.
SITECUSTOMIZE = """\
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "MesonpyMetaFinder"]
"""


class MutantError(Exception):
    """A mutant that cannot be tried: the message says why."""


@dataclass(frozen=True)
class Mutant:
    """A patch file."""

    path: Path
    fault: str
    test: tuple[str, ...]  # arguments of pytest: a selector, or a folder and `-k expression`
    tier: str

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def source(self) -> str:
        """The file that the patch changes."""
        source: str = re.findall(r"^\+\+\+ b/(.+)$", self.path.read_text(), re.MULTILINE)[0]
        return source

    @property
    def folder(self) -> str:
        """The folder of the named test."""
        path = Path(self.test[0].split("::")[0])
        return str(path.parent if path.suffix else path)


def read_mutant(path: Path) -> Mutant:
    """Read the header of a patch file."""
    header = path.read_text().split("\n--- ", 1)[0]
    fields = dict(re.findall(r"^(test|tier): (.+)$", header, re.MULTILINE))
    if not {"test", "tier"} <= fields.keys() or fields["tier"] not in TIERS:
        raise MutantError(f"{path.name} requires the lines `test: …` and `tier: {' | '.join(TIERS)}`")
    return Mutant(path, header.partition("\n")[0], tuple(shlex.split(fields["test"])), fields["tier"])


def all_mutants() -> list[Mutant]:
    """The mutants, by name."""
    return [read_mutant(path) for path in sorted(HERE.glob("*.patch"))]


class Tree:
    """A private copy of the tree, its build, and an install of it."""

    def __init__(self, folder: Path, memory: bool, jobs: int) -> None:
        self.path, self.site, self.jobs = folder / "tree", folder / "site", jobs
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(self.site),
            "PYTHONSAFEPATH": "1",  # or the uncompiled folder would be found first
            "PYTHONDONTWRITEBYTECODE": "1",  # a .pyc is told by size and second: mutants differ in neither
            "GIT_CEILING_DIRECTORIES": str(folder),
        }
        self.tool_environment = dict(self.environment)
        del self.tool_environment["PYTHONPATH"]
        if memory:
            self.environment |= sanitizer_environment()
        shutil.copytree(ROOT, self.path, ignore=NOT_COPIED)
        self.site.mkdir()
        (self.site / "sitecustomize.py").write_text(SITECUSTOMIZE)
        places = [f"-Dpython.{kind}libdir={self.site}" for kind in ("plat", "pure")]
        self.tool("meson", "setup", "build", *(SETUP_MEMORY if memory else SETUP), *places)
        self.build()

    def tool(self, *command: str) -> None:
        """Run a build tool; MutantError with the end of its output if it fails."""
        done = subprocess.run(
            command, cwd=self.path, env=self.tool_environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise MutantError(f"{shlex.join(command)}: {(done.stdout + done.stderr)[-2000:]}")

    def build(self) -> None:
        self.tool("ninja", "-C", "build", "-j", str(self.jobs))
        self.tool("meson", "install", "-C", "build", "--no-rebuild", "--only-changed", "--quiet")

    def apply(self, mutant: Mutant) -> None:
        self.tool("git", "apply", str(mutant.path))

    def pytest(self, seconds: float, *arguments: str) -> tuple[str, bool]:
        """Run tests up to the first failure: what it was, and False if they passed."""
        # Only with --capture=sys does the report of a sanitizer that ends the process come through.
        options = ["-n0", "-q", "-x", "--tb=line", "--capture=sys", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", *options]
        try:
            done = subprocess.run(
                [*command, *arguments],
                cwd=self.path,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{shlex.join(arguments)} (hangs)", True
        if done.returncode == 0:
            return "", False
        if done.returncode in (4, 5) and self.imports():
            raise MutantError(f"{shlex.join(arguments)}: no such test in this tier\n{done.stdout[-2000:]}")
        found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
        if found:
            return found[1], True
        report = re.search(r"AddressSanitizer: \S+|runtime error: .+", done.stdout)
        return f"{shlex.join(arguments)} ({report[0] if report else f'exit status {done.returncode}'})", True

    def imports(self) -> bool:
        """Return True if the package of this tree can be imported."""
        code = "import slimcap; print(slimcap.__file__)"
        done = subprocess.run(
            [sys.executable, "-c", code], env=self.environment, capture_output=True, text=True, check=False
        )
        return done.returncode == 0 and done.stdout.startswith(str(self.site))


def sanitizer_environment() -> dict[str, str]:
    """The variables that a build with sanitizers is run with, as in .ci/sanitize."""
    libraries = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan", "libubsan")
    ]
    return {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1",
        "PYTHONMALLOC": "malloc",
    }


def check_tests_pass(tree: Tree, mutants: list[Mutant]) -> None:
    """Raise MutantError if a named test fails without any fault."""
    selectors = {mutant.test for mutant in mutants}
    plain = sorted({test[0] for test in selectors if len(test) == 1})
    for arguments in [plain, *sorted(list(test) for test in selectors if len(test) > 1)]:
        if arguments:
            failed, found = tree.pytest(FOLDER_SECONDS, *arguments)
            if found:
                raise MutantError(f"without any fault this fails: {failed}")


def try_mutant(tree: Tree, mutant: Mutant) -> str:
    """Build a mutant and test it: the test that finds the fault, or "" if none does."""
    source = tree.path / mutant.source
    original = source.read_bytes()
    try:
        tree.apply(mutant)
        tree.build()
        if not tree.imports():
            return "import slimcap"
        failed, found = tree.pytest(TEST_SECONDS, *mutant.test)
        if not found:
            failed, found = tree.pytest(FOLDER_SECONDS, mutant.folder)
        return failed
    finally:
        source.write_bytes(original)


def choose(names: list[str], memory: bool) -> list[Mutant]:
    """The mutants of a tier, or those of it that are named."""
    mutants = all_mutants()
    unknown = set(names) - {mutant.name for mutant in mutants}
    if unknown:
        raise SystemExit(f"there is no mutant {', '.join(sorted(unknown))} in {HERE}")
    tier = "memory" if memory else "default"
    return [mutant for mutant in mutants if mutant.tier == tier and (not names or mutant.name in names)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Check that tests find deliberate faults.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a mutant; default: all of the tier")
    parser.add_argument("--memory", action="store_true", help="build with sanitizers; run the tier `memory`")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes of a build")
    options = parser.parse_args()
    mutants = choose(options.names, options.memory)
    if not mutants:
        raise SystemExit("none of these mutants is in this tier: see --memory")
    bad = []
    with tempfile.TemporaryDirectory(prefix="slimcap-mutants-") as folder:
        tree = Tree(Path(folder), options.memory, options.jobs)
        if not tree.imports():
            raise MutantError("slimcap of the private copy cannot be imported")
        check_tests_pass(tree, mutants)
        print("| mutant | fault | found by | seconds |\n| --- | --- | --- | ---: |", flush=True)
        for mutant in mutants:
            began = time.monotonic()
            try:
                finder = try_mutant(tree, mutant) or "SURVIVED"
            except MutantError as error:
                finder = f"ERROR: {str(error).splitlines()[0]}"
                print(error, file=sys.stderr)
            if finder == "SURVIVED" or finder.startswith("ERROR: "):
                bad.append(mutant.name)
            seconds = time.monotonic() - began
            print(f"| {mutant.name} | {mutant.fault} | {finder} | {seconds:.0f} |", flush=True)
    print(f"\n{len(mutants)} mutants, {len(bad)} not found{': ' if bad else ''}{', '.join(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MutantError as error:
        sys.exit(str(error))
