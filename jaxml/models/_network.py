"""Base classes of the convolutional networks: options, intermediate results and the classifier."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from jaxml import layers
from jaxml.models._blocks import BatchNorm, Conv, Dense, ModuleDef, dropout, sow_latest
from jaxml.models._stage import Stage, survival_probs
from jaxml.types import Array

# Reductions of a feature map to one vector per image, in front of the dense layer.
POOLS: dict[str, Callable[[Array], Array]] = {
    "fc": layers.flatten,
    "gap": layers.global_average_pool,
    "gmp": layers.global_max_pool,
}


class Network(nn.Module, kw_only=True):
    """Base class of convolutional networks.

    Attributes:
      num_classes: number of outputs; 0 returns the features instead of logits.
      head: a name in `POOLS`: "fc" flattens, "gap" averages, "gmp" takes the maximum.
      keep_prob: fraction of features that dropout keeps before the classifier.
      dtype: dtype of the computation; parameters, statistics and logits are float32.
      remat: whether the backward pass recomputes each block, which saves memory.
      frozen: pattern of `jaxml.optim.is_frozen` that selects the batch norms whose statistics
        stay unchanged.
      batch_norm_groups: number of groups of a training batch that batch norm normalizes separately,
        see `BatchNorm`.
      momentum: momentum of batch norm.
      epsilon: epsilon of batch norm.
      image_size: height and width of the images in the network's publication.
      num_published_channels: number of channels of the images in the network's publication.
      num_published_classes: number of classes in the network's publication.
    """

    image_size: ClassVar[int] = 224
    num_published_channels: ClassVar[int] = 3
    num_published_classes: ClassVar[int] = 1000

    num_classes: int
    head: str = "gap"
    keep_prob: float = 1.0
    dtype: Any = jnp.float32
    remat: bool = False
    frozen: str = ""
    batch_norm_groups: int = 1
    momentum: float = 0.9
    epsilon: float = 1e-5

    @property
    def conv(self) -> ModuleDef:
        """Constructor of the network's convolutions."""
        return partial(Conv, dtype=self.dtype)

    @property
    def norm(self) -> ModuleDef:
        """Constructor of the network's normalizations."""
        return partial(
            BatchNorm,
            momentum=self.momentum,
            epsilon=self.epsilon,
            frozen=self.frozen,
            groups=self.batch_norm_groups,
        )

    def sow_intermediate(self, name: str, x: Array) -> Array:
        """Returns x, and stores it under a name for `jaxml.models.intermediates`."""
        if not self.is_initializing():
            # A submodule may have the same name, and names in a collection must be distinct.
            sow_latest(self, "intermediates", f"{name} output", x)
        return x

    def classify(self, x: Array, *, train: bool) -> Array:
        """Maps `[batch, height, width, channels]` to float32 logits, or to features."""
        x = self.sow_intermediate("features", POOLS[self.head](x))
        if not self.num_classes:
            return x.astype(jnp.float32)
        x = dropout(self, x, keep_prob=self.keep_prob, train=train)
        return Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)


class StagedNetwork(Network, kw_only=True):
    """Base class of networks whose blocks are grouped into stages.

    Attributes:
      scan: whether to run identical consecutive blocks as one loop, which compiles faster and
        leaves parameters and results unchanged.
    """

    scan: bool = False

    def run_stage(
        self,
        number: int,
        blocks: Sequence[ModuleDef],
        x: Array,
        *,
        train: bool,
        survival: Sequence[float],
    ) -> Array:
        """Runs one stage and sows its output."""
        name = f"stage{number}"
        stage = Stage(blocks, survival, remat=self.remat, scan=self.scan, name=name)
        return self.sow_intermediate(name, stage(x, train=train))

    def run_stages(self, stages: Sequence[Sequence[ModuleDef]], x: Array, *, train: bool) -> Array:
        """Runs all stages, each given by the constructors of its blocks."""
        survival = self.survival([len(blocks) for blocks in stages])
        for number, (blocks, probs) in enumerate(zip(stages, survival, strict=True), start=1):
            x = self.run_stage(number, blocks, x, train=train, survival=probs)
        return x

    def survival(self, counts: Sequence[int]) -> list[tuple[float, ...]]:
        """Returns the survival probabilities of the blocks of each stage; here all are 1.

        Args:
          counts: number of blocks in each stage.
        """
        return [(1.0,) * count for count in counts]


class ResidualNetwork(StagedNetwork, kw_only=True):
    """Base class of networks whose stages consist of residual blocks.

    Attributes:
      survival_prob: survival probability of the last block in stochastic depth; 1 disables it.
      zero_init: whether to initialize each block as its shortcut.
    """

    survival_prob: float = 1.0
    zero_init: bool = False

    def survival(self, counts: Sequence[int]) -> list[tuple[float, ...]]:
        """Returns the survival probabilities, which decay linearly with depth."""
        return survival_probs(self.survival_prob, counts)
