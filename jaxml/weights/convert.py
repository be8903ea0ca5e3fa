"""Variables of a network as the tensors of another library, and back.

The tensors of a library go by the names of their files, as the readers of this package return them:
`layer1.0.conv1.weight` in torch's, `conv2_block1_1_conv/kernel` in Keras'. What they are called is
in `jaxml.weights.names`; how they are laid out is here.

    ours                    torch                        Keras
    kernel of convolution   weight, HWIO as OIHW         kernel, HWIO
    kernel of dense         weight, [in, out] as         kernel, [in, out]
                            [out, in]
    bias                    bias                         bias
    scale, offset           weight, bias                 gamma, beta
    mean, variance          running_mean, running_var    moving_mean, moving_variance
    -                       num_batches_tracked          -

Native names are those of the tree, with dots: `params.stage1.block1.conv1.kernel`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxml.errors import InputError
from jaxml.types import PyTree

# From the paths of the modules that hold arrays ("stage1/block1/conv1"), in the order of their
# calls, to what a library calls them ("layer1.0.conv1").
Naming = Callable[[Sequence[str]], dict[str, str]]

_OURS = ("kernel", "bias", "scale", "offset", "mean", "variance")
_THEIRS = {
    "torch": ("weight", "bias", "weight", "bias", "running_mean", "running_var"),
    "keras": ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"),
}
# A head as a convolution of 1x1 is the only difference between the two of torch.
KINDS = ("native", "torch", "torch_conv_head", "keras")
HEAD = "head"

_NUMBERED = re.compile(r"(conv2d|batch_normalization|dense)(?:_(\d+))?")


class _Entry(NamedTuple):
    """One tensor: where ours is in the tree, and how the library's is called and laid out.

    Attributes:
      keys: from the root of the variables.
      name: of the tensor in the library.
      axes: of ours, in the order of the library.
      shape: in the library.
    """

    keys: tuple[str, ...]
    name: str
    axes: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def module(self) -> str:
        """The path of the module that holds the array."""
        return "/".join(self.keys[1:-1])


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
    called: list[str] = []

    def note(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        called.append("/".join(context.module.path))
        return call(*args, **kwargs)

    images = jax.ShapeDtypeStruct(tuple(input_shape), jnp.float32)
    with nn.intercept_methods(note):
        variables = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)
    holders = {"/".join(keys[1:-1]) for keys, _ in _leaves(variables)}
    return [path for path in dict.fromkeys(called) if path in holders]


def keras_numbered(kind: str, number: int) -> str:
    """The name that Keras itself gives to the layer of a kind made after `number` others.

    >>> keras_numbered("conv2d", 0), keras_numbered("conv2d", 1)
    ('conv2d', 'conv2d_1')
    """
    return f"{kind}_{number}" if number else kind


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
      kind: of `KINDS`: how the library lays its tensors out.
      naming: what the library calls the modules.
      order: `call_order` of the network.
      new_head: whether a head that is not in `tensors`, or not of the right shape there, is that of
        the template. A network without head then leaves out that of the tensors.
      source: what the tensors are from, for messages.

    Returns:
      `{"params": ..., "batch_stats": ...}` of NumPy arrays, with the template's dtypes.

    Raises:
      InputError: tensors are missing, of no use, or of the wrong shape or type; the message lists
        the first few of each.
    """
    names = _names(naming, order)
    entries = _entries(template, kind, names)
    found, called = _renumbered(tensors) if kind == "keras" else (dict(tensors), {})
    of_head = (f"{names[HEAD]}.", f"{names[HEAD]}/")
    head = [entry for entry in entries if entry.module == HEAD]
    if new_head and not (head and all(_fits(found.get(entry.name), entry) for entry in head)):
        entries = [entry for entry in entries if entry.module != HEAD]
        found = {name: tensor for name, tensor in found.items() if not name.startswith(of_head)}
    missing = [entry for entry in entries if entry.name not in found]
    wrong = [e for e in entries if e.name in found and not _fits(found[e.name], e)]
    known = {*(entry.name for entry in entries), *_counters(entries, kind)}
    unexpected = [name for name in found if name not in known]
    if missing or unexpected or wrong:
        told = [
            _few("missing", [entry.name for entry in missing]),
            _few("unexpected", [called.get(name, name) for name in unexpected]),
            _few("of the wrong shape or type", [_mismatch(e, found[e.name]) for e in wrong]),
        ]
        hint = _hint(missing, unexpected, wrong, of_head)
        raise InputError(f"{source}: tensors {'; '.join(filter(None, told))}{hint}")
    values = dict(_leaves(template))
    for entry in entries:
        values[entry.keys] = _ours(found[entry.name], entry, values[entry.keys].dtype)
    return _tree(values)


def to_library(
    variables: PyTree, kind: str, naming: Naming, *, order: Sequence[str]
) -> dict[str, np.ndarray]:
    """The tensors of a library from the variables of a network, in the order of the calls.

    Args:
      variables: `{"params": ..., "batch_stats": ...}`.
      kind: of `KINDS`: how the library lays its tensors out.
      naming: what the library calls the modules.
      order: `call_order` of the network.

    Example:
      >>> variables = {"params": {"head": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}}}
      >>> tensors = to_library(variables, "torch", lambda paths: {"head": "fc"}, order=["head"])
      >>> {name: tensor.shape for name, tensor in tensors.items()}
      {'fc.weight': (2, 3), 'fc.bias': (2,)}
    """
    entries = _entries(variables, kind, _names(naming, order))
    values = dict(_leaves(variables))
    tensors = {e.name: np.asarray(values[e.keys]).transpose(e.axes) for e in entries}
    tensors = {e.name: np.ascontiguousarray(tensors[e.name]).reshape(e.shape) for e in entries}
    return tensors | {name: np.zeros((), np.int64) for name in _counters(entries, kind)}


def _names(naming: Naming, order: Sequence[str]) -> dict[str, str]:
    """What the library calls the modules, and the head even if there is none."""
    return naming(order if HEAD in order else [*order, HEAD])


def _entries(variables: PyTree, kind: str, names: Mapping[str, str]) -> list[_Entry]:
    """All tensors, in the order of the names."""
    if kind not in KINDS:
        raise ValueError(f"kind: one of {', '.join(KINDS)}, not {kind!r}")
    entries = []
    for keys, leaf in _leaves(variables):
        module = "/".join(keys[1:-1])
        if module not in names:
            raise ValueError(f"order, naming: they lack the module {module!r}")
        entries.append(_entry(keys, leaf.shape, kind, names[module]))
    places = {path: place for place, path in enumerate(names)}
    return sorted(entries, key=lambda e: (places[e.module], _place(e.keys[-1])))


def _entry(keys: tuple[str, ...], shape: tuple[int, ...], kind: str, module: str) -> _Entry:
    leaf = keys[-1]
    axes = tuple(range(len(shape)))
    if kind == "native":
        return _Entry(keys, ".".join(part for part in (keys[0], module, leaf) if part), axes, shape)
    if kind == "keras":
        return _Entry(keys, f"{module}/{_THEIRS['keras'][_place(leaf)]}", axes, shape)
    if leaf == "kernel":
        axes = (*axes[:-3:-1], *axes[:-2])  # HWIO as OIHW, [in, out] as [out, in]
        shape = tuple(shape[axis] for axis in axes)
        if kind == "torch_conv_head" and keys[1:-1] == (HEAD,):
            shape = (*shape, 1, 1)
    return _Entry(keys, f"{module}.{_THEIRS['torch'][_place(leaf)]}", axes, shape)


def _place(leaf: str) -> int:
    return _OURS.index(leaf) if leaf in _OURS else len(_OURS)


def _counters(entries: Iterable[_Entry], kind: str) -> list[str]:
    """How many batches torch's running statistics are of, which nothing needs."""
    if not kind.startswith("torch"):
        return []
    norms = [
        entry.name.removesuffix("running_mean") for entry in entries if entry.keys[-1] == "mean"
    ]
    return [f"{norm}num_batches_tracked" for norm in norms]


def _renumbered(
    tensors: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Keras' tensors with numbers that start at 0 and have no gaps; and the old by the new names.

    Keras numbers all layers of a kind that a program makes, and not those of a network.
    """
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    for name in tensors:
        if match := _NUMBERED.fullmatch(name.rpartition("/")[0]):
            numbers[match[1]].add(int(match[2] or 0))
    layers = {
        keras_numbered(kind, old): keras_numbered(kind, new)
        for kind, taken in numbers.items()
        for new, old in enumerate(sorted(taken))
    }
    called = {}
    for name in tensors:
        layer, _, weight = name.rpartition("/")
        called[f"{layers.get(layer, layer)}/{weight}"] = name
    return {new: tensors[old] for new, old in called.items()}, called


def _fits(tensor: np.ndarray | None, entry: _Entry) -> bool:
    return (
        tensor is not None
        and tensor.shape == entry.shape
        and jnp.issubdtype(tensor.dtype, jnp.floating)
    )


def _ours(tensor: np.ndarray, entry: _Entry, dtype: Any) -> np.ndarray:
    """The library's tensor as ours is laid out."""
    shape = tensor.shape[: len(entry.axes)]  # a head may be a convolution of 1x1
    back = np.argsort(entry.axes) if entry.axes else None
    return np.ascontiguousarray(tensor.reshape(shape).transpose(back)).astype(dtype)


def _mismatch(entry: _Entry, tensor: np.ndarray) -> str:
    if tensor.shape == entry.shape:
        return f"{entry.name} is {tensor.dtype}, not float32"
    return f"{entry.name} is {tensor.shape}, not {entry.shape}"


def _few(how: str, names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{how}: {', '.join(names[:most])}{more}" if names else ""


def _hint(
    missing: Sequence[_Entry],
    unexpected: Sequence[str],
    wrong: Sequence[_Entry],
    of_head: tuple[str, ...],
) -> str:
    """Ends the message, where one setting would do."""
    if missing and all(entry.keys[1].startswith("aux") for entry in missing) and not unexpected:
        return "; config.model.auxiliary=false builds it without auxiliary heads"
    if unexpected and all(name.lower().startswith("aux") for name in unexpected) and not missing:
        return "; config.model.auxiliary=true builds it with auxiliary heads"
    head = [*(entry.name for entry in (*missing, *wrong)), *unexpected]
    if all(name.startswith(of_head) for name in head):
        return "; only the head differs, which can be new"
    return ""


def _leaves(tree: PyTree) -> list[tuple[tuple[str, ...], Any]]:
    """The arrays of parameters and statistics, with the keys that lead to them."""
    kept = {kind: tree[kind] for kind in ("params", "batch_stats") if kind in tree}
    leaves = jax.tree_util.tree_flatten_with_path(kept)[0]
    return [(tuple(key.key for key in path), leaf) for path, leaf in leaves]


def _tree(values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Nested dictionaries of what the keys lead to."""
    tree: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for keys, value in values.items():
        branch = tree
        for key in keys[:-1]:
            branch = branch.setdefault(key, {})
        branch[keys[-1]] = value
    return tree
