from typing import Any, Final, NamedTuple, Unpack, final

import numpy as np

from slimcap.flow.flow_batch import FlowBatch
from slimcap.flow.flow_enums import FlowEnd
from slimcap.flow.flow_options import FlowOptions
from slimcap.packet.batch import Batch

class FlowStats(NamedTuple):
    active: int
    started: int
    packets: int
    bytes: int
    other_packets: int
    other_bytes: int
    ended: dict[FlowEnd, int]

@final
class FlowTable:
    dtype: Final[np.dtype[np.void]]
    window: Final[float | None]
    def __init__(self, **options: Unpack[FlowOptions]) -> None: ...
    def update(self, batch: Batch) -> FlowBatch: ...
    def expire(self, now: int | None = None) -> FlowBatch: ...
    def flush(self, limit: int | None = None) -> FlowBatch: ...
    @property
    def clock(self) -> int | None: ...
    @property
    def stats(self) -> FlowStats: ...
    def __len__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
