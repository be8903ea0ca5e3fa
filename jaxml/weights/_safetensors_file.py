"""Safetensors files: tensors by name, and metadata."""

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
      The tensors, sorted by name, with the dtypes of the file except that bfloat16 becomes float32;
      and the metadata.

    Raises:
      InputError: the file is missing, truncated or corrupt, or has another format.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "weights.safetensors"
      ...     write(path, {"kernel": np.ones((2, 3), np.float32)}, {"model": "linear"})
      ...     tensors, metadata = read(path)
      >>> tensors["kernel"].shape, metadata
      ((2, 3), {'model': 'linear'})
    """
    first_bytes(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            tensors = {name: widen(file.get_tensor(name)) for name in sorted(file.keys())}
            return tensors, file.metadata() or {}
    except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
        detail = repr(str(error))[1:-1][:200]
        raise InputError(f"{path}: truncated or corrupt safetensors file ({detail})") from None


def write(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file atomically.

    Args:
      path: the file; its folder must exist.
      tensors: arrays of floating point (also bfloat16), integers or booleans, with any strides.
      metadata: strings by name.

    Raises:
      InputError: the file cannot be written; an existing file is left unchanged.
    """
    # The library ignores the strides of an array.
    contiguous = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in tensors.items()}
    try:
        atomic.write(path, save(contiguous, metadata=dict(metadata)))
    except (OSError, safetensors.SafetensorError) as error:
        detail = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be written ({detail})") from None
