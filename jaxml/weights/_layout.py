"""Layouts of the tensors of a layer in jaxml, torch and Keras.

    jaxml                   torch                        Keras
    kernel of convolution,  weight, OIHW                 kernel, HWIO
    HWIO
    kernel of dense,        weight, [out, in]            kernel, [in, out]
    [in, out]
    bias                    bias                         bias
    scale, bias of norm     weight, bias                 gamma, beta
    mean, var               running_mean, running_var    moving_mean, moving_variance
    -                       num_batches_tracked          -

Native tensors have the layout of jaxml and are named by the keys of the tree, joined by dots:
`params.stage1.block1.conv1.kernel`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.types import PyTree

# In "torch_conv_head", the classifier is a 1x1 convolution.
KINDS = ("native", "torch", "torch_conv_head", "keras")
HEAD = "head"

_OURS = ("kernel", "scale", "bias", "mean", "var")  # in the order of both libraries
_TORCH = ("weight", "weight", "bias", "running_mean", "running_var")
_KERAS = ("kernel", "gamma", "bias", "moving_mean", "moving_variance")


class Entry(NamedTuple):
    """Correspondence of an array in the tree with a tensor of the library.

    Attributes:
      keys: keys from the root of the variables to the array.
      name: name of the tensor.
      axes: axes of the array in the order of the tensor.
      shape: shape of the tensor.
    """

    keys: tuple[str, ...]
    name: str
    axes: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def module(self) -> str:
        """Path of the module that holds the array."""
        return "/".join(self.keys[1:-1])

    def fits(self, tensor: np.ndarray | None) -> bool:
        """Returns whether a tensor is real floating-point and has the expected shape."""
        if tensor is None or tensor.shape != self.shape:
            return False
        return bool(jnp.issubdtype(tensor.dtype, jnp.floating))

    def to_native(self, tensor: np.ndarray, dtype: Any) -> np.ndarray:
        """Converts a tensor of the library to the layout of jaxml."""
        tensor = tensor.reshape(tensor.shape[: len(self.axes)])  # 1x1 to dense
        return tensor.transpose(np.argsort(self.axes)).astype(dtype, order="C")

    def to_library(self, array: Any) -> np.ndarray:
        """Converts an array of jaxml to the layout of the library."""
        return np.array(np.asarray(array).transpose(self.axes), order="C").reshape(self.shape)


def entries_of(variables: PyTree, kind: str, names: Mapping[str, str]) -> list[Entry]:
    """Returns the entries of all arrays of a network.

    Args:
      variables: arrays or `jax.ShapeDtypeStruct`.
      kind: a name in `KINDS`.
      names: the library's name of each module, in the order of the result.

    Raises:
      ValueError: there is no such kind, or a module has no name.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}, got {kind!r}")
    entries, leaves = [], leaves_of(variables)
    kernels = {keys[1:-1] for keys, _ in leaves if keys[-1] == "kernel"}
    for keys, leaf in leaves:
        module = "/".join(keys[1:-1])
        if module not in names:
            raise ValueError(
                f"`order` and `naming` must include every module, got none for {module!r}"
            )
        of_norm = keys[1:-1] not in kernels
        entries.append(_entry(keys, leaf.shape, kind, names[module], of_norm=of_norm))
    ranks = {path: rank for rank, path in enumerate(names)}
    return sorted(entries, key=lambda entry: (ranks[entry.module], _rank(entry.keys[-1])))


def counters_of(entries: Iterable[Entry], kind: str) -> list[str]:
    """Returns the names of torch's batch counters, which accompany running statistics."""
    if not kind.startswith("torch"):
        return []
    means = [entry.name for entry in entries if entry.keys[-1] == "mean"]
    return [f"{name.removesuffix('running_mean')}num_batches_tracked" for name in means]


def leaves_of(variables: PyTree) -> list[tuple[tuple[str, ...], Any]]:
    """Returns the parameters and statistics with the keys that lead to them."""
    kept = {kind: variables[kind] for kind in ("params", "batch_stats") if kind in variables}
    leaves = jax.tree_util.tree_flatten_with_path(kept)[0]
    return [(tuple(key.key for key in path), leaf) for path, leaf in leaves]


def tree_of(leaves: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Inverts `leaves_of`."""
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


def _rank(leaf: str) -> int:
    return _OURS.index(leaf) if leaf in _OURS else len(_OURS)
