"""How numbers and rows stand in libsvm's files."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse


def shortest(values: np.ndarray) -> list[str]:
    """Each number of an array `[n]` in the fewest digits that its dtype tells from all others.

    >>> shortest(np.array([0.1, 2.0, 1e300])), shortest(np.array([0.1], np.float32))
    (['0.1', '2', '1e+300'], ['0.1'])
    """
    if not np.isfinite(values).all():
        raise ValueError("a number that is not finite, for which the format has no word")
    different, places = np.unique(values.view(f"u{values.itemsize}"), return_inverse=True)
    numbers = different.view(values.dtype)
    # Python's own way is the faster one, but knows float64 only.
    texts = map(repr, numbers.tolist()) if values.itemsize == 8 else numbers.astype(str).tolist()
    texts = [text.removesuffix(".0") for text in texts]
    return [texts[place] for place in places.tolist()]


def lines(heads: Sequence[str], x: sparse.csr_array, first_index: int) -> bytes:
    """Rows of text: what each one begins with, then `index:value` of what is stored in `x`."""
    indices = (x.indices.astype(np.int64) + first_index).tolist()
    entries = [f" {i}:{value}" for i, value in zip(indices, shortest(x.data), strict=True)]
    ends: list[int] = np.asarray(x.indptr).tolist()
    rows = zip(heads, ends[:-1], ends[1:], strict=True)
    return "".join(f"{head}{''.join(entries[a:b])}\n" for head, a, b in rows).encode()
