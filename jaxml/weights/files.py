"""Weights of a network from a file, and into one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flax import linen as nn

from jaxml.errors import InputError
from jaxml.types import PyTree
from jaxml.weights import convert, read_weights, safetensors_file
from jaxml.weights.names import naming_of, native

LIBRARIES = {"keras": "Keras", "torch": "torchvision and timm", "native": "our own"}


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
    """The variables of a network from a file, in our own naming or in that of its library.

    Args:
      path: a safetensors, `.pth`, `.h5` or `.keras` file.
      network: the model's name in `jaxml.models.MODELS`.
      model: the network.
      template: its variables, arrays or `jax.ShapeDtypeStruct`.
      input_shape: of one example: `(height, width, channels)`.
      entry: of the file, see `read_weights`.
      new_head: whether the heads are left as they are in the template.

    Returns:
      `{"params": ..., "batch_stats": ...}` of NumPy arrays.

    Raises:
      InputError: the file cannot be read, or does not hold each tensor of the network and no other.
    """
    tensors, layout = read_weights(path, entry)
    kind, naming = naming_of(network)
    if all(name.startswith(("params.", "batch_stats.")) for name in tensors):
        kind, naming, layout = "native", native, "native"
    elif not kind.startswith(layout):
        theirs, ours = LIBRARIES[layout], LIBRARIES[kind.split("_")[0]]
        raise InputError(f"{path}: has the names of {theirs}, and {network} those of {ours}")
    order = convert.call_order(model, (1, *input_shape))
    options = {"order": order, "new_head": new_head, "source": str(path)}
    return convert.from_library(tensors, template, kind, naming, **options)


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
    """Writes the variables of a network as a safetensors file.

    Args:
      path: of the file.
      variables: `{"params": ..., "batch_stats": ...}`.
      network: the model's name in `jaxml.models.MODELS`.
      model: the network.
      input_shape: of one example.
      metadata: strings that go into the header of the file.
      names: "native", or "library" for those of torchvision, timm or Keras.

    Raises:
      InputError: no library has the network, or the file cannot be written.
    """
    check_names(names, network)
    kind, naming = ("native", native) if names == "native" else naming_of(network)
    order = convert.call_order(model, (1, *input_shape))
    safetensors_file.write(path, convert.to_library(variables, kind, naming, order=order), metadata)


def check_names(names: str, network: str) -> None:
    """Checks that a network can be written with names of a kind, as of `save`.

    Raises:
      InputError: no library has the network.
    """
    if names != "native" and naming_of(network)[0] == "native":
        raise InputError(f"--names: {names} is not allowed, no library has {network}")
