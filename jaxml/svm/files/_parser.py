"""Parser of libsvm's rows: leading numbers, then `index:value` for each non-zero entry.

A row of a data file has one leading number, the label; a row of a model has its coefficients.
Blocks of rows are parsed by array operations. If that fails, the lines are parsed again one by one
to name the first invalid one.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

from jaxml.errors import InputError
from jaxml.svm.files._compression import whole_lines

LARGEST_INDEX = 2**31 - 1

_COMMENT = re.compile(rb"#[^\n]*")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MOST_DIGITS = 15  # integers of so many digits are exact in float64
_INDEX = re.compile(rb"\d{1,%d}" % _MOST_DIGITS)

_SEPARATOR, _DIGIT, _PART_OF_NUMBER, _ELSE = range(4)
_KIND = np.full(256, _ELSE, np.uint8)
_KIND[list(b" \t\r\v\f\n:")] = _SEPARATOR
_KIND[list(b"0123456789")] = _DIGIT
_KIND[list(b"+-.eE")] = _PART_OF_NUMBER


class Rows(NamedTuple):
    """Parsed rows, with the indices of the file."""

    numbers: np.ndarray  # float64 `[rows, numbers]`: the leading ones
    query_ids: np.ndarray | None  # int64 `[rows]`
    counts: np.ndarray  # int64 `[rows]`: the number of entries
    indices: np.ndarray  # int32 `[entries]`, increasing within each row
    values: np.ndarray  # float64 `[entries]`, finite


@dataclass(frozen=True)
class Grammar:
    """Rules of a valid row.

    Attributes:
      numbers: number of leading numbers.
      name: name of a leading number in messages.
      lowest: smallest allowed index.
      highest: largest allowed index; -1 if rows have no entries.
      query_ids: whether rows have a `qid:`; None if the first row decides.
      dtype: dtype in which values must be finite.
      ended: whether the last row must have a line break.
    """

    numbers: int = 1
    name: str = "label"
    lowest: int = 0
    highest: int = LARGEST_INDEX
    query_ids: bool | None = None
    dtype: type[np.floating] = np.float64
    ended: bool = False


def read_rows(file: BufferedIOBase, path: Path, grammar: Grammar, line: int = 1) -> Iterator[Rows]:
    """Reads the rest of a file, from the given line on, in blocks of at least one row.

    The `InputError` for an invalid row names file, line and token.
    """
    for text in whole_lines(file, path, ended=grammar.ended):
        try:
            rows = _parse(text, grammar)
        except ValueError:
            raise _error(text, grammar, path, line) from None
        if len(rows.counts):
            yield rows
            grammar = replace(grammar, query_ids=rows.query_ids is not None)
        line += text.count(b"\n")


def read_all(file: BufferedIOBase, path: Path, grammar: Grammar, line: int = 1) -> Rows:
    """Reads the rest of a file, which may be empty, as one block; see `read_rows`."""
    none = np.zeros(0, np.int64)
    empty = Rows(np.zeros((0, grammar.numbers)), None, none, none.astype(np.int32), np.zeros(0))
    return join(list(read_rows(file, path, grammar, line)) or [empty])


def join(blocks: list[Rows]) -> Rows:
    """Concatenates blocks of rows."""
    if len(blocks) == 1:
        return blocks[0]
    numbers, query_ids, counts, indices, values = zip(*blocks, strict=True)
    return Rows(
        np.concatenate(numbers),
        None if query_ids[0] is None else np.concatenate(query_ids),
        *map(np.concatenate, (counts, indices, values)),
    )


def to_matrix(
    rows: Rows,
    first: int,
    num_features: int | None = None,
    dtype: type[np.floating] = np.float64,
) -> sparse.csr_array:
    """Returns the entries of rows as a `[rows, num_features]` matrix.

    The first feature has index `first` in the file; by default the largest index is the last one.
    """
    indices = rows.indices - first
    ends = np.concatenate([[0], np.cumsum(rows.counts)])
    if len(indices) <= LARGEST_INDEX:
        ends = ends.astype(indices.dtype)  # otherwise SciPy makes both int64
    width = int(indices.max(initial=-1)) + 1 if num_features is None else num_features
    entries = (rows.values.astype(dtype), indices, ends)
    return sparse.csr_array(entries, shape=(len(rows.counts), width))


def is_finite(token: bytes, dtype: type[np.floating] = np.float64) -> bool:
    """Returns whether a token is a decimal number that is finite in a dtype."""
    with np.errstate(over="ignore"):
        return bool(_NUMBER.fullmatch(token) and np.isfinite(dtype(float(token))))


def _parse(text: bytes, grammar: Grammar) -> Rows:
    """Parses whole lines; raises ValueError if one of them is invalid."""
    text = _COMMENT.sub(b"", text) if b"#" in text else text
    with_query = grammar.query_ids is not False and b"qid:" in text
    # A query id is parsed as the value of a first index.
    fields = _split(text.replace(b"qid:", b"000:") if with_query else text)
    counts = _count_entries(fields, grammar.numbers)
    values, is_digits = _parse_numbers(fields)
    index = np.flatnonzero(fields.is_index)
    _require(is_digits[index].all())
    query_ids = None
    if with_query:
        first = fields.first + grammar.numbers
        queries = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("q")) + 1
        _require((counts > 0).all() and np.array_equal(fields.starts[first], queries))
        _require(is_digits[first + 1].all())
        query_ids = values[first + 1].astype(np.int64)
        index = np.delete(index, np.cumsum(counts) - counts)
        counts = counts - 1
    _require(with_query or not grammar.query_ids or not len(counts))
    leading = values[fields.first[:, None] + np.arange(grammar.numbers)]
    rows = Rows(leading, query_ids, counts, values[index].astype(np.int64), values[index + 1])
    _require(_in_bounds(rows, grammar))
    return rows._replace(indices=rows.indices.astype(np.int32))


def _require(condition: bool | np.bool_) -> None:
    if not condition:
        raise ValueError


class _Fields(NamedTuple):
    """The bytes of a text between two line breaks, and its tokens between separators."""

    raw: np.ndarray
    kind: np.ndarray  # of each byte
    starts: np.ndarray
    ends: np.ndarray
    is_index: np.ndarray  # whether a colon follows
    first: np.ndarray  # the first field of each line that has one


def _split(text: bytes) -> _Fields:
    raw = np.frombuffer(b"\n%b\n" % text, np.uint8)
    kind = _KIND[raw]
    inside = kind != _SEPARATOR
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    lines = np.append(np.searchsorted(starts, np.flatnonzero(raw == ord("\n"))), len(starts))
    return _Fields(
        raw=raw,
        kind=kind,
        starts=starts,
        ends=ends,
        is_index=raw[ends] == ord(":"),
        first=lines[:-1][np.diff(lines) > 0],
    )


def _count_entries(fields: _Fields, numbers: int) -> np.ndarray:
    """Counts the entries of each row, which must be numbers and then entries."""
    index = np.flatnonzero(fields.is_index)
    per_row = np.diff(fields.first, append=len(fields.starts)) - numbers
    counts = per_row // 2
    # Each field is a leading number, an index, or the value directly after an index and its colon.
    # Counting them shows that they are in this order.
    _require(
        (counts >= 0).all()
        and (per_row % 2 == 0).all()
        and counts.sum() == len(index) == np.count_nonzero(fields.raw == ord(":"))
        and not fields.is_index[-1:].any()
        and not fields.is_index[index + 1].any()
        and (fields.starts[index + 1] == fields.ends[index] + 1).all()
        and not fields.is_index[fields.first[:, None] + np.arange(numbers)].any()
    )
    return counts


def _parse_numbers(fields: _Fields) -> tuple[np.ndarray, np.ndarray]:
    """Returns the value of each field, and whether it consists of digits only."""
    _require(fields.kind.max() != _ELSE)
    lengths = fields.ends - fields.starts
    digits = lengths <= _MOST_DIGITS
    others = np.flatnonzero(fields.kind == _PART_OF_NUMBER)
    digits[np.searchsorted(fields.starts, others, "right") - 1] = False
    values = np.empty(len(lengths))
    values[digits] = _parse_digits(fields.raw, fields.starts[digits], lengths[digits])
    if not digits.all():
        decimals = _parse_decimals(fields, np.repeat(~digits, lengths))
        _require(len(decimals) == np.count_nonzero(~digits))
        values[~digits] = decimals
    return values, digits


def _parse_digits(raw: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Parses non-negative integers, one digit of all of them at a time."""
    values = raw[starts].astype(np.int64) - ord("0")
    longer = np.flatnonzero(lengths > 1)
    for place in range(1, int(lengths.max(initial=0))):
        values[longer] = 10 * values[longer] + raw[starts[longer] + place] - ord("0")
        longer = longer[lengths[longer] > place + 1]
    return values


def _parse_decimals(fields: _Fields, chosen: np.ndarray) -> np.ndarray:
    """Parses the fields whose bytes are chosen with NumPy's text parser."""
    text = np.full_like(fields.raw, ord(" "))
    places = np.flatnonzero(fields.kind != _SEPARATOR)[chosen]
    text[places] = fields.raw[places]
    with warnings.catch_warnings():  # older releases of NumPy stop at an invalid number, and warn
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text.tobytes(), sep=" ")
        except DeprecationWarning:
            raise ValueError from None


def _in_bounds(rows: Rows, grammar: Grammar) -> bool:
    """Returns whether indices increase within their bounds and numbers are finite."""
    growing, ends = np.diff(rows.indices) > 0, np.cumsum(rows.counts)
    with np.errstate(over="ignore"):
        values = rows.values.astype(grammar.dtype)
    growing[ends[(ends > 0) & (ends < len(rows.indices))] - 1] = True
    return bool(
        growing.all()
        and grammar.lowest <= rows.indices.min(initial=LARGEST_INDEX)
        and rows.indices.max(initial=-1) <= grammar.highest
        and np.isfinite(values).all()
        and np.isfinite(rows.numbers).all()
    )


def _error(text: bytes, grammar: Grammar, path: Path, line: int) -> Exception:
    """Returns an error for the first invalid line of a text that `_parse` has rejected."""
    for number, content in enumerate(text.split(b"\n"), line):
        tokens = _COMMENT.sub(b"", content).split()
        if not tokens:
            continue
        if problem := _problem(tokens, grammar):
            return InputError(f"{path}, line {number}: {problem}")
        grammar = replace(grammar, query_ids=_has_query(tokens[grammar.numbers :]))
    return AssertionError(f"{path}: accepted line by line, but not as a block")


def _problem(tokens: list[bytes], grammar: Grammar) -> str | None:
    """Describes the first error in the tokens of a line."""
    numbers, entries = tokens[: grammar.numbers], tokens[grammar.numbers :]
    for token in numbers:
        if b":" in token:
            return f"a {grammar.name} is missing before {_show(token)}"
        if not is_finite(token):
            return f"{grammar.name} must be a finite number, got {_show(token)}"
    if len(numbers) < grammar.numbers:
        return f"line must have {grammar.numbers} {grammar.name}s, got {len(numbers)}"
    with_query = _has_query(entries)
    if grammar.query_ids not in (None, with_query):
        return f"{'no' if grammar.query_ids else 'a'} qid, unlike the other lines"
    if with_query and not _INDEX.fullmatch(entries[0][4:]):
        return f"qid must be an integer of at most {_MOST_DIGITS} digits, got {_show(entries[0])}"
    return _problem_of_entries(entries[with_query:], grammar)


def _problem_of_entries(entries: list[bytes], grammar: Grammar) -> str | None:
    previous = -1
    for token in entries:
        if grammar.highest < 0:
            count = f"{grammar.numbers} {grammar.name}{'s' * (grammar.numbers != 1)}"
            return f"line must end after {count}, got {_show(token)}"
        digits, colon, value = token.partition(b":")
        if not (colon and _INDEX.fullmatch(digits)):
            return f"feature must be index:value, got {_show(token)}"
        index = int(digits)
        if index < grammar.lowest:
            return f"index must be >= {grammar.lowest}, got {_show(token)}"
        if index > grammar.highest:
            return f"index must be <= {grammar.highest}, got {_show(token)}"
        if index <= previous:
            return f"indices must increase, got {_show(token)} after index {previous}"
        if not is_finite(value, grammar.dtype):
            return f"value must be a finite {grammar.dtype.__name__}, got {_show(token)}"
        previous = index
    return None


def _has_query(entries: list[bytes]) -> bool:
    return bool(entries) and entries[0].startswith(b"qid:")


def _show(token: bytes) -> str:
    """Formats a token for a message: printable and abbreviated."""
    text = ascii(token.decode("latin-1"))
    return text if len(text) <= 50 else f"{text[:46]}...{text[0]}"
