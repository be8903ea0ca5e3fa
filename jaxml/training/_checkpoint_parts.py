"""The shards of a state that several processes hold, as arrays of a checkpoint file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxml.types import PyTree

_OFFSET = "@"  # between the name of an array and the offset of a shard in it


class Parts(NamedTuple):
    """The other files of a checkpoint.

    Attributes:
      files: digest of each other file, by name.
      shapes: shape of each array that is split over the files.
    """

    files: dict[str, str]
    shapes: dict[str, Sequence[int]]


def split_shapes(state: PyTree) -> dict[str, Sequence[int]]:
    """Returns the shapes of the arrays that no process holds as a whole, by name."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(name): leaf.shape for name, leaf in leaves if _is_split(leaf)}


def local_arrays(state: PyTree) -> dict[str, np.ndarray]:
    """Copies the arrays of a state that this process holds to the host.

    Arrays that every process holds appear whole in each of them. Of the others, exactly one process
    returns each shard, under the name of the array and the offset of the shard.
    """
    arrays = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = jax.tree_util.keystr(path)
        if not _is_split(leaf):
            arrays[name] = np.array(leaf, order="C")
            continue
        for shard in leaf.addressable_shards:
            if shard.replica_id == 0:
                offset = [part.start or 0 for part in shard.index]
                key = f"{name}{_OFFSET}{','.join(map(str, offset))}"
                arrays[key] = np.array(shard.data, order="C")
    return arrays


def shards_only(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the shards among the arrays of `local_arrays`.

    >>> list(shards_only({"kernel@0,4": np.zeros(1), "bias": np.zeros(1)}))
    ['kernel@0,4']
    """
    return {name: array for name, array in arrays.items() if _OFFSET in name}


def join(arrays: Mapping[str, np.ndarray], parts: Parts) -> dict[str, np.ndarray]:
    """Returns whole arrays from the arrays of all files.

    Raises:
      ValueError: a shard is missing.

    Example:
      >>> shards = {"x@0": np.array([1, 2]), "x@2": np.array([3])}
      >>> join(shards, Parts({}, {"x": [3]}))["x"].tolist()
      [1, 2, 3]
    """
    shards = shards_only(arrays)
    whole = {name: array for name, array in arrays.items() if name not in shards}
    filled = dict.fromkeys(parts.shapes, 0)
    for key, shard in shards.items():
        name, _, offset = key.rpartition(_OFFSET)
        if name not in whole:
            whole[name] = np.empty(parts.shapes[name], shard.dtype)
        starts = map(int, offset.split(","))
        index = tuple(
            slice(start, start + size) for start, size in zip(starts, shard.shape, strict=True)
        )
        whole[name][index] = shard
        filled[name] += shard.size
    if missing := [name for name, shape in parts.shapes.items() if filled[name] < math.prod(shape)]:
        raise ValueError(f"shards of {missing[0]} are missing")
    return whole


def _is_split(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not (
        leaf.is_fully_addressable or leaf.is_fully_replicated
    )
