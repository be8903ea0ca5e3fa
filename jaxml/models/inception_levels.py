"""The plan that Inception v4, the Inception-ResNets and the small networks share.

    stem
    for each level:  modules that change the shape, then identical blocks
    end
    head             global average pooling, dropout, dense, softmax

Source: Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", 2017, figures 9 and 15.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, NamedTuple

from flax import linen as nn

from jaxml.models.blocks import ConvUnit, Module
from jaxml.models.inception_blocks import Branches, Chain, InceptionNetwork, Step
from jaxml.models.network import StagedNetwork
from jaxml.models.stage import Drop
from jaxml.types import Array

Table = Sequence[Sequence[Step]]


class Level(NamedTuple):
    """What happens at one resolution: modules that lead to it, by name, and then blocks.

    The blocks are `repeats` times the branches `block`; `scale` is that of their residuals, and
    `linear_end` is whether the last of them has neither scale nor ReLU, where they are residual.
    """

    entry: Sequence[tuple[str, Table]]
    block: Table
    repeats: int
    scale: float = 1.0
    linear_end: bool = False


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


class LevelNetwork(InceptionNetwork, StagedNetwork, kw_only=True):
    """A network of levels.

    Attributes:
      start: steps of the stem.
      levels: what follows it.
      end: steps after the last level.
      least_size: height and width of the smallest images.
    """

    image_size: ClassVar[int] = 299
    start: Sequence[Step]
    levels: Sequence[Level]
    end: Sequence[Step] = ()
    least_size: int = 75

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        self.check_size(x, self.least_size)
        x = self.stem(self.start, x, train=train)
        kept = self.kept([level.repeats for level in self.levels])
        for number, level in enumerate(self.levels, start=1):
            for name, branches in level.entry:
                x = self.mixed(name, branches, x, train=train)
            x = self.stage(number, self.blocks(level), x, train=train, kept=kept[number - 1])
            self.classify_early(number, x, train=train)
        if self.end:
            x = self.tap("end", Chain(self.end, unit=self.unit, name="end")(x, train=train))
        return self.classify(x, train=train)

    def blocks(self, level: Level) -> list[Module]:
        """Constructors of the blocks of a level."""
        return [partial(InceptionBlock, level.block, self.unit)] * level.repeats

    def classify_early(self, number: int, x: Array, *, train: bool) -> None:
        """For auxiliary heads: called with the result of each level."""
