from typing import Final

import numpy as np

FLOW_DTYPE: Final[np.dtype[np.void]]
"""The dtype of `FlowBatch.records`: one row per flow record, 128 bytes, 8-byte aligned.

`help(slimcap.FlowBatch)` lists the columns.
"""

FLOW_DTYPE_WITH_TIMES: Final[np.dtype[np.void]]
"""The same, with the times as datetime64[ns], for Arrow."""
