"""Conversion between the variables of a network and the tensors of another library.

Tensors have the names of the library's files: `layer1.0.conv1.weight` in torch,
`conv2_block1_1_conv/kernel` in Keras. `_names` has the names of each network's modules, and
`_layout` the layout of a layer's tensors.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import linen as nn

from jaxml.errors import InputError
from jaxml.models import summarize_layers
from jaxml.types import PyTree
from jaxml.weights._keras_numbers import renumbered
from jaxml.weights._layout import HEAD, Entry, counters_of, entries_of, leaves_of, tree_of
from jaxml.weights._prefixes import only_difference

# Maps the paths of the modules that hold arrays ("stage1/block1/conv1"), in call order, to a
# library's names ("layer1.0.conv1").
Naming = Callable[[Sequence[str]], dict[str, str]]


def call_order(model: nn.Module, input_shape: Sequence[int]) -> list[str]:
    """Returns the paths of all modules that hold arrays, in the order of their first calls.

    Args:
      model: a network, called with images and `train`.
      input_shape: `(batch, height, width, channels)`.

    Example:
      >>> from jaxml.models import MODELS
      >>> call_order(MODELS["resnet_tiny"](num_classes=10), (1, 8, 8, 3))[:4]
      ['stem_conv', 'stem_norm', 'stage1/block1/conv1', 'stage1/block1/norm1']
    """
    return [layer.path for layer in summarize_layers(model, input_shape[1:])]


def from_library(
    tensors: Mapping[str, np.ndarray],
    template: PyTree,
    kind: str,
    naming: Naming,
    *,
    order: Sequence[str],
    new_head: bool = False,
    source: str = "weights",
) -> dict[str, Any]:
    """Converts the tensors of a library to the variables of a network.

    Args:
      tensors: tensors by the library's names. Layers that Keras numbered may start at any number.
      template: variables of the network, arrays or `jax.ShapeDtypeStruct`.
      kind: a name in `KINDS`.
      naming: the library's names of the modules.
      order: `call_order` of the network.
      new_head: whether the classifiers, including those of auxiliary heads, keep the values of the
        template. Their tensors are then ignored.
      source: origin of the tensors, for messages.

    Returns:
      `{"params": ..., "batch_stats": ...}` of NumPy arrays with the dtypes of the template.

    Raises:
      InputError: tensors are missing, unexpected, or of the wrong shape or type; the message lists
        the first few of each.
    """
    names = _names(naming, order)
    entries = entries_of(template, kind, names)
    found, called = renumbered(tensors) if kind == "keras" else (dict(tensors), {})
    if new_head:
        new = _heads(entries)
        entries = [entry for entry in entries if entry.module not in new]
        for name in _tensors_of(found, [names[path] for path in new]):
            del found[name]
    missing = [entry for entry in entries if entry.name not in found]
    wrong = [e for e in entries if e.name in found and not e.fits(found[e.name])]
    known = {*(entry.name for entry in entries), *counters_of(entries, kind)}
    unexpected = [name for name in found if name not in known]
    if missing or unexpected or wrong:
        problems = [
            _few("missing", [entry.name for entry in missing]),
            _few("unexpected", [called.get(name, name) for name in unexpected]),
            _few("of the wrong shape or type", [_mismatch(e, found[e.name]) for e in wrong]),
        ]
        hint = _prefix_hint(found, entries, kind) or _hint(missing, unexpected, wrong, names)
        raise InputError(f"{source}: tensors {'; '.join(filter(None, problems))}{hint}")
    values = dict(leaves_of(template))
    for entry in entries:
        values[entry.keys] = entry.to_native(found[entry.name], values[entry.keys].dtype)
    return tree_of(values)


def to_library(
    variables: PyTree, kind: str, naming: Naming, *, order: Sequence[str]
) -> dict[str, np.ndarray]:
    """Converts the variables of a network to the tensors of a library, in call order.

    Args:
      variables: `{"params": ..., "batch_stats": ...}`.
      kind: a name in `KINDS`.
      naming: the library's names of the modules.
      order: `call_order` of the network.

    Example:
      >>> variables = {"params": {"head": {"kernel": np.ones((3, 2)), "bias": np.ones(2)}}}
      >>> tensors = to_library(variables, "torch", lambda paths: {"head": "fc"}, order=["head"])
      >>> {name: tensor.shape for name, tensor in tensors.items()}
      {'fc.weight': (2, 3), 'fc.bias': (2,)}
    """
    entries = entries_of(variables, kind, _names(naming, order))
    values = dict(leaves_of(variables))
    tensors = {entry.name: entry.to_library(values[entry.keys]) for entry in entries}
    return tensors | {name: np.zeros((), np.int64) for name in counters_of(entries, kind)}


def _names(naming: Naming, order: Sequence[str]) -> dict[str, str]:
    """Returns the library's names of the modules, and of the head even if there is none."""
    return naming(order if HEAD in order else [*order, HEAD])


def _is_head(path: str) -> bool:
    """Returns whether a path is that of a classifier, possibly an auxiliary one."""
    return path.rpartition("/")[2] == HEAD


def _heads(entries: Iterable[Entry]) -> set[str]:
    """Returns the paths of the classifiers, including the main one even if there is none."""
    return {entry.module for entry in entries if _is_head(entry.module)} | {HEAD}


def _tensors_of(tensors: Iterable[str], modules: Iterable[str]) -> list[str]:
    """Returns the names of the tensors that belong to the library's modules."""
    prefixes = tuple(module + mark for module in modules for mark in "./")
    return [name for name in tensors if _without_kind(name).startswith(prefixes)]


def _without_kind(tensor: str) -> str:
    """Removes the collection from a native name."""
    return tensor.removeprefix("params.").removeprefix("batch_stats.")


def _mismatch(entry: Entry, tensor: np.ndarray) -> str:
    if tensor.shape == entry.shape:
        return f"{entry.name} is {tensor.dtype}, not float32"
    return f"{entry.name} is {tensor.shape}, not {entry.shape}"


def _few(problem: str, names: Sequence[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{problem}: {', '.join(name[:100] for name in names[:limit])}{more}" if names else ""


def _prefix_hint(found: Iterable[str], entries: Sequence[Entry], kind: str) -> str:
    """Returns the end of the message if all names match up to one prefix."""
    ignored = set(counters_of(entries, kind))
    prefix = only_difference(found, (entry.name for entry in entries), ignored)
    if not prefix:
        return ""
    return f"; only the prefix differs: config.weights.entry={prefix[:100]} removes it"


def _hint(
    missing: Sequence[Entry],
    unexpected: Sequence[str],
    wrong: Sequence[Entry],
    names: Mapping[str, str],
) -> str:
    """Returns the end of the message if one setting solves the problem."""
    if missing and all(entry.keys[1].startswith("aux") for entry in missing) and not unexpected:
        return "; config.model.auxiliary=false builds the network without auxiliary heads"
    of_aux = [name for name in unexpected if _without_kind(name).lower().startswith("aux")]
    if unexpected and of_aux == unexpected and not missing:
        return "; config.model.auxiliary=true builds the network with auxiliary heads"
    named = [*(entry.name for entry in (*missing, *wrong)), *unexpected]
    if _tensors_of(named, [name for path, name in names.items() if _is_head(path)]) == named:
        return "; only the head differs: config.weights.new_head=true initializes a new one"
    return ""
