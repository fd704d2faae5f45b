"""Metrics in the text format of Prometheus, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from slimcap.io.text import valid_text

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Metric(NamedTuple):
    """A metric: its name, description, and a value for each set of labels.

    It is a counter if the name ends with _total, else a gauge.
    """

    name: str
    description: str
    values: Iterable[tuple[Mapping[str, str], int]]


def exposition(metrics: Iterable[Metric]) -> str:
    """Format metrics; those without a value are left out."""
    lines: list[str] = []
    for metric in metrics:
        samples = [f"{metric.name}{_labels(labels)} {value}" for labels, value in metric.values]
        if samples:
            lines.append(f"# HELP {metric.name} {metric.description}")
            kind = "counter" if metric.name.endswith("_total") else "gauge"
            lines.append(f"# TYPE {metric.name} {kind}")
            lines += samples
    return "\n".join([*lines, ""])


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{valid_text(value).translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}"
