"""Weights of other libraries' networks in files of theirs."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxml.errors import InputError
from jaxml.weights import keras_file, safetensors_file, torch_file
from jaxml.weights.first_bytes import HDF5, ZIP, first_bytes

__all__ = ["Weights", "read_weights"]


class Weights(NamedTuple):
    """What a file of weights holds.

    Attributes:
      tensors: by the names of the file.
      naming: how they are named and laid out: as in torch (`layer.weight`, kernels OIHW), or as in
        Keras (`layer/kernel`, kernels HWIO).
    """

    tensors: dict[str, np.ndarray]
    naming: Literal["torch", "keras"]


def read_weights(path: Path) -> Weights:
    """Reads a file of weights, without torch and Keras and without running anything in it.

    Args:
      path: a safetensors file, a `.pth` or `.pt` of PyTorch, or a `.h5`, `.weights.h5` or `.keras`
        of Keras. The first bytes decide which; where they are of none of these, the ending.

    Returns:
      The tensors and how they are named.

    Raises:
      InputError: the file cannot be read, is cut short or corrupt, or of no such format.
    """
    format_ = _format(path)
    if format_ == "keras":
        weights = Weights(keras_file.read(path), "keras")
    elif format_ == "torch":
        weights = Weights(torch_file.read(path), "torch")
    else:
        tensors = safetensors_file.read(path)[0]
        # Each name in Keras has a slash, and none in torch.
        weights = Weights(tensors, "keras" if all("/" in name for name in tensors) else "torch")
    for name in weights.tensors:
        if not name.isprintable():
            raise InputError(f"{path}: {name[:100]!r} is no name of a tensor")
    return weights


def _format(path: Path) -> Literal["keras", "torch", "safetensors"]:
    start, ending = first_bytes(path), path.suffix.lower()
    if start.startswith(HDF5) or (start.startswith(ZIP) and ending == ".keras"):
        return "keras"
    # A header of 128 bytes begins as a pickle does, so that what follows it is looked at first.
    if start[8:9] == b"{":
        return "safetensors"
    if start.startswith((ZIP, torch_file.PICKLE)):
        return "torch"
    if ending == ".safetensors":
        return "safetensors"
    if ending in (".pth", ".pt"):
        return "torch"
    if ending in (".h5", ".keras"):
        return "keras"
    raise InputError(
        f"{path}: neither .safetensors, .pth or .pt of PyTorch, nor .h5, .weights.h5 or .keras of "
        f"Keras; it starts with {start[:8].hex()}"
    )
