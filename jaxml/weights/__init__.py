"""Weights of other libraries' networks in files of theirs."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxml.errors import InputError
from jaxml.weights import keras_file, safetensors_file, torch_file
from jaxml.weights.first_bytes import HDF5, ZIP, first_bytes
from jaxml.weights.prefixes import SETTING, select

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


def read_weights(path: Path, entry: str = "") -> Weights:
    """Reads a file of weights, without torch and Keras and without running anything in it.

    Args:
      path: a safetensors file, a `.pth` or `.pt` of PyTorch, or a `.h5`, `.weights.h5` or `.keras`
        of Keras. The first bytes decide which; where they are of none of these, the ending.
      entry: the dictionary of a PyTorch file that holds the weights, or the prefix of their names
        there or in a safetensors file; empty for the only or the usual one, see `torch_file.read`.

    Returns:
      The tensors and how they are named, without the wrappers of the network, see `prefixes`.

    Raises:
      InputError: the file cannot be read, is cut short or corrupt, of no such format, or
        has no such entry.
    """
    format_ = _format(path)
    if format_ == "keras":
        if entry:
            raise InputError(f"{SETTING}: has to be empty for a file of Keras, got {entry[:100]!r}")
        weights = Weights(keras_file.read(path), "keras")
    elif format_ == "torch":
        weights = Weights(torch_file.read(path, entry), "torch")
    else:
        tensors = select(safetensors_file.read(path)[0], entry, str(path))
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
