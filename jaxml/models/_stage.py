"""Stages of blocks: stochastic depth, rematerialization and scan."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxml import layers
from jaxml.models._blocks import ModuleDef
from jaxml.types import Array, Key, PyTree


class Drop(NamedTuple):
    """Stochastic depth of one block: the key of its mask and its survival probability."""

    key: Key
    keep_prob: Array


def add_residual(x: Array, residual: Array, drop: Drop | None) -> Array:
    """Computes `x + residual`, without the residual in examples that stochastic depth drops."""
    if drop is not None:
        residual = layers.stochastic_depth(drop.key, residual, keep_prob=drop.keep_prob, train=True)
    return x + residual


def survival_probs(last: float, counts: Sequence[int]) -> list[tuple[float, ...]]:
    """Returns the survival probability of each block of each stage.

    They decay linearly with depth, from 1 at the input to `last` at the last block.

    Example:
      >>> survival_probs(0.5, [2, 2])
      [(0.875, 0.75), (0.625, 0.5)]

    Reference: Huang et al., "Deep Networks with Stochastic Depth", 2016, equation 4.
    """
    total = sum(counts)
    probs = iter([1 - number / total * (1 - last) for number in range(1, total + 1)])
    return [tuple(itertools.islice(probs, count)) for count in counts]


class Stage(nn.Module):
    """Sequence of blocks.

    The parameters are named `block1`, `block2`, ... regardless of the options.

    Attributes:
      blocks: constructors of the blocks. Blocks with the same constructor object are identical.
        Blocks are called with `train` and `drop`.
      survival: survival probability of each block in stochastic depth.
      remat: whether the backward pass recomputes the inside of each block, so that only the values
        between blocks are kept in memory.
      scan: whether to run identical consecutive blocks as one loop, which is compiled once. The
        loop is unrolled if the process has several CPU devices.
    """

    blocks: Sequence[ModuleDef]
    survival: Sequence[float]
    remat: bool = False
    scan: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Returns the output of the last block."""
        names = [f"block{number}" for number in range(1, len(self.blocks) + 1)]
        drops = self._drops(train)
        start = 0
        for _, group in itertools.groupby(self.blocks, key=id):
            count = len(list(group))
            part = slice(start, start + count)
            if self.scan and count > 1 and not self.is_initializing():
                x = self._scan(x, self.blocks[start], names[part], drops[part], train=train)
            else:
                for name, drop in zip(names[part], drops[part], strict=True):
                    run = _run_block(train=train, remat=self.remat)
                    x = run(self.blocks[start](name=name), x, drop)
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
        self, x: Array, block: ModuleDef, names: list[str], drops: list[Drop | None], *, train: bool
    ) -> Array:
        """Runs identical blocks as a loop over their stacked parameters."""
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
        x, updated = lax.scan(body, x, (variables, _stack(drops)), unroll=_loops_may_deadlock())
        for kind, tree in updated.items():
            for index, name in enumerate(names):
                self.put_variable(kind, name, _entry(tree, index))
        return x


def _run_block(*, train: bool, remat: bool) -> Any:
    def run(block: Any, x: Array, drop: Drop | None) -> Array:
        return block(x, train=train, drop=drop)

    return nn.remat(run) if remat else run


def _loops_may_deadlock() -> bool:
    """Returns whether a collective inside a loop can wait for one outside of it forever.

    XLA on CPU does not order them, so that each of two devices may wait in another one.
    """
    return jax.default_backend() == "cpu" and jax.local_device_count() > 1


def _stack(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _entry(tree: PyTree, index: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[index], tree)
