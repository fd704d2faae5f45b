"""Hypothesis profiles: how many examples property tests run, and from which random seed.

The environment variable SLIMCAP_PROFILE chooses one:

- `dev` (default): few examples, the same in each run.
- `ci`: more of them, from a random seed that pytest shows; failing examples are kept in `.hypothesis`.
- `long`: a great many of them, likewise.

SLIMCAP_SEED=N repeats a run; it implies `ci` if no profile is chosen.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

ROOT = Path(__file__).parents[2]
EXAMPLES = {"dev": 50, "ci": 300, "long": 20_000}


def choose_profile(environment: dict[str, str] | os._Environ[str]) -> tuple[str, int | None]:
    """Return the profile that the environment asks for, and its seed; None for `dev`.

    Raises
    ------
    pytest.UsageError
        If a variable has another value than those accepted.
    """
    seed = environment.get("SLIMCAP_SEED")
    name = environment.get("SLIMCAP_PROFILE") or ("ci" if seed else "dev")
    if name not in EXAMPLES:
        raise pytest.UsageError(f"SLIMCAP_PROFILE={name}: not a profile: use one of {', '.join(EXAMPLES)}")
    if name == "dev":
        return name, None
    if not seed:
        return name, secrets.randbelow(1 << 32)
    if not seed.isdecimal():
        raise pytest.UsageError(f"SLIMCAP_SEED={seed}: not a number")
    return name, int(seed)


def load_profile(config: pytest.Config) -> None:
    """Load the profile. The seed is left in the environment: workers of xdist inherit it."""
    suppressed = [HealthCheck.too_slow, HealthCheck.data_too_large]
    for name, count in EXAMPLES.items():
        settings.register_profile(
            name,
            max_examples=count,
            derandomize=name == "dev",
            database=None if name == "dev" else DirectoryBasedExampleDatabase(ROOT / ".hypothesis/examples"),
            deadline=None,
            suppress_health_check=suppressed,
        )
    name, seed = choose_profile(os.environ)
    settings.load_profile(name)
    if seed is not None:
        os.environ["SLIMCAP_SEED"] = str(seed)
        if config.option.hypothesis_seed is None:
            config.option.hypothesis_seed = str(seed)  # hypothesis reads it when it is configured, after us


def describe_profile() -> str:
    """Return a line for pytest's header: the profile, and how to repeat the run."""
    name, seed = choose_profile(os.environ)
    line = f"slimcap profile: {name}, {EXAMPLES[name]} examples"
    return line if seed is None else f"{line}; repeat with SLIMCAP_PROFILE={name} SLIMCAP_SEED={seed}"


def profile_seed() -> int:
    """Return the seed of the run, for tests that draw at random themselves; 0 for `dev`."""
    return choose_profile(os.environ)[1] or 0


def scaled(factor: float) -> settings:
    """Return settings with `factor` times the examples of the profile."""
    name, _ = choose_profile(os.environ)
    return settings(max_examples=max(1, round(EXAMPLES[name] * factor)))
