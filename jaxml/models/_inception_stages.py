"""Inception networks in stages: Inception v4, the Inception-ResNets and the small networks.

After the stem, each stage consists of modules that change the shape, followed by identical blocks.

References:
  Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
  Connections on Learning", 2017, figures 9 and 15.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, NamedTuple

from flax import linen as nn

from jaxml.models._blocks import ConvUnit, ModuleDef
from jaxml.models._inception_blocks import Branches, Chain, InceptionNetwork, Step, Table
from jaxml.models._network import StagedNetwork
from jaxml.models._stage import Drop
from jaxml.types import Array


class StageSpec(NamedTuple):
    """Modules at the entry of a stage, by name, and the block that is repeated after them.

    Attributes:
      entry: modules that change the shape.
      block: branches of the block.
      repeats: number of blocks.
      residual_scale: factor of the residuals in residual blocks.
      linear_end: whether the last residual block has neither the factor nor a ReLU.
    """

    entry: Sequence[tuple[str, Table]]
    block: Table
    repeats: int
    residual_scale: float = 1.0
    linear_end: bool = False


class InceptionBlock(nn.Module):
    """Branches as a block of a `Stage`.

    Attributes:
      branches: as in `Branches`.
      unit: as in `Branches`.
    """

    branches: Table
    unit: ModuleDef = ConvUnit

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """Returns the outputs of the branches, concatenated along the channels."""
        del drop  # Without a shortcut, the branches cannot be dropped.
        return Branches(self.branches, unit=self.unit, name="branches")(x, train=train)


class StagedInception(InceptionNetwork, StagedNetwork, kw_only=True):
    """Base class of Inception networks in stages.

    Attributes:
      stem_steps: steps of the stem.
      stage_specs: the stages.
      final_steps: steps after the last stage.
      min_size: height and width of the smallest images.
    """

    image_size: ClassVar[int] = 299
    stem_steps: Sequence[Step]
    stage_specs: Sequence[StageSpec]
    final_steps: Sequence[Step] = ()
    min_size: int = 75

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        self.check_size(x, self.min_size)
        x = self.stem(self.stem_steps, x, train=train)
        survival = self.survival([spec.repeats for spec in self.stage_specs])
        for number, (spec, probs) in enumerate(zip(self.stage_specs, survival, strict=True), 1):
            for name, branches in spec.entry:
                x = self.inception_module(name, branches, x, train=train)
            x = self.run_stage(number, self.blocks(spec), x, train=train, survival=probs)
            self.after_stage(number, x, train=train)
        if self.final_steps:
            x = Chain(self.final_steps, unit=self.unit, name="end")(x, train=train)
            x = self.sow_intermediate("end", x)
        return self.classify(x, train=train)

    def blocks(self, spec: StageSpec) -> list[ModuleDef]:
        """Returns the constructors of the blocks of a stage."""
        return [partial(InceptionBlock, spec.block, self.unit)] * spec.repeats

    def after_stage(self, number: int, x: Array, *, train: bool) -> None:
        """Receives the output of each stage; networks override it to add auxiliary heads."""
