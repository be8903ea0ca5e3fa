"""Data sets in libsvm's text format.

Each line has a label and the non-zero features, `-1 3:1 11:0.5 # a comment`, with an optional query
id after the label, `2 qid:7 3:1 11:0.5`.

References: the README of libsvm, https://www.csie.ntu.edu.tw/~cjlin/libsvm; SVM-light, which adds
comments and `qid`.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from jaxml.errors import InputError
from jaxml.svm.files._compression import open_file, write_file
from jaxml.svm.files._parser import LARGEST_INDEX, Grammar, Rows, join, read_rows, to_matrix
from jaxml.svm.files._text import format_rows, shortest

_BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples with sparse features.

    Attributes:
      x: `[n, features]`, float32 or float64, with sorted indices.
      labels: float64 `[n]` classes or real targets.
      query_ids: int64 `[n]`, or None.
      zero_based: whether the first feature has index 0 in the file.
    """

    x: sparse.csr_array
    labels: np.ndarray
    query_ids: np.ndarray | None
    zero_based: bool


@dataclass(frozen=True)
class Extent:
    """Size of a file.

    Attributes:
      num_features: the largest index, counted from 1.
      entries: number of stored features.
      zero_based: whether the first feature has index 0.
      query_ids: whether examples have a query id.
    """

    rows: int
    num_features: int
    entries: int
    zero_based: bool
    query_ids: bool


def read_examples(
    path: Path,
    *,
    num_features: int | None = None,
    zero_based: bool | None = None,
    query_id: bool = False,
    dtype: type[np.floating] = np.float64,
) -> Examples:
    r"""Reads a data set.

    The result is that of scikit-learn's `load_svmlight_file`, which also accepts infinity, NaN and
    a `qid` in some lines only.

    Args:
      path: the file.
      num_features: number of features; None for as many as the largest index needs. A test set
        needs the `num_features` and `zero_based` of its training set.
      zero_based: whether the first feature has index 0 (True) or 1 (False); None for 0 only if that
        index occurs.
      query_id: whether to return the query ids.
      dtype: float32 or float64, of the features.

    Raises:
      InputError: the file cannot be read or has no examples, the query ids are missing, or a line
        is not a label, an optional `qid`, and finite features of increasing indices in range.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "train"
      ...     _ = path.write_text("+1 1:0.5 3:2 # first\n-1 2:1\n")
      ...     examples = read_examples(path)
      >>> examples.labels
      array([ 1., -1.])
      >>> examples.x.toarray()
      array([[0.5, 0. , 2. ],
             [0. , 1. , 0. ]])
    """
    source = _Source(path, num_features, zero_based, query_id, dtype)
    rows = join(list(source.blocks()))
    return source.settled(*_index_range(rows)).examples(rows)


def read_example_blocks(
    path: Path,
    rows: int,
    *,
    num_features: int | None = None,
    zero_based: bool | None = None,
    query_id: bool = False,
    dtype: type[np.floating] = np.float64,
) -> Iterator[Examples]:
    r"""Reads a data set in blocks of `rows` examples, holding one block in memory.

    All blocks have equally many features, and the last may have fewer examples. If `num_features`
    or `zero_based` is None, `scan_examples` reads the file first. The other arguments and errors
    are those of `read_examples`.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "train"
      ...     _ = path.write_text("+1 1:0.5 3:2\n-1 2:1\n+1 1:4\n")
      ...     scan_examples(path).rows, [b.x.shape for b in read_example_blocks(path, 2)]
      (3, [(2, 3), (1, 3)])
    """
    if rows < 1:
        raise ValueError(f"`rows` must be >= 1, got {rows}")
    source = _Source(path, num_features, zero_based, query_id, dtype)
    if num_features is None or zero_based is None:
        extent = scan_examples(path, num_features=num_features, zero_based=zero_based)
        source = replace(source, num_features=extent.num_features, zero_based=extent.zero_based)
    return map(source.examples, _rebatch(source.blocks(), rows))


def scan_examples(
    path: Path, *, num_features: int | None = None, zero_based: bool | None = None
) -> Extent:
    r"""Validates a data set and returns its size, holding one block in memory.

    Arguments and errors are those of `read_examples`.
    """
    source = _Source(path, num_features, zero_based)
    examples, entries, lowest, largest, query_ids = 0, 0, LARGEST_INDEX, -1, False
    for block in source.blocks():
        examples += len(block.counts)
        entries += len(block.indices)
        lowest, largest = _index_range(block, lowest, largest)
        query_ids = block.query_ids is not None
    base = source.settled(lowest, largest).zero_based is True
    width = max(largest + base, 0) if num_features is None else num_features
    return Extent(examples, width, entries, base, query_ids)


def write_examples(
    path: Path,
    x: ArrayLike | sparse.sparray | sparse.spmatrix,
    y: ArrayLike,
    *,
    zero_based: bool = False,
    query_ids: ArrayLike | None = None,
    comment: str = "",
) -> None:
    r"""Writes a data set.

    Numbers have the fewest digits that identify them in their dtype, so `read_examples` with the
    dtype of `x` restores every bit.

    Args:
      path: the file.
      x: `[n, features]`, dense or sparse, finite. Zeros of a dense array are omitted; all stored
        entries of a sparse array are written.
      y: finite labels or targets `[n]`.
      zero_based: whether the first feature gets index 0, which few programs read, or 1.
      query_ids: `[n]` integers from 0 to 10^15 - 1, or None.
      comment: lines to write before the examples, each after a `#`. libsvm's programs do not read
        comments.

    Raises:
      InputError: the file cannot be written; an existing one is left unchanged.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "train"
      ...     write_examples(path, [[0.5, 0.0, 2.0], [0.0, 1.0, 0.0]], [1, -1])
      ...     path.read_text()
      '1 1:0.5 3:2\n-1 2:1\n'
    """
    matrix = _to_matrix(x)
    count, _ = cast("tuple[int, int]", matrix.shape)
    labels = _real("y", np.asarray(y))
    ids = None if query_ids is None else np.asarray(query_ids)
    for name, array in (("y", labels), ("query_ids", ids)):
        if array is not None and array.shape != (count,):
            raise ValueError(
                f"`{name}` must have shape ({count},) for x {matrix.shape}, got {array.shape}"
            )
    if not np.isfinite(labels).all():
        raise ValueError("`y` must be finite")
    if ids is not None and not (ids.dtype.kind in "iu" and ((ids >= 0) & (ids < 10**15)).all()):
        raise ValueError("`query_ids` must be integers from 0 to 10^15 - 1")
    heads = shortest(labels)
    if ids is not None:
        heads = [f"{head} qid:{i}" for head, i in zip(heads, ids.tolist(), strict=True)]
    comments = (f"# {line}\n".encode() for line in comment.splitlines())
    blocks = (slice(i, i + _BLOCK_ROWS) for i in range(0, count, _BLOCK_ROWS))
    text = (format_rows(heads[block], matrix[block], not zero_based) for block in blocks)
    write_file(path, itertools.chain(comments, text))


@dataclass(frozen=True)
class _Source:
    """A file, with the arguments of `read_examples`."""

    path: Path
    num_features: int | None
    zero_based: bool | None
    query_id: bool = False
    dtype: type[np.floating] = np.float64

    def __post_init__(self) -> None:
        if self.num_features is not None and self.num_features < 1:
            raise ValueError(f"`num_features` must be >= 1, got {self.num_features}")
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"`dtype` must be float32 or float64, got {self.dtype}")

    def blocks(self) -> Iterator[Rows]:
        """Reads at least one block of rows, with as many checks as the arguments allow."""
        highest = LARGEST_INDEX
        if self.num_features is not None:
            highest = min(highest, self.num_features - bool(self.zero_based))
        lowest = int(self.zero_based is False)
        grammar = Grammar(lowest=lowest, highest=highest, dtype=self.dtype)
        empty = True
        with open_file(self.path) as file:
            for rows in read_rows(file, self.path, grammar):
                empty = False
                yield rows
        if empty:
            raise InputError(f"{self.path}: there must be at least one example")

    def settled(self, lowest: int, largest: int) -> "_Source":
        """Sets whether the file is zero-based, given the range of its indices."""
        if self.zero_based is not None:
            return self
        found = replace(self, zero_based=lowest == 0)
        if lowest == 0 and self.num_features == largest:
            # The largest index is out of range for a zero-based file; reading again names the line.
            for _ in found.blocks():
                pass
        return found

    def examples(self, rows: Rows) -> Examples:
        """Returns the examples of rows of a settled source."""
        if self.query_id and rows.query_ids is None:
            raise InputError(f"{self.path}: lines must have a qid for query_id=True")
        zero_based = self.zero_based is True
        x = to_matrix(rows, int(not zero_based), self.num_features, self.dtype)
        query_ids = rows.query_ids if self.query_id else None
        return Examples(x, rows.numbers[:, 0], query_ids, zero_based)


def _index_range(rows: Rows, lowest: int = LARGEST_INDEX, largest: int = -1) -> tuple[int, int]:
    """Returns the lowest and the largest index, of these rows and of those before them."""
    return int(rows.indices.min(initial=lowest)), int(rows.indices.max(initial=largest))


def _rebatch(blocks: Iterator[Rows], rows: int) -> Iterator[Rows]:
    """Regroups rows into blocks of another size, of which the last may be smaller."""
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
    """Splits rows into non-empty pieces of at most `size` rows."""
    ends = np.concatenate([[0], np.cumsum(rows.counts)])
    pieces = []
    for start in range(0, len(rows.counts), size):
        part = slice(start, start + size)
        entries = slice(ends[start], ends[start : part.stop + 1][-1])
        query_ids = None if rows.query_ids is None else rows.query_ids[part]
        heads = (rows.numbers[part], query_ids, rows.counts[part])
        pieces.append(Rows(*heads, rows.indices[entries], rows.values[entries]))
    return pieces


def _to_matrix(x: Any) -> sparse.csr_array:
    """Returns features as a float32 or float64 matrix with sorted indices."""
    x = x if sparse.issparse(x) else np.asarray(x)
    if x.ndim != 2:
        raise ValueError(f"`x` must have shape [n, features], got {x.shape}")
    matrix = sparse.csr_array(_real("x", x))
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    if not np.isfinite(matrix.data).all():
        raise ValueError("`x` must be finite")
    return matrix


def _real(name: str, array: Any) -> Any:
    """Returns real numbers as float32 or float64."""
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    if array.dtype in (np.float16, ml_dtypes.bfloat16):
        return array.astype(np.float32)
    raise TypeError(f"`{name}` must be real numbers, got {array.dtype}")
