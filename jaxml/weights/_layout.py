"""How libraries lay out the tensors of a layer.

    ours                    torch                        Keras
    kernel of convolution   weight, HWIO as OIHW         kernel, HWIO
    kernel of dense         weight, [in, out] as         kernel, [in, out]
                            [out, in]
    bias                    bias                         bias
    scale, bias of norm     weight, bias                 gamma, beta
    mean, var               running_mean, running_var    moving_mean, moving_variance
    -                       num_batches_tracked          -

Native tensors are as ours and are called by the keys of the tree, with dots between them:
`params.stage1.block1.conv1.kernel`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.types import PyTree

# In "torch_conv_head", the classifier is a convolution of 1x1.
KINDS = ("native", "torch", "torch_conv_head", "keras")
HEAD = "head"

_OURS = ("kernel", "scale", "bias", "mean", "var")  # in the order that both libraries have
_TORCH = ("weight", "weight", "bias", "running_mean", "running_var")
_KERAS = ("kernel", "gamma", "bias", "moving_mean", "moving_variance")


class Entry(NamedTuple):
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

    def fits(self, tensor: np.ndarray | None) -> bool:
        """Whether it is there, of floating point and of the library's shape."""
        if tensor is None or tensor.shape != self.shape:
            return False
        return bool(jnp.issubdtype(tensor.dtype, jnp.floating))

    def ours(self, tensor: np.ndarray, dtype: Any) -> np.ndarray:
        """The library's tensor as we lay it out."""
        tensor = tensor.reshape(tensor.shape[: len(self.axes)])  # 1x1 may stand for dense
        return tensor.transpose(np.argsort(self.axes)).astype(dtype, order="C")

    def theirs(self, array: Any) -> np.ndarray:
        """Ours as the library lays it out."""
        return np.array(np.asarray(array).transpose(self.axes), order="C").reshape(self.shape)


def entries_of(variables: PyTree, kind: str, names: Mapping[str, str]) -> list[Entry]:
    """All tensors of a network.

    Args:
      variables: arrays or `jax.ShapeDtypeStruct`.
      kind: of `KINDS`.
      names: of each module in the library, in the order that the result has.

    Raises:
      ValueError: there is no such kind, or a module has no name.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: one of {', '.join(KINDS)}, not {kind!r}")
    entries, leaves = [], leaves_of(variables)
    kernels = {keys[1:-1] for keys, _ in leaves if keys[-1] == "kernel"}
    for keys, leaf in leaves:
        module = "/".join(keys[1:-1])
        if module not in names:
            raise ValueError(f"order, naming: they lack the module {module!r}")
        of_norm = keys[1:-1] not in kernels
        entries.append(_entry(keys, leaf.shape, kind, names[module], of_norm=of_norm))
    places = {path: place for place, path in enumerate(names)}
    return sorted(entries, key=lambda entry: (places[entry.module], _place(entry.keys[-1])))


def counters_of(entries: Iterable[Entry], kind: str) -> list[str]:
    """The names of torch's counts of batches, which it has beside running statistics."""
    if not kind.startswith("torch"):
        return []
    means = [entry.name for entry in entries if entry.keys[-1] == "mean"]
    return [f"{name.removesuffix('running_mean')}num_batches_tracked" for name in means]


def leaves_of(variables: PyTree) -> list[tuple[tuple[str, ...], Any]]:
    """The parameters and statistics, with the keys that lead to them."""
    kept = {kind: variables[kind] for kind in ("params", "batch_stats") if kind in variables}
    leaves = jax.tree_util.tree_flatten_with_path(kept)[0]
    return [(tuple(key.key for key in path), leaf) for path, leaf in leaves]


def tree_of(leaves: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """What `leaves_of` took apart."""
    tree: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for keys, value in leaves.items():
        branch = tree
        for key in keys[:-1]:
            branch = branch.setdefault(key, {})
        branch[keys[-1]] = value
    return tree


def _entry(
    keys: tuple[str, ...], shape: tuple[int, ...], kind: str, module: str, *, of_norm: bool
) -> Entry:
    leaf = keys[-1]
    axes = tuple(range(len(shape)))
    if kind == "native":
        return Entry(keys, ".".join(filter(None, (keys[0], module, leaf))), axes, shape)
    if kind == "keras":
        name = "beta" if of_norm and leaf == "bias" else _KERAS[_OURS.index(leaf)]
        return Entry(keys, f"{module}/{name}", axes, shape)
    if leaf == "kernel":
        axes = (*axes[:-3:-1], *axes[:-2])
        shape = tuple(shape[axis] for axis in axes)
        if kind == "torch_conv_head" and keys[1:-1] == (HEAD,):
            shape = (*shape, 1, 1)
    return Entry(keys, f"{module}.{_TORCH[_OURS.index(leaf)]}", axes, shape)


def _place(leaf: str) -> int:
    return _OURS.index(leaf) if leaf in _OURS else len(_OURS)
