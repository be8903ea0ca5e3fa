"""What all convolutional networks share: their options, their taps and their classifier head."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from jaxml import layers
from jaxml.models.blocks import BatchNorm, Conv, Dense, Module, dropout, sow
from jaxml.models.stage import Stage, survival
from jaxml.types import Array

# How features of an image become features of the whole: the three heads of `layers.HEADS` are each
# of these with a dense layer after it.
POOLS: dict[str, Callable[[Array], Array]] = {
    "fc": layers.flatten,
    "gap": layers.global_average_pool,
    "gmp": layers.global_max_pool,
}


class Network(nn.Module, kw_only=True):
    """The options of every convolutional network.

    Attributes:
      num_classes: outputs; 0 for the features before the head.
      head: of `POOLS`: "fc" a weight for every pixel, "gap" global average, "gmp" global maximum.
      keep_prob: the share of features that dropout keeps before the head.
      dtype: of the computation; parameters, statistics and logits are float32.
      remat: whether the backward pass computes each block anew, to save memory.
      frozen: pattern of `jaxml.optim.is_frozen` for the norms that keep their statistics.
      momentum: of batch norm.
      epsilon: of batch norm.
      image_size: height and width of the images that the network was published for.
      num_published_classes: the outputs that it was published with.
    """

    image_size: ClassVar[int] = 224
    num_published_classes: ClassVar[int] = 1000

    num_classes: int
    head: str = "gap"
    keep_prob: float = 1.0
    dtype: Any = jnp.float32
    remat: bool = False
    frozen: str = ""
    momentum: float = 0.9
    epsilon: float = 1e-5

    @property
    def conv(self) -> Module:
        """Constructor of the network's convolutions."""
        return partial(Conv, dtype=self.dtype)

    @property
    def norm(self) -> Module:
        """Constructor of the network's normalisations."""
        return partial(BatchNorm, momentum=self.momentum, epsilon=self.epsilon, frozen=self.frozen)

    def tap(self, name: str, x: Array) -> Array:
        """Gives x a name by which `jaxml.models.taps` finds it."""
        if not self.is_initializing():
            # Not by the name alone, which may be a module's, and only one of them may have it.
            sow(self, "taps", f"{name} output", x)
        return x

    def classify(self, x: Array, *, train: bool) -> Array:
        """`[batch, height, width, channels]` to float32 logits, or to features."""
        x = self.tap("features", POOLS[self.head](x))
        if not self.num_classes:
            return x.astype(jnp.float32)
        x = dropout(self, x, keep_prob=self.keep_prob, train=train)
        return Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)


class StagedNetwork(Network, kw_only=True):
    """A network with stages of blocks.

    Attributes:
      scan: whether identical neighbouring blocks are one loop, to save compile time; the parameters
        and the results are the same.
    """

    scan: bool = False

    def stage(
        self,
        number: int,
        blocks: Sequence[Module],
        x: Array,
        *,
        train: bool,
        kept: Sequence[float],
    ) -> Array:
        """Runs blocks in a row, each kept with its probability, and taps the last one's result."""
        name = f"stage{number}"
        stage = Stage(blocks, kept, remat=self.remat, scan=self.scan, name=name)
        return self.tap(name, stage(x, train=train))

    def kept(self, stages: Sequence[int]) -> list[tuple[float, ...]]:
        """How probable each block is kept, of stages of so many blocks: without shortcuts, all."""
        return [(1.0,) * count for count in stages]

    def stages(self, stages: Sequence[Sequence[Module]], x: Array, *, train: bool) -> Array:
        """Runs stages of blocks."""
        every = zip(stages, self.kept([len(blocks) for blocks in stages]), strict=True)
        for number, (blocks, kept) in enumerate(every, start=1):
            x = self.stage(number, blocks, x, train=train, kept=kept)
        return x


class ResidualNetwork(StagedNetwork, kw_only=True):
    """A network with stages of residual blocks.

    Attributes:
      survival_prob: of the last block, by stochastic depth; 1 is without.
      zero_init: whether each block starts as its shortcut.
    """

    survival_prob: float = 1.0
    zero_init: bool = False

    def kept(self, stages: Sequence[int]) -> list[tuple[float, ...]]:
        """How probable each block is kept, by stochastic depth."""
        return survival(self.survival_prob, stages)
