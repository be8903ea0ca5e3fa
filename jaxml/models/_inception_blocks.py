"""Building blocks of the Inception networks: parallel branches, written as in the papers' figures.

    Branches([
        [Unit(64)],
        [Unit(48), Unit(64, 5)],
        [average_pool, Unit(32)],
    ])

concatenates the channels of three branches: a 1x1 convolution with 64 filters, a 1x1 with 48
followed by a 5x5 with 64, and a pooling followed by a 1x1 with 32. Each unit is a convolution, a
normalization and ReLU.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from jaxml import layers
from jaxml.errors import InputError
from jaxml.layers import Padding
from jaxml.models._blocks import ConvUnit, Dense, ModuleDef, dropout, sow_latest
from jaxml.models._network import Network
from jaxml.types import Array

KernelSize = int | tuple[int, int]


class Unit(NamedTuple):
    """Arguments of a `ConvUnit`."""

    features: int
    kernel_size: KernelSize = 1
    strides: int = 1
    padding: Padding | None = None


class Fork(NamedTuple):
    """A step that splits a branch into branches and concatenates their outputs."""

    branches: Sequence[Sequence[Any]]


Pool = Callable[[Array], Array]
Step = Unit | Fork | Pool
Table = Sequence[Sequence[Step]]

MAX_POOL_STRIDE_2 = partial(layers.max_pool, window_shape=3, strides=2)
# Kernel sizes of modules that several networks share.
MODULE_A_SIZES = ((1,), (1, 3), (1, 3, 3))
REDUCTION_A_SIZES = ((3,), (1, 3, 3))
REDUCTION_B_SIZES = ((1, 3), (1, (1, 7), (7, 1), 3))


def branches(
    kernel_sizes: Sequence[Sequence[KernelSize]], *features: Sequence[int]
) -> tuple[tuple[Unit, ...], ...]:
    """Returns branches of units from their kernel sizes and numbers of filters.

    >>> branches([[1], [1, 3]], [64], [48, 64])
    ((Unit(features=64, kernel_size=1, strides=1, padding=None),), \
(Unit(features=48, kernel_size=1, strides=1, padding=None), \
Unit(features=64, kernel_size=3, strides=1, padding=None)))
    """
    rows = zip(features, kernel_sizes, strict=True)
    return tuple(tuple(map(Unit, filters, sizes)) for filters, sizes in rows)


def reduction(
    kernel_sizes: Sequence[Sequence[KernelSize]],
    *features: Sequence[int],
    pool: Pool = MAX_POOL_STRIDE_2,
    padding: Padding | None = "VALID",
) -> Table:
    """Returns branches that halve the resolution: the last unit of each has stride 2.

    Args:
      kernel_sizes: kernel sizes of the units of each branch.
      *features: numbers of filters of each branch.
      pool: the last branch.
      padding: padding of the units with stride 2.
    """
    rows = branches(kernel_sizes, *features)
    strided = [(*row[:-1], row[-1]._replace(strides=2, padding=padding)) for row in rows]
    return (*strided, (pool,))


class Chain(nn.Module):
    """Sequence of steps; the parameters of its units are named `unit1`, `unit2`, ...

    Attributes:
      steps: units, forks and poolings.
      unit: constructor of units, called with the fields of `Unit`.
    """

    steps: Sequence[Step]
    unit: ModuleDef = ConvUnit

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Returns the output of the last step."""
        number = 0
        for step in self.steps:
            if isinstance(step, Unit):
                number += 1
                x = self.unit(*step, name=f"unit{number}")(x, train=train)
            elif isinstance(step, Fork):
                x = Branches(step.branches, unit=self.unit, name="fork")(x, train=train)
            else:
                x = step(x)
        return x


class Branches(nn.Module):
    """Parallel chains; their parameters are named `branch1`, `branch2`, ...

    Attributes:
      branches: steps of each branch; an empty branch returns its input.
      unit: constructor of units, called with the fields of `Unit`.
    """

    branches: Table
    unit: ModuleDef = ConvUnit

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Returns the outputs of the branches, concatenated along the channels."""
        outputs = [
            Chain(steps, unit=self.unit, name=f"branch{number}")(x, train=train)
            for number, steps in enumerate(self.branches, start=1)
        ]
        return jnp.concatenate(outputs, axis=-1)


class AuxiliaryHead(nn.Module):
    """Base class of auxiliary classifiers, which map a feature map to logits in training.

    Attributes:
      num_classes: number of outputs.
      keep_prob: fraction of features that dropout keeps.
      unit: constructor of units, called with the fields of `Unit`.
      dtype: dtype of the computation.
    """

    num_classes: int
    keep_prob: float = 1.0
    unit: ModuleDef = ConvUnit
    dtype: Any = jnp.float32

    def classify(self, x: Array, *, train: bool) -> Array:
        """Maps features `[batch, features]` to logits `[batch, num_classes]`."""
        x = dropout(self, x, keep_prob=self.keep_prob, train=train)
        return Dense(self.num_classes, dtype=self.dtype, name="head")(x)


class InceptionNetwork(Network, kw_only=True):
    """Base class of Inception networks, with TensorFlow's epsilon of batch norm.

    Subclasses with auxiliary heads have a field `auxiliary`, whether to build them. The collection
    "auxiliary", if mutable, receives the logits of the heads in training.
    """

    auxiliary = False
    epsilon: float = 1e-3

    @property
    def unit(self) -> ModuleDef:
        """Constructor of the network's units."""
        return partial(ConvUnit, conv=self.conv, norm=self.norm)

    def stem(self, steps: Sequence[Step], x: Array, *, train: bool) -> Array:
        """Runs the steps before the first branches and sows their output."""
        x = Chain(steps, unit=self.unit, name="stem")(x, train=train)
        return self.sow_intermediate("stem", x)

    def inception_module(self, name: str, branches: Table, x: Array, *, train: bool) -> Array:
        """Runs parallel branches and sows their output."""

        def run(block: Any, x: Array) -> Array:
            return block(x, train=train)

        block = Branches(branches, unit=self.unit, name=name)
        return self.sow_intermediate(name, (nn.remat(run) if self.remat else run)(block, x))

    def run_auxiliary(self, name: str, head: ModuleDef, x: Array, *, train: bool) -> None:
        """Sows the logits of an auxiliary head in training."""
        if not (self.auxiliary and self.num_classes and (train or self.is_initializing())):
            return
        logits = head(self.num_classes, unit=self.unit, dtype=self.dtype, name=name)(x, train=train)
        if not self.is_initializing():
            # The module has the plain name, and names in a collection must be distinct.
            sow_latest(self, "auxiliary", f"{name} logits", logits.astype(jnp.float32))

    def check_size(self, x: Array, minimum: int) -> None:
        """Raises InputError for images that are too small for the network."""
        height, width = x.shape[1:3]
        if min(height, width) < minimum:
            raise InputError(
                f"images must be at least {minimum}x{minimum} for {type(self).__name__}, "
                f"got {height}x{width}"
            )


def average_pool(x: Array, *, count_padding: bool = False) -> Array:
    """Averages each 3x3 window at stride 1, over the image alone or with its zero padding."""
    return layers.average_pool(x, 3, strides=1, padding=1, count_include_pad=count_padding)


def average_pool_stride_3(x: Array) -> Array:
    """Averages 5x5 windows at stride 3, or windows of the whole image if it is smaller."""
    window = [min(5, size) for size in x.shape[1:3]]
    return layers.average_pool(x, window, strides=3)
