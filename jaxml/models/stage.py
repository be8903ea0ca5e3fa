"""A stage: residual blocks in a row, at one resolution."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxml import layers
from jaxml.models.blocks import Module
from jaxml.types import Array, Key, PyTree


class Drop(NamedTuple):
    """Stochastic depth in one block: the key of its mask, and how probable it is to be kept."""

    key: Key
    keep_prob: Array


def add_residual(x: Array, residual: Array, drop: Drop | None) -> Array:
    """`x + residual`, but x alone in the examples that stochastic depth picks."""
    if drop is not None:
        residual = layers.stochastic_depth(drop.key, residual, keep_prob=drop.keep_prob, train=True)
    return x + residual


def survival(last: float, blocks: Sequence[int]) -> list[tuple[float, ...]]:
    """The probability that each block of each stage is kept: linear from 1 to that of the last.

    Source: Huang et al., "Deep Networks with Stochastic Depth", 2016, equation 4.

    >>> survival(0.5, [2, 2])
    [(0.875, 0.75), (0.625, 0.5)]
    """
    total = sum(blocks)
    every = iter([1 - number / total * (1 - last) for number in range(1, total + 1)])
    return [tuple(itertools.islice(every, count)) for count in blocks]


class Stage(nn.Module):
    """Blocks in a row. They are `block1`, `block2`, ... of its parameters however they are run.

    Attributes:
      blocks: constructor of each; blocks with the very same constructor are identical. A block is
        called with `train` and `drop`.
      survival: the probability that each is kept, by stochastic depth.
      remat: whether the backward pass computes the inside of each block anew, so that only what is
        between the blocks is kept in memory.
      scan: whether identical neighbours are run by one loop, which is compiled once.
    """

    blocks: Sequence[Module]
    survival: Sequence[float]
    remat: bool = False
    scan: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """The last block's result."""
        names = [f"block{number}" for number in range(1, len(self.blocks) + 1)]
        drops = self._drops(train)
        start = 0
        for _, group in itertools.groupby(self.blocks, key=id):
            count = len(list(group))
            part = slice(start, start + count)
            if self.scan and count > 1 and not self.is_initializing():
                x = self._scan(x, self.blocks[start], names[part], drops[part], train=train)
            else:
                for index in range(start, start + count):
                    block = self.blocks[index](name=names[index])
                    x = _call(block, x, drops[index], train=train, remat=self.remat)
            start += count
        return x

    def _drops(self, train: bool) -> list[Drop | None]:
        if not train or min(self.survival) == 1 or self.is_initializing():
            return [None for _ in self.blocks]
        keys = jax.random.split(self.make_rng("dropout"), len(self.blocks))
        return [
            Drop(key, jnp.float32(keep_prob))
            for key, keep_prob in zip(keys, self.survival, strict=True)
        ]

    def _scan(
        self, x: Array, block: Module, names: list[str], drops: list[Drop | None], *, train: bool
    ) -> Array:
        """Runs identical blocks by a loop over their stacked parameters."""
        variables = {
            kind: _stack([tree[name] for name in names])
            for kind, tree in self.variables.items()
            if names[0] in tree
        }
        kinds = ("batch_stats", "batch_moments")
        mutable = [kind for kind in kinds if self.is_mutable_collection(kind)]
        module = block(parent=None)

        def run(x: Array, parts: tuple[PyTree, Drop | None]) -> tuple[Array, PyTree]:
            own, drop = parts
            return module.apply(own, x, train=train, drop=drop, mutable=mutable)

        body = jax.checkpoint(run) if self.remat else run
        x, updated = lax.scan(body, x, (variables, _stack(drops)))
        for kind, tree in updated.items():
            for index, name in enumerate(names):
                self.put_variable(kind, name, _entry(tree, index))
        return x


def _call(block: nn.Module, x: Array, drop: Drop | None, *, train: bool, remat: bool) -> Array:
    def run(block: Any, x: Array, drop: Drop | None) -> Array:
        return block(x, train=train, drop=drop)

    return (nn.remat(run) if remat else run)(block, x, drop)


def _stack(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _entry(tree: PyTree, index: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[index], tree)
