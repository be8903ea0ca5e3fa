"""The file of a checkpoint: a safetensors file with a description and a digest in its header.

If several processes hold different parts of the state, the file has the part of process 0, and the
names and digests of the files of the others (see `_checkpoint_parts`). It is written last, so that
a checkpoint exists only once all of its parts are whole.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from jaxml.errors import InputError, one_line
from jaxml.training import _checkpoint_parts
from jaxml.training.digest import sha256


class Header(NamedTuple):
    """The description stored with a state.

    Attributes:
      notes: JSON values that belong to the state.
      metrics: metrics of the evaluation at this step, if there was one.
    """

    notes: dict[str, Any]
    metrics: dict[str, Any] | None


def encode(
    arrays: Mapping[str, np.ndarray], header: Header, parts: _checkpoint_parts.Parts | None = None
) -> bytes:
    """Returns the content of a checkpoint file.

    Args:
      arrays: the arrays by their path in the state, or the shards of one process.
      header: the description.
      parts: the other files of the checkpoint, if there are any.
    """
    text = json.dumps(header._asdict())
    metadata = {"header": text, "sha256": _digest(text, arrays)}
    if parts is not None:
        metadata["parts"] = json.dumps(parts._asdict())
    return safetensors.save(dict(arrays), metadata)


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a checkpoint, with those of its other files, and verifies the digests.

    Raises:
      InputError: the file is corrupt.
      FileNotFoundError: the file does not exist.
    """
    try:
        arrays, metadata = _load(path)
        if "parts" in metadata:
            parts = _checkpoint_parts.Parts(**json.loads(metadata["parts"]))
            arrays = _checkpoint_parts.join(arrays | _read_parts(path, parts), parts)
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _corrupt(path, error) from None
    return arrays


def part_digest(path: Path, attempt: str) -> str | None:
    """Returns the digest of a whole part of this attempt to save; None if there is none yet."""
    try:
        if read_header(path).notes["attempt"] != attempt:
            return None
        return _load(path)[1]["sha256"]
    except (InputError, OSError, SafetensorError, ValueError, KeyError):
        return None


def _load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays and the metadata of one file; raises ValueError if its digest differs."""
    content = path.read_bytes()  # in one call, because a run may remove the file
    arrays = safetensors.load(content)
    metadata = _metadata(content)
    if metadata["sha256"] != _digest(metadata["header"], arrays):
        raise ValueError("its digest does not match")
    return arrays, metadata


def _read_parts(path: Path, parts: _checkpoint_parts.Parts) -> dict[str, np.ndarray]:
    arrays = {}
    for name, digest in parts.files.items():
        try:
            found, metadata = _load(path.with_name(name))
        except FileNotFoundError:
            if path.exists():  # otherwise, a run removed the whole checkpoint in the meantime
                raise ValueError(f"its part {name} is missing") from None
            raise
        if metadata["sha256"] != digest:
            raise ValueError(f"its part {name} belongs to another checkpoint")
        arrays |= found
    return arrays


def read_header(path: Path) -> Header:
    """Reads the description in a checkpoint file.

    Raises:
      InputError: the file is corrupt.
      FileNotFoundError: the file does not exist.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            start += file.read(min(_length(start), path.stat().st_size))
        metadata = _metadata(start)
        return Header(**json.loads(metadata["header"]))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _corrupt(path, error) from None


def damage(path: Path) -> str:
    """Returns a description of the damage to a checkpoint file, empty if it is whole."""
    try:
        read(path)
        read_header(path)
    except (InputError, OSError) as error:
        return str(error).removeprefix(f"{path}: ")
    return ""


def _corrupt(path: Path, error: Exception) -> InputError:
    reason = one_line(error, 200) or type(error).__name__
    return InputError(f"{path}: is corrupt ({reason})")


def _length(content: bytes) -> int:
    """Returns the length of the JSON that follows the first 8 bytes of a safetensors file."""
    return int.from_bytes(content[:8], "little")


def _metadata(content: bytes) -> dict[str, str]:
    return json.loads(content[8 : 8 + _length(content)])["__metadata__"]


def _digest(header: str, arrays: Mapping[str, np.ndarray]) -> str:
    return hashlib.sha256(f"{header}\n{sha256(dict(arrays))}".encode()).hexdigest()
