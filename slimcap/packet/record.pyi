from collections.abc import Mapping
from typing import Any, Final

import numpy as np

RECORD_DTYPE: Final[np.dtype[np.void]]
"""The dtype of `Batch.records`: one row per packet, 40 bytes, 8-byte aligned, the same for all sources.

`help(slimcap.Batch)` lists the columns.
"""

def struct_dtype(fields: Mapping[str, tuple[Any, int]], size: int) -> np.dtype[np.void]: ...
def copy_of(dtype: np.dtype[np.void]) -> np.dtype[np.void]: ...
