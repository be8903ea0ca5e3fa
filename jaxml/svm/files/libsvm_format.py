"""libsvm's text format: a line for each example, its label and the features that are not zero.

`-1 3:1 11:0.5 # a comment`, and with the id of a query between label and features
`2 qid:7 3:1 11:0.5`.

Source: C.-C. Chang and C.-J. Lin, "LIBSVM: A Library for Support Vector Machines", 2011, whose
README describes the format; T. Joachims' SVM-light has comments and `qid` in it.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from jaxml.errors import InputError
from jaxml.svm.files.libsvm_lines import lines, shortest
from jaxml.svm.files.libsvm_rows import LARGEST_INDEX, Grammar, Rows, join, read_rows, to_matrix
from jaxml.svm.files.packed_file import open_packed, write_packed

_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples with sparse features.

    Attributes:
      x: `[n, features]`, float32 or float64, its indices from 0 on and sorted.
      labels: `[n]`, float64: classes or real targets, as the file has them.
      query_ids: `[n]`, int64, or None.
      zero_based: whether the first feature had the index 0 in the file.
    """

    x: sparse.csr_array
    labels: np.ndarray
    query_ids: np.ndarray | None
    zero_based: bool


@dataclass(frozen=True)
class Extent:
    """What has to be known of a file before it is read in blocks.

    Attributes:
      rows: number of examples.
      num_features: number of features, the largest index counted from 1.
      entries: number of features that are written down.
      zero_based: whether the first feature has the index 0.
      query_ids: whether examples have the id of a query.
    """

    rows: int
    num_features: int
    entries: int
    zero_based: bool
    query_ids: bool


def read(
    path: Path,
    *,
    num_features: int | None = None,
    zero_based: bool | None = None,
    query_id: bool = False,
    dtype: type[np.floating] = np.float64,
) -> Examples:
    r"""Reads a file in libsvm's text format.

    Args:
      path: the file, plain or packed by gzip, bzip2 or xz, whatever its name.
      num_features: how many there are; None for as many as the largest index needs. Give it, and
        `zero_based`, for a test set: it must have the features of the training set.
      zero_based: whether the first feature has the index 0 (True) or 1 (False); None for 0 only
        if that index occurs.
      query_id: whether to return the ids of the queries; they are passed over otherwise.
      dtype: of the features, float32 or float64; labels are float64.

    Returns:
      The examples in the order of the file.

    Raises:
      InputError: the file cannot be read, is cut short, has no examples or none with a query, or a
        line is not label, `qid`, and finite features of increasing indices in their bounds.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "train"
      ...     _ = path.write_text("+1 1:0.5 3:2 # first\n-1 2:1\n")
      ...     examples = read(path)
      >>> examples.labels
      array([ 1., -1.])
      >>> examples.x.toarray()
      array([[0.5, 0. , 2. ],
             [0. , 1. , 0. ]])

    Source: the meaning is that of scikit-learn's `load_svmlight_file`, which also takes infinity,
      NaN and a `qid` on some lines only.
    """
    rows = join(list(_read(path, num_features, zero_based, dtype)))
    lowest = int(rows.indices.min(initial=LARGEST_INDEX))
    largest = int(rows.indices.max(initial=-1))
    zero_based = _settle(path, num_features, zero_based, lowest, largest)
    return _examples(path, rows, num_features, zero_based, query_id, dtype)


def read_blocks(
    path: Path,
    rows: int,
    *,
    num_features: int | None = None,
    zero_based: bool | None = None,
    query_id: bool = False,
    dtype: type[np.floating] = np.float64,
) -> Iterator[Examples]:
    r"""Reads a file a block of examples at a time, without holding the rest of it.

    Args:
      path: as in `read`.
      rows: how many examples a block has; the last one has what is left.
      num_features: as in `read`; if this or `zero_based` is None, the file is gone through before
        it is read, see `scan`.
      zero_based: as in `read`.
      query_id: as in `read`.
      dtype: as in `read`.

    Returns:
      An iterator over the examples in the order of the file, all with as many features.

    Raises:
      ValueError: no rows.
      InputError: as in `read`, from the iterator.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "train"
      ...     _ = path.write_text("+1 1:0.5 3:2\n-1 2:1\n+1 1:4\n")
      ...     [block.x.shape for block in read_blocks(path, 2)]
      [(2, 3), (1, 3)]
    """
    if rows < 1:
        raise ValueError(f"rows: at least 1, not {rows}")
    return _blocks(path, rows, num_features, zero_based, query_id, dtype)


def scan(path: Path, *, num_features: int | None = None, zero_based: bool | None = None) -> Extent:
    r"""Goes through a file and checks it, holding a block of it at a time.

    Args:
      path: as in `read`.
      num_features: as in `read`.
      zero_based: as in `read`.

    Returns:
      How large it is.

    Raises:
      InputError: as in `read`.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "train"
      ...     _ = path.write_text("+1 1:0.5 3:2\n-1 2:1\n")
      ...     scan(path)
      Extent(rows=2, num_features=3, entries=3, zero_based=False, query_ids=False)
    """
    examples, entries, lowest, largest, query_ids = 0, 0, LARGEST_INDEX, -1, False
    for block in _read(path, num_features, zero_based, np.float64):
        examples += len(block.counts)
        entries += len(block.indices)
        lowest = int(block.indices.min(initial=lowest))
        largest = int(block.indices.max(initial=largest))
        query_ids = block.query_ids is not None
    zero_based = _settle(path, num_features, zero_based, lowest, largest)
    if num_features is None:
        num_features = max(largest + zero_based, 0)
    return Extent(examples, num_features, entries, zero_based, query_ids)


def write(
    path: Path,
    x: ArrayLike | sparse.sparray | sparse.spmatrix,
    y: ArrayLike,
    *,
    zero_based: bool = False,
    query_ids: ArrayLike | None = None,
    comment: str = "",
) -> None:
    r"""Writes examples in libsvm's text format, at once.

    Numbers are as short as they can be without another value, so `read` with the dtype of `x`
    gives every bit back.

    Args:
      path: the file; packed if its name ends in `.gz`, `.bz2` or `.xz`.
      x: `[n, features]`, dense or sparse, finite. Zeros of a dense array are left out; what a
        sparse one stores is written.
      y: labels or targets `[n]`, finite.
      zero_based: whether the first feature gets the index 0, which few programs read, or 1.
      query_ids: `[n]`, integers from 0 to 10^15 - 1, or None.
      comment: stands before the examples, each line after a `#`. libsvm's own programs read no
        comments.

    Raises:
      ValueError: arrays of other shapes, or that are not finite.
      InputError: the file cannot be written; what was there before is left.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "train"
      ...     write(path, [[0.5, 0.0, 2.0], [0.0, 1.0, 0.0]], [1, -1])
      ...     path.read_text()
      '1 1:0.5 3:2\n-1 2:1\n'
    """
    matrix = _matrix(x)
    count, _ = cast("tuple[int, int]", matrix.shape)
    labels = _real("y", np.asarray(y))
    ids = None if query_ids is None else np.asarray(query_ids)
    for name, array in (("y", labels), ("query_ids", ids)):
        if array is not None and array.shape != (count,):
            raise ValueError(f"{name}: [{count}] for x {matrix.shape}, not {array.shape}")
    if not np.isfinite(labels).all():
        raise ValueError("y: finite numbers only")
    if ids is not None and not (ids.dtype.kind in "iu" and ((ids >= 0) & (ids < 10**15)).all()):
        raise ValueError("query_ids: integers from 0 to 10^15 - 1 only")
    head = (f"# {line}\n".encode() for line in comment.splitlines())
    starts = range(0, count, _ROWS)
    heads = _heads(labels, ids)
    text = (lines(heads[i : i + _ROWS], matrix[i : i + _ROWS], not zero_based) for i in starts)
    write_packed(path, itertools.chain(head, text))


def _read(
    path: Path, num_features: int | None, zero_based: bool | None, dtype: type[np.floating]
) -> Iterator[Rows]:
    """The rows of a file, with what is known of it checked; at least one block."""
    if num_features is not None and num_features < 1:
        raise ValueError(f"num_features: at least 1, not {num_features}")
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype: float32 or float64, not {dtype}")
    highest = LARGEST_INDEX if num_features is None else num_features - bool(zero_based)
    grammar = Grammar(
        lowest=int(zero_based is False), highest=min(highest, LARGEST_INDEX), dtype=dtype
    )
    empty = True
    with open_packed(path) as file:
        for rows in read_rows(file, path, grammar):
            empty = False
            yield rows
    if empty:
        raise InputError(f"{path}: holds no examples")


def _settle(
    path: Path, num_features: int | None, zero_based: bool | None, lowest: int, largest: int
) -> bool:
    """Whether a file is zero-based, from all of its indices."""
    if zero_based is not None:
        return zero_based
    if lowest == 0 and num_features == largest:
        # One feature too many, which shows at the end only; this time the line is named.
        for _ in _read(path, num_features, True, np.float64):
            pass
    return lowest == 0


def _examples(
    path: Path,
    rows: Rows,
    num_features: int | None,
    zero_based: bool,
    query_id: bool,
    dtype: type[np.floating],
) -> Examples:
    if query_id and rows.query_ids is None:
        raise InputError(f"{path}: its lines have no qid, which was asked for")
    x = to_matrix(rows, int(not zero_based), num_features, dtype)
    return Examples(x, rows.numbers[:, 0], rows.query_ids if query_id else None, zero_based)


def _blocks(
    path: Path,
    rows: int,
    num_features: int | None,
    zero_based: bool | None,
    query_id: bool,
    dtype: type[np.floating],
) -> Iterator[Examples]:
    if num_features is None or zero_based is None:
        extent = scan(path, num_features=num_features, zero_based=zero_based)
        num_features, zero_based = extent.num_features, extent.zero_based
    for block in _rebatch(_read(path, num_features, zero_based, dtype), rows):
        yield _examples(path, block, num_features, zero_based, query_id, dtype)


def _rebatch(blocks: Iterator[Rows], rows: int) -> Iterator[Rows]:
    """Rows in blocks of another size, the last one of what is left."""
    held: list[Rows] = []
    for block in blocks:
        held.append(block)
        if sum(len(part.counts) for part in held) >= rows:
            *whole, last = _cut(join(held), rows)
            yield from whole
            held = [last]
    if held:
        yield join(held)


def _cut(rows: Rows, size: int) -> list[Rows]:
    """Rows in pieces, none empty."""
    ends = np.concatenate([[0], np.cumsum(rows.counts)])
    pieces = []
    for start in range(0, len(rows.counts), size):
        part = slice(start, start + size)
        entries = slice(ends[start], ends[start : part.stop + 1][-1])
        query_ids = None if rows.query_ids is None else rows.query_ids[part]
        of_rows = (rows.numbers[part], query_ids, rows.counts[part])
        pieces.append(Rows(*of_rows, rows.indices[entries], rows.values[entries]))
    return pieces


def _matrix(x: Any) -> sparse.csr_array:
    """The features as a matrix of float32 or float64 with sorted indices."""
    x = x if sparse.issparse(x) else np.asarray(x)
    if x.ndim != 2:
        raise ValueError(f"x: [n, features], not {x.shape}")
    matrix = sparse.csr_array(_real("x", x))
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    if not np.isfinite(matrix.data).all():
        raise ValueError("x: finite numbers only")
    return matrix


def _real(name: str, array: Any) -> Any:
    """Numbers as float32 or float64."""
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    if array.dtype in (np.float16, ml_dtypes.bfloat16):
        return array.astype(np.float32)
    raise TypeError(f"{name}: real numbers, not {array.dtype}")


def _heads(labels: np.ndarray, ids: np.ndarray | None) -> list[str]:
    """What each line begins with."""
    heads = shortest(labels)
    if ids is None:
        return heads
    return [f"{head} qid:{i}" for head, i in zip(heads, ids.tolist(), strict=True)]
