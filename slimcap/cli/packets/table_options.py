"""The options of a command that writes a table: --to, --columns and --addresses."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from contextlib import suppress


def add_table_options(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = command.add_argument
    add("--to", metavar="FILE", help="write a table to FILE: .parquet, .arrow or .csv")
    add("--columns", metavar="NAMES", help="columns of the table, separated by commas")
    add("--addresses", choices=("text", "binary"), help="addresses in the table (default: text)")


def check_table_options(args: argparse.Namespace, files: Iterable[str]) -> None:
    """End the command if an option requires --to, or the table would replace a file that is read."""
    for name in ("columns", "addresses"):
        if getattr(args, name) and not args.to:
            args.error(f"--{name} requires --to")
    if args.to and _replaces(args.to, files):
        args.error(f"--to {args.to} would replace a file that is read: choose another name")


def column_names(args: argparse.Namespace) -> list[str] | None:
    """Return the columns that were asked for; None for the default ones."""
    return None if args.columns is None else [name.strip() for name in args.columns.split(",")]


def _replaces(path: str, files: Iterable[str]) -> bool:
    """Return True if writing to a path would replace one of the files."""
    for file in files:
        with suppress(OSError):  # one of them does not exist
            if os.path.samefile(path, file):
                return True
    return False
