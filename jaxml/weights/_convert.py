"""Variables of a network as the tensors of another library, and back.

The tensors of a library go by the names of their files: `layer1.0.conv1.weight` in torch,
`conv2_block1_1_conv/kernel` in Keras. What each network's modules are called is in
`jaxml.weights._names`, and how a layer's tensors are laid out in `jaxml.weights._layout`.
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

# From the paths of the modules that hold arrays ("stage1/block1/conv1"), in the order of their
# calls, to what a library calls them ("layer1.0.conv1").
Naming = Callable[[Sequence[str]], dict[str, str]]


def call_order(model: nn.Module, input_shape: Sequence[int]) -> list[str]:
    """The paths of all modules that hold arrays, in the order in which they are first called.

    Args:
      model: called with images and `train`.
      input_shape: `(batch, height, width, channels)`, which the network can take.

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
    """The variables of a network from the tensors of a library, each of which has to have its use.

    Args:
      tensors: by the library's names. Layers that Keras numbered itself may start at any number.
      template: variables of the network, arrays or `jax.ShapeDtypeStruct`.
      kind: of `layout.KINDS`.
      naming: what the library calls the modules.
      order: `call_order` of the network.
      new_head: whether the classifier, and those of auxiliary heads, are those of the template,
        whatever the tensors hold of them.
      source: what the tensors are from, for messages.

    Returns:
      `{"params": ..., "batch_stats": ...}` of NumPy arrays, with the template's dtypes; a new
      head is what the template holds.

    Raises:
      InputError: tensors are missing, of no use, or of the wrong shape or type; the message lists
        the first few of each.
    """
    names = _names(naming, order)
    entries = entries_of(template, kind, names)
    found, called = renumbered(tensors) if kind == "keras" else (dict(tensors), {})
    if new_head:
        new = _heads(entries)
        entries = [entry for entry in entries if entry.module not in new]
        for name in _are_of(found, [names[path] for path in new]):
            del found[name]
    missing = [entry for entry in entries if entry.name not in found]
    wrong = [e for e in entries if e.name in found and not e.fits(found[e.name])]
    known = {*(entry.name for entry in entries), *counters_of(entries, kind)}
    unexpected = [name for name in found if name not in known]
    if missing or unexpected or wrong:
        told = [
            _few("missing", [entry.name for entry in missing]),
            _few("unexpected", [called.get(name, name) for name in unexpected]),
            _few("of the wrong shape or type", [_mismatch(e, found[e.name]) for e in wrong]),
        ]
        hint = _prefix_hint(found, entries, kind) or _hint(missing, unexpected, wrong, names)
        raise InputError(f"{source}: tensors {'; '.join(filter(None, told))}{hint}")
    values = dict(leaves_of(template))
    for entry in entries:
        values[entry.keys] = entry.ours(found[entry.name], values[entry.keys].dtype)
    return tree_of(values)


def to_library(
    variables: PyTree, kind: str, naming: Naming, *, order: Sequence[str]
) -> dict[str, np.ndarray]:
    """The tensors of a library from the variables of a network, in the order of the calls.

    Args:
      variables: `{"params": ..., "batch_stats": ...}`.
      kind: of `layout.KINDS`.
      naming: what the library calls the modules.
      order: `call_order` of the network.

    Example:
      >>> variables = {"params": {"head": {"kernel": np.ones((3, 2)), "bias": np.ones(2)}}}
      >>> tensors = to_library(variables, "torch", lambda paths: {"head": "fc"}, order=["head"])
      >>> {name: tensor.shape for name, tensor in tensors.items()}
      {'fc.weight': (2, 3), 'fc.bias': (2,)}
    """
    entries = entries_of(variables, kind, _names(naming, order))
    values = dict(leaves_of(variables))
    tensors = {entry.name: entry.theirs(values[entry.keys]) for entry in entries}
    return tensors | {name: np.zeros((), np.int64) for name in counters_of(entries, kind)}


def _names(naming: Naming, order: Sequence[str]) -> dict[str, str]:
    """What the library calls the modules, and the head even if there is none."""
    return naming(order if HEAD in order else [*order, HEAD])


def _is_head(path: str) -> bool:
    """Whether it is the classifier, or that of an auxiliary head."""
    return path.rpartition("/")[2] == HEAD


def _heads(entries: Iterable[Entry]) -> set[str]:
    """The classifiers of the network, and the name of one where it has none."""
    return {entry.module for entry in entries if _is_head(entry.module)} | {HEAD}


def _are_of(tensors: Iterable[str], modules: Iterable[str]) -> list[str]:
    """Those of the names of tensors that are of one of the library's modules."""
    prefixes = tuple(module + mark for module in modules for mark in "./")
    return [name for name in tensors if _without_kind(name).startswith(prefixes)]


def _without_kind(tensor: str) -> str:
    """A native name without its first part."""
    return tensor.removeprefix("params.").removeprefix("batch_stats.")


def _mismatch(entry: Entry, tensor: np.ndarray) -> str:
    if tensor.shape == entry.shape:
        return f"{entry.name} is {tensor.dtype}, not float32"
    return f"{entry.name} is {tensor.shape}, not {entry.shape}"


def _few(how: str, names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{how}: {', '.join(name[:100] for name in names[:most])}{more}" if names else ""


def _prefix_hint(found: Iterable[str], entries: Sequence[Entry], kind: str) -> str:
    """Ends the message, where all names fit without one prefix."""
    ignored = set(counters_of(entries, kind))
    prefix = only_difference(found, (entry.name for entry in entries), ignored)
    if not prefix:
        return ""
    return f"; only the prefix differs: config.weights.entry={prefix[:100]} takes it away"


def _hint(
    missing: Sequence[Entry],
    unexpected: Sequence[str],
    wrong: Sequence[Entry],
    names: Mapping[str, str],
) -> str:
    """Ends the message, where one setting would do."""
    if missing and all(entry.keys[1].startswith("aux") for entry in missing) and not unexpected:
        return "; config.model.auxiliary=false is the network without auxiliary heads"
    of_aux = [name for name in unexpected if _without_kind(name).lower().startswith("aux")]
    if unexpected and of_aux == unexpected and not missing:
        return "; config.model.auxiliary=true is the network with auxiliary heads"
    told = [*(entry.name for entry in (*missing, *wrong)), *unexpected]
    if _are_of(told, [name for path, name in names.items() if _is_head(path)]) == told:
        return "; only the head differs: config.weights.new_head=true draws a new one"
    return ""
