"""Reads a file of weights of any supported format."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxml.errors import InputError
from jaxml.weights import _keras_file, _safetensors_file, _torch_file
from jaxml.weights._first_bytes import HDF5, ZIP, first_bytes
from jaxml.weights._prefixes import SETTING, select


class Weights(NamedTuple):
    """Contents of a file of weights.

    Attributes:
      tensors: tensors by their names in the file.
      naming: convention of the names and layouts: "torch" (`layer.weight`, kernels OIHW) or "keras"
        (`layer/kernel`, kernels HWIO).
    """

    tensors: dict[str, np.ndarray]
    naming: Literal["torch", "keras"]


def read(path: Path, entry: str = "") -> Weights:
    """Reads a file of weights without torch or Keras, and without executing anything in it.

    Args:
      path: a safetensors file, a `.pth` or `.pt` file of PyTorch, or a `.h5`, `.weights.h5` or
        `.keras` file of Keras. The first bytes decide the format, or the suffix if they are
        inconclusive.
      entry: the state dict to read from a PyTorch file, or a prefix of tensor names in a PyTorch or
        safetensors file. Empty reads the only state dict, or the one that is named as in
        training scripts ("state_dict", "model_state_dict" or "model").

    Returns:
      The tensors, without prefixes of wrappers such as `DataParallel`, and their naming.

    Raises:
      InputError: the file cannot be read, is truncated or corrupt, has another format, or lacks the
        entry.
    """
    format_ = _format(path)
    if format_ == "keras":
        if entry:
            raise InputError(f"{SETTING} must be unset for a Keras file, got {entry[:100]!r}")
        weights = Weights(_keras_file.read(path), "keras")
    elif format_ == "torch":
        weights = Weights(_torch_file.read(path, entry), "torch")
    else:
        tensors = select(_safetensors_file.read(path)[0], entry, str(path))
        # Every name in Keras has a slash; names in torch have none.
        weights = Weights(tensors, "keras" if all("/" in name for name in tensors) else "torch")
    for name in weights.tensors:
        if not name.isprintable():
            raise InputError(f"{path}: the tensor name {name[:100]!r} is not printable")
    return weights


def _format(path: Path) -> Literal["keras", "torch", "safetensors"]:
    start, suffix = first_bytes(path), path.suffix.lower()
    if start.startswith(HDF5) or (start.startswith(ZIP) and suffix == ".keras"):
        return "keras"
    # Checked before pickles, because a header of 128 bytes starts with the first byte of a pickle.
    if start[8:9] == b"{":
        return "safetensors"
    if start.startswith((ZIP, _torch_file.PICKLE)):
        return "torch"
    if suffix == ".safetensors":
        return "safetensors"
    if suffix in (".pth", ".pt"):
        return "torch"
    if suffix in (".h5", ".keras"):
        return "keras"
    raise InputError(
        f"{path}: must be a safetensors, PyTorch (.pth, .pt) or Keras (.h5, .weights.h5, .keras) "
        f"file, but starts with {start[:8].hex()}"
    )
