"""Compare two results of the same benchmark, before a change and after it.

    python bench/merge.py --json before.json
    python bench/merge.py --json after.json            # with the other slimcap installed
    python bench/compare.py before.json after.json

All numbers are times: less is better. "after / before" is the ratio of the medians, which also changes when
the machine drifts between the two runs. The column "by" does not: there, the times of each round are first
divided by those of the base, a way that the change does not touch: the first C program of a table, or
--base. "rounds" says "faster" or "slower" if the rounds before and after do not overlap, by the base if
there is one.
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import common

Times = list[float]
Group = dict[str, Times]  # by way

IGNORED = ("machine", "missing", "memory", "allocations")
# Not worth a place in a title.
PLUMBING = ("files", "rows", "rings", "sources", "rates", "live", "ns", "ns_per_packet")


def groups_of(found: Mapping[str, Any], title: tuple[str, ...] = ()) -> Iterator[tuple[str, Group]]:
    """Yield titles, and the times of the ways below them that took turns."""
    group: Group = {}
    for name, value in found.items():
        if name in IGNORED:
            continue
        if isinstance(value, dict):
            yield from groups_of(value, title if name in PLUMBING else (*title, name))
        elif times := _times(value):
            group[name] = times
    if group:
        yield ": ".join(title), group


def _times(value: object) -> Times:
    """Return the times in a list of them, or in one of captures: CPU seconds for a million packets."""
    if not isinstance(value, list):
        return []
    if all(isinstance(one, dict) and one.keys() >= {"cpu", "packets"} for one in value):
        return [one["cpu"] / max(1, one["packets"]) * 1e6 for one in value]
    return [float(one) for one in value if isinstance(one, int | float)]


def base_of(group: Group, wanted: str | None) -> str | None:
    """Return the way that others are divided by: the one that is wanted, or the first C program."""
    if wanted is not None:
        return wanted if wanted in group else None
    return next((name for name in group if name.split()[0] == "C"), None)


def row(name: str, base: str | None, before: Group, after: Group) -> list[str]:
    old, new = before[name], after[name]
    cells = [name, f"{median(old):.4g}", f"{median(new):.4g}", _ratio(new, old), "-"]
    if base is not None:
        old, new = by_round(old, before[base]), by_round(new, after[base])
        cells[-1] = _ratio(new, old)
    return [*cells, verdict(old, new)]


def _ratio(new: Times, old: Times) -> str:
    return f"{common.ratio_of_medians(new, old):.3f}"


def by_round(times: Times, base: Times) -> Times:
    return [x / y if y else math.nan for x, y in zip(times, base, strict=True)]


def verdict(old: Sequence[float], new: Sequence[float]) -> str:
    if max(new) < min(old):
        return "faster"
    return "slower" if min(new) > max(old) else ""


def compare(before: Mapping[str, Any], after: Mapping[str, Any], wanted: str | None) -> str:
    """Make a table for each group of ways that took turns."""
    old, tables = dict(groups_of(before)), []
    for title, group in groups_of(after):
        ways = [name for name in group if name in old.get(title, ())]
        if not ways:
            continue
        base = base_of({name: group[name] for name in ways}, wanted)
        rows = [row(name, base, old[title], group) for name in ways]
        by = "by base" if base is None else f"by {base}"
        header = [title or "time", "before", "after", "after / before", by, "rounds"]
        tables.append(common.table(header, rows))
    if not tables:
        raise SystemExit("the two have no ways in common")
    return "\n\n".join([*machines(before, after), *tables]) + "\n"


def machines(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Say on what both were measured."""
    both = [common.heading(found) for found in (before, after)]
    return both[:1] if both[0] == both[1] else [f"Before: {both[0]}", f"After: {both[1]}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=common.question(__doc__))
    add = parser.add_argument
    add("before", type=Path)
    add("after", type=Path)
    add("--base", metavar="WAY", help="divide by the times of this way (of the first C program)")
    options = parser.parse_args()
    before, after = common.read_json(options.before), common.read_json(options.after)
    for key in ("question", "scale"):
        if before.get(key) != after.get(key):
            raise SystemExit(f"not the same {key}: {before.get(key)!r} and {after.get(key)!r}")
    print(compare(before, after, options.base), end="")


if __name__ == "__main__":
    main()
