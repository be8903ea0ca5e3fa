"""Loads the variables of a network from a file and saves them to one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flax import linen as nn

from jaxml.errors import InputError
from jaxml.types import PyTree
from jaxml.weights import _convert, _safetensors_file
from jaxml.weights._names import naming_of, native
from jaxml.weights._read import read

_LIBRARIES = {"keras": "Keras", "torch": "torchvision and timm", "native": "jaxml"}


def load(
    path: Path,
    network: str,
    model: nn.Module,
    template: PyTree,
    input_shape: Sequence[int],
    *,
    entry: str = "",
    new_head: bool = False,
) -> dict[str, Any]:
    """Loads the variables of a network from a file.

    The tensors have jaxml's own names or those of the library that has the network.

    Args:
      path: a safetensors, `.pth`, `.pt`, `.h5` or `.keras` file.
      network: the network's name in `jaxml.models.MODELS`.
      model: the network.
      template: its variables, arrays or `jax.ShapeDtypeStruct`.
      input_shape: shape of one example, `(height, width, channels)`.
      entry: part of the file to read, as in `read`.
      new_head: whether the classifiers keep the values of the template.

    Returns:
      `{"params": ..., "batch_stats": ...}` of NumPy arrays.

    Raises:
      InputError: the file cannot be read, or its tensors are not exactly those of the network.
    """
    tensors, layout = read(path, entry)
    kind, naming = naming_of(network)
    if all(name.startswith(("params.", "batch_stats.")) for name in tensors):
        kind, naming, layout = "native", native, "native"
    elif not kind.startswith(layout):
        theirs, ours = _LIBRARIES[layout], _LIBRARIES[kind.split("_")[0]]
        raise InputError(f"{path}: must have the names of {ours} for {network}, got {theirs}")
    order = _convert.call_order(model, (1, *input_shape))
    options = {"order": order, "new_head": new_head, "source": str(path)}
    return _convert.from_library(tensors, template, kind, naming, **options)


def save(
    path: Path,
    variables: PyTree,
    network: str,
    model: nn.Module,
    input_shape: Sequence[int],
    metadata: Mapping[str, str],
    *,
    names: str = "native",
) -> None:
    """Saves the variables of a network as a safetensors file.

    Args:
      path: the file.
      variables: `{"params": ..., "batch_stats": ...}`.
      network: the network's name in `jaxml.models.MODELS`.
      model: the network.
      input_shape: shape of one example.
      metadata: strings for the header of the file.
      names: "native", or "library" for the names of torchvision, timm or Keras.

    Raises:
      InputError: no library has the network, or the file cannot be written.
    """
    check_names(names, network)
    kind, naming = ("native", native) if names == "native" else naming_of(network)
    order = _convert.call_order(model, (1, *input_shape))
    tensors = _convert.to_library(variables, kind, naming, order=order)
    _safetensors_file.write(path, tensors, metadata)


def check_names(names: str, network: str) -> None:
    """Raises InputError unless `save` can write a network with these names."""
    if names != "native" and naming_of(network)[0] == "native":
        raise InputError(f"--names must be native for {network}, which no library has, got {names}")
