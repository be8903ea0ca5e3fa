"""What all Inception networks are made of: branches side by side, written as the papers draw them.

    Branches([
        [Unit(64)],
        [Unit(48), Unit(64, 5)],
        [average, Unit(32)],
    ])

is a 1x1 of 64 filters beside a 1x1 of 48 with a 5x5 of 64 after it, beside a pooling with a 1x1 of
32 after it; the 64 + 64 + 32 channels are joined. Each unit is a convolution, a normalisation and
ReLU.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from jaxml import layers
from jaxml.errors import InputError
from jaxml.layers import Padding
from jaxml.models.blocks import ConvUnit, Dense, Module, sow
from jaxml.models.network import Network
from jaxml.types import Array


class Unit(NamedTuple):
    """A convolution with its normalisation and ReLU, in the terms of `ConvUnit`."""

    features: int
    kernel_size: int | tuple[int, int] = 1
    strides: int = 1
    padding: Padding | None = None


class Fork(NamedTuple):
    """Where a branch itself parts into branches, whose results are joined."""

    branches: Sequence[Sequence[Any]]


Pool = Callable[[Array], Array]
Step = Unit | Fork | Pool  # what a branch is made of


class Chain(nn.Module):
    """Steps one after the other; the units are `unit1`, `unit2`, ... of its parameters.

    Attributes:
      steps: what is done.
      unit: constructor of a unit, called with the entries of a `Unit`.
    """

    steps: Sequence[Step]
    unit: Module = ConvUnit

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """The last step's result."""
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
    """Chains side by side, joined by their channels: `branch1`, `branch2`, ... of its parameters.

    Attributes:
      branches: the steps of each; of a branch without any, the result is the input.
      unit: as of `Chain`.
    """

    branches: Sequence[Sequence[Step]]
    unit: Module = ConvUnit

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """`[batch, height, width, in]` to the channels of all branches."""
        results = [
            Chain(steps, unit=self.unit, name=f"branch{number}")(x, train=train)
            for number, steps in enumerate(self.branches, start=1)
        ]
        return jnp.concatenate(results, axis=-1)


class AuxiliaryHead(nn.Module):
    """The classifier beside Inception v3: 5x5 average, 1x1, 5x5, dense.

    Its map is 17x17 for images of 299x299. Where one is too small for its windows, the average is
    over less, and there are zeros around what the 5x5 sees.

    Attributes:
      num_classes: outputs.
      features: of the 5x5.
      unit: constructor of a unit.
      dtype: of the computation.
    """

    num_classes: int
    features: int = 768
    unit: Module = ConvUnit
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """`[batch, height, width, in]` to logits `[batch, num_classes]`."""
        x = average_to_a_third(x)
        x = self.unit(128, 1, name="unit1")(x, train=train)
        missing = [max(5 - size, 0) for size in x.shape[1:3]]
        padding = [(zeros // 2, zeros - zeros // 2) for zeros in missing]
        x = self.unit(self.features, 5, padding=padding, name="unit2")(x, train=train)
        x = layers.global_average_pool(x)
        return Dense(self.num_classes, dtype=self.dtype, name="head")(x)


class InceptionNetwork(Network, kw_only=True):
    """What all Inception networks share; their batch norm has the epsilon of TensorFlow.

    Those with auxiliary heads have a field `auxiliary`, whether they are built; the heads' logits
    are in the collection "auxiliary" of a call in training.
    """

    auxiliary = False
    epsilon: float = 1e-3

    @property
    def unit(self) -> Module:
        """Constructor of the network's units."""
        return partial(ConvUnit, conv=self.conv, norm=self.norm)

    def stem(self, steps: Sequence[Step], x: Array, *, train: bool) -> Array:
        """What comes before the first branches."""
        return self.tap("stem", Chain(steps, unit=self.unit, name="stem")(x, train=train))

    def mixed(
        self, name: str, branches: Sequence[Sequence[Step]], x: Array, *, train: bool
    ) -> Array:
        """A module of branches, with a tap of its name."""

        def run(block: Any, x: Array) -> Array:
            return block(x, train=train)

        block = Branches(branches, unit=self.unit, name=name)
        return self.tap(name, (nn.remat(run) if self.remat else run)(block, x))

    def classify_beside(self, name: str, head: Module, x: Array, *, train: bool) -> None:
        """An auxiliary head, which is there for training alone."""
        if not (self.auxiliary and self.num_classes and (train or self.is_initializing())):
            return
        logits = head(self.num_classes, unit=self.unit, dtype=self.dtype, name=name)(x, train=train)
        if not self.is_initializing():
            # Not by the name alone, which is the module's.
            sow(self, "auxiliary", f"{name} logits", logits.astype(jnp.float32))

    def check_size(self, x: Array, least: int) -> None:
        """Refuses images of which nothing would be left."""
        height, width = x.shape[1:3]
        if min(height, width) < least:
            raise InputError(
                f"images: at least {least}x{least} for {type(self).__name__}, not {height}x{width}"
            )


def average_to_a_third(x: Array) -> Array:
    """The mean of 5x5 at each third pixel; of all pixels, where there are less."""
    window = [min(5, size) for size in x.shape[1:3]]
    return layers.average_pool(x, window, strides=3)


def average(x: Array, *, count_padding: bool = False) -> Array:
    """The mean of each 3x3: of what is in the image, or with the zeros around it."""
    return layers.average_pool(
        x, window_shape=3, strides=1, padding=1, count_include_pad=count_padding
    )
