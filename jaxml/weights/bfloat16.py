"""The one dtype of weights that NumPy lacks."""

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def widen(array: np.ndarray) -> np.ndarray:
    """An array of bfloat16 as float32, which holds all its values; any other as it is."""
    return array.astype(np.float32) if array.dtype == BFLOAT16 else array
