"""Safetensors files: tensors by name and a few strings about them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import save

from jaxml.errors import InputError
from jaxml.io import atomic
from jaxml.weights._bfloat16 import widen
from jaxml.weights._first_bytes import first_bytes


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads a safetensors file.

    Args:
      path: the file.

    Returns:
      The tensors by name, sorted by name, in the dtypes of the file but for bfloat16, which NumPy
      lacks and which becomes float32; and the metadata.

    Raises:
      InputError: there is no such file, or it is truncated, corrupt or of another format.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "weights.safetensors"
      ...     write(path, {"kernel": np.ones((2, 3), np.float32)}, {"model": "linear"})
      ...     tensors, metadata = read(path)
      >>> tensors["kernel"].shape, metadata
      ((2, 3), {'model': 'linear'})

    Source: the format of the safetensors library, whose header is checked before any tensor is
      made.
    """
    first_bytes(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            tensors = {name: widen(file.get_tensor(name)) for name in sorted(file.keys())}
            return tensors, file.metadata() or {}
    except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
        detail = repr(str(error))[1:-1][:200]
        raise InputError(f"{path}: no whole safetensors file ({detail})") from None


def write(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file at once: whoever reads it sees the old or the new one, whole.

    Args:
      path: the file; its folder must be there.
      tensors: arrays of floating point (bfloat16 too), integers or booleans, of any shape and
        strides.
      metadata: strings by name.

    Raises:
      InputError: the file cannot be written; what was there before is left.
    """
    # The library writes the memory of an array from its first byte on, whatever the strides are.
    contiguous = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in tensors.items()}
    try:
        atomic.write(path, save(contiguous, metadata=dict(metadata)))
    except (OSError, safetensors.SafetensorError) as error:
        detail = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be written ({detail})") from None
