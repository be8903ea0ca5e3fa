"""bfloat16, which NumPy lacks."""

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def widen(array: np.ndarray) -> np.ndarray:
    """Converts bfloat16 to float32, without loss, and returns other arrays unchanged."""
    return array.astype(np.float32) if array.dtype == BFLOAT16 else array
