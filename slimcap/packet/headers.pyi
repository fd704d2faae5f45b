import numpy as np
from numpy.typing import NDArray

from slimcap.packet.batch import Batch

def ip_columns(batch: Batch) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...
