"""The plan that Inception v4, the Inception-ResNets and the small networks share.

    stem
    for each level:  a module that changes the shape, then identical blocks
    ending
    head             global average pooling, dropout, dense, softmax

Source: Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", 2017, figures 9 and 15.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from flax import linen as nn

from jaxml import activations, initializers
from jaxml.models.blocks import Conv, ConvUnit, Module
from jaxml.models.inception_blocks import Branches, Chain, InceptionNetwork, Step
from jaxml.models.stage import Drop, Stage, add_residual, survival
from jaxml.types import Array

Table = Sequence[Sequence[Step]]


class InceptionBlock(nn.Module):
    """Branches as a block of a `Stage`.

    Attributes:
      branches: as of `Branches`.
      unit: as of `Branches`.
    """

    branches: Table
    unit: Module = ConvUnit

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """`[batch, height, width, in]` to the channels of all branches."""
        del drop  # there is no shortcut beside which the branches could be left out
        return Branches(self.branches, unit=self.unit, name="branches")(x, train=train)


class ResidualInceptionBlock(nn.Module):
    """relu(x + scale * conv(branches(x))), where the 1x1 convolution has the channels of x.

    Attributes:
      branches: as of `Branches`.
      unit: as of `Branches`.
      conv: constructor of the 1x1 convolution, which has a bias and no normalisation.
      scale: of the residual; 0.1 to 0.3 keep wide networks from dying early in training.
      relu: whether ReLU comes last.
      zero_init: whether the block starts as relu(x), because the 1x1 convolution starts at zero.
    """

    branches: Table
    unit: Module = ConvUnit
    conv: Module = Conv
    scale: float = 1.0
    relu: bool = True
    zero_init: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """`[batch, height, width, channels]` to the same shape."""
        y = Branches(self.branches, unit=self.unit, name="branches")(x, train=train)
        options = {"kernel_init": initializers.zeros()} if self.zero_init else {}
        y = self.conv(x.shape[-1], kernel_size=1, use_bias=True, name="expand", **options)(y)
        x = add_residual(x, self.scale * y, drop)
        return activations.relu(x) if self.relu else x


class Level(NamedTuple):
    """What happens at one resolution.

    `entry` are the branches that lead to it; none where the stem does. Then come `count` blocks of
    the branches `block`. `scale` is that of their residuals, None where they have no shortcut;
    the last of them has neither scale nor ReLU if `linear_end`.
    """

    entry: Table
    block: Table
    count: int
    scale: float | None = None
    linear_end: bool = False


class LevelNetwork(InceptionNetwork, kw_only=True):
    """A network of levels.

    Attributes:
      start: steps of the stem.
      levels: what follows it.
      end: steps after the last level.
      norm_scale: whether normalisations have a scale.
      survival_prob: of the last residual block, by stochastic depth; 1 is without.
      zero_init: whether each residual block starts as ReLU.
    """

    start: Sequence[Step]
    levels: Sequence[Level]
    end: Sequence[Step] = ()
    norm_scale: bool = True
    survival_prob: float = 1.0
    zero_init: bool = False

    @property
    def norm(self) -> Module:
        """Constructor of the network's normalisations."""
        return partial(super().norm, use_scale=self.norm_scale)

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        x = self.stem(self.start, x, train=train)
        kept = survival(self.survival_prob, [level.count for level in self.levels])
        for number, level in enumerate(self.levels, start=1):
            if level.entry:
                x = self.mixed(f"entry{number}", level.entry, x, train=train)
            name = f"stage{number}"
            options = {"remat": self.remat, "scan": self.scan, "name": name}
            stage = Stage(self._blocks(level), kept[number - 1], **options)
            x = self.tap(name, stage(x, train=train))
            self.classify_early(number, x, train=train)
        if self.end:
            x = self.tap("end", Chain(self.end, unit=self.unit, name="end")(x, train=train))
        return self.classify(x, train=train)

    def classify_early(self, number: int, x: Array, *, train: bool) -> None:
        """For auxiliary heads: called with the result of each level."""

    def _blocks(self, level: Level) -> list[Module]:
        if level.scale is None:
            return [partial(InceptionBlock, level.block, self.unit)] * level.count
        options = {"conv": self.conv, "zero_init": self.zero_init}
        block = partial(ResidualInceptionBlock, level.block, self.unit, **options)
        blocks = [partial(block, scale=level.scale)] * level.count
        if level.linear_end:
            blocks[-1] = partial(block, relu=False)
        return blocks
