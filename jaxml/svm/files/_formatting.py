"""Text of numbers and of sparse rows in libsvm's files."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse


def shortest(values: np.ndarray) -> list[str]:
    """Formats each number of an array in the fewest digits that identify it in its dtype.

    >>> shortest(np.array([0.1, 2.0, 1e300])), shortest(np.array([0.1], np.float32))
    (['0.1', '2', '1e+300'], ['0.1'])
    """
    if not np.isfinite(values).all():
        raise ValueError("numbers in a file must be finite")
    different, places = np.unique(values.view(f"u{values.itemsize}"), return_inverse=True)
    numbers = different.view(values.dtype)
    # repr is faster than NumPy, but only supports float64.
    texts = map(repr, numbers.tolist()) if values.itemsize == 8 else numbers.astype(str).tolist()
    texts = [text.removesuffix(".0") for text in texts]
    return [texts[place] for place in places.tolist()]


def join_columns(columns: np.ndarray) -> list[str]:
    """Formats a matrix, given its columns, as one string for each row."""
    return [" ".join(row) for row in zip(*map(shortest, columns), strict=True)]


def format_rows(heads: Sequence[str], x: sparse.csr_array, first_index: int) -> bytes:
    """Formats lines of a head and the `index:value` pairs of the stored entries of `x`."""
    indices = (x.indices.astype(np.int64) + first_index).tolist()
    entries = [f" {i}:{value}" for i, value in zip(indices, shortest(x.data), strict=True)]
    ends: list[int] = np.asarray(x.indptr).tolist()
    rows = zip(heads, ends[:-1], ends[1:], strict=True)
    return "".join(f"{head}{''.join(entries[a:b])}\n" for head, a, b in rows).encode()
