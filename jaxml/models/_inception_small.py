"""Small Inception and Inception-ResNet for 32x32 images, a tenth as wide as the published networks.

    inception_small                           inception_resnet_small
    stem     32x32   3x3, 16                  stem         32x32   3x3, 16
    stage 1  32x32   MODULE_1       32        stage 1      32x32   BLOCK_A        16
    mixed2   16x16   MIXED_2        72        reduction_a  16x16   REDUCTION_A    64
    stage 2  16x16   MODULE_2 x2    72        stage 2      16x16   BLOCK_B x3     64
    mixed3   8x8     MIXED_3       128        reduction_b  8x8     REDUCTION_B   144
    stage 3  8x8     MODULE_3 x2   128        stage 3      8x8     BLOCK_C x2    144
    head     1x1     global average pooling, dense

The last column of each network is its number of output channels. The output sizes are for 32x32
images; other sizes work too. The auxiliary head of inception_small reads the output of stage 2.

References:
  Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016 (the modules).
  Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
  Connections on Learning", 2017 (the blocks).
  Zhang et al., "Understanding deep learning requires rethinking generalization", 2017, appendix A
  (an Inception at 32, 16 and 8 pixels).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

from flax import linen as nn

from jaxml import layers
from jaxml.models._blocks import ModuleDef
from jaxml.models._inception_blocks import (
    MODULE_A_SIZES,
    REDUCTION_A_SIZES,
    AuxiliaryHead,
    Step,
    Unit,
    average_pool,
    branches,
    reduction,
)
from jaxml.models._inception_resnet import (
    BLOCK_A_SIZES,
    BLOCK_B_SIZES,
    BLOCK_C_SIZES,
    MIXED_7A_SIZES,
    InceptionResNet,
    residual_stages,
)
from jaxml.models._inception_stages import StagedInception, StageSpec
from jaxml.types import Array


def average_pool_stride_2(x: Array) -> Array:
    """Averages 2x2 windows; on a CPU, max pooling would cost as much as a convolution."""
    window = [min(2, size) for size in x.shape[1:3]]
    return layers.average_pool(x, window, strides=2, ceil_mode=True)


_reduction = partial(reduction, pool=average_pool_stride_2, padding=None)

# The 1x1 of the last branch precedes the pooling, which then has few channels.
MODULE_1 = (*branches(MODULE_A_SIZES, (8,), (8, 12), (4, 8, 8)), (Unit(4), average_pool))
MIXED_2 = _reduction(REDUCTION_A_SIZES, (24,), (8, 8, 16))
MODULE_2 = (*branches(MODULE_A_SIZES, (24,), (16, 24), (8, 12, 12)), (Unit(12), average_pool))
MIXED_3 = _reduction(((1, 3), (1, 3, 3)), (32, 32), (16, 24, 24))
MODULE_3 = (*branches(MODULE_A_SIZES, (48,), (32, 40), (16, 24, 24)), (Unit(16), average_pool))

BLOCK_A = branches(BLOCK_A_SIZES, (8,), (8, 8), (8, 8, 8))
REDUCTION_A = _reduction(REDUCTION_A_SIZES, (32,), (8, 8, 16))
BLOCK_B = branches(BLOCK_B_SIZES, (16,), (12, 14, 16))
REDUCTION_B = _reduction(MIXED_7A_SIZES, (16, 32), (16, 24), (16, 16, 24))
BLOCK_C = branches(BLOCK_C_SIZES, (32,), (32, 40, 48))


class SmallAuxiliaryHead(AuxiliaryHead):
    """Auxiliary head: 1x1, global average pooling, dropout, dense."""

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps `[batch, height, width, in]` to logits `[batch, num_classes]`."""
        x = layers.global_average_pool(self.unit(64, 1, name="unit1")(x, train=train))
        return self.classify(x, train=train)


class InceptionSmall(StagedInception, kw_only=True):
    """Small Inception with an auxiliary head.

    Attributes:
      auxiliary: whether to build the auxiliary head.
      auxiliary_keep_prob: fraction of features that dropout keeps in the auxiliary head.

    Example:
      >>> from jaxml.models import intermediate_shapes
      >>> intermediate_shapes(InceptionSmall(num_classes=10), (32, 32, 3))["stage3"]
      (8, 8, 128)
    """

    image_size: ClassVar[int] = 32
    num_published_classes: ClassVar[int] = 10
    stem_steps: Sequence[Step] = (Unit(16, 3),)
    stage_specs: Sequence[StageSpec] = (
        StageSpec((), MODULE_1, 1),
        StageSpec((("mixed2", MIXED_2),), MODULE_2, 2),
        StageSpec((("mixed3", MIXED_3),), MODULE_3, 2),
    )
    min_size: int = 1
    auxiliary: bool = True
    auxiliary_keep_prob: float = 1.0

    def after_stage(self, number: int, x: Array, *, train: bool) -> None:
        """Runs the auxiliary head on the output of stage 2."""
        if number == 2:
            head = partial(SmallAuxiliaryHead, keep_prob=self.auxiliary_keep_prob)
            self.run_auxiliary("auxiliary2", head, x, train=train)


class InceptionResNetSmall(InceptionResNet, kw_only=True):
    """Small Inception-ResNet."""

    image_size: ClassVar[int] = 32
    num_published_classes: ClassVar[int] = 10
    stem_steps: Sequence[Step] = (Unit(16, 3),)
    stage_specs: Sequence[StageSpec] = residual_stages(
        entries=((), (("reduction_a", REDUCTION_A),), (("reduction_b", REDUCTION_B),)),
        blocks=(BLOCK_A, BLOCK_B, BLOCK_C),
        repeats=(1, 3, 2),
    )
    min_size: int = 1


SMALL_INCEPTIONS: Mapping[str, ModuleDef] = {
    "inception_small": InceptionSmall,
    "inception_resnet_small": InceptionResNetSmall,
}
