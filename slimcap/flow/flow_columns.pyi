from typing import Final

import numpy as np

SIDES: Final[tuple[str, ...]]
TCP_FLAG_NAMES: Final[tuple[str, ...]]
NANOSECOND_COLUMNS: Final[frozenset[str]]

FLOW_DTYPE: Final[np.dtype[np.void]]
"""The dtype of `FlowBatch.records` without features: one row per flow record, 128 bytes, 8-byte aligned.

`help(slimcap.FlowBatch)` lists the columns.
"""

def with_times(dtype: np.dtype[np.void]) -> np.dtype[np.void]: ...
