"""Tables that launchers write row by row: CSV, JSON lines, Parquet; and features as NPZ.

A table appears under its name when it is complete.
"""

import contextlib
import csv
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxml.errors import InputError
from jaxml.io.atomic import PARTIAL

Columns = Mapping[str, type]
Write = Callable[[Mapping[str, Any]], None]
ROWS_PER_GROUP = 4096  # of a Parquet file, which are kept in memory


@contextlib.contextmanager
def write_csv(path: Path, columns: Columns) -> Iterator[Write]:
    """Yields a function that writes a row; columns that it lacks are empty."""
    with _completed(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), restval="")
        writer.writeheader()
        yield lambda row: writer.writerow(_encodable(row))


@contextlib.contextmanager
def write_jsonl(path: Path, columns: Columns) -> Iterator[Write]:
    """Yields a function that writes a row as a JSON object, without the columns that it lacks."""
    del columns
    with _completed(path) as partial, partial.open("w", encoding="utf-8") as file:
        yield lambda row: print(json.dumps(_encodable(row), ensure_ascii=False), file=file)


@contextlib.contextmanager
def write_parquet(path: Path, columns: Columns) -> Iterator[Write]:
    """Yields a function that writes a row; columns that it lacks are null."""
    from jaxml.data._optional import require

    arrow, parquet = (require(name, "pyarrow") for name in ("pyarrow", "pyarrow.parquet"))
    kinds = {str: arrow.string(), float: arrow.float64(), int: arrow.int64()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    rows: list[Mapping[str, Any]] = []
    with _completed(path) as partial, parquet.ParquetWriter(str(partial), schema) as writer:

        def flush() -> None:
            writer.write_table(arrow.Table.from_pylist(rows, schema))
            rows.clear()

        def write(row: Mapping[str, Any]) -> None:
            rows.append(_encodable(row))
            if len(rows) == ROWS_PER_GROUP:
                flush()

        yield write
        flush()


WRITERS = {".csv": write_csv, ".jsonl": write_jsonl, ".parquet": write_parquet}


def write_features(path: Path, predictions: Iterable[Any]) -> None:
    """Writes features as an NPZ file, without keeping them in memory.

    Args:
      path: the file.
      predictions: see `jaxml.training.predict`, with a tap.
    """
    names: list[str] = []
    damaged: dict[str, str] = {}
    size, raw = 0, path.with_name(f"{path.name}.features{PARTIAL}")
    try:
        with raw.open("wb") as file:
            for one in predictions:
                if one.error:
                    damaged[one.name] = one.error
                else:
                    names.append(one.name)
                    size = len(one.values)
                    file.write(np.asarray(one.values, "<f4").tobytes())
        with _completed(path) as partial, zipfile.ZipFile(partial, "w") as archive:
            arrays = {"images": names, "damaged": list(damaged), "errors": list(damaged.values())}
            for name, words in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asarray(words, np.str_))
            with (
                archive.open("features.npy", "w", force_zip64=True) as member,
                raw.open("rb") as file,
            ):
                header = {"descr": "<f4", "fortran_order": False, "shape": (len(names), size)}
                np.lib.format.write_array_header_1_0(member, header)
                _copy(file, member)
    finally:
        raw.unlink(missing_ok=True)


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while block := source.read(2**20):
        target.write(block)


@contextlib.contextmanager
def _completed(path: Path) -> Iterator[Path]:
    """Yields the path of a partial file, which replaces the file at the end.

    Raises:
      InputError: the file cannot be written; an existing one is unchanged.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        partial.unlink(missing_ok=True)


def _encodable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Escapes characters that have no encoding, as in file names of another encoding."""
    return {
        name: value.encode("utf-8", "backslashreplace").decode()
        if isinstance(value, str)
        else value
        for name, value in row.items()
    }
