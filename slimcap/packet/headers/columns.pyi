from typing import Final

import numpy as np

HEADER_DTYPE: Final[np.dtype[np.void]]
"""The dtype of `Batch.headers`, 104 bytes per packet.

`help(slimcap.Batch.headers)` lists the columns.
"""
