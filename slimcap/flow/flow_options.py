"""Options of flow tables."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypedDict

from slimcap.errors import number, wrong_type
from slimcap.option_set import Option, between

KEY_PARTS = ("vlan", "interface")
MIN_SECONDS, MAX_SECONDS = 1e-9, 1e9
MAX_FLOWS = 1 << 30


def _seconds(name: str, value: float) -> float:
    if not MIN_SECONDS <= number(name, value) <= MAX_SECONDS:
        raise ValueError(f"{name} must be 1e-9 to {MAX_SECONDS:g} seconds, not {value}")
    return value


def _key(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise wrong_type(name, "a list of names", value)
    parts = tuple(value)
    for part in parts:
        if part not in KEY_PARTS:
            raise ValueError(f"{name} may have {', '.join(KEY_PARTS)}, not {part!r}")
    return parts


class FlowOptions(TypedDict, total=False):
    """Options of `FlowTable` and `flows`."""

    idle_timeout: Annotated[
        float, Option(15.0, "A flow ends that had no packet for more than this many seconds.", _seconds)
    ]
    active_timeout: Annotated[
        float,
        Option(
            300.0,
            "A record ends, and the flow continues in another one, before a packet that comes this many "
            "seconds or more after the record's first. A packet that is more than this many seconds older "
            "than the one before means that time was set back.",
            _seconds,
        ),
    ]
    window: Annotated[
        float | None,
        Option(
            None,
            "Length of windows in seconds. They start at multiples of it since the Unix epoch (UTC). At the "
            "end of a window all records end, and the flows continue in other ones. Default: no windows.",
            _seconds,
        ),
    ]
    max_flows: Annotated[
        int,
        Option(
            1_000_000,
            "Maximum number of flows in the table. If it is full, a new flow ends the one that had no packet "
            "for the longest time. A full table takes 157 bytes a flow.",
            between(1, MAX_FLOWS),
        ),
    ]
    key: Annotated[
        "Iterable[Literal['vlan', 'interface']] | None",
        Option(
            None,
            "Parts of the key of a flow, in addition to addresses, ports and protocol: packets that differ "
            "in these belong to different flows. Default: the VLAN.",
            _key,
            'iterable of {"vlan", "interface"}',
        ),
    ]
