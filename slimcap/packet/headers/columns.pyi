from typing import Final

import numpy as np

HEADER_DTYPE: Final[np.dtype[np.void]]
"""The dtype of `Batch.headers`, 104 bytes per packet.

`help(slimcap.Batch.headers)` lists the columns.
"""

HEADER_COLUMNS: Final[tuple[str, ...]]
"""Names of all columns of `Batch.headers`, also of those that are not in HEADER_DTYPE."""
